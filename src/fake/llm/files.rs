//! Files, as OpenAI and Anthropic keep them for batches and messages.

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::shelf::{StoredFile, excerpt};
use super::{Call, Llm, Provider, text};
use crate::fake::forms::Form;
use crate::fake::query::Pairs;

/// `POST /v1/files`
pub(super) fn upload(llm: &Llm, call: &Call, form: Form) -> Response {
    let field = |name: &str| {
        form.fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let purpose = field("purpose");
    let Some(file) = form.files.into_iter().find(|file| file.name == "file") else {
        return call.invalid(Some("file"), "'file' is a required property");
    };
    let purpose = match (call.provider, purpose) {
        (_, Some(purpose)) => purpose,
        (Provider::Anthropic, None) => "user_upload".to_owned(),
        (Provider::OpenAi, None) => return call.invalid(Some("purpose"), "'purpose' is a required property"),
    };
    let prefix = match call.provider {
        Provider::OpenAi => "file-",
        Provider::Anthropic => "file_01",
    };
    let stored = llm.shelf.add_file(StoredFile {
        id: text::identifier(llm.pace.seed, call.number, prefix, 22),
        name: file.filename,
        purpose,
        media_type: file.content_type,
        // A copy: the request's body counts against `bounds.bodies` only until it was answered.
        bytes: Bytes::copy_from_slice(&file.content),
        created: call.created,
    });
    match stored {
        Ok(file) => call.reply(StatusCode::OK, &shown(call.provider, &file)),
        Err(_) => call.invalid(
            Some("file"),
            "The fake keeps at most 1,000 files of 128 MiB in all: delete some.",
        ),
    }
}

/// `GET /v1/files`
pub(super) fn list(llm: &Llm, call: &Call, query: &Pairs) -> Response {
    let purpose = query.iter().find(|(name, _)| name == "purpose").map(|(_, value)| value);
    let files = llm.shelf.files();
    let files = files
        .iter()
        .filter(|file| purpose.is_none_or(|purpose| file.purpose == *purpose));
    let page = excerpt(files.map(|file| shown(call.provider, file)).collect(), query);
    call.reply(StatusCode::OK, &call.list(&page))
}

/// `GET /v1/files/{id}`
pub(super) fn retrieve(llm: &Llm, call: &Call, id: &str) -> Response {
    match llm.shelf.file(id) {
        Some(file) => call.reply(StatusCode::OK, &shown(call.provider, &file)),
        None => missing(call, id),
    }
}

/// `GET /v1/files/{id}/content`
pub(super) fn content(llm: &Llm, call: &Call, id: &str) -> Response {
    let Some(file) = llm.shelf.file(id) else {
        return missing(call, id);
    };
    call.marked(bytes(&file.media_type, Bytes::clone(&file.bytes)))
}

/// `DELETE /v1/files/{id}`
pub(super) fn delete(llm: &Llm, call: &Call, id: &str) -> Response {
    if llm.shelf.remove_file(id).is_none() {
        return missing(call, id);
    }
    let deleted = match call.provider {
        Provider::OpenAi => json!({ "id": id, "object": "file", "deleted": true }),
        Provider::Anthropic => json!({ "id": id, "type": "file_deleted" }),
    };
    call.reply(StatusCode::OK, &deleted)
}

pub(super) fn missing(call: &Call, id: &str) -> Response {
    call.fail(StatusCode::NOT_FOUND, None, &format!("No such File object: {id}"))
}

/// A body of this type.
pub(super) fn bytes(media_type: &str, bytes: Bytes) -> Response {
    let media_type = HeaderValue::from_str(media_type).ok();
    let media_type = media_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    ([(CONTENT_TYPE, media_type)], bytes).into_response()
}

fn shown(provider: Provider, file: &StoredFile) -> Value {
    match provider {
        Provider::OpenAi => json!({
            "id": file.id, "object": "file", "bytes": file.bytes.len(), "created_at": file.created, "expires_at": null,
            "filename": file.name, "purpose": file.purpose, "status": "processed", "status_details": null,
        }),
        Provider::Anthropic => json!({
            "id": file.id, "type": "file", "filename": file.name, "mime_type": file.media_type,
            "size_bytes": file.bytes.len(), "created_at": text::date(file.created), "downloadable": true,
        }),
    }
}
