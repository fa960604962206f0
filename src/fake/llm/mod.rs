//! `llm`: a language model that says made-up things, behind OpenAI's and Anthropic's APIs, for their own clients.
//!
//! Replies are a function of the seed and of what was asked, and come at a stated pace ([`pace`]): so long until the first
//! token, with which the head of a stream comes, so many a second after it. A plain reply comes when its last token would.
//! A token has four characters; usage counts those same tokens, and four more for each message. Files and batches are kept in
//! memory; a batch has ended after the time of a first token.
//!
//! The user's last message can say what comes: `echo: TEXT` or `tokens: NUMBER`. Otherwise a tool is called, if there are
//! any: the one that the message names, or else the first, with arguments that fit its schema. After a tool's result there
//! is a text.
//!
//! The name of the model can ask for trouble: `error-STATUS` (`error-429`, `error-529`…) is refused with that status,
//! in the provider's shape and with its fields; `error-stream` sends an error inside a stream, `error-cut` breaks it
//! off, `error-stall` falls silent in it, `error-hang` never responds. Anything else that can go wrong is for squall's
//! rules: `config/examples/llm.yaml`.

mod anthropic;
mod ask;
mod audio;
mod batches;
mod completions;
mod embeddings;
mod files;
mod images;
mod misbehaviour;
mod moderations;
mod openai;
mod pace;
mod pairing;
mod responses;
mod shelf;
mod text;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::misbehaviour::{HANG, Misbehaviour};
use self::pace::Pace;
use self::shelf::{Excerpt, Shelf};
use super::page::{page, rows};
use super::spec::FakeSpec;
use crate::fake::context::Context;
use crate::fake::forms;
use crate::fake::query::{Pairs, pairs};
use crate::fake::reply::{Address, BodyError, read_json_body, with_field};
use crate::yaml::report::Diagnostic;

/// The longest request body that is read, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
const FIRST_TOKEN: Duration = Duration::from_millis(300);
const TOKENS_PER_SECOND: f64 = 50.0;
const JITTER: f64 = 0.2;

/// Models that are listed; any other name is taken, too.
const MODELS: [&str; 3] = ["squall-large", "squall-small", "squall-embedding"];

/// How the names of the providers' own models begin. They are not listed, but can be looked up: some programs do so before
/// they use one.
const FAMILIES: &[&str] = &[
    "babbage-", "chatgpt-", "claude-", "codex-", "dall-e-", "davinci-", "ft:", "gpt-", "o1", "o3", "o4", "omni-",
    "sora-", "text-", "tts-", "whisper-",
];

/// What responses say of rate limits, by which nothing is limited.
const REQUESTS_LIMIT: u64 = 10_000;
const TOKENS_LIMIT: u64 = 2_000_000;

/// One running fake.
#[derive(Debug)]
struct Llm {
    pace: Pace,
    token: Option<String>,
    /// Requests so far.
    calls: AtomicU64,
    shelf: Shelf,
}

/// # Errors
/// The pace is out of its range.
pub(super) fn router(spec: &FakeSpec, context: &Context<'_>) -> Result<Router, Vec<Diagnostic>> {
    let per_second = spec.tokens_per_second.as_ref();
    if let Some(wrong) = per_second.filter(|rate| !(0.1..=100_000.0).contains(&rate.value)) {
        let message = format!("{} is not a valid number of tokens a second", wrong.value);
        return Err(vec![
            Diagnostic::error(wrong.span, message).help("use a number from 0.1 to 100000"),
        ]);
    }
    let llm = Llm {
        pace: Pace {
            first: spec.first_token.as_ref().map_or(FIRST_TOKEN, |time| time.value.get()),
            gap: Duration::from_secs_f64(1.0 / per_second.map_or(TOKENS_PER_SECOND, |rate| rate.value)),
            jitter: spec
                .jitter
                .as_ref()
                .map_or(JITTER, |jitter| f64::from(jitter.value.ppm()) / 1e6),
            seed: context.seed,
        },
        token: spec.token.as_ref().map(|token| token.value.clone()),
        calls: AtomicU64::new(0),
        shelf: Shelf::default(),
    };
    Ok(Router::new().fallback(answer).with_state(Arc::new(llm)))
}

/// Whose API is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    OpenAi,
    Anthropic,
}

/// One request.
struct Call {
    /// From 0 on.
    number: u64,
    arrived: Instant,
    /// Seconds since 1970.
    created: i64,
    request_id: String,
    provider: Provider,
    /// Scheme and host of this server, as the client reached it.
    address: Address,
}

impl Call {
    fn new(llm: &Llm, provider: Provider, address: Address) -> Self {
        // Relaxed: numbers only have to differ.
        let number = llm.calls.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            number,
            arrived: Instant::now(),
            created: i64::try_from(now.as_secs()).unwrap_or_default(),
            request_id: text::identifier(llm.pace.seed, number, "req_", 24),
            provider,
            address,
        }
    }

    /// A request that came in a batch, which `instant` answers.
    fn of_batch(&self, instant: &Llm) -> Self {
        Self::new(instant, self.provider, self.address.clone())
    }

    /// When the last of so many tokens is due; as the first one, if there is none.
    fn end(&self, llm: &Llm, tokens: u64) -> Duration {
        let last = usize::try_from(tokens.saturating_sub(1)).unwrap_or_default();
        llm.pace.due(self.number).nth(last).unwrap_or_default()
    }

    /// Waits until a moment, counted from the request's arrival.
    async fn wait(&self, due: Duration) {
        tokio::time::sleep_until(self.arrived + due).await;
    }

    fn requests_left(&self) -> u64 {
        REQUESTS_LIMIT - 1 - self.number % REQUESTS_LIMIT
    }

    /// A response of JSON, in the provider's manner.
    fn reply<T: Serialize + ?Sized>(&self, status: StatusCode, body: &T) -> Response {
        self.marked(crate::fake::reply::json(status, body))
    }

    /// A response with the fields that the provider's clients look at.
    fn marked(&self, mut response: Response) -> Response {
        match self.provider {
            Provider::OpenAi => openai::mark(self, response.headers_mut()),
            Provider::Anthropic => anthropic::mark(self, response.headers_mut()),
        }
        response
    }

    /// 400; OpenAI's responses name the parameter.
    fn invalid(&self, parameter: Option<&str>, message: &str) -> Response {
        match self.provider {
            Provider::OpenAi => openai::invalid(self, parameter, message),
            Provider::Anthropic => anthropic::invalid(self, message),
        }
    }

    /// Any other error.
    fn fail(&self, status: StatusCode, code: Option<&str>, message: &str) -> Response {
        match self.provider {
            Provider::OpenAi => openai::fail(self, status, code, message),
            Provider::Anthropic => anthropic::fail(self, status, message),
        }
    }

    /// A part of a list, in the provider's manner.
    fn list(&self, page: &Excerpt) -> Value {
        let mut list = json!({
            "data": page.data, "has_more": page.has_more, "first_id": page.first_id(), "last_id": page.last_id(),
        });
        if let (Some(list), Provider::OpenAi) = (list.as_object_mut(), self.provider) {
            list.insert("object".to_owned(), "list".into());
        }
        list
    }
}

/// The methods of a path, below `/v1`; none if there is nothing there.
fn methods(path: &[&str]) -> Option<&'static [Method]> {
    match path {
        ["models"] | ["models", _, ..] | ["images", _] if !POSTS.contains(&path) => Some(&[Method::GET]),
        ["files" | "batches"] | ["messages", "batches"] => Some(&[Method::GET, Method::POST]),
        ["files", _] | ["messages", "batches", _] => Some(&[Method::GET, Method::DELETE]),
        ["files", _, "content"] | ["batches", _] | ["messages", "batches", _, "results"] => Some(&[Method::GET]),
        ["batches", _, "cancel"] | ["messages", "batches", _, "cancel"] => Some(&[Method::POST]),
        path if POSTS.contains(&path) => Some(&[Method::POST]),
        _ => None,
    }
}

/// Where something is asked of a model.
const POSTS: &[&[&str]] = &[
    &["chat", "completions"],
    &["responses"],
    &["embeddings"],
    &["completions"],
    &["complete"],
    &["moderations"],
    &["images", "generations"],
    &["images", "edits"],
    &["images", "variations"],
    &["audio", "speech"],
    &["audio", "transcriptions"],
    &["audio", "translations"],
    &["messages"],
    &["messages", "count_tokens"],
];

async fn answer(State(llm): State<Arc<Llm>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let whole = parts.uri.path().trim_end_matches('/');
    if whole.is_empty() {
        return page("A language model", INTRODUCTION, &rows(ROWS), &Address::of(&parts));
    }
    let path: Vec<&str> = whole
        .strip_prefix("/v1/")
        .map_or_else(Vec::new, |path| path.split('/').collect());
    let versioned = parts.headers.contains_key("anthropic-version");
    let of_anthropic = matches!(path.first(), Some(&("messages" | "complete")));
    let provider = if of_anthropic || versioned {
        Provider::Anthropic
    } else {
        Provider::OpenAi
    };
    let mut call = Call::new(&llm, provider, Address::of(&parts));
    if !llm.trusts(&parts.headers) && !matches!(path.as_slice(), ["images", _] if parts.method == Method::GET) {
        let message = match provider {
            Provider::Anthropic => "invalid x-api-key",
            Provider::OpenAi => "Incorrect API key provided.",
        };
        return call.fail(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message);
    }
    let Some(methods) = methods(&path) else {
        let message = format!("Unknown request URL: {} {whole}.", parts.method);
        return call.fail(StatusCode::NOT_FOUND, Some("unknown_url"), &message);
    };
    let method = if parts.method == Method::HEAD {
        &Method::GET
    } else {
        &parts.method
    };
    if !methods.contains(method) {
        let message = format!("Not allowed to {} on {whole}.", parts.method);
        let response = call.fail(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_supported"), &message);
        let names: Vec<_> = methods.iter().map(Method::as_str).collect();
        return with_field(response, ALLOW, &names.join(", "));
    }
    if of_anthropic && !versioned {
        return call.invalid(None, "anthropic-version: header is required");
    }
    if *method != Method::POST {
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        return look_up(&llm, &call, *method == Method::DELETE, (&path, whole), &query).await;
    }
    if let ["batches", id, "cancel"] | ["messages", "batches", id, "cancel"] = path.as_slice() {
        return batches::cancel(&llm, &call, id).await;
    }
    let bytes = match read_json_body(&parts.extensions, body, BODY_LIMIT).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = match error {
                BodyError::TooLarge => "The body is longer than 16 MiB.",
                BodyError::Broken => "The body could not be read.",
                BodyError::Full => BodyError::FULL,
            };
            return call.fail(error.status(), None, message);
        }
    };
    // The model begins once it has all that it is asked.
    call.arrived = Instant::now();
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let as_form = crate::fake::reply::essence(content_type).starts_with("multipart/");
    match path.as_slice() {
        ["files"] => return files::upload(&llm, &call, forms::form(content_type, &bytes)),
        ["images", kind @ ("edits" | "variations")] if as_form || *kind == "variations" => {
            return images::edit(&llm, &call, &forms::form(content_type, &bytes), *kind == "edits").await;
        }
        ["audio", "transcriptions"] => {
            return audio::transcribe(&llm, &call, &forms::form(content_type, &bytes), "transcribe").await;
        }
        ["audio", "translations"] => {
            return audio::transcribe(&llm, &call, &forms::form(content_type, &bytes), "translate").await;
        }
        _ => {}
    }
    // Kept to the end: the parsed document counts for as long.
    let Ok(body @ Value::Object(_)) = serde_json::from_slice(&bytes) else {
        let message = "The body of the request is not a JSON object.";
        return call.fail(StatusCode::BAD_REQUEST, None, message);
    };
    match path.as_slice() {
        ["batches"] | ["messages", "batches"] => batches::create(&llm, &call, &body).await,
        _ => generate(&llm, call, whole, &body).await,
    }
}

/// What is there already.
async fn look_up(llm: &Llm, call: &Call, delete: bool, (path, whole): (&[&str], &str), query: &Pairs) -> Response {
    let id = |prefix: &str| crate::fake::query::decode_path(whole.strip_prefix(prefix).unwrap_or_default());
    match (path, call.provider) {
        (["models"], Provider::Anthropic) => anthropic::models(call),
        (["models"], Provider::OpenAi) => openai::models(call),
        (["models", ..], Provider::Anthropic) => anthropic::model(call, &id("/v1/models/")),
        (["models", ..], Provider::OpenAi) => openai::model(call, &id("/v1/models/")),
        (["images", name], _) => images::image(call, name),
        (["files"], _) => files::list(llm, call, query),
        (["files", id], _) if delete => files::delete(llm, call, id),
        (["files", id], _) => files::retrieve(llm, call, id),
        (["files", id, _], _) => files::content(llm, call, id),
        (["messages", "batches", id], _) if delete => batches::delete(llm, call, id).await,
        (["messages", "batches", id, "results"], _) => batches::results(llm, call, id).await,
        (["batches", id] | ["messages", "batches", id], _) => batches::retrieve(llm, call, id).await,
        _ => batches::list(llm, call, query).await,
    }
}

/// What a model says to a request with a JSON body.
async fn generate(llm: &Llm, call: Call, path: &str, body: &Value) -> Response {
    match path {
        "/v1/chat/completions" => openai::chat(llm, call, body).await,
        "/v1/responses" => responses::respond(llm, &call, body).await,
        "/v1/embeddings" => embeddings::embed(llm, &call, body).await,
        "/v1/completions" => completions::complete(llm, &call, body).await,
        "/v1/complete" => completions::complete_anthropic(llm, &call, body).await,
        "/v1/moderations" => moderations::moderate(llm, &call, body).await,
        "/v1/images/generations" | "/v1/images/edits" => images::generate(llm, &call, body).await,
        "/v1/audio/speech" => audio::speak(llm, &call, body).await,
        "/v1/messages" => anthropic::messages(llm, call, body).await,
        _ => anthropic::count_tokens(&call, body),
    }
}

/// Whether a model can be looked up by this name.
fn is_known(model: &str) -> bool {
    MODELS.contains(&model) || FAMILIES.iter().any(|family| model.starts_with(family))
}

impl Llm {
    /// One that does not wait.
    fn instant(seed: u64) -> Self {
        let pace = Pace {
            first: Duration::ZERO,
            gap: Duration::ZERO,
            jitter: 0.0,
            seed,
        };
        Self {
            pace,
            token: None,
            calls: AtomicU64::new(0),
            shelf: Shelf::default(),
        }
    }

    /// Both providers take a Bearer token; Anthropic's keys come in a field of their own.
    fn trusts(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let bearer = headers.get(AUTHORIZATION).and_then(|field| field.to_str().ok());
        let bearer = bearer.and_then(|field| field.strip_prefix("Bearer "));
        let key = headers.get("x-api-key").and_then(|field| field.to_str().ok());
        bearer == Some(token) || key == Some(token)
    }
}

/// The fields by which clients know whether and when to try again.
fn retry_later(status: StatusCode, headers: &mut HeaderMap) {
    if matches!(status.as_u16(), 429 | 503 | 529) {
        set(headers, "retry-after", 1);
        set(headers, "retry-after-ms", 1000);
    }
    let again = matches!(status.as_u16(), 408 | 409 | 429 | 500..);
    set(headers, "x-should-retry", again);
}

/// An event of a stream, named by its `type`.
fn event(event: &Value) -> Bytes {
    let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {event}\n\n").into()
}

/// A stream of events, as both providers send it.
fn event_stream(body: Body) -> Response {
    let kind = [
        (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (kind, body).into_response()
}

fn set(headers: &mut HeaderMap, name: &'static str, value: impl Display) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

const INTRODUCTION: &str = "A fake served by squall: a language model behind the APIs of OpenAI (base URL: this server's, \
    with <code>/v1</code>) and of Anthropic (base URL: this server's). Replies are made up, and arrive token by token. If \
    the last user message is <code>echo: TEXT</code> or <code>tokens: NUMBER</code>, it sets the reply's text or length. \
    The model <code>error-429</code> responds with status 429 (any other from 400 to 599 works too); <code>error-stream</code> \
    sends an error within the stream, <code>error-cut</code> breaks it off, <code>error-stall</code> stalls it, and \
    <code>error-hang</code> sends no response.";

/// The rows of the page, see [`rows`].
const ROWS: &str = r#"
POST | /v1/chat/completions | OpenAI's chat completions | model, messages, stream, stream_options, max_tokens, max_completion_tokens, stop, n, tools, tool_choice, response_format | -d '{"model":"squall-large","stream":true,"messages":[{"role":"user","content":"hello"}]}' /v1/chat/completions
POST | /v1/responses | OpenAI's responses | model, input, instructions, stream, max_output_tokens, tools, tool_choice, text | -d '{"model":"squall-large","input":"hello"}' /v1/responses
POST | /v1/embeddings | OpenAI's embeddings | model, input, dimensions, encoding_format | -d '{"model":"squall-embedding","input":"hello","dimensions":8}' /v1/embeddings
POST | /v1/completions | OpenAI's legacy completions | model, prompt, max_tokens, stream, stop, n, echo | -d '{"model":"squall-large","prompt":"hello"}' /v1/completions
POST | /v1/moderations | OpenAI's moderations; only flag: CATEGORY is flagged | model, input | -d '{"input":"flag: violence"}' /v1/moderations
POST | /v1/images/generations, /v1/images/edits, /v1/images/variations | OpenAI's images: PNGs of one colour | model, prompt, n, size, response_format, stream, image | -d '{"prompt":"a cat","size":"64x64"}' /v1/images/generations
POST | /v1/audio/speech | OpenAI's speech: silence | model, input, voice, response_format (mp3, wav, pcm), speed | -d '{"model":"tts-1","voice":"alloy","input":"hello"}' -o hello.mp3 /v1/audio/speech
POST | /v1/audio/transcriptions, /v1/audio/translations | OpenAI's transcriptions | file, model, prompt, response_format, stream | -F model=whisper-1 -F file=@hello.mp3 /v1/audio/transcriptions
GET POST DELETE | /v1/files, /v1/files/{id}, /v1/files/{id}/content | files of OpenAI, or Anthropic if anthropic-version is sent | file, purpose | -F purpose=batch -F file=@requests.jsonl /v1/files
GET POST | /v1/batches, /v1/batches/{id}, /v1/batches/{id}/cancel | OpenAI's batches | input_file_id, endpoint, completion_window | /v1/batches
GET POST DELETE | /v1/messages/batches, /v1/messages/batches/{id}, …/cancel, …/results | Anthropic's batches | requests | -H 'anthropic-version: 2023-06-01' /v1/messages/batches
GET | /v1/models, /v1/models/{id} | all models, or one, as OpenAI lists them, or Anthropic if anthropic-version is sent; any other name works too |  | /v1/models
POST | /v1/messages | Anthropic's messages | model, max_tokens, messages, system, stream, stop_sequences, tools, tool_choice | -H 'anthropic-version: 2023-06-01' -d '{"model":"squall-large","max_tokens":99,"messages":[{"role":"user","content":"hello"}]}' /v1/messages
POST | /v1/messages/count_tokens | the number of tokens in a request | as above | -H 'anthropic-version: 2023-06-01' -d '{"model":"squall-large","messages":[{"role":"user","content":"hello"}]}' /v1/messages/count_tokens
"#;

#[cfg(test)]
mod tests;
