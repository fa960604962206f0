//! Anthropic's messages, with the shapes of its API reference and of its Python package's types.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::ask::{Ask, Choice, Reply, StopReason, Tool, content, items};
use super::pace::{self, Pieces};
use super::{Call, HANG, Llm, MODELS, Misbehaviour, REQUESTS_LIMIT, TOKENS_LIMIT, event, is_known, pairing, set, text};
use crate::fake::reply::scheduled;

/// `POST /v1/messages`
pub(super) async fn messages(llm: &Llm, call: Call, body: &Value) -> Response {
    let ask = match read(body, true) {
        Ok(ask) => ask,
        Err(message) => return invalid(&call, &message),
    };
    let misbehaviour = Misbehaviour::of(&ask.model);
    if let Some(response) = misbehave(&call, misbehaviour.as_ref(), ask.stream).await {
        return response;
    }
    let said = ask.reply(llm.pace.seed, 0);
    let id = text::identifier(llm.pace.seed, call.number, "msg_01", 22);
    if ask.stream {
        let error = stream_error(&call);
        let pieces = pace::disturbed(stream(llm, &call, &ask, &said, &id), misbehaviour.as_ref(), 6, error);
        call.wait(llm.pace.first).await;
        return events(&call, scheduled(call.arrived, pieces));
    }
    call.wait(call.end(llm, said.count())).await;
    let block = match &said.tool {
        None => json!({ "type": "text", "text": said.text }),
        Some(name) => json!({
            "type": "tool_use",
            "id": tool_id(llm, &call),
            "name": name,
            "input": serde_json::from_str::<Value>(&said.text).unwrap_or_else(|_| json!({})),
        }),
    };
    let message = message(&ask, &id, &json!([block]), said.count(), stop(&said.end));
    reply(&call, StatusCode::OK, &message)
}

/// The response that a caller asks for by the model's name instead of a reply, if it does.
pub(super) async fn misbehave(call: &Call, wanted: Option<&Misbehaviour>, streamed: bool) -> Option<Response> {
    let wanted = wanted?;
    if let Some(message) = wanted.unknown() {
        return Some(call.fail(StatusCode::NOT_FOUND, Some("model_not_found"), &message));
    }
    if wanted.hangs(streamed) {
        tokio::time::sleep(HANG).await;
        return Some(fail(call, StatusCode::GATEWAY_TIMEOUT, "Request timed out"));
    }
    Some(refused(call, wanted.refusal(streamed, 529)?))
}

/// An error in the middle of a stream.
pub(super) fn stream_error(call: &Call) -> Bytes {
    event(&error(call, "overloaded_error", "Overloaded"))
}

fn message(ask: &Ask, id: &str, blocks: &Value, output: u64, (reason, sequence): (Value, Value)) -> Value {
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": {
            "input_tokens": ask.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output,
            "service_tier": "standard",
        },
    })
}

/// The events of a stream, each with its time. The start of a message comes when the model has read what was asked, with the
/// first token.
fn stream(llm: &Llm, call: &Call, ask: &Ask, said: &Reply, id: &str) -> impl Pieces + use<> {
    let block = match &said.tool {
        None => json!({ "type": "text", "text": "" }),
        Some(name) => json!({ "type": "tool_use", "id": tool_id(llm, call), "name": name, "input": {} }),
    };
    let opening = [
        json!({ "type": "message_start", "message": message(ask, id, &json!([]), 1, (Value::Null, Value::Null)) }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "ping" }),
    ];
    let is_call = said.tool.is_some();
    let tokens = said.tokens().map(move |token| {
        let delta = if is_call {
            json!({ "type": "input_json_delta", "partial_json": token })
        } else {
            json!({ "type": "text_delta", "text": token })
        };
        event(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
    });
    let (reason, sequence) = stop(&said.end);
    let closing = [
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta",
            "delta": { "stop_reason": reason, "stop_sequence": sequence },
            "usage": { "output_tokens": said.count() },
        }),
        json!({ "type": "message_stop" }),
    ];
    let times = (llm.pace.first, call.end(llm, said.count()));
    let (opening, closing) = (opening.iter().map(event).collect(), closing.iter().map(event).collect());
    pace::pieces(llm.pace.due(call.number), times, opening, tokens, closing)
}

fn tool_id(llm: &Llm, call: &Call) -> String {
    text::identifier(llm.pace.seed, call.number, "toolu_01", 22)
}

/// `stop_reason` and `stop_sequence`.
fn stop(end: &StopReason) -> (Value, Value) {
    match end {
        StopReason::Natural => ("end_turn".into(), Value::Null),
        StopReason::Length => ("max_tokens".into(), Value::Null),
        StopReason::Stopped(stop) => ("stop_sequence".into(), stop.as_str().into()),
        StopReason::Tool => ("tool_use".into(), Value::Null),
    }
}

/// `POST /v1/messages/count_tokens`
pub(super) fn count_tokens(call: &Call, body: &Value) -> Response {
    match read(body, false) {
        Ok(ask) => reply(call, StatusCode::OK, &json!({ "input_tokens": ask.prompt_tokens })),
        Err(message) => invalid(call, &message),
    }
}

fn read(body: &Value, limited: bool) -> Result<Ask, String> {
    let missing = |name: &str| format!("{name}: Field required");
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .ok_or_else(|| missing("model"))?;
    let most = body.get("max_tokens");
    if limited && most.is_none() {
        return Err(missing("max_tokens"));
    }
    let most = most.map(|most| most.as_u64().filter(|most| *most > 0));
    if most == Some(None) {
        return Err("max_tokens: Input should be greater than or equal to 1".to_owned());
    }
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .ok_or_else(|| missing("messages"))?;
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    let mut ask = Ask {
        model: model.to_owned(),
        most: most.flatten(),
        ..Ask::default()
    };
    if let Some(system) = body.get("system") {
        ask.add("system", &content(Some(system)));
    }
    for (at, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if !["user", "assistant"].contains(&role) {
            return Err(format!("messages.{at}.role: Input should be 'user' or 'assistant'"));
        }
        let text = content(message.get("content"));
        let is_empty = text.is_empty() && message.get("content").is_none_or(|content| !content.is_array());
        if is_empty {
            return Err(format!("messages.{at}: all messages must have non-empty content"));
        }
        // What a tool gave comes from the user, who did not ask for anything with it.
        let mut kinds = items(message, "content").filter_map(|block| block.get("type"));
        let has_result = kinds.any(|kind| kind == "tool_result");
        ask.add(if has_result { "tool" } else { role }, &text);
    }
    pairing::check_messages(messages)?;
    let stops = items(body, "stop_sequences").filter_map(Value::as_str);
    ask.stops = stops.map(str::to_owned).collect();
    let tools = items(body, "tools").filter_map(|tool| {
        Some(Tool {
            name: tool.get("name")?.as_str()?.to_owned(),
            schema: tool.get("input_schema")?.clone(),
        })
    });
    ask.add_tools(tools.collect());
    ask.choice = match body.pointer("/tool_choice/type").and_then(Value::as_str) {
        Some("none") => Choice::Never,
        Some("any") => Choice::Required,
        Some("tool") => {
            let name = body.pointer("/tool_choice/name").and_then(Value::as_str);
            Choice::Named(name.unwrap_or_default().to_owned())
        }
        _ => Choice::Auto,
    };
    ask.json = body.pointer("/output_config/format/schema").cloned();
    ask.stream = body.get("stream").and_then(Value::as_bool).unwrap_or_default();
    Ok(ask)
}

/// `GET /v1/models`
pub(super) fn models(call: &Call) -> Response {
    let data: Vec<_> = MODELS.iter().map(|id| model_object(id)).collect();
    let (first, last) = (MODELS.first(), MODELS.last());
    let list = json!({ "data": data, "has_more": false, "first_id": first, "last_id": last });
    reply(call, StatusCode::OK, &list)
}

/// `GET /v1/models/{id}`
pub(super) fn model(call: &Call, id: &str) -> Response {
    if is_known(id) {
        reply(call, StatusCode::OK, &model_object(id))
    } else {
        fail(call, StatusCode::NOT_FOUND, &format!("model: {id}"))
    }
}

fn model_object(id: &str) -> Value {
    json!({
        "type": "model", "id": id, "display_name": id, "created_at": "2023-11-14T22:13:20Z", "lifecycle": "active",
    })
}

/// The error that a caller asked for by the model's name.
fn refused(call: &Call, status: StatusCode) -> Response {
    let message = match status.as_u16() {
        429 => "This request would exceed the rate limit for your organization.",
        529 => "Overloaded",
        401 => "invalid x-api-key",
        404 => "The requested resource could not be found",
        400..=499 => "The fake was told to refuse this request.",
        _ => "Internal server error",
    };
    let mut response = fail(call, status, message);
    if status == StatusCode::TOO_MANY_REQUESTS {
        set(response.headers_mut(), "anthropic-ratelimit-requests-remaining", 0);
    }
    super::retry_later(status, response.headers_mut());
    response
}

/// 400.
pub(super) fn invalid(call: &Call, message: &str) -> Response {
    fail(call, StatusCode::BAD_REQUEST, message)
}

/// An error, whose type follows from its status.
pub(super) fn fail(call: &Call, status: StatusCode, message: &str) -> Response {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    reply(call, status, &error(call, kind, message))
}

fn error(call: &Call, kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": call.request_id })
}

fn reply(call: &Call, status: StatusCode, body: &Value) -> Response {
    let mut response = crate::fake::reply::json(status, body);
    mark(call, response.headers_mut());
    response
}

fn events(call: &Call, body: Body) -> Response {
    let mut response = super::event_stream(body);
    mark(call, response.headers_mut());
    response
}

/// The fields that clients look at.
pub(super) fn mark(call: &Call, headers: &mut HeaderMap) {
    let reset = text::date(call.created + 1);
    set(headers, "request-id", &call.request_id);
    set(headers, "x-request-id", &call.request_id);
    set(headers, "anthropic-organization-id", "squall");
    set(headers, "anthropic-ratelimit-requests-limit", REQUESTS_LIMIT);
    set(headers, "anthropic-ratelimit-requests-remaining", call.requests_left());
    set(headers, "anthropic-ratelimit-requests-reset", &reset);
    set(headers, "anthropic-ratelimit-tokens-limit", TOKENS_LIMIT);
    set(headers, "anthropic-ratelimit-tokens-remaining", TOKENS_LIMIT / 2);
    set(headers, "anthropic-ratelimit-tokens-reset", &reset);
}
