"""What the fake `llm` has besides chats, with the official clients: files, batches, moderations, images, audio, completions."""

import base64
import io
import json
import struct
import time
import wave
import zlib

import anthropic
import jsonschema
import openai
import pytest
from test_llm import call, chat, claude, gpt, pools, server, tokens_of, user  # noqa: F401 (fixtures)

# Every keyword of numbers, texts, lists and objects that a structured output may have to obey.
SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "short": {"type": "string", "minLength": 3, "maxLength": 5},
        "ratio": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "whole": {"type": "integer", "exclusiveMinimum": 4, "maximum": 9, "multipleOf": 3},
        "price": {"type": "number", "multipleOf": 0.25, "minimum": 1, "maximum": 2},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
        "both": {
            "allOf": [
                {"type": "object", "properties": {"x": {"type": "integer", "minimum": 5}}, "required": ["x"]},
                {"type": "object", "properties": {"y": {"const": "z"}}, "required": ["y"]},
            ]
        },
        "address": {"type": "string", "format": "ipv4"},
        "host": {"type": "string", "format": "hostname"},
        "moment": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "mail": {"type": "string", "format": "email"},
        "uuid": {"type": "string", "format": "uuid"},
        "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
    },
    "required": ["id", "short", "ratio", "whole", "price", "pair", "tags", "both", "address", "host", "moment", "day"],
    "additionalProperties": False,
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["value", "next"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize("question", ["one", "two", "three", "four", "five"])
def test_structured_output_obeys_the_whole_schema(gpt, claude, question):
    checker = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    described = {"type": "json_schema", "json_schema": {"name": "all", "strict": True, "schema": SCHEMA}}
    checker.validate(json.loads(chat(gpt(), question, response_format=described).choices[0].message.content))
    text = {"format": {"type": "json_schema", "name": "all", "schema": SCHEMA}}
    checker.validate(json.loads(gpt().responses.create(model="x", input=question, text=text).output_text))
    tool = {"type": "function", "function": {"name": "all", "parameters": SCHEMA}}
    (called,) = chat(gpt(), question, tools=[tool]).choices[0].message.tool_calls
    checker.validate(json.loads(called.function.arguments))
    tool = {"name": "all", "input_schema": SCHEMA}
    said = claude().messages.create(model="x", max_tokens=4000, messages=user(question), tools=[tool])
    checker.validate(said.content[0].input)


@pytest.mark.parametrize("model", ["squall-large", "gpt-4o", "o3-mini", "text-embedding-3-small", "ft:gpt-4o:me::1"])
def test_openai_finds_its_models(gpt, model):
    assert gpt().models.retrieve(model).id == model


def test_anthropic_finds_its_models(claude):
    assert claude().models.retrieve("claude-sonnet-4-5").id == "claude-sonnet-4-5"
    assert [model.id for model in claude().models.list(limit=1)][0].startswith("squall-")


@pytest.mark.parametrize(
    ("model", "options", "length"),
    [
        ("text-embedding-3-large", {}, 3072),
        ("text-embedding-3-small", {}, 1536),
        ("text-embedding-ada-002", {}, 1536),
        ("text-embedding-3-large", {"dimensions": 256}, 256),
        ("squall-embedding", {"dimensions": 4096}, 4096),
        ("text-embedding-3-small", {"dimensions": 1537}, None),
        ("text-embedding-ada-002", {"dimensions": 8}, None),
        ("text-embedding-3-large", {"dimensions": 0}, None),
    ],
)
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_have_the_models_dimensions(gpt, model, options, length, encoding):
    if length is None:
        with pytest.raises(openai.BadRequestError) as caught:
            gpt().embeddings.create(model=model, input="x", encoding_format=encoding, **options)
        assert caught.value.param == "dimensions"
        return
    made = gpt().embeddings.create(model=model, input="x", encoding_format=encoding, **options).data[0].embedding
    made = struct.unpack(f"<{length}f", base64.b64decode(made)) if isinstance(made, str) else made
    assert len(made) == length


# A tool's result without its call, and a call without its result.

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
ASSISTANT = {"role": "assistant", "content": None, "tool_calls": [CALL]}


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([RESULT], "must be a response to a preceding message with 'tool_calls'"),
        ([*user("x"), RESULT], "must be a response to a preceding message with 'tool_calls'"),
        ([*user("x"), ASSISTANT, {**RESULT, "tool_call_id": "call_2"}], "'call_2' not found"),
        ([*user("x"), ASSISTANT, RESULT, RESULT], "'call_1' not found"),
        ([*user("x"), ASSISTANT, *user("y")], "did not have response messages: call_1"),
        ([*user("x"), ASSISTANT], "did not have response messages: call_1"),
    ],
)
def test_openai_refuses_results_without_calls(gpt, messages, words):
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        gpt().chat.completions.create(model="x", messages=messages)
    assert caught.value.param == "messages"


def test_openai_takes_results_of_calls(gpt):
    several = {**ASSISTANT, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}
    told = [*user("x"), several, {**RESULT, "tool_call_id": "call_2"}, RESULT, *user("echo: y")]
    assert gpt().chat.completions.create(model="x", messages=told).choices[0].message.content == "y"
    called = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "1"}
    assert gpt().responses.create(model="x", input=[*user("x"), called, output]).output_text
    for wrong in ([*user("x"), output], [*user("x"), called]):
        with pytest.raises(openai.BadRequestError):
            gpt().responses.create(model="x", input=wrong)
    assert gpt().responses.create(model="x", input=[output], previous_response_id="resp_1").output_text


def test_anthropic_refuses_results_without_calls(claude):
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}
    assert claude().messages.create(model="x", max_tokens=9, messages=[*user("x"), use, result]).content
    for messages in ([result], [*user("x"), use, *user("y")], [*user("x"), use]):
        with pytest.raises(anthropic.BadRequestError, match="tool_"):
            claude().messages.create(model="x", max_tokens=9, messages=messages)


# OpenAI's other methods.


def test_completions(gpt):
    made = gpt().completions.create(model="gpt-3.5-turbo-instruct", prompt="echo: one two three four five six", max_tokens=3)
    assert (made.object, made.choices[0].text, made.choices[0].finish_reason) == ("text_completion", "one two thre", "length")
    assert made.usage.completion_tokens == 3
    several = gpt().completions.create(model="x", prompt=["echo: a", "echo: b"], n=2)
    assert [(one.index, one.text) for one in several.choices] == [(0, "a"), (1, "a"), (2, "b"), (3, "b")]
    assert gpt().completions.create(model="x", prompt="echo: b", echo=True).choices[0].text == "echo: bb"
    stream = gpt().completions.create(model="x", prompt="tokens: 9", stream=True, stream_options={"include_usage": True})
    pieces = list(stream)
    assert pieces[-1].usage.completion_tokens == 9
    assert tokens_of("".join(one.choices[0].text for one in pieces[:-1])) == 9
    assert gpt().completions.create(model="x", prompt=[[1, 2], [3]]).choices[1].text


def test_moderations(gpt):
    made = gpt().moderations.create(input=["kind words", "flag: violence/graphic"])
    assert made.model == "omni-moderation-latest" and [one.flagged for one in made.results] == [False, True]
    bad = made.results[1]
    assert bad.categories.violence_graphic and not bad.categories.hate and bad.category_scores.violence_graphic > 0.9
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert len(gpt().moderations.create(input=parts).results) == 1
    with pytest.raises(openai.BadRequestError):
        gpt().moderations.create(input=[])


def pixels(png):
    """Width, height and colour of a PNG of one colour, read by the rules."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, parts = 8, {}
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        data = png[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + data) == struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0]
        parts[kind] = data
        at += 12 + size
    width, height = struct.unpack(">II", parts[b"IHDR"][:8])
    assert len(zlib.decompress(parts[b"IDAT"])) == height * (1 + (width + 7) // 8)
    return width, height, parts[b"PLTE"]


def test_images(gpt, server):
    made = gpt().images.generate(model="gpt-image-1", prompt="a cat", size="1024x1536", n=2)
    assert made.usage.total_tokens and made.output_format == "png" and len(made.data) == 2
    assert pixels(base64.b64decode(made.data[0].b64_json))[:2] == (1024, 1536)
    assert made.data[0] != made.data[1]
    (linked,) = gpt().images.generate(model="dall-e-3", prompt="a cat", size="64x64").data
    assert linked.url.startswith(server.url("/v1/images/"))
    status, fields, png = call(server, linked.url.removeprefix(server.url("")))
    assert (status, fields["content-type"], pixels(png)[:2]) == (200, "image/png", (64, 64))
    source = ("x.png", png, "image/png")
    assert gpt().images.edit(image=source, prompt="a dog").data[0].b64_json
    assert gpt().images.edit(image=[source, source], prompt="a dog", n=3).data[2].b64_json
    assert gpt().images.create_variation(image=source, model="dall-e-2").data[0].url
    (event,) = gpt().images.generate(prompt="a cat", stream=True)
    assert event.type == "image_generation.completed" and event.b64_json
    for wrong in ({"size": "9x"}, {"size": "99999x1"}, {"n": 11}, {"prompt": ""}):
        with pytest.raises(openai.BadRequestError):
            gpt().images.generate(**{"prompt": "x", **wrong})


def test_speech(gpt, tmp_path):
    spoken = {"model": "tts-1", "voice": "alloy", "input": "x" * 30}
    sound = gpt().audio.speech.create(**spoken, response_format="wav").content
    with wave.open(io.BytesIO(sound)) as opened:
        assert (opened.getframerate(), opened.getnframes()) == (24000, 48000)
    assert len(gpt().audio.speech.create(**spoken, response_format="pcm", speed=2).content) == 48000
    with gpt().audio.speech.with_streaming_response.create(**spoken) as response:
        assert response.headers["content-type"] == "audio/mpeg"
        response.stream_to_file(tmp_path / "spoken.mp3")
    mp3 = (tmp_path / "spoken.mp3").read_bytes()
    assert len(mp3) % 417 == 0 and all(mp3[at : at + 2] == b"\xff\xfb" for at in range(0, len(mp3), 417))
    for wrong in ({"input": ""}, {"response_format": "opus"}, {"speed": 9}):
        with pytest.raises(openai.BadRequestError):
            gpt().audio.speech.create(**{**spoken, **wrong})


def test_transcriptions(gpt):
    heard = {"model": "whisper-1", "file": ("x.mp3", b"sound")}
    said = gpt().audio.transcriptions.create(**heard)
    assert said.text and said.usage.total_tokens
    assert gpt().audio.transcriptions.create(**heard).text == said.text
    assert gpt().audio.transcriptions.create(**heard, prompt="echo: hello").text == "hello"
    assert gpt().audio.transcriptions.create(**heard, response_format="text").strip() == said.text
    verbose = gpt().audio.transcriptions.create(**heard, response_format="verbose_json")
    assert verbose.language == "english" and verbose.segments[-1].end == verbose.duration > 1
    assert "00:00:00,000 --> " in gpt().audio.transcriptions.create(**heard, response_format="srt")
    assert gpt().audio.transcriptions.create(**heard, response_format="vtt").startswith("WEBVTT\n\n00:00:00.000 --> ")
    events = list(gpt().audio.transcriptions.create(**heard, stream=True))
    assert events[-1].text == "".join(event.delta for event in events[:-1]) == said.text
    assert gpt().audio.translations.create(**heard).text == said.text
    with pytest.raises(openai.RateLimitError):
        gpt().audio.transcriptions.create(model="error-429", file=heard["file"])


def test_files(gpt):
    content = b"\x00\xff" * 100
    made = gpt().files.create(file=("data.bin", content), purpose="assistants")
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", 200, "data.bin", "assistants")
    assert gpt().files.retrieve(made.id) == made == gpt().files.wait_for_processing(made.id)
    assert gpt().files.content(made.id).read() == content
    more = [gpt().files.create(file=("x", b"x"), purpose="evals") for _ in range(3)]
    assert [file.id for file in gpt().files.list(purpose="evals", limit=2)] == [file.id for file in reversed(more)]
    for file in (made, *more):
        assert gpt().files.delete(file.id).deleted
    for method in (gpt().files.retrieve, gpt().files.content, gpt().files.delete):
        with pytest.raises(openai.NotFoundError):
            method(made.id)
    with pytest.raises(openai.BadRequestError):
        gpt().files.create(file=("x", b"x"), purpose=None)


def wait_for(look, ended):
    until = time.monotonic() + 20
    while not ended(found := look()):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def test_openai_batches(gpt):
    def line(number, model):
        body = {"model": model, "messages": user(f"echo: {number}")}
        return {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}

    lines = [line(1, "gpt-4o"), line(2, "error-429"), line(3, "error-hang"), line(4, "gpt-4o")]
    text = "\n".join(map(json.dumps, lines)).encode()
    file = gpt().files.create(file=("batch.jsonl", text), purpose="batch")
    options = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = gpt().batches.create(**options, metadata={"a": "b"})
    assert (batch.status, batch.request_counts.total, batch.metadata) == ("validating", 4, {"a": "b"})
    batch = wait_for(lambda: gpt().batches.retrieve(batch.id), lambda batch: batch.status == "completed")
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 2) and batch.completed_at
    answers = [json.loads(answer) for answer in gpt().files.content(batch.output_file_id).text.splitlines()]
    said = [(one["custom_id"], one["response"]["body"]["choices"][0]["message"]["content"]) for one in answers]
    assert said == [("r1", "1"), ("r4", "4")] and answers[0]["response"]["status_code"] == 200
    errors = [json.loads(answer) for answer in gpt().files.content(batch.error_file_id).text.splitlines()]
    assert [one["response"]["status_code"] for one in errors] == [429, 504]
    assert batch.id in [one.id for one in gpt().batches.list()]
    with pytest.raises(openai.ConflictError):
        gpt().batches.cancel(batch.id)
    stopped = gpt("paced").batches
    file = gpt("paced").files.create(file=("batch.jsonl", text), purpose="batch")
    batch = stopped.create(**{**options, "input_file_id": file.id})
    assert stopped.retrieve(batch.id).status == "in_progress"
    assert stopped.cancel(batch.id).status == "cancelling" and stopped.retrieve(batch.id).status == "cancelled"


def test_openai_batches_that_are_wrong(gpt):
    file = gpt().files.create(file=("batch.jsonl", b'no JSON\n{"custom_id": "a"}\n'), purpose="batch")
    options = {"input_file_id": file.id, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    batch = gpt().batches.create(**options)
    assert batch.status == "failed" and [error.line for error in batch.errors.data] == [1, 2]
    for wrong in ({"input_file_id": "file-nothing"}, {"endpoint": "/v1/nothing"}):
        with pytest.raises(openai.BadRequestError):
            gpt().batches.create(**{**options, **wrong})
    with pytest.raises(openai.NotFoundError):
        gpt().batches.retrieve("batch_nothing")


# Anthropic's other methods.


def test_anthropic_batches(claude, server):
    def request(number, model):
        return {"custom_id": f"r{number}", "params": {"model": model, "max_tokens": 9, "messages": user(f"echo: {number}")}}

    made = claude().messages.batches.create(requests=[request(1, "claude-x"), request(2, "error-529")])
    assert (made.processing_status, made.request_counts.processing, made.results_url) == ("in_progress", 2, None)
    ended = wait_for(lambda: claude().messages.batches.retrieve(made.id), lambda one: one.processing_status == "ended")
    assert ended.results_url.startswith(server.url("/v1/messages/batches/"))
    first, second = claude().messages.batches.results(made.id)
    assert (first.custom_id, first.result.type, first.result.message.content[0].text) == ("r1", "succeeded", "1")
    assert (second.result.type, second.result.error.error.type) == ("errored", "overloaded_error")
    assert made.id in [one.id for one in claude().messages.batches.list(limit=1)]
    assert claude().messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        claude().messages.batches.retrieve(made.id)
    with pytest.raises(anthropic.BadRequestError):
        claude().messages.batches.create(requests=[])
    slow = claude("paced").messages.batches
    made = slow.create(requests=[request(1, "claude-x")])
    assert slow.cancel(made.id).processing_status == "canceling"
    assert [one.result.type for one in slow.results(made.id)] == ["canceled"]


def test_anthropic_files(claude):
    files = claude().files
    made = files.upload(file=("x.txt", b"hello", "text/plain"))
    assert (made.type, made.filename, made.mime_type, made.size_bytes) == ("file", "x.txt", "text/plain", 5)
    assert made.id in [file.id for file in files.list()]
    assert files.download(made.id).read() == b"hello"
    assert files.retrieve_metadata(made.id) == made
    assert files.delete(made.id).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError):
        files.retrieve_metadata(made.id)


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_completions(server, stream):
    body = {"model": "claude-2", "max_tokens_to_sample": 50, "prompt": "\n\nHuman: echo: one two\n\nAssistant:", "stream": stream}
    status, _, said = call(server, "/v1/complete", body, anthropic_version="2023-06-01")
    assert status == 200
    if stream:
        events = [json.loads(line[6:]) for line in said.decode().splitlines() if line.startswith("data: ")]
        assert "".join(event["completion"] for event in events) == "one two" and events[-1]["stop_reason"] == "stop_sequence"
    else:
        assert json.loads(said)["completion"] == "one two"


def test_methods_and_paths(server):
    for path, method, allowed in (
        ("/v1/files", "PUT", "GET, POST"),
        ("/v1/files/x", "POST", "GET, DELETE"),
        ("/v1/batches/x/cancel", "GET", "POST"),
        ("/v1/images/generations", "GET", "POST"),
        ("/v1/models/a/b", "POST", "GET"),
    ):
        status, fields, _ = call(server, path, method=method)
        assert (status, fields["allow"]) == (405, allowed), path
    for path in ("/v1", "/v1/nothing", "/v2/models", "/v1/files/x/y", "/v1/images/x.gif"):
        assert call(server, path)[0] == 404, path
