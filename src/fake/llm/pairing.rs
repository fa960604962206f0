//! Whether each result of a tool has its call before it, and each call its result after it: both providers refuse a
//! conversation otherwise.

use serde_json::Value;

use super::ask::items;
use super::openai::Wrong;

/// The identifiers of calls in a message of OpenAI's.
fn calls(message: &Value) -> Vec<&str> {
    items(message, "tool_calls")
        .filter_map(|call| call.get("id")?.as_str())
        .collect()
}

/// OpenAI's chat messages.
///
/// # Errors
/// A tool message without its call, or a call without its tool message.
pub(super) fn check_chat(messages: &[Value]) -> Result<(), Wrong> {
    let mut open: Vec<&str> = Vec::new();
    let mut answering = false;
    for (at, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if role != "tool" {
            check_open(&open)?;
            open = calls(message);
            answering = !open.is_empty();
            continue;
        }
        let Some(id) = message.get("tool_call_id").and_then(Value::as_str) else {
            return Err((
                Some("messages"),
                format!("Missing required parameter: 'messages[{at}].tool_call_id'."),
            ));
        };
        let Some(place) = open.iter().position(|known| *known == id) else {
            let message = if answering {
                format!("Invalid parameter: 'tool_call_id' of '{id}' not found in 'tool_calls' of previous message.")
            } else {
                "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                    .to_owned()
            };
            return Err((Some("messages"), message));
        };
        open.remove(place);
    }
    check_open(&open)
}

fn check_open(open: &[&str]) -> Result<(), Wrong> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
         The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err((Some("messages"), message))
}

/// The input of OpenAI's responses. What went before may be stored, and is not looked at.
///
/// # Errors
/// An output without its call, or a call without its output.
pub(super) fn check_input(body: &Value) -> Result<(), Wrong> {
    let named = |key: &str| body.get(key).is_some_and(|value| !value.is_null());
    if named("previous_response_id") || named("conversation") {
        return Ok(());
    }
    let of = |kind: &'static str| {
        let found = items(body, "input").filter(move |item| item.get("type").is_some_and(|is| is == kind));
        found
            .filter_map(|item| item.get("call_id")?.as_str())
            .collect::<Vec<_>>()
    };
    let (called, given) = (of("function_call"), of("function_call_output"));
    if let Some(id) = given.iter().find(|id| !called.contains(id)) {
        let message = format!("No tool call found for function call output with call_id {id}.");
        return Err((Some("input"), message));
    }
    match called.iter().find(|id| !given.contains(id)) {
        Some(id) => Err((Some("input"), format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

/// Anthropic's messages.
///
/// # Errors
/// A result without its call in the message before, or a call without its result in the one after.
pub(super) fn check_messages(messages: &[Value]) -> Result<(), String> {
    let of = |message: Option<&Value>, kind: &str, key: &str| -> Vec<String> {
        let blocks = message.into_iter().flat_map(|message| items(message, "content"));
        let blocks = blocks.filter(|block| block.get("type").is_some_and(|is| is == kind));
        blocks
            .filter_map(|block| Some(block.get(key)?.as_str()?.to_owned()))
            .collect()
    };
    for (at, message) in messages.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| messages.get(before));
        let called = of(before, "tool_use", "id");
        let given = of(Some(message), "tool_result", "tool_use_id");
        if let Some(id) = given.iter().find(|id| !called.contains(id)) {
            return Err(format!(
                "messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must \
                 have a corresponding `tool_use` block in the previous message."
            ));
        }
        let open: Vec<_> = called.into_iter().filter(|id| !given.contains(id)).collect();
        if !open.is_empty() {
            return Err(unanswered(at.saturating_sub(1), &open));
        }
    }
    // The last message of all may be the beginning of the reply, but not a call.
    let open = of(messages.last(), "tool_use", "id");
    if open.is_empty() {
        Ok(())
    } else {
        Err(unanswered(messages.len() - 1, &open))
    }
}

fn unanswered(at: usize, ids: &[String]) -> String {
    format!(
        "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block \
         must have a corresponding `tool_result` block in the next message.",
        ids.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chats_answer_all_calls_and_no_others() {
        let user = json!({"role": "user", "content": "x"});
        let call = json!({"role": "assistant", "tool_calls": [{"id": "a"}, {"id": "b"}]});
        let tool = |id: &str| json!({"role": "tool", "tool_call_id": id});
        let check = |messages: &[&Value]| {
            let messages: Vec<Value> = messages.iter().map(|one| (*one).clone()).collect();
            check_chat(&messages).map_err(|(_, message)| message)
        };
        assert_eq!(check(&[&user, &call, &tool("b"), &tool("a"), &user]), Ok(()));
        let alone = check(&[&user, &tool("a")]).unwrap_err();
        assert!(alone.contains("must be a response to a preceding message"), "{alone}");
        assert!(
            check(&[&user, &call, &tool("c")])
                .unwrap_err()
                .contains("'c' not found")
        );
        assert!(
            check(&[&user, &call, &tool("a"), &tool("a")])
                .unwrap_err()
                .contains("'a' not found")
        );
        assert!(
            check(&[&user, &call, &tool("a"), &user])
                .unwrap_err()
                .ends_with("messages: b")
        );
        assert!(check(&[&user, &call]).unwrap_err().ends_with("messages: a, b"));
    }

    #[test]
    fn messages_answer_all_calls_and_no_others() {
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]});
        let result = |id: &str| json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id}]});
        let user = json!({"role": "user", "content": "x"});
        assert_eq!(
            check_messages(&[user.clone(), call.clone(), result("a"), user.clone()]),
            Ok(())
        );
        assert!(
            check_messages(&[result("a")])
                .unwrap_err()
                .contains("`tool_result` blocks: a")
        );
        assert!(
            check_messages(&[user.clone(), call.clone(), user.clone()])
                .unwrap_err()
                .starts_with("messages.1: `tool_use`")
        );
        assert!(
            check_messages(&[user, call])
                .unwrap_err()
                .starts_with("messages.1: `tool_use`")
        );
    }

    #[test]
    fn inputs_answer_all_calls_and_no_others() {
        let call = json!({"type": "function_call", "call_id": "a"});
        let output = json!({"type": "function_call_output", "call_id": "a"});
        assert!(check_input(&json!({"input": [call, output]})).is_ok());
        assert!(check_input(&json!({"input": "text"})).is_ok());
        assert!(check_input(&json!({"input": [output]})).is_err());
        assert!(check_input(&json!({"input": [output], "previous_response_id": "r"})).is_ok());
        assert!(check_input(&json!({"input": [call]})).is_err());
    }
}
