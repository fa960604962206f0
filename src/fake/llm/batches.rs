//! Batches: many requests at once, whose answers come later. A batch is worked off when it is due, after the time of a first
//! token, and when somebody looks.

use std::sync::{Arc, OnceLock};

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::shelf::{StoredFile, excerpt};
use super::{Call, Llm, Misbehaviour, Provider, files, text};
use crate::fake::query::Pairs;

/// Requests of one batch. A stored answer has some 600 bytes.
const REQUESTS_LIMIT: usize = 10_000;
/// Bytes of all answers of a batch.
const ANSWERS_LIMIT: usize = 64 << 20;
/// The largest answer.
const ANSWER_LIMIT: usize = 16 << 20;

/// How long a batch may take, and how long Anthropic keeps its results, in seconds.
const WINDOW: i64 = 24 * 60 * 60;

/// Paths that OpenAI's batches take.
const ENDPOINTS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
];

/// A batch.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: String,
    provider: Provider,
    /// Seconds since 1970.
    created: i64,
    due: Instant,
    endpoint: String,
    input_file: String,
    requests: Vec<BatchRequest>,
    /// Why OpenAI refused the input file: a message for each line, by its number.
    mistakes: Vec<(usize, String)>,
    metadata: Value,
    cancelled: OnceLock<i64>,
    results: OnceCell<Results>,
}

/// One request of a batch.
#[derive(Debug)]
struct BatchRequest {
    custom_id: String,
    /// JSON.
    body: String,
}

/// What came of a batch.
#[derive(Debug)]
struct Results {
    ended: i64,
    succeeded: usize,
    failed: usize,
    /// OpenAI's files. Anthropic's results are made again each time: they are the same.
    output_file: Option<String>,
    error_file: Option<String>,
}

/// The answers of a batch, a line each.
#[derive(Debug, Default)]
struct Lines {
    /// OpenAI's successful ones, or all of Anthropic's.
    output: String,
    errors: String,
    succeeded: usize,
    failed: usize,
}

impl Batch {
    /// What came of it, if it has ended.
    async fn ended(&self, llm: &Llm, call: &Call) -> Option<&Results> {
        if self.cancelled.get().is_some() || !self.mistakes.is_empty() || Instant::now() < self.due {
            return self.results.get();
        }
        let end = async {
            let lines = self.work(llm, call).await;
            let ended = call.created.max(self.created + 1);
            let files = self.provider == Provider::OpenAi;
            Results {
                ended,
                succeeded: lines.succeeded,
                failed: lines.failed,
                output_file: files.then(|| self.store(llm, "output", lines.output, ended)).flatten(),
                error_file: files.then(|| self.store(llm, "error", lines.errors, ended)).flatten(),
            }
        };
        Some(self.results.get_or_init(|| end).await)
    }

    async fn work(&self, llm: &Llm, call: &Call) -> Lines {
        let instant = Llm::instant(llm.pace.seed);
        let mut lines = Lines::default();
        for (at, request) in self.requests.iter().enumerate() {
            let call = call.of_batch(&instant);
            let (status, body) = if lines.output.len() + lines.errors.len() > ANSWERS_LIMIT {
                let error = json!({ "error": { "message": "the batch's answers are too large" } });
                (StatusCode::INSUFFICIENT_STORAGE, error)
            } else {
                answer(&instant, call, &self.endpoint, &request.body).await
            };
            let line = match self.provider {
                Provider::OpenAi => self.openai_line(llm, at, &request.custom_id, status, &body),
                Provider::Anthropic => anthropic_line(&request.custom_id, status, &body),
            };
            let (text, count) = match (status.is_success(), self.provider) {
                (true, _) => (&mut lines.output, &mut lines.succeeded),
                (false, Provider::OpenAi) => (&mut lines.errors, &mut lines.failed),
                (false, Provider::Anthropic) => (&mut lines.output, &mut lines.failed),
            };
            text.push_str(&format!("{line}\n"));
            *count += 1;
            tokio::task::yield_now().await;
        }
        lines
    }

    /// Keeps a file that the batch made. An empty one is left out, and so is one that does not fit.
    fn store(&self, llm: &Llm, kind: &str, lines: String, created: i64) -> Option<String> {
        let file = StoredFile {
            id: format!("{}-{kind}", self.id.replacen("batch_", "file-", 1)),
            name: format!("{}_{kind}.jsonl", self.id),
            purpose: "batch_output".to_owned(),
            media_type: "application/jsonl".to_owned(),
            bytes: lines.into(),
            created,
        };
        if file.bytes.is_empty() {
            return None;
        }
        let stored = llm.shelf.add_file(file).ok()?;
        Some(stored.id.clone())
    }

    fn openai_line(&self, llm: &Llm, at: usize, custom_id: &str, status: StatusCode, body: &Value) -> Value {
        let id = |prefix| text::identifier(llm.pace.seed ^ self.created.unsigned_abs(), at as u64, prefix, 24);
        json!({
            "id": id("batch_req_"),
            "custom_id": custom_id,
            "response": { "status_code": status.as_u16(), "request_id": id("req_"), "body": body },
            "error": null,
        })
    }

    /// The bytes that it holds.
    pub(super) fn size(&self) -> usize {
        let sizes = self
            .requests
            .iter()
            .map(|request| request.custom_id.len() + request.body.len());
        sizes.sum()
    }

    async fn shown(&self, llm: &Llm, call: &Call) -> Value {
        let ended = self.ended(llm, call).await;
        match self.provider {
            Provider::OpenAi => self.shown_by_openai(ended),
            Provider::Anthropic => self.shown_by_anthropic(call, ended),
        }
    }

    fn shown_by_openai(&self, ended: Option<&Results>) -> Value {
        let cancelled = self.cancelled.get();
        let failed = !self.mistakes.is_empty();
        let status = match (ended, cancelled) {
            (Some(_), _) => "completed",
            (None, Some(_)) => "cancelled",
            (None, None) if failed => "failed",
            (None, None) => "in_progress",
        };
        let errors = self.mistakes.iter().map(
            |(line, message)| json!({ "code": "invalid_request", "message": message, "param": null, "line": line }),
        );
        let errors: Vec<_> = errors.collect();
        let completed = ended.map(|results| results.ended);
        json!({
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": failed.then(|| json!({ "object": "list", "data": errors })),
            "input_file_id": self.input_file,
            "completion_window": "24h",
            "status": status,
            "output_file_id": ended.and_then(|results| results.output_file.as_ref()),
            "error_file_id": ended.and_then(|results| results.error_file.as_ref()),
            "created_at": self.created,
            "in_progress_at": (!failed).then_some(self.created),
            "expires_at": self.created + WINDOW,
            "finalizing_at": completed,
            "completed_at": completed,
            "failed_at": failed.then_some(self.created),
            "expired_at": null,
            "cancelling_at": cancelled,
            "cancelled_at": cancelled,
            "request_counts": {
                "total": self.requests.len(),
                "completed": ended.map_or(0, |results| results.succeeded),
                "failed": ended.map_or(0, |results| results.failed),
            },
            "metadata": self.metadata,
        })
    }

    fn shown_by_anthropic(&self, call: &Call, ended: Option<&Results>) -> Value {
        let cancelled = self.cancelled.get();
        let all = self.requests.len();
        let status = if ended.is_some() || cancelled.is_some() {
            "ended"
        } else {
            "in_progress"
        };
        let counts = match (ended, cancelled) {
            (Some(results), _) => (0, results.succeeded, results.failed, 0),
            (None, Some(_)) => (0, 0, 0, all),
            (None, None) => (all, 0, 0, 0),
        };
        let ended_at = ended.map(|results| results.ended).or(cancelled.copied());
        json!({
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {
                "processing": counts.0, "succeeded": counts.1, "errored": counts.2, "canceled": counts.3, "expired": 0,
            },
            "created_at": text::date(self.created),
            "expires_at": text::date(self.created + WINDOW),
            "ended_at": ended_at.map(text::date),
            "cancel_initiated_at": cancelled.copied().map(text::date),
            "archived_at": null,
            "results_url": ended_at.map(|_| call.address.url(&format!("/v1/messages/batches/{}/results", self.id))),
        })
    }
}

/// The answer to one request, without any waiting.
async fn answer(llm: &Llm, call: Call, endpoint: &str, body: &str) -> (StatusCode, Value) {
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.remove("stream");
    }
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    // Nobody waits for an hour.
    if Misbehaviour::of(model).is_some_and(|wanted| wanted.hangs(false)) {
        body = json!({ "model": "error-504", "max_tokens": 1, "messages": [{ "role": "user", "content": "x" }], "input": "x" });
    }
    let response = super::generate(llm, call, endpoint, &body).await;
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), ANSWER_LIMIT)
        .await
        .unwrap_or_default();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn anthropic_line(custom_id: &str, status: StatusCode, body: &Value) -> Value {
    let result = if status.is_success() {
        json!({ "type": "succeeded", "message": body })
    } else {
        json!({ "type": "errored", "error": body })
    };
    json!({ "custom_id": custom_id, "result": result })
}

/// `POST /v1/batches`, `POST /v1/messages/batches`
pub(super) async fn create(llm: &Llm, call: &Call, body: &Value) -> Response {
    let read = match call.provider {
        Provider::OpenAi => read_file(llm, body),
        Provider::Anthropic => read_requests(body),
    };
    let (endpoint, input_file, requests, mistakes) = match read {
        Ok(read) => read,
        Err((parameter, message)) => return call.invalid(parameter, &message),
    };
    let prefix = match call.provider {
        Provider::OpenAi => "batch_",
        Provider::Anthropic => "msgbatch_01",
    };
    let batch = llm.shelf.add_batch(Batch {
        id: text::identifier(llm.pace.seed, call.number, prefix, 22),
        provider: call.provider,
        created: call.created,
        due: call.arrived + llm.pace.first,
        endpoint,
        input_file,
        requests,
        mistakes,
        metadata: body.get("metadata").cloned().unwrap_or_default(),
        cancelled: OnceLock::new(),
        results: OnceCell::new(),
    });
    match batch {
        Ok(batch) => {
            let shown = match call.provider {
                Provider::OpenAi if batch.mistakes.is_empty() => {
                    let mut shown = batch.shown_by_openai(None);
                    if let Some(shown) = shown.as_object_mut() {
                        shown.insert("status".to_owned(), "validating".into());
                        shown.insert("in_progress_at".to_owned(), Value::Null);
                    }
                    shown
                }
                Provider::OpenAi => batch.shown_by_openai(None),
                Provider::Anthropic => batch.shown_by_anthropic(call, None),
            };
            call.reply(StatusCode::OK, &shown)
        }
        Err(_) => call.invalid(None, "The fake keeps at most 1,000 batches of 128 MiB in all."),
    }
}

/// Endpoint, input file, requests, and what is wrong with which line.
type Read = (String, String, Vec<BatchRequest>, Vec<(usize, String)>);

fn read_file(llm: &Llm, body: &Value) -> Result<Read, super::openai::Wrong> {
    let given = |name: &'static str| {
        let value = body.get(name).and_then(Value::as_str);
        value.ok_or((Some(name), format!("Missing required parameter: '{name}'.")))
    };
    let (file, endpoint) = (given("input_file_id")?, given("endpoint")?);
    if !ENDPOINTS.contains(&endpoint) {
        let message = format!(
            "Invalid value: '{endpoint}'. Supported values are: {}.",
            ENDPOINTS.join(", ")
        );
        return Err((Some("endpoint"), message));
    }
    let stored = llm.shelf.file(file);
    let stored = stored.ok_or((Some("input_file_id"), format!("No such File object: {file}")))?;
    let (mut requests, mut mistakes) = (Vec::new(), Vec::new());
    let lines = stored.bytes.split(|byte| *byte == b'\n').zip(1..);
    for (line, number) in lines.filter(|(line, _)| !line.trim_ascii().is_empty()) {
        match line_of(line, endpoint) {
            Ok(request) => requests.push(request),
            Err(message) => mistakes.push((number, message)),
        }
        if requests.len() + mistakes.len() > REQUESTS_LIMIT {
            return Err((
                Some("input_file_id"),
                format!("The fake takes at most {REQUESTS_LIMIT} requests in a batch."),
            ));
        }
    }
    if requests.is_empty() && mistakes.is_empty() {
        mistakes.push((1, "The batch input file is empty.".to_owned()));
    }
    Ok((endpoint.to_owned(), file.to_owned(), requests, mistakes))
}

fn line_of(line: &[u8], endpoint: &str) -> Result<BatchRequest, String> {
    let line: Value = serde_json::from_slice(line).map_err(|_| "This line is not parseable as valid JSON.")?;
    let custom_id = line.get("custom_id").and_then(Value::as_str);
    let url = line.get("url").and_then(Value::as_str);
    match (custom_id, url, line.get("body")) {
        (None, ..) => Err("Missing required parameter: 'custom_id'.".to_owned()),
        (_, Some(url), _) if url != endpoint => {
            Err("The URL provided for this request does not match the batch endpoint.".to_owned())
        }
        (Some(custom_id), Some(_), Some(body @ Value::Object(_))) => Ok(BatchRequest {
            custom_id: custom_id.to_owned(),
            body: body.to_string(),
        }),
        (_, None, _) => Err("Missing required parameter: 'url'.".to_owned()),
        _ => Err("Missing required parameter: 'body'.".to_owned()),
    }
}

fn read_requests(body: &Value) -> Result<Read, super::openai::Wrong> {
    let wrong = |message: String| (None, message);
    let given = body.get("requests").and_then(Value::as_array);
    let given = given.ok_or_else(|| wrong("requests: Field required".to_owned()))?;
    if given.is_empty() || given.len() > REQUESTS_LIMIT {
        return Err(wrong(format!("requests: List should have 1 to {REQUESTS_LIMIT} items")));
    }
    let mut requests: Vec<BatchRequest> = Vec::with_capacity(given.len());
    let mut known = std::collections::HashSet::new();
    for (at, request) in given.iter().enumerate() {
        let custom_id = request.get("custom_id").and_then(Value::as_str);
        let custom_id = custom_id.ok_or_else(|| wrong(format!("requests.{at}.custom_id: Field required")))?;
        let params = request.get("params").filter(|params| params.is_object());
        let params = params.ok_or_else(|| wrong(format!("requests.{at}.params: Field required")))?;
        if !known.insert(custom_id) {
            return Err(wrong(format!(
                "requests.{at}.custom_id: Duplicate custom_id '{custom_id}'"
            )));
        }
        requests.push(BatchRequest {
            custom_id: custom_id.to_owned(),
            body: params.to_string(),
        });
    }
    Ok(("/v1/messages".to_owned(), String::new(), requests, Vec::new()))
}

/// `GET /v1/batches`, `GET /v1/messages/batches`
pub(super) async fn list(llm: &Llm, call: &Call, query: &Pairs) -> Response {
    let mut shown = Vec::new();
    for batch in llm.shelf.batches() {
        if batch.provider == call.provider {
            shown.push(batch.shown(llm, call).await);
        }
    }
    call.reply(StatusCode::OK, &call.list(&excerpt(shown, query)))
}

/// A batch of this provider.
fn find(llm: &Llm, call: &Call, id: &str) -> Option<Arc<Batch>> {
    llm.shelf.batch(id).filter(|batch| batch.provider == call.provider)
}

fn missing(call: &Call, id: &str) -> Response {
    call.fail(StatusCode::NOT_FOUND, None, &format!("No batch found with id '{id}'."))
}

/// `GET /v1/batches/{id}`, `GET /v1/messages/batches/{id}`
pub(super) async fn retrieve(llm: &Llm, call: &Call, id: &str) -> Response {
    match find(llm, call, id) {
        Some(batch) => call.reply(StatusCode::OK, &batch.shown(llm, call).await),
        None => missing(call, id),
    }
}

/// `POST …/{id}/cancel`
pub(super) async fn cancel(llm: &Llm, call: &Call, id: &str) -> Response {
    let Some(batch) = find(llm, call, id) else {
        return missing(call, id);
    };
    if batch.ended(llm, call).await.is_some()
        || !batch.mistakes.is_empty()
        || batch.cancelled.set(call.created).is_err()
    {
        return call.fail(StatusCode::CONFLICT, None, "Cannot cancel a batch that has ended.");
    }
    let mut shown = batch.shown(llm, call).await;
    let (key, status) = match call.provider {
        Provider::OpenAi => ("status", "cancelling"),
        Provider::Anthropic => ("processing_status", "canceling"),
    };
    if let Some(shown) = shown.as_object_mut() {
        shown.insert(key.to_owned(), status.into());
    }
    call.reply(StatusCode::OK, &shown)
}

/// `GET /v1/messages/batches/{id}/results`
pub(super) async fn results(llm: &Llm, call: &Call, id: &str) -> Response {
    let Some(batch) = find(llm, call, id) else {
        return missing(call, id);
    };
    let lines = match (batch.ended(llm, call).await, batch.cancelled.get()) {
        (Some(_), _) => Bytes::from(batch.work(llm, call).await.output),
        (None, Some(_)) => {
            let lines = batch.requests.iter().map(|request| {
                let line = json!({ "custom_id": request.custom_id, "result": { "type": "canceled" } });
                format!("{line}\n")
            });
            lines.collect::<String>().into()
        }
        (None, None) => return call.fail(StatusCode::BAD_REQUEST, None, "The batch has not ended yet."),
    };
    call.marked(files::bytes("application/x-jsonl", lines))
}

/// `DELETE /v1/messages/batches/{id}`
pub(super) async fn delete(llm: &Llm, call: &Call, id: &str) -> Response {
    let Some(batch) = find(llm, call, id) else {
        return missing(call, id);
    };
    if batch.ended(llm, call).await.is_none() && batch.cancelled.get().is_none() {
        return call.fail(
            StatusCode::BAD_REQUEST,
            None,
            "Only a batch that has ended can be deleted.",
        );
    }
    llm.shelf.remove_batch(id);
    call.reply(StatusCode::OK, &json!({ "id": id, "type": "message_batch_deleted" }))
}
