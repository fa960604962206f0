//! Whether a request is as its operation says.

mod body;
mod multipart;
mod parameters;
#[cfg(test)]
mod tests;
mod typed;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use self::parameters::Given;
use super::document::Document;
use super::operations::Operation;
use super::template::PathValues;
use super::validate::{PROBLEMS_LIMIT, RequestProblem, Validator};
use crate::fake::query::{pairs, raw_pairs};

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// None of these alternatives of credentials is there.
    Credentials {
        alternatives: Vec<String>,
        challenges: Vec<HeaderValue>,
    },
    /// The body has another media type; these are known.
    MediaType(Vec<String>),
    /// The body can't be read as what it says it is.
    Malformed(String),
    Problems(Vec<RequestProblem>),
}

/// Checks the credentials, the parameters and the body.
pub(super) fn check(
    document: &Document,
    validator: &Validator,
    operation: &Operation,
    path: &PathValues,
    head: &Parts,
    body: &Bytes,
) -> Result<(), Refusal> {
    let query = head.uri.query().unwrap_or("");
    if !operation.security.is_met(head, &pairs(query.as_bytes())) {
        return Err(Refusal::Credentials {
            alternatives: operation.security.alternatives(),
            challenges: operation.security.challenges(),
        });
    }
    let query: Vec<_> = raw_pairs(query).collect();
    let given = Given {
        head,
        path,
        query: &query,
        declared: &operation.parameters,
    };
    let parameters = operation.parameters.iter();
    let mut problems: Vec<_> = parameters
        .flat_map(|parameter| parameters::check(document, validator, parameter, &given))
        .collect();
    match &operation.body {
        Some(described) => problems.extend(body::check(document, validator, described, head, body)?),
        None if !body.is_empty() && operation.responses.has(StatusCode::UNSUPPORTED_MEDIA_TYPE) => {
            return Err(Refusal::MediaType(Vec::new()));
        }
        None => {}
    }
    problems.truncate(PROBLEMS_LIMIT);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Problems(problems))
    }
}

pub(super) fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}
