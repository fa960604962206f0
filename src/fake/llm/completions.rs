//! Completions of a prompt, which came before chats: OpenAI's `/v1/completions` and Anthropic's `/v1/complete`.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::ask::{Ask, Reply, StopReason};
use super::openai::{Wrong, limit, misbehave, model_name, stops, usage};
use super::pace::{self, Pieces};
use super::{Call, Llm, Misbehaviour, event, text};
use crate::fake::reply::scheduled;

/// Tokens of a reply of OpenAI's, unless the request says how many.
const USUAL_TOKENS: u64 = 16;
/// Prompts of one request.
const PROMPTS_LIMIT: usize = 128;

/// What a request asks for, for each of its prompts.
struct Asks {
    model: String,
    asks: Vec<Ask>,
    /// Replies to each prompt.
    choices: u64,
    stream: bool,
    echo: bool,
    usage: bool,
}

/// `POST /v1/completions`
pub(super) async fn complete(llm: &Llm, call: &Call, body: &Value) -> Response {
    let asks = match read(body) {
        Ok(asks) => asks,
        Err((parameter, message)) => return call.invalid(parameter, &message),
    };
    let misbehaviour = Misbehaviour::of(&asks.model);
    if let Some(response) = misbehave(call, misbehaviour.as_ref(), asks.stream).await {
        return response;
    }
    let replies: Vec<Reply> = asks
        .asks
        .iter()
        .flat_map(|ask| (0..asks.choices).map(|choice| reply(ask, llm, choice, asks.echo)))
        .collect();
    let head = json!({
        "id": text::identifier(llm.pace.seed, call.number, "cmpl-", 29),
        "object": "text_completion",
        "created": call.created,
        "model": asks.model,
    });
    let prompt: u64 = asks.asks.iter().map(|ask| ask.prompt_tokens).sum();
    let usage = usage(prompt, &replies);
    let longest = replies.iter().map(Reply::count).max().unwrap_or(1);
    let end = call.end(llm, longest);
    if asks.stream {
        let pieces = stream(llm, call, (head, &replies, asks.usage.then_some(usage), end));
        let pieces = pace::disturbed(pieces, misbehaviour.as_ref(), 4, super::openai::stream_error());
        call.wait(llm.pace.first).await;
        return super::openai::events(call, scheduled(call.arrived, pieces));
    }
    call.wait(end).await;
    let choices = replies.iter().enumerate();
    let choices: Vec<_> = choices
        .map(|(at, reply)| choice(at, &reply.text, Some(finish(&reply.end))))
        .collect();
    call.reply(
        StatusCode::OK,
        &with(head, json!({ "choices": choices, "usage": usage })),
    )
}

fn reply(ask: &Ask, llm: &Llm, choice: u64, echo: bool) -> Reply {
    let mut reply = ask.reply(llm.pace.seed, choice);
    if echo {
        reply.text.insert_str(0, &ask.last);
    }
    reply
}

fn choice(at: usize, text: &str, finish: Option<&str>) -> Value {
    json!({ "text": text, "index": at, "logprobs": null, "finish_reason": finish })
}

fn finish(end: &StopReason) -> &'static str {
    if *end == StopReason::Length { "length" } else { "stop" }
}

fn with(mut head: Value, more: Value) -> Value {
    if let (Some(head), Value::Object(more)) = (head.as_object_mut(), more) {
        head.extend(more);
    }
    head
}

/// The pieces of a stream: one choice speaks after the other.
fn stream(
    llm: &Llm,
    call: &Call,
    (head, replies, usage, end): (Value, &[Reply], Option<Value>, std::time::Duration),
) -> impl Pieces + use<> {
    let chunk = move |more: Value| Bytes::from(format!("data: {}\n\n", with(head.clone(), more)));
    let mut closing = Vec::new();
    if let Some(usage) = usage {
        closing.push(chunk(json!({ "choices": [], "usage": usage })));
    }
    closing.push(Bytes::from_static(b"data: [DONE]\n\n"));
    let spoken: Vec<_> = replies
        .iter()
        .enumerate()
        .map(|(at, reply)| (at, reply.tokens(), finish(&reply.end)))
        .collect();
    let tokens = spoken.into_iter().flat_map(|(at, tokens, finish)| {
        let said = tokens.map(move |token| choice(at, &token, None));
        said.chain(std::iter::once(choice(at, "", Some(finish))))
    });
    let tokens = tokens.map(move |choice| chunk(json!({ "choices": [choice] })));
    pace::pieces(
        llm.pace.due(call.number),
        (llm.pace.first, end),
        Vec::new(),
        tokens,
        closing,
    )
}

fn read(body: &Value) -> Result<Asks, Wrong> {
    let model = model_name(body)?;
    let most = limit(body, &["max_tokens"])?.unwrap_or(USUAL_TOKENS);
    let stops = stops(body);
    let prompts = prompts(body.get("prompt"));
    if prompts.is_empty() || prompts.len() > PROMPTS_LIMIT {
        return Err((
            Some("prompt"),
            format!("'prompt' must be a string, or a list of 1 to {PROMPTS_LIMIT}."),
        ));
    }
    let choices = body.get("n").filter(|n| !n.is_null()).map_or(Some(1), Value::as_u64);
    let choices = choices.filter(|n| (1..=16).contains(n));
    let choices = choices.ok_or_else(|| {
        (
            Some("n"),
            "Invalid 'n': expected an integer between 1 and 16.".to_owned(),
        )
    })?;
    let flag = |pointer: &str| body.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    Ok(Asks {
        asks: prompts.iter().map(|prompt| ask(&model, prompt, most, &stops)).collect(),
        model,
        choices,
        stream: flag("/stream"),
        echo: flag("/echo"),
        usage: flag("/stream_options/include_usage"),
    })
}

fn ask(model: &str, prompt: &str, most: u64, stops: &[String]) -> Ask {
    let mut ask = Ask {
        model: model.to_owned(),
        most: Some(most),
        stops: stops.to_vec(),
        ..Ask::default()
    };
    ask.add("user", prompt);
    ask.prompt_tokens = text::count(prompt).max(1);
    ask
}

/// A text, a list of texts, the numbers of tokens, or a list of such lists.
fn prompts(prompt: Option<&Value>) -> Vec<String> {
    match prompt {
        None | Some(Value::Null) => vec![String::new()],
        Some(Value::String(text)) => vec![text.clone()],
        Some(numbers @ Value::Array(all)) if all.first().is_some_and(Value::is_number) => vec![numbers.to_string()],
        Some(Value::Array(all)) => {
            let text = |one: &Value| one.as_str().map_or_else(|| one.to_string(), str::to_owned);
            all.iter().map(text).collect()
        }
        _ => Vec::new(),
    }
}

/// `POST /v1/complete`
pub(super) async fn complete_anthropic(llm: &Llm, call: &Call, body: &Value) -> Response {
    let field = |name: &'static str| {
        let value = body.get(name).and_then(Value::as_str);
        value.ok_or_else(|| format!("{name}: Field required"))
    };
    let (model, prompt) = match field("model").and_then(|model| Ok((model, field("prompt")?))) {
        Ok(given) => given,
        Err(message) => return call.invalid(None, &message),
    };
    let Some(most) = body
        .get("max_tokens_to_sample")
        .and_then(Value::as_u64)
        .filter(|most| *most > 0)
    else {
        return call.invalid(None, "max_tokens_to_sample: Field required");
    };
    let streamed = body.get("stream").and_then(Value::as_bool).unwrap_or_default();
    let misbehaviour = Misbehaviour::of(model);
    if let Some(response) = super::anthropic::misbehave(call, misbehaviour.as_ref(), streamed).await {
        return response;
    }
    let stops = super::ask::items(body, "stop_sequences").filter_map(Value::as_str);
    let mut stops: Vec<String> = stops.map(str::to_owned).collect();
    stops.push("\n\nHuman:".to_owned());
    // What the person said last.
    let last = prompt.rsplit("Human:").next().unwrap_or(prompt);
    let last = last.split("Assistant:").next().unwrap_or(last);
    let reply = ask(model, last.trim(), most, &stops).reply(llm.pace.seed, 0);
    let (reason, stop) = match &reply.end {
        StopReason::Length => ("max_tokens", Value::Null),
        StopReason::Stopped(stop) => ("stop_sequence", stop.as_str().into()),
        _ => ("stop_sequence", "\n\nHuman:".into()),
    };
    let head = json!({
        "type": "completion",
        "id": text::identifier(llm.pace.seed, call.number, "compl_01", 22),
        "model": model,
    });
    let said = |text: &str, reason: Value, stop: Value| {
        with(
            head.clone(),
            json!({ "completion": text, "stop_reason": reason, "stop": stop }),
        )
    };
    let end = call.end(llm, reply.count());
    if !streamed {
        call.wait(end).await;
        return call.reply(StatusCode::OK, &said(&reply.text, reason.into(), stop));
    }
    let tokens: Vec<_> = reply
        .tokens()
        .map(|token| event(&said(&token, Value::Null, Value::Null)))
        .collect();
    let closing = vec![event(&said("", reason.into(), stop))];
    let times = (llm.pace.first, end);
    let pieces = pace::pieces(
        llm.pace.due(call.number),
        times,
        Vec::new(),
        tokens.into_iter(),
        closing,
    );
    let error = super::anthropic::stream_error(call);
    let pieces = pace::disturbed(pieces, misbehaviour.as_ref(), 4, error);
    call.wait(llm.pace.first).await;
    call.marked(super::event_stream(scheduled(call.arrived, pieces)))
}
