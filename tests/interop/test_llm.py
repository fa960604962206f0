"""The fake `llm` with the official clients: what they take, and what they raise."""

import asyncio
import itertools
import json
import math
import threading
import time
import urllib.error
import urllib.request

import anthropic
import httpx2  # what both clients are built on
import openai
import pydantic
import pytest
from squall import ROOT, Squall, command

CONFIG = """
seed: 3
listeners:
  web: {address: 127.0.0.1:0, upstream: quick}
  paced: {address: 127.0.0.1:0, upstream: paced}
  private: {address: 127.0.0.1:0, upstream: private}
upstreams:
  quick: {fake: {name: llm, seed: 7, first_token: 20ms, tokens_per_second: 2000}}
  paced: {fake: {name: llm, seed: 7, first_token: 400ms, tokens_per_second: 50}}
  private: {fake: {name: llm, token: sesame, first_token: 0}}
rules:
  - {name: hang, match: {headers: {x-try: hang}}, faults: [hang: {limit: 20s}]}
  - {name: late, match: {headers: {x-try: late}}, faults: [delay: {fixed: 10s, before: body}]}
  - {name: stuck, match: {headers: {x-try: stuck}}, faults: [stall: 8 events]}
  - {name: closed, match: {headers: {x-try: closed}}, faults: [truncate: 8 events]}
  - {name: broken, match: {headers: {x-try: broken}}, faults: [truncate: {after: 8 events, end: reset}]}
  - {name: short, match: {headers: {x-try: short}}, faults: [truncate: {after: 8 events, end: clean}]}
  - {name: garbled, match: {headers: {x-try: garbled}}, faults: [corrupt: {messages: 100%, bytes: 50%}]}
  - {name: reset, match: {headers: {x-try: reset}}, faults: [reset: {}]}
"""
LISTENERS = ("paced", "private")  # the others are troubles
EXAMPLE = ROOT / "config" / "examples" / "llm.yaml"
TOOL = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 2, "maximum": 4},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days"],
}
OPENAI_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}
ANTHROPIC_TOOL = {"name": "get_weather", "input_schema": TOOL}
cases = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One squall for all tests: what a request meets, it asks for in `x-try`."""
    running = Squall(CONFIG, tmp_path_factory.mktemp("llm"))
    yield running
    running.kill()


@pytest.fixture(scope="module")
def pools():
    """The clients' connections: making a client anew takes half a second, for the certificates that it reads."""
    made = openai.DefaultHttpxClient(verify=False), anthropic.DefaultHttpxClient(verify=False)
    yield made
    for one in made:
        one.close()


@pytest.fixture
def gpt(server, pools):
    """A function that makes OpenAI's client."""

    def make(trouble="", kind=openai.OpenAI, **options):
        options = {"api_key": "sk-x", "max_retries": 0, "timeout": 20, **options}
        if kind is openai.OpenAI:
            options["http_client"] = pools[0]
        url = server.url("/v1", listener=trouble if trouble in LISTENERS else "web")
        return kind(base_url=url, default_headers={"x-try": trouble or "none"}, **options)

    return make


@pytest.fixture
def claude(server, pools):
    """A function that makes Anthropic's client."""

    def make(trouble="", **options):
        options = {"api_key": "sk-ant-x", "max_retries": 0, "timeout": 20, "http_client": pools[1], **options}
        url = server.url("", listener=trouble if trouble in LISTENERS else "web")
        return anthropic.Anthropic(base_url=url, default_headers={"x-try": trouble or "none"}, **options)

    return make


def user(text):
    return [{"role": "user", "content": text}]


def chat(client, text="hello", model="squall-large", **options):
    return client.chat.completions.create(model=model, messages=user(text), **options)


def message(client, text="hello", model="squall-large", max_tokens=500, **options):
    return client.messages.create(model=model, max_tokens=max_tokens, messages=user(text), **options)


def tokens_of(text):
    """The fake's stated rule: a token has four characters."""
    return max(1, math.ceil(len(text) / 4))


def call(server, path, body=None, method=None, **headers):
    """Status, fields and body of a plain request."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url(path), data=data, method=method)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


# What they take: OpenAI.


def test_openai_plain(gpt):
    raw = gpt().chat.completions.with_raw_response.create(model="squall-large", messages=user("hello"))
    reply = raw.parse()
    choice = reply.choices[0]
    assert reply.id.startswith("chatcmpl-") and reply.object == "chat.completion" and reply.model == "squall-large"
    assert abs(reply.created - time.time()) < 60 and reply.system_fingerprint
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert len(choice.message.content) > 20 and choice.message.tool_calls is None
    usage = reply.usage
    assert usage.completion_tokens == tokens_of(choice.message.content)
    assert usage.prompt_tokens == tokens_of("hello") + 4
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert raw.headers["x-request-id"].startswith("req_") and raw.headers["x-ratelimit-remaining-requests"].isdigit()
    again = chat(gpt())
    assert again.choices[0].message.content == choice.message.content, "the same question, the same answer"
    assert again.id != reply.id
    assert chat(gpt(), "something else").choices[0].message.content != choice.message.content


def test_openai_stream(gpt):
    plain = chat(gpt()).choices[0].message.content
    chunks = list(chat(gpt(), stream=True, stream_options={"include_usage": True}))
    assert len({chunk.id for chunk in chunks}) == 1 and {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == plain
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert all(chunk.usage is None for chunk in chunks[:-1]) and chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == sum(1 for delta in deltas if delta.content) == tokens_of(plain)
    assert all(chunk.usage is None for chunk in chat(gpt(), stream=True))


def test_openai_stream_helper(gpt):
    with gpt().chat.completions.stream(model="squall-large", messages=user("echo: a b c d e f"), n=2) as stream:
        said = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert [choice.message.content for choice in final.choices] == ["a b c d e f"] * 2
    assert sorted(filter(None, said)) == ["a b ", "a b ", "c d ", "c d ", "e f", "e f"] and final.choices[1].finish_reason == "stop"


def test_openai_async(gpt):
    async def run():
        async with gpt(kind=openai.AsyncOpenAI) as client:
            replies = await asyncio.gather(*(chat(client, f"echo: number {n}") for n in range(8)))
            streamed = [chunk async for chunk in await chat(client, "echo: streamed", stream=True)]
            return [reply.choices[0].message.content for reply in replies], streamed

    plain, streamed = asyncio.run(run())
    assert plain == [f"number {n}" for n in range(8)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == "streamed"


def test_openai_ends(gpt):
    for limit in ({"max_tokens": 3}, {"max_completion_tokens": 3}):
        reply = chat(gpt(), "echo: one two three four", **limit)
        choice = reply.choices[0]
        assert (choice.message.content, choice.finish_reason) == ("one two thre", "length")
        assert reply.usage.completion_tokens == 3
    reply = chat(gpt(), "echo: one two three four", stop=["three"])
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("one two ", "stop")
    assert chat(gpt(), "tokens: 123").usage.completion_tokens == 123
    several = chat(gpt(), n=3)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in several.choices}) == 3


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_tools(gpt, streamed):
    question = {"model": "squall-large", "messages": user("How warm is it in Oslo?"), "tools": [OPENAI_TOOL]}
    if streamed:
        with gpt().chat.completions.stream(**question) as stream:
            pieces = [event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"]
            reply = stream.get_final_completion()
        assert len(pieces) > 3
    else:
        reply = gpt().chat.completions.create(**question)
    choice = reply.choices[0]
    (tool,) = choice.message.tool_calls
    arguments = json.loads(tool.function.arguments)
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert tool.id.startswith("call_") and tool.type == "function" and tool.function.name == "get_weather"
    assert isinstance(arguments["city"], str) and 2 <= arguments["days"] <= 4
    assert arguments["unit"] in ("celsius", "fahrenheit")
    result = {"role": "tool", "tool_call_id": tool.id, "content": "12 degrees"}
    told = [*question["messages"], choice.message.model_dump(exclude_none=True), result]
    last = gpt().chat.completions.create(model="squall-large", tools=[OPENAI_TOOL], messages=told)
    assert last.choices[0].finish_reason == "stop" and last.choices[0].message.content
    assert chat(gpt(), tools=[OPENAI_TOOL], tool_choice="none").choices[0].message.tool_calls is None
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert chat(gpt(), "echo: x", tools=[OPENAI_TOOL], tool_choice=named).choices[0].message.tool_calls


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=20, le=30)
    friends: list["Person"]
    boss: "Person | None"


def test_openai_json(gpt):
    reply = gpt().chat.completions.parse(model="squall-large", messages=user("who?"), response_format=Person)
    assert 20 <= reply.choices[0].message.parsed.age <= 30
    reply = chat(gpt(), "JSON, please", response_format={"type": "json_object"})
    assert isinstance(json.loads(reply.choices[0].message.content), dict)


def test_openai_embeddings(gpt):
    made = gpt().embeddings.create(model="squall-embedding", input=["one", "two", "one"], dimensions=64)
    first, second, third = (one.embedding for one in made.data)
    assert len(first) == 64 and first == third and first != second
    assert math.isclose(sum(x * x for x in first), 1, rel_tol=1e-4)
    floats = gpt().embeddings.create(model="squall-embedding", input="one", dimensions=64, encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(first, abs=1e-6)
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (3, 3)
    assert len(gpt().embeddings.create(model="text-embedding-3-small", input=[[1, 2], [3]]).data) == 2


def test_openai_models(gpt):
    models = list(gpt().models.list())
    assert "squall-large" in {model.id for model in models} and models[0].object == "model"
    assert gpt().models.retrieve(models[0].id) == models[0]
    with pytest.raises(openai.NotFoundError) as caught:
        gpt().models.retrieve("nobody")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_openai_responses(gpt):
    reply = gpt().responses.create(model="squall-large", input="echo: one two", instructions="be brief")
    assert (reply.output_text, reply.status, reply.object) == ("one two", "completed", "response")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (14, 2, 16)
    cut = gpt().responses.create(model="squall-large", input="echo: one two three", max_output_tokens=2)
    assert (cut.status, cut.incomplete_details.reason, cut.output_text) == ("incomplete", "max_output_tokens", "one two ")
    parsed = gpt().responses.parse(model="squall-large", input="who?", text_format=Person)
    assert 20 <= parsed.output_parsed.age <= 30
    with pytest.raises(openai.RateLimitError):
        gpt().responses.create(model="error-429", input="hello")


def test_openai_responses_stream(gpt):
    events = list(gpt().responses.create(model="squall-large", input="echo: one two", stream=True))
    assert [event.type.removeprefix("response.") for event in events] == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    tool = {"type": "function", "name": "get_weather", "parameters": TOOL, "strict": False}
    with gpt().responses.stream(model="squall-large", input=user("How warm is it?"), tools=[tool]) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        final = stream.get_final_response()
    (item,) = final.output
    assert (item.type, item.name) == ("function_call", "get_weather") and "".join(pieces) == item.arguments
    assert 2 <= json.loads(item.arguments)["days"] <= 4
    result = {"type": "function_call_output", "call_id": item.call_id, "output": "12 degrees"}
    asked = [*user("How warm is it?"), item.model_dump(exclude_none=True, include={"type", "call_id", "name", "arguments"}), result]
    assert gpt().responses.create(model="squall-large", input=asked, tools=[tool]).output_text


# What they take: Anthropic.


def test_anthropic_plain(claude):
    raw = claude().messages.with_raw_response.create(model="squall-large", max_tokens=500, messages=user("hello"))
    reply = raw.parse()
    (block,) = reply.content
    assert reply.id.startswith("msg_") and (reply.type, reply.role, reply.model) == ("message", "assistant", "squall-large")
    assert (block.type, reply.stop_reason, reply.stop_sequence) == ("text", "end_turn", None)
    assert reply.usage.output_tokens == tokens_of(block.text)
    counted = claude().messages.count_tokens(model="squall-large", messages=user("hello"))
    assert counted.input_tokens == reply.usage.input_tokens == tokens_of("hello") + 4
    assert reply._request_id.startswith("req_") and raw.headers["anthropic-ratelimit-requests-remaining"].isdigit()
    assert message(claude()).content[0].text == block.text


def test_anthropic_stream(claude):
    plain = message(claude()).content[0].text
    events = list(message(claude(), stream=True))
    kinds = [kind for kind, _ in itertools.groupby(event.type for event in events)]
    order = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"]
    assert kinds == order
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert "".join(delta.text for delta in deltas) == plain
    assert events[0].message.usage.input_tokens == 6 and events[0].message.stop_reason is None
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens == len(deltas) == tokens_of(plain)


def test_anthropic_stream_helper(claude):
    with claude().messages.stream(model="x", max_tokens=3, messages=user("echo: one two three four")) as stream:
        said = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(said) == final.content[0].text == "one two thre"
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 3)
    stopped = message(claude(), "echo: one two three", stop_sequences=["two"])
    assert (stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text) == ("stop_sequence", "two", "one ")


def test_anthropic_models(claude):
    models = list(claude().models.list())
    assert claude().models.retrieve(models[0].id) == models[0] and models[0].created_at.year == 2023
    with pytest.raises(anthropic.NotFoundError):
        claude().models.retrieve("nobody")


@pytest.mark.parametrize("streamed", [False, True])
def test_anthropic_tools(claude, streamed):
    question = {"model": "x", "max_tokens": 500, "messages": user("How warm is it?"), "tools": [ANTHROPIC_TOOL]}
    if streamed:
        with claude().messages.stream(**question) as stream:
            assert sum(event.type == "input_json" for event in stream) > 3
            reply = stream.get_final_message()
    else:
        reply = claude().messages.create(**question)
    (block,) = reply.content
    assert (reply.stop_reason, block.type, block.name) == ("tool_use", "tool_use", "get_weather")
    assert block.id.startswith("toolu_") and 2 <= block.input["days"] <= 4
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "12 degrees"}]}
    answer = {"role": "assistant", "content": [block.model_dump(exclude_none=True)]}
    last = claude().messages.create(**{**question, "messages": [*question["messages"], answer, result]})
    assert last.stop_reason == "end_turn" and last.content[0].type == "text"
    forced = message(claude(), "echo: x", tools=[ANTHROPIC_TOOL], tool_choice={"type": "any"})
    assert forced.stop_reason == "tool_use"


# What they raise.


def test_openai_errors_by_model(gpt):
    expected = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
        503: openai.InternalServerError,
    }
    for status, kind in expected.items():
        with pytest.raises(kind) as caught:
            chat(gpt(), model=f"error-{status}")
        assert caught.value.status_code == status and caught.value.type and caught.value.request_id
    with pytest.raises(openai.RateLimitError) as caught:
        chat(gpt(), model="error-429", stream=True)
    fields = caught.value.response.headers
    assert caught.value.code == "rate_limit_exceeded" and fields["x-should-retry"] == "true"
    assert (fields["retry-after"], fields["retry-after-ms"]) == ("1", "1000")


def test_anthropic_errors_by_model(claude):
    expected = {
        400: (anthropic.BadRequestError, "invalid_request_error"),
        401: (anthropic.AuthenticationError, "authentication_error"),
        403: (anthropic.PermissionDeniedError, "permission_error"),
        404: (anthropic.NotFoundError, "not_found_error"),
        413: (anthropic._exceptions.RequestTooLargeError, "request_too_large"),
        429: (anthropic.RateLimitError, "rate_limit_error"),
        500: (anthropic.InternalServerError, "api_error"),
        504: (anthropic._exceptions.DeadlineExceededError, "timeout_error"),
        529: (anthropic._exceptions.OverloadedError, "overloaded_error"),
    }
    for status, (kind, name) in expected.items():
        with pytest.raises(kind) as caught:
            message(claude(), model=f"error-{status}")
        assert (caught.value.status_code, caught.value.type) == (status, name)
        assert caught.value.body["request_id"] == caught.value.request_id


def test_bad_requests(gpt, claude):
    with pytest.raises(openai.BadRequestError) as caught:
        gpt().chat.completions.create(model="squall-large", messages=[])
    assert (caught.value.param, caught.value.type) == ("messages", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as caught:
        chat(gpt(), temperature=3)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError):
        chat(gpt(), n=0)
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude().messages.create(model="x", max_tokens=0, messages=user("hello"))
    assert "max_tokens" in caught.value.message
    with pytest.raises(anthropic.BadRequestError):
        claude().messages.create(model="x", max_tokens=5, messages=[])


def test_keys(gpt, claude):
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(gpt("private"))
    assert caught.value.code == "invalid_api_key"
    assert chat(gpt("private", api_key="sesame"), "echo: open").choices[0].message.content == "open"
    with pytest.raises(anthropic.AuthenticationError):
        message(claude("private"))
    assert message(claude("private", api_key="sesame"), "echo: open").content[0].text == "open"


def test_openai_error_in_a_stream(gpt):
    said = []
    with pytest.raises(openai.APIError) as caught:
        for chunk in chat(gpt(), model="error-stream", stream=True):
            said.append(chunk)
    assert type(caught.value) is openai.APIError and caught.value.type == "server_error" and len(said) > 1


def test_anthropic_error_in_a_stream(claude):
    said = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        for event in message(claude(), model="error-stream", stream=True):
            said.append(event)
    assert caught.value.type == "overloaded_error" and len(said) > 1
    with pytest.raises(anthropic._exceptions.OverloadedError):
        message(claude(), model="error-stream")


@pytest.mark.parametrize("trouble", ["hang", "late"])
def test_timeouts(gpt, claude, trouble):
    began = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        list(chat(gpt(trouble, timeout=0.4), stream=True))
    # Once a stream has begun, Anthropic's client passes on what its HTTP library raises.
    with pytest.raises(anthropic.APITimeoutError if trouble == "hang" else httpx2.ReadTimeout):
        list(message(claude(trouble, timeout=0.4), stream=True))
    assert 0.8 <= time.monotonic() - began < 8


def test_models_that_hang(gpt, claude):
    with pytest.raises(openai.APITimeoutError):
        chat(gpt(timeout=0.4), model="error-hang")
    with pytest.raises(anthropic.APITimeoutError):
        message(claude(timeout=0.4), model="error-hang")


def broken_off(events):
    """What was read before the stream failed, and how it failed."""
    seen = []
    try:
        for event in events:
            seen.append(event)
    except Exception as error:  # noqa: BLE001
        return seen, error
    return seen, None


@pytest.mark.parametrize("trouble", ["stuck", "model"])
def test_silence_in_the_middle(gpt, claude, trouble):
    model = "error-stall" if trouble == "model" else "squall-large"
    seen, error = broken_off(chat(gpt(trouble, timeout=0.7), "tokens: 50", model=model, stream=True))
    assert isinstance(error, openai.APITimeoutError) and 3 <= len(seen) <= 8
    seen, error = broken_off(message(claude(trouble, timeout=0.7), "tokens: 50", model=model, stream=True))
    assert isinstance(error, httpx2.ReadTimeout) and 3 <= len(seen) <= 8


@pytest.mark.parametrize("trouble", ["closed", "broken", "model"])
def test_streams_that_break_off(gpt, claude, trouble):
    model = "error-cut" if trouble == "model" else "squall-large"
    seen, error = broken_off(chat(gpt(trouble), "tokens: 50", model=model, stream=True))
    assert type(error) is openai.APIConnectionError and 3 <= len(seen) <= 8
    seen, error = broken_off(message(claude(trouble), "tokens: 50", model=model, stream=True))
    expected = httpx2.ReadError if trouble == "broken" else httpx2.RemoteProtocolError
    assert type(error) is expected and 2 <= len(seen) <= 8


def test_streams_that_end_too_early(gpt, claude):
    """Neither client sees that the end is missing; the events tell."""
    seen, error = broken_off(chat(gpt("short"), "tokens: 50", stream=True))
    assert error is None and len(seen) == 8 and seen[-1].choices[0].finish_reason is None
    seen, error = broken_off(message(claude("short"), "tokens: 50", stream=True))
    assert error is None and seen[-1].type == "content_block_delta"


def test_garbled_streams(gpt, claude):
    """OpenAI's client fails at what is no JSON; Anthropic's passes over events whose names it can't read."""
    seen, error = broken_off(chat(gpt("garbled"), "tokens: 50", stream=True))
    assert isinstance(error, ValueError) and len(seen) < 5
    seen, error = broken_off(message(claude("garbled"), "tokens: 50", stream=True))
    assert len(seen) < 5 and "message_stop" not in {event.type for event in seen}


def test_resets(gpt, claude):
    with pytest.raises(openai.APIConnectionError):
        chat(gpt("reset"))
    with pytest.raises(anthropic.APIConnectionError):
        message(claude("reset"))


# The example.


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    text = EXAMPLE.read_text().replace("127.0.0.1:8080, upstream", "127.0.0.1:0, upstream").replace("300ms", "10ms")
    running = Squall(text, tmp_path_factory.mktemp("example"))
    yield running
    running.kill()


def example_clients(example, pools, trouble, retries):
    options = {"default_headers": {"x-try": trouble, "x-case": f"case-{next(cases)}"}, "max_retries": retries, "timeout": 20}
    gpt = openai.OpenAI(base_url=example.url("/v1"), api_key="x", http_client=pools[0], **options)
    return gpt, anthropic.Anthropic(base_url=example.url(""), api_key="x", http_client=pools[1], **options)


def test_example_rate_limit(example, pools):
    gpt, claude = example_clients(example, pools, "limit", 0)
    with pytest.raises(openai.RateLimitError) as caught:
        chat(gpt)
    assert caught.value.code == "rate_limit_exceeded" and caught.value.response.headers["retry-after"] == "1"
    with pytest.raises(anthropic.RateLimitError) as caught:
        message(claude)
    assert caught.value.type == "rate_limit_error" and caught.value.request_id == "req_squall"


def test_example_clients_try_again(example, pools):
    gpt, claude = example_clients(example, pools, "limit", 2)
    began = time.monotonic()
    assert chat(gpt, "echo: at last").choices[0].message.content == "at last"
    assert 0.5 <= time.monotonic() - began < 6, "250 ms twice, as retry-after-ms says"
    _, claude = example_clients(example, pools, "limit", 2)
    began = time.monotonic()
    assert message(claude, "echo: at last").content[0].text == "at last"
    assert 2 <= time.monotonic() - began < 8, "a second twice, as retry-after says"


def test_example_overloaded(example, pools):
    _, claude = example_clients(example, pools, "overloaded", 0)
    with pytest.raises(anthropic._exceptions.OverloadedError) as caught:
        message(claude)
    assert (caught.value.status_code, caught.value.type) == (529, "overloaded_error")


# Time.


def test_tokens_come_at_their_pace(gpt, claude):
    """400 ms until the first of 41 tokens, then 50 a second."""
    began = time.monotonic()
    times = [
        time.monotonic() - began
        for chunk in chat(gpt("paced"), "tokens: 41", stream=True)
        if chunk.choices[0].delta.content
    ]
    assert len(times) == 41
    assert 0.39 <= times[0] < 1.2
    assert 1.1 <= times[-1] < 2.4
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert sum(step > 0.005 for step in steps) >= 20, "one by one"
    began = time.monotonic()
    times = [
        time.monotonic() - began
        for event in message(claude("paced"), "tokens: 41", stream=True)
        if event.type == "content_block_delta"
    ]
    assert len(times) == 41 and 0.39 <= times[0] < 1.2 and 1.1 <= times[-1] < 2.4


def test_plain_replies_take_as_long(gpt, claude):
    for ask in (lambda: chat(gpt("paced"), "tokens: 41"), lambda: message(claude("paced"), "tokens: 41")):
        began = time.monotonic()
        ask()
        assert 1.1 <= time.monotonic() - began < 2.8


# On the wire.


def test_settings_out_of_range():
    for rate in ("0", "-1", "100001"):
        ended = command("fake", "llm", "--set", f"tokens_per_second={rate}", "-a", "127.0.0.1:0")
        assert ended.returncode != 0 and "is not a valid number of tokens a second" in ended.stderr, ended.stderr


def test_errors_on_the_wire(server):
    status, fields, body = call(server, "/v1/nothing")
    assert status == 404 and json.loads(body)["error"]["type"] == "invalid_request_error"
    status, fields, body = call(server, "/v1/chat/completions")
    assert status == 405 and fields["allow"] == "POST" and json.loads(body)["error"]["message"]
    status, _, body = call(server, "/v1/chat/completions", b"{", content_type="application/json")
    assert status == 400 and json.loads(body)["error"]["type"] == "invalid_request_error"
    question = {"model": "x", "max_tokens": 5, "messages": user("hello")}
    status, fields, body = call(server, "/v1/messages", question)
    error = json.loads(body)
    assert (status, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
    assert "anthropic-version" in error["error"]["message"] and fields["request-id"] == error["request_id"]
    status, _, body = call(server, "/v1/nothing", anthropic_version="2023-06-01")
    assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")


def test_bodies_beyond_16_mib(server):
    status, _, body = call(server, "/v1/messages", b" " * (16 * 1024 * 1024 + 1), anthropic_version="2023-06-01")
    assert (status, json.loads(body)["error"]["type"]) == (413, "request_too_large")
    status, _, body = call(server, "/v1/chat/completions", b" " * (16 * 1024 * 1024 + 1))
    assert status == 413 and json.loads(body)["error"]["type"] == "invalid_request_error"


def test_stream_on_the_wire(server):
    question = {"model": "x", "messages": user("echo: hello"), "stream": True}
    status, fields, body = call(server, "/v1/chat/completions", question)
    assert status == 200 and fields["content-type"].startswith("text/event-stream")
    events = body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""] and all(event.startswith("data: ") for event in events[:-1])
    _, fields, body = call(server, "/v1/messages", {**question, "max_tokens": 9}, anthropic_version="2023-06-01")
    names = [line[7:] for line in body.decode().splitlines() if line.startswith("event: ")]
    assert names[:3] == ["message_start", "content_block_start", "ping"] and names[-1] == "message_stop"


def test_the_page(server):
    status, fields, body = call(server, "/")
    assert status == 200 and fields["content-type"].startswith("text/html")
    for word in ("/v1/chat/completions", "/v1/messages", "error-429", "error-stall", "echo: TEXT"):
        assert word in body.decode()


def test_many_streams_at_once(gpt):
    client, said = gpt(), {}

    def run(number):
        chunks = chat(client, f"echo: number {number}", stream=True)
        said[number] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: f"number {number}" for number in range(30)}
