//! OpenAI's moderations: nothing is flagged, unless a text says `flag: CATEGORY`.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::openai::misbehave;
use super::{Call, Llm, Misbehaviour, text};

const MODEL: &str = "omni-moderation-latest";
const INPUTS_LIMIT: usize = 2048;

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// `POST /v1/moderations`
pub(super) async fn moderate(llm: &Llm, call: &Call, body: &Value) -> Response {
    let model = body.get("model").and_then(Value::as_str).unwrap_or(MODEL);
    if let Some(response) = misbehave(call, Misbehaviour::of(model).as_ref(), false).await {
        return response;
    }
    let inputs = inputs(body.get("input"));
    if inputs.is_empty() || inputs.len() > INPUTS_LIMIT {
        let message = "'input' must be a string, a list of 1 to 2048 strings, or a list of parts.";
        return call.invalid(Some("input"), message);
    }
    call.wait(llm.pace.first).await;
    let results: Vec<_> = inputs.iter().map(|input| result(llm, input)).collect();
    let moderation = json!({
        "id": text::identifier(llm.pace.seed, call.number, "modr-", 24),
        "model": model,
        "results": results,
    });
    call.reply(StatusCode::OK, &moderation)
}

/// The texts to judge. All parts of an input of several kinds are judged together.
fn inputs(input: Option<&Value>) -> Vec<String> {
    match input {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(parts)) if parts.first().is_some_and(Value::is_object) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            vec![texts.collect::<Vec<_>>().join("\n")]
        }
        Some(Value::Array(texts)) => {
            let texts: Option<Vec<_>> = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
            texts.unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn result(llm: &Llm, input: &str) -> Value {
    let wanted = input.trim().strip_prefix("flag:").map(str::trim);
    let mut dice = text::dice(llm.pace.seed, input, 0);
    let (mut categories, mut scores, mut types) = (Map::new(), Map::new(), Map::new());
    for category in CATEGORIES {
        let flagged = wanted == Some(category);
        let score = if flagged {
            0.9 + 0.1 * dice.unit()
        } else {
            0.01 * dice.unit()
        };
        categories.insert(category.to_owned(), flagged.into());
        scores.insert(category.to_owned(), score.into());
        types.insert(category.to_owned(), json!(["text"]));
    }
    let flagged = wanted.is_some_and(|wanted| CATEGORIES.contains(&wanted));
    json!({
        "flagged": flagged, "categories": categories, "category_scores": scores, "category_applied_input_types": types,
    })
}
