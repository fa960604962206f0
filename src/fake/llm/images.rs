//! OpenAI's images: of one colour, in the size that is asked for.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::openai::misbehave;
use super::{Call, Llm, Misbehaviour, event, event_stream, files, text};
use crate::fake::forms::Form;
use crate::fake::picture::png;

const MODEL: &str = "gpt-image-1";
/// Pixels of a side.
const SIDE_LIMIT: u32 = 4096;
const USUAL_SIDE: u32 = 1024;
const IMAGES_LIMIT: u64 = 10;

/// What is asked for.
struct WantedImages {
    model: String,
    prompt: String,
    number: u64,
    size: (u32, u32),
    as_url: bool,
    stream: bool,
}

/// `POST /v1/images/generations`
pub(super) async fn generate(llm: &Llm, call: &Call, body: &Value) -> Response {
    let text = |name: &str| match body.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    respond(llm, call, "image_generation", true, &text).await
}

/// `POST /v1/images/edits`, `POST /v1/images/variations`
pub(super) async fn edit(llm: &Llm, call: &Call, form: &Form, with_prompt: bool) -> Response {
    if !form
        .files
        .iter()
        .any(|file| file.name.trim_end_matches("[]") == "image")
    {
        return call.invalid(Some("image"), "Missing required parameter: 'image'.");
    }
    let field = |name: &str| {
        form.fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    respond(llm, call, "image_edit", with_prompt, &field).await
}

async fn respond(
    llm: &Llm,
    call: &Call,
    kind: &str,
    with_prompt: bool,
    field: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Response {
    let wanted = match read(field, with_prompt) {
        Ok(wanted) => wanted,
        Err((parameter, message)) => return call.invalid(Some(parameter), &message),
    };
    if let Some(response) = misbehave(call, Misbehaviour::of(&wanted.model).as_ref(), wanted.stream).await {
        return response;
    }
    call.wait(llm.pace.first).await;
    let (width, height) = wanted.size;
    let tokens = text::count(&wanted.prompt);
    let usage = json!({
        "input_tokens": tokens, "output_tokens": 1056, "total_tokens": tokens + 1056,
        "input_tokens_details": { "text_tokens": tokens, "image_tokens": 0 },
    });
    let about = json!({
        "background": "opaque", "output_format": "png", "quality": "medium", "size": format!("{width}x{height}"),
        "usage": usage,
    });
    let colour = |number: u64| colour(llm.pace.seed, &wanted.prompt, number);
    if wanted.stream {
        let mut done = json!({
            "type": format!("{kind}.completed"),
            "b64_json": STANDARD.encode(png(width, height, colour(0))),
            "created_at": call.created,
        });
        if let (Some(done), Value::Object(about)) = (done.as_object_mut(), about) {
            done.extend(about);
        }
        return call.marked(event_stream(event(&done).into()));
    }
    let images = (0..wanted.number).map(|number| {
        if wanted.as_url {
            let [red, green, blue] = colour(number);
            let name = format!("{width}x{height}-{red:02x}{green:02x}{blue:02x}.png");
            json!({ "url": call.address.url(&format!("/v1/images/{name}")), "revised_prompt": wanted.prompt })
        } else {
            json!({ "b64_json": STANDARD.encode(png(width, height, colour(number))) })
        }
    });
    let mut reply = json!({ "created": call.created, "data": images.collect::<Vec<_>>() });
    if let (Some(reply), Value::Object(about), false) = (reply.as_object_mut(), about, wanted.as_url) {
        reply.extend(about);
    }
    call.reply(StatusCode::OK, &reply)
}

fn read(
    field: &(dyn Fn(&str) -> Option<String> + Sync),
    with_prompt: bool,
) -> Result<WantedImages, (&'static str, String)> {
    let prompt = field("prompt").filter(|prompt| !prompt.is_empty());
    if with_prompt && prompt.is_none() {
        return Err(("prompt", "Missing required parameter: 'prompt'.".to_owned()));
    }
    let model = field("model").unwrap_or_else(|| MODEL.to_owned());
    let number = field("n").map_or(Some(1), |number| number.parse().ok());
    let number = number.filter(|number| (1..=IMAGES_LIMIT).contains(number));
    let number = number.ok_or((
        "n",
        format!("Invalid 'n': expected an integer between 1 and {IMAGES_LIMIT}."),
    ))?;
    let size = field("size").filter(|size| size != "auto");
    let size = size.map_or(Some((USUAL_SIDE, USUAL_SIDE)), |size| parse_size(&size));
    let size = size.ok_or((
        "size",
        format!("Invalid 'size': expected WIDTHxHEIGHT, each from 1 to {SIDE_LIMIT}."),
    ))?;
    let as_url = match field("response_format").as_deref() {
        Some("b64_json") => false,
        Some("url") => true,
        Some(other) => {
            let message = format!("Invalid value: '{other}'. Supported values are: 'url' and 'b64_json'.");
            return Err(("response_format", message));
        }
        None => model.starts_with("dall-e"),
    };
    Ok(WantedImages {
        model,
        prompt: prompt.unwrap_or_default(),
        number,
        size,
        as_url,
        stream: field("stream").as_deref() == Some("true"),
    })
}

fn parse_size(size: &str) -> Option<(u32, u32)> {
    let (width, height) = size.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=SIDE_LIMIT).contains(side));
    Some((side(width)?, side(height)?))
}

fn colour(seed: u64, prompt: &str, number: u64) -> [u8; 3] {
    let mut dice = text::dice(seed, prompt, number);
    [(); 3].map(|()| u8::try_from(dice.below(256)).unwrap_or_default())
}

/// `GET /v1/images/{width}x{height}-{colour}.png`, where an image's address leads
pub(super) fn image(call: &Call, name: &str) -> Response {
    let parsed = || {
        let (size, colour) = name.strip_suffix(".png")?.split_once('-')?;
        let colour = u32::from_str_radix(colour, 16).ok().filter(|_| colour.len() == 6)?;
        let [_, red, green, blue] = colour.to_be_bytes();
        Some((parse_size(size)?, [red, green, blue]))
    };
    match parsed() {
        Some(((width, height), colour)) => call.marked(files::bytes("image/png", png(width, height, colour))),
        None => call.fail(StatusCode::NOT_FOUND, None, &format!("There is no image '{name}'.")),
    }
}
