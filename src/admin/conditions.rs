//! Conditions on revisions (RFC 9110, section 13.1) and the answers to changes.

use axum::response::{IntoResponse, Response};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::problem::{Accept, Problem};
use crate::config::layer::Refusal;
use crate::config::layer::draft::Expected;

/// The condition that a change has.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    match (tags(headers, &IF_MATCH)?, tags(headers, &IF_NONE_MATCH)?) {
        (None, None) => Ok(Expected::Any),
        (Some(Tags::Every), None) => Ok(Expected::Exists),
        (Some(Tags::These(revisions)), None) => Ok(Expected::Revision(revisions)),
        (None, Some(Tags::Every)) => Ok(Expected::Absent),
        (None, Some(Tags::These(_))) => Err(Problem::bad_request(
            "for a change, the only valid If-None-Match is `*`: create, don't replace",
        )),
        (Some(_), Some(_)) => Err(Problem::bad_request("If-Match and If-None-Match exclude each other")),
    }
}

/// What a condition names.
enum Tags {
    /// `*`.
    Every,
    /// Revisions. Tags that are none of squall's match nothing.
    These(Vec<u64>),
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut found = None;
    for value in headers.get_all(name) {
        let malformed = || Problem::bad_request(format!("{name} must be `*` or tags in quotation marks: \"17\""));
        let list = value.to_str().map_err(|_| malformed())?;
        for tag in list.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if tag == "*" {
                return Ok(Some(Tags::Every));
            }
            // A weak tag never matches in a strong comparison (section 8.8.3.2).
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            let opaque = opaque.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let revision = opaque.ok_or_else(malformed)?.parse::<u64>().ok();
            let revision = revision.filter(|_| !tag.starts_with("W/"));
            found.get_or_insert_with(Vec::new).extend(revision);
        }
        // An empty list would be a condition that nothing can meet, or none: nobody means it.
        if found.is_none() {
            return Err(malformed());
        }
    }
    Ok(found.map(Tags::These))
}

/// Adds the revision of what is shown. If the caller has it already (If-None-Match), nothing is shown again (304).
pub(super) fn tagged(mut response: Response, revision: u64, headers: &HeaderMap) -> Response {
    let known = match tags(headers, &IF_NONE_MATCH) {
        Ok(Some(Tags::These(revisions))) => revisions.contains(&revision),
        Ok(Some(Tags::Every)) => true,
        _ => false,
    };
    if known {
        response = StatusCode::NOT_MODIFIED.into_response();
    }
    tag(&mut response, revision);
    response
}

/// Adds the revision of what was changed.
pub(super) fn tag(response: &mut Response, revision: u64) {
    if let Ok(value) = HeaderValue::try_from(format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
}

/// The answer to a change that is refused.
pub(super) fn refused(refusal: Refusal, accept: Accept) -> Problem {
    match refusal {
        Refusal::Unknown(detail) => Problem::new(StatusCode::NOT_FOUND, detail),
        Refusal::Conflict(detail) | Refusal::Full(detail) => Problem::new(StatusCode::CONFLICT, detail),
        Refusal::Stale { revision } => {
            let detail = match revision {
                0 => "the condition does not hold: it does not exist".to_owned(),
                revision => format!("it has changed since: its revision is {revision}; read it again, then change it"),
            };
            Problem::new(StatusCode::PRECONDITION_FAILED, detail).with("revision", revision)
        }
        Refusal::Invalid(report) => {
            let detail = if accept == Accept::Json {
                report.summary()
            } else {
                report.render(false)
            };
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("errors", report.to_json())
        }
        Refusal::System(detail) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
        Refusal::Stopping => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "squall is stopping"),
    }
}
