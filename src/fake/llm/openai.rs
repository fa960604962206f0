//! OpenAI's chat completions, embeddings and models, with the shapes of its API reference and of its Python package's types.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::ask::{Ask, Choice, Reply, StopReason, Tool, content, items};
use super::pace::{self, TimedPiece};
use super::text::Tokens;
use super::{Call, HANG, Llm, MODELS, Misbehaviour, REQUESTS_LIMIT, TOKENS_LIMIT, is_known, pairing, set, text};
use crate::fake::reply::scheduled;

const CREATED: i64 = 1_700_000_000;
pub(super) const SERVER_ERROR: &str = "The server had an error while processing your request.";
const FINGERPRINT: &str = "fp_squall";
/// Choices of one request.
const MOST_CHOICES: u64 = 16;

/// `POST /v1/chat/completions`
pub(super) async fn chat(llm: &Llm, call: Call, body: &Value) -> Response {
    let (ask, choices, usage_wanted) = match read(body) {
        Ok(read) => read,
        Err((parameter, message)) => return invalid(&call, parameter, &message),
    };
    let misbehaviour = Misbehaviour::of(&ask.model);
    if let Some(response) = misbehave(&call, misbehaviour.as_ref(), ask.stream).await {
        return response;
    }
    let replies: Vec<Reply> = (0..choices).map(|choice| ask.reply(llm.pace.seed, choice)).collect();
    let usage = usage(ask.prompt_tokens, &replies);
    let longest = replies.iter().map(Reply::count).max().unwrap_or(1);
    let completion = Completion {
        id: text::identifier(llm.pace.seed, call.number, "chatcmpl-", 29),
        created: call.created,
        model: ask.model.clone(),
    };
    if ask.stream {
        let speech = Speech::new(completion, &replies, usage_wanted.then_some(usage), &call, llm);
        let pieces = pace::disturbed(speech, misbehaviour.as_ref(), 4, stream_error());
        call.wait(llm.pace.first).await;
        return events(&call, scheduled(call.arrived, pieces));
    }
    call.wait(call.end(llm, longest)).await;
    let choices: Vec<_> = replies
        .iter()
        .enumerate()
        .map(|(at, reply)| completion.choice(llm, &call, at, reply))
        .collect();
    let body = json!({
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "choices": choices,
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    });
    reply(&call, StatusCode::OK, &body)
}

/// What all pieces of one completion say.
struct Completion {
    id: String,
    created: i64,
    model: String,
}

impl Completion {
    fn choice(&self, llm: &Llm, call: &Call, at: usize, reply: &Reply) -> Value {
        let message = match &reply.tool {
            None => json!({ "role": "assistant", "content": reply.text, "refusal": null, "annotations": [] }),
            Some(name) => json!({
                "role": "assistant", "content": null, "refusal": null, "annotations": [],
                "tool_calls": [{
                    "id": call_id(llm, call, at),
                    "type": "function",
                    "function": { "name": name, "arguments": reply.text },
                }],
            }),
        };
        json!({ "index": at, "message": message, "logprobs": null, "finish_reason": finish(&reply.end) })
    }

    fn chunk(&self, choices: &Value, usage: Option<&Value>) -> Bytes {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        });
        if let (Some(usage), Some(chunk)) = (usage, chunk.as_object_mut()) {
            chunk.insert("usage".to_owned(), usage.clone());
        }
        data(&chunk)
    }
}

/// The pieces of a stream, each with its time: all choices speak at once, a token each.
struct Speech {
    completion: Completion,
    choices: Vec<Speaking>,
    /// What the last chunk says, if it is wanted; it is null in all others then.
    usage: Option<Value>,
    due: Box<dyn Iterator<Item = Duration> + Send>,
    ready: VecDeque<TimedPiece>,
}

/// One choice that is being streamed; its end is taken once it was said.
struct Speaking {
    tokens: Tokens,
    is_call: bool,
    finish: Option<&'static str>,
}

impl Speech {
    fn new(completion: Completion, replies: &[Reply], usage: Option<Value>, call: &Call, llm: &Llm) -> Self {
        let mut speech = Self {
            completion,
            choices: Vec::new(),
            usage,
            due: Box::new(llm.pace.due(call.number)),
            ready: VecDeque::new(),
        };
        for (at, reply) in replies.iter().enumerate() {
            let opening = match &reply.tool {
                None => json!({ "role": "assistant", "content": "", "refusal": null }),
                Some(name) => json!({
                    "role": "assistant", "content": null,
                    "tool_calls": [{
                        "index": 0, "id": call_id(llm, call, at), "type": "function",
                        "function": { "name": name, "arguments": "" },
                    }],
                }),
            };
            speech.say(llm.pace.first, at, &opening, None);
            speech.choices.push(Speaking {
                tokens: reply.tokens(),
                is_call: reply.tool.is_some(),
                finish: Some(finish(&reply.end)),
            });
        }
        speech
    }

    fn say(&mut self, due: Duration, at: usize, delta: &Value, finish: Option<&str>) {
        let choice = json!([{ "index": at, "delta": delta, "logprobs": null, "finish_reason": finish }]);
        let usage = self.usage.as_ref().map(|_| &Value::Null);
        self.ready.push_back((due, Ok(self.completion.chunk(&choice, usage))));
    }

    /// Another token of each choice; after the last ones the end.
    fn round(&mut self) {
        let Some(due) = self.due.next() else { return };
        for at in 0..self.choices.len() {
            let Some(choice) = self.choices.get_mut(at).filter(|choice| choice.finish.is_some()) else {
                continue;
            };
            let (token, is_call) = (choice.tokens.next(), choice.is_call);
            let finish = choice.finish.take_if(|_| choice.tokens.is_empty());
            if let Some(token) = token {
                let delta = if is_call {
                    json!({ "tool_calls": [{ "index": 0, "function": { "arguments": token } }] })
                } else {
                    json!({ "content": token })
                };
                self.say(due, at, &delta, None);
            }
            if finish.is_some() {
                self.say(due, at, &json!({}), finish);
            }
        }
        if self.choices.iter().all(|choice| choice.finish.is_none()) {
            if let Some(usage) = &self.usage {
                let chunk = self.completion.chunk(&json!([]), Some(usage));
                self.ready.push_back((due, Ok(chunk)));
            }
            self.ready.push_back((due, Ok(Bytes::from_static(b"data: [DONE]\n\n"))));
            self.choices.clear();
        }
    }
}

impl Iterator for Speech {
    type Item = TimedPiece;

    fn next(&mut self) -> Option<TimedPiece> {
        if self.ready.is_empty() && !self.choices.is_empty() {
            self.round();
        }
        self.ready.pop_front()
    }
}

/// An error in the middle of a stream.
pub(super) fn stream_error() -> Bytes {
    data(&error("server_error", None, None, SERVER_ERROR))
}

fn data(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

fn call_id(llm: &Llm, call: &Call, choice: usize) -> String {
    text::identifier(llm.pace.seed.wrapping_add(choice as u64), call.number, "call_", 24)
}

fn finish(end: &StopReason) -> &'static str {
    match end {
        StopReason::Natural | StopReason::Stopped(_) => "stop",
        StopReason::Length => "length",
        StopReason::Tool => "tool_calls",
    }
}

pub(super) fn usage(prompt: u64, replies: &[Reply]) -> Value {
    let completion: u64 = replies.iter().map(Reply::count).sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// What is wrong with a request: the parameter, if it is about one, and the message.
pub(super) type Wrong = (Option<&'static str>, String);

fn read(body: &Value) -> Result<(Ask, u64, bool), Wrong> {
    let wrong = |parameter, message: &str| (Some(parameter), message.to_owned());
    let Some(messages) = body.get("messages").and_then(Value::as_array) else {
        return Err(wrong("messages", "Missing required parameter: 'messages'."));
    };
    if messages.is_empty() {
        return Err(wrong(
            "messages",
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
        ));
    }
    let mut ask = Ask {
        model: model_name(body)?,
        ..Ask::default()
    };
    for message in messages {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if !["system", "developer", "user", "assistant", "tool", "function"].contains(&role) {
            let known = "'system', 'assistant', 'user', 'function', 'tool', and 'developer'";
            return Err((
                Some("messages"),
                format!("Invalid value: '{role}'. Supported values are: {known}."),
            ));
        }
        ask.add(role, &content(message.get("content")));
    }
    ask.most = limit(body, &["max_completion_tokens", "max_tokens"])?;
    pairing::check_chat(messages)?;
    ask.stops = stops(body);
    let temperature = body.get("temperature").and_then(Value::as_f64);
    if temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        return Err(wrong(
            "temperature",
            "Invalid 'temperature': expected a value between 0 and 2.",
        ));
    }
    let choices = body.get("n").filter(|n| !n.is_null()).map_or(Some(1), Value::as_u64);
    let Some(choices) = choices.filter(|n| (1..=MOST_CHOICES).contains(n)) else {
        return Err(wrong("n", "Invalid 'n': expected an integer between 1 and 16."));
    };
    let functions = items(body, "tools").filter_map(|tool| tool.get("function"));
    ask.add_tools(functions.filter_map(Tool::read).collect());
    ask.choice = choice(body, "/function/name");
    ask.json = json_wanted(body.get("response_format"), "/json_schema/schema");
    ask.stream = body.get("stream").and_then(Value::as_bool).unwrap_or_default();
    let usage = body
        .pointer("/stream_options/include_usage")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    Ok((ask, choices, usage))
}

/// The sequences that end a reply.
pub(super) fn stops(body: &Value) -> Vec<String> {
    match body.get("stop") {
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// # Errors
/// There is none.
pub(super) fn model_name(body: &Value) -> Result<String, Wrong> {
    match body.get("model").and_then(Value::as_str) {
        Some(model) if !model.is_empty() => Ok(model.to_owned()),
        _ => Err((None, "you must provide a model parameter".to_owned())),
    }
}

/// The first of these limits that is given.
pub(super) fn limit(body: &Value, names: &[&'static str]) -> Result<Option<u64>, Wrong> {
    let mut given = names.iter().filter_map(|name| Some((*name, body.get(*name)?)));
    let Some((name, limit)) = given.find(|(_, limit)| !limit.is_null()) else {
        return Ok(None);
    };
    match limit.as_u64() {
        Some(limit) if limit > 0 => Ok(Some(limit)),
        _ => Err((
            Some(name),
            format!("Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {limit} instead."),
        )),
    }
}

/// Whether a tool is to be called; the name of a particular one stands at `pointer` in `tool_choice`.
pub(super) fn choice(body: &Value, pointer: &str) -> Choice {
    let choice = body.get("tool_choice");
    let name = choice.and_then(|choice| choice.pointer(pointer)?.as_str());
    match (choice.and_then(Value::as_str), name) {
        (Some("none"), _) => Choice::Never,
        (Some("required"), _) => Choice::Required,
        (_, Some(name)) => Choice::Named(name.to_owned()),
        _ => Choice::Auto,
    }
}

/// The schema of a reply that has to be JSON, which stands at `pointer` in the format.
pub(super) fn json_wanted(format: Option<&Value>, pointer: &str) -> Option<Value> {
    let format = format?;
    match format.get("type").and_then(Value::as_str) {
        Some("json_object") => Some(json!({ "type": "object", "properties": { "answer": { "type": "string" } } })),
        Some("json_schema") => format.pointer(pointer).cloned(),
        _ => None,
    }
}

/// `GET /v1/models`
pub(super) fn models(call: &Call) -> Response {
    let data: Vec<_> = MODELS.iter().map(|id| model_object(id)).collect();
    reply(call, StatusCode::OK, &json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`
pub(super) fn model(call: &Call, id: &str) -> Response {
    if is_known(id) {
        return reply(call, StatusCode::OK, &model_object(id));
    }
    let message = format!("The model '{id}' does not exist");
    let error = error(
        "invalid_request_error",
        Some("model"),
        Some("model_not_found"),
        &message,
    );
    reply(call, StatusCode::NOT_FOUND, &error)
}

fn model_object(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "squall" })
}

/// The response that a caller asks for by the model's name instead of a reply, if it does.
pub(super) async fn misbehave(call: &Call, wanted: Option<&Misbehaviour>, streamed: bool) -> Option<Response> {
    let wanted = wanted?;
    if let Some(message) = wanted.unknown() {
        return Some(call.fail(StatusCode::NOT_FOUND, Some("model_not_found"), &message));
    }
    if wanted.hangs(streamed) {
        tokio::time::sleep(HANG).await;
        return Some(refused(call, StatusCode::GATEWAY_TIMEOUT));
    }
    let status = wanted.refusal(streamed, 500)?;
    Some(refused(call, status))
}

fn refused(call: &Call, status: StatusCode) -> Response {
    let kind = match status.as_u16() {
        400 | 401 | 403 | 404 => "invalid_request_error",
        429 => "requests",
        _ => "server_error",
    };
    let code = match status.as_u16() {
        401 => Some("invalid_api_key"),
        403 => Some("unsupported_country_region_territory"),
        404 => Some("model_not_found"),
        429 => Some("rate_limit_exceeded"),
        _ => None,
    };
    let message = match status.as_u16() {
        400 => "The fake was told to refuse this request.",
        401 => "Incorrect API key provided.",
        403 => "Access is not allowed.",
        404 => "The model does not exist or you do not have access to it.",
        429 => "Rate limit reached for requests. Please try again in 1s.",
        503 => "The engine is currently overloaded, please try again later.",
        _ => SERVER_ERROR,
    };
    let mut response = reply(call, status, &error(kind, None, code, message));
    if status == StatusCode::TOO_MANY_REQUESTS {
        set(response.headers_mut(), "x-ratelimit-remaining-requests", 0);
    }
    super::retry_later(status, response.headers_mut());
    response
}

/// 400 with the parameter that is wrong.
pub(super) fn invalid(call: &Call, parameter: Option<&str>, message: &str) -> Response {
    reply(
        call,
        StatusCode::BAD_REQUEST,
        &error("invalid_request_error", parameter, None, message),
    )
}

/// Any other error.
pub(super) fn fail(call: &Call, status: StatusCode, code: Option<&str>, message: &str) -> Response {
    reply(call, status, &error("invalid_request_error", None, code, message))
}

fn error(kind: &str, parameter: Option<&str>, code: Option<&str>, message: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": parameter, "code": code } })
}

pub(super) fn reply<T: Serialize + ?Sized>(call: &Call, status: StatusCode, body: &T) -> Response {
    let mut response = crate::fake::reply::json(status, body);
    mark(call, response.headers_mut());
    response
}

pub(super) fn events(call: &Call, body: Body) -> Response {
    let mut response = super::event_stream(body);
    mark(call, response.headers_mut());
    response
}

/// The fields that clients look at.
pub(super) fn mark(call: &Call, headers: &mut HeaderMap) {
    set(headers, "x-request-id", &call.request_id);
    set(headers, "openai-version", "2020-10-01");
    set(headers, "openai-organization", "squall");
    set(headers, "x-ratelimit-limit-requests", REQUESTS_LIMIT);
    set(headers, "x-ratelimit-remaining-requests", call.requests_left());
    set(headers, "x-ratelimit-reset-requests", "1s");
    set(headers, "x-ratelimit-limit-tokens", TOKENS_LIMIT);
    set(headers, "x-ratelimit-remaining-tokens", TOKENS_LIMIT / 2);
    set(headers, "x-ratelimit-reset-tokens", "6ms");
}
