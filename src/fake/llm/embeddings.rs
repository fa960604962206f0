//! OpenAI's embeddings: unit vectors that depend on the text and the seed alone. Texts that mean the same are no nearer.

use axum::response::Response;
use base64::Engine as _;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::openai::{invalid, misbehave, model_name, reply};
use super::{Call, Llm, Misbehaviour, text};
use crate::fake::made_up::dice::{Dice, Stream};

/// Inputs of one request, and numbers of one vector: at most 8 million numbers, some 100 MB of JSON.
const MOST_INPUTS: usize = 2048;
const MOST_DIMENSIONS: u64 = 4096;
const DIMENSIONS: u64 = 1536;

/// Models with a length of their own, and whether a caller may ask for less of it.
const MODELS: &[(&str, u64, bool)] = &[
    ("text-embedding-3-large", 3072, true),
    ("text-embedding-3-small", 1536, true),
    ("text-embedding-ada-002", 1536, false),
];

#[derive(Serialize)]
struct Embeddings {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// `POST /v1/embeddings`
pub(super) async fn embed(llm: &Llm, call: &Call, body: &Value) -> Response {
    let model = match model_name(body) {
        Ok(model) => model,
        Err((parameter, message)) => return invalid(call, parameter, &message),
    };
    let misbehaviour = Misbehaviour::of(&model);
    if let Some(response) = misbehave(call, misbehaviour.as_ref(), false).await {
        return response;
    }
    let inputs = inputs(body.get("input"));
    if inputs.is_empty() || inputs.len() > MOST_INPUTS {
        let message = "'input' must be a string, or a list of 1 to 2048 strings.";
        return invalid(call, Some("input"), message);
    }
    let dimensions = match dimensions(&model, body.get("dimensions")) {
        Ok(dimensions) => dimensions,
        Err(message) => return invalid(call, Some("dimensions"), &message),
    };
    let is_coded = body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let tokens: u64 = inputs.iter().map(|input| text::count(input).max(1)).sum();
    call.wait(llm.pace.first).await;
    let vector = |(index, input): (usize, &String)| {
        let numbers = vector(llm.pace.seed, input, dimensions);
        Embedding {
            object: "embedding",
            index,
            embedding: if is_coded {
                Vector::Base64(encode(&numbers))
            } else {
                Vector::Numbers(numbers)
            },
        }
    };
    let embeddings = Embeddings {
        object: "list",
        data: inputs.iter().enumerate().map(vector).collect(),
        model,
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    };
    reply(call, StatusCode::OK, &embeddings)
}

fn dimensions(model: &str, wanted: Option<&Value>) -> Result<u64, String> {
    let known = MODELS.iter().find(|(name, ..)| model == *name);
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_null()) else {
        return Ok(known.map_or(DIMENSIONS, |(_, own, _)| *own));
    };
    let most = match known {
        Some((.., false)) => return Err("This model does not support specifying dimensions.".to_owned()),
        Some((_, own, true)) => *own,
        None => MOST_DIMENSIONS,
    };
    let valid = wanted.as_u64().filter(|number| (1..=most).contains(number));
    valid.ok_or_else(|| format!("'dimensions' must be between 1 and {most}."))
}

/// A text, a list of texts, a list of token numbers, or a list of such lists.
fn inputs(input: Option<&Value>) -> Vec<String> {
    match input {
        Some(Value::String(text)) => vec![text.clone()],
        Some(numbers @ Value::Array(all)) if all.first().is_some_and(Value::is_number) => vec![numbers.to_string()],
        Some(Value::Array(all)) => {
            let text = |one: &Value| one.as_str().map_or_else(|| one.to_string(), str::to_owned);
            all.iter().map(text).collect()
        }
        _ => Vec::new(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "numbers from -1 to 1, roughly")]
fn vector(seed: u64, input: &str, dimensions: u64) -> Vec<f32> {
    let mut dice = Dice::new(seed, Stream::Replies, xxhash_rust::xxh3::xxh3_64(input.as_bytes()));
    let raw: Vec<f64> = (0..dimensions).map(|_| 2.0 * dice.unit() - 1.0).collect();
    let length = raw.iter().map(|number| number * number).sum::<f64>().sqrt();
    let length = length.max(f64::MIN_POSITIVE);
    raw.iter().map(|number| (number / length) as f32).collect()
}

/// 32-bit floats, the low byte first, in base64.
fn encode(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
