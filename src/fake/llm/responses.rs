//! OpenAI's responses, with the shapes of its API reference and of its Python package's types. Nothing is stored: what went
//! before has to be in `input`.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::ask::{Ask, Reply, StopReason, Tool, content, items};
use super::openai::{SERVER_ERROR, choice, events, invalid, limit, misbehave, model_name, reply};
use super::pace::{self, Pieces};
use super::{Call, Llm, Misbehaviour, event, pairing, text};
use crate::fake::reply::scheduled;

/// `POST /v1/responses`
pub(super) async fn respond(llm: &Llm, call: &Call, body: &Value) -> Response {
    let ask = match read(body) {
        Ok(ask) => ask,
        Err((parameter, message)) => return invalid(call, parameter, &message),
    };
    let misbehaviour = Misbehaviour::of(&ask.model);
    if let Some(response) = misbehave(call, misbehaviour.as_ref(), ask.stream).await {
        return response;
    }
    let said = ask.reply(llm.pace.seed, 0);
    let made = Made::new(llm, call, &said);
    if ask.stream {
        let (first, end) = (llm.pace.first, call.end(llm, said.count()));
        let error = json!({
            "type": "error", "code": "server_error", "message": SERVER_ERROR, "param": null, "sequence_number": 7,
        });
        let pieces = stream(llm, call, (first, end), &made, &ask, body);
        let pieces = pace::disturbed(pieces, misbehaviour.as_ref(), 7, event(&error));
        call.wait(first).await;
        return events(call, scheduled(call.arrived, pieces));
    }
    call.wait(call.end(llm, said.count())).await;
    reply(call, StatusCode::OK, &made.response(call, &ask, body, true))
}

/// A reply with its identifiers.
struct Made<'a> {
    said: &'a Reply,
    id: String,
    item: String,
    call: String,
}

impl<'a> Made<'a> {
    fn new(llm: &Llm, call: &Call, said: &'a Reply) -> Self {
        let identifier = |prefix, length| text::identifier(llm.pace.seed, call.number, prefix, length);
        Self {
            said,
            id: identifier("resp_", 48),
            item: identifier(if said.tool.is_some() { "fc_" } else { "msg_" }, 48),
            call: identifier("call_", 24),
        }
    }

    fn status(&self, done: bool) -> &'static str {
        match (done, &self.said.end) {
            (false, _) => "in_progress",
            (true, StopReason::Length) => "incomplete",
            (true, _) => "completed",
        }
    }

    /// What is said, before and after it was.
    fn item(&self, done: bool) -> Value {
        let text = if done { self.said.text.as_str() } else { "" };
        match &self.said.tool {
            Some(name) => json!({
                "id": self.item, "type": "function_call", "status": self.status(done), "call_id": self.call,
                "name": name, "arguments": text,
            }),
            None => json!({
                "id": self.item, "type": "message", "status": self.status(done), "role": "assistant",
                "content": if done { json!([part(text)]) } else { json!([]) },
            }),
        }
    }

    fn response(&self, call: &Call, ask: &Ask, body: &Value, done: bool) -> Value {
        let given = |name: &str, usual: Value| match body.get(name) {
            None | Some(Value::Null) => usual,
            Some(value) => value.clone(),
        };
        let output = self.said.count();
        let usage = json!({
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
            "output_tokens": output,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": ask.prompt_tokens + output,
        });
        let is_cut = done && self.said.end == StopReason::Length;
        json!({
            "id": self.id,
            "object": "response",
            "created_at": call.created,
            "status": self.status(done),
            "background": false,
            "error": null,
            "incomplete_details": if is_cut { json!({ "reason": "max_output_tokens" }) } else { Value::Null },
            "instructions": given("instructions", Value::Null),
            "max_output_tokens": given("max_output_tokens", Value::Null),
            "model": ask.model,
            "output": if done { json!([self.item(true)]) } else { json!([]) },
            "parallel_tool_calls": given("parallel_tool_calls", true.into()),
            "previous_response_id": given("previous_response_id", Value::Null),
            "reasoning": given("reasoning", json!({ "effort": null, "summary": null })),
            "service_tier": "default",
            "store": false,
            "temperature": given("temperature", 1.0.into()),
            "text": given("text", json!({ "format": { "type": "text" } })),
            "tool_choice": given("tool_choice", "auto".into()),
            "tools": given("tools", json!([])),
            "top_p": given("top_p", 1.0.into()),
            "truncation": given("truncation", "disabled".into()),
            "usage": if done { usage } else { Value::Null },
            "user": given("user", Value::Null),
            "metadata": given("metadata", json!({})),
        })
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn stream(
    llm: &Llm,
    call: &Call,
    times: (std::time::Duration, std::time::Duration),
    made: &Made<'_>,
    ask: &Ask,
    body: &Value,
) -> impl Pieces + use<> {
    let (item, text) = (made.item.as_str(), made.said.text.as_str());
    let is_call = made.said.tool.is_some();
    let mut opening = vec![
        json!({ "type": "response.created", "response": made.response(call, ask, body, false) }),
        json!({ "type": "response.in_progress", "response": made.response(call, ask, body, false) }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item": made.item(false) }),
    ];
    let at = json!({ "item_id": item, "output_index": 0, "content_index": 0 });
    let mut closing = Vec::new();
    if is_call {
        let name = made.said.tool.as_deref().unwrap_or_default();
        closing.push(json!({
            "type": "response.function_call_arguments.done", "item_id": item, "output_index": 0,
            "name": name, "arguments": text,
        }));
    } else {
        opening.push(joined(
            json!({ "type": "response.content_part.added", "part": part("") }),
            &at,
        ));
        closing.push(joined(
            json!({ "type": "response.output_text.done", "text": text, "logprobs": [] }),
            &at,
        ));
        closing.push(joined(
            json!({ "type": "response.content_part.done", "part": part(text) }),
            &at,
        ));
    }
    closing.push(json!({ "type": "response.output_item.done", "output_index": 0, "item": made.item(true) }));
    let last = format!("response.{}", made.status(true));
    closing.push(json!({ "type": last, "response": made.response(call, ask, body, true) }));
    let before = opening.len() as u64;
    let tokens = made.said.tokens().zip(before..).map(move |(token, number)| {
        let delta = if is_call {
            json!({ "type": "response.function_call_arguments.delta", "delta": token })
        } else {
            json!({ "type": "response.output_text.delta", "delta": token, "logprobs": [] })
        };
        numbered((joined(delta, &at), number))
    });
    let after = before + text::count(text);
    let opening = opening.into_iter().zip(0..).map(numbered).collect();
    let closing = closing.into_iter().zip(after..).map(numbered).collect();
    pace::pieces(llm.pace.due(call.number), times, opening, tokens, closing)
}

fn joined(mut event: Value, with: &Value) -> Value {
    if let (Some(event), Some(with)) = (event.as_object_mut(), with.as_object()) {
        event.extend(with.clone());
    }
    event
}

fn numbered((value, number): (Value, u64)) -> Bytes {
    event(&joined(value, &json!({ "sequence_number": number })))
}

fn read(body: &Value) -> Result<Ask, super::openai::Wrong> {
    let mut ask = Ask {
        model: model_name(body)?,
        ..Ask::default()
    };
    if let Some(instructions) = body.get("instructions").and_then(Value::as_str) {
        ask.add("system", instructions);
    }
    match body.get("input") {
        Some(Value::String(text)) => ask.add("user", text),
        Some(Value::Array(items)) if !items.is_empty() => {
            pairing::check_input(body)?;
            for item in items {
                match item.get("role").and_then(Value::as_str) {
                    Some(role) => ask.add(role, &content(item.get("content"))),
                    None => ask.add("tool", &content(item.get("output").or_else(|| item.get("arguments")))),
                }
            }
        }
        _ => return Err((Some("input"), "Missing required parameter: 'input'.".to_owned())),
    }
    ask.most = limit(body, &["max_output_tokens"])?;
    let functions = items(body, "tools").filter(|tool| tool.get("type").is_some_and(|kind| kind == "function"));
    ask.add_tools(functions.filter_map(Tool::read).collect());
    ask.choice = choice(body, "/name");
    ask.json = super::openai::json_wanted(body.pointer("/text/format"), "/schema");
    ask.stream = body.get("stream").and_then(Value::as_bool).unwrap_or_default();
    Ok(ask)
}
