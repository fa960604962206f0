//! The parameters of requests: only those that the OpenAPI document has for an endpoint, and each once.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::Uri;

use super::explain::pairs;
use super::openapi;
use super::problem::{Accept, Problem};
use crate::yaml::report::did_you_mean;

/// Refuses parameters that an endpoint does not have. Whoever mistypes `space` would act on everybody's rules.
pub(super) async fn check(path: MatchedPath, request: Request, next: Next) -> Response {
    match unknown(path.as_str(), &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.answer(Accept::of(request.headers())),
    }
}

fn unknown(path: &str, request: &Request) -> Result<(), Problem> {
    // Probes may ask as they like.
    let is_probe = matches!(path, "/healthz" | "/readyz");
    let valid = openapi::parameters(path, request.method());
    let Some(valid) = valid.filter(|_| !is_probe) else {
        return Ok(());
    };
    let pairs = pairs(request.uri())?;
    let Some((name, _)) = pairs.iter().find(|(name, _)| !valid.contains(name)) else {
        return Ok(());
    };
    let help = match (did_you_mean(name, valid.iter().map(String::as_str)), valid) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "there are none here".to_owned(),
        (None, valid) => format!("there are {}", valid.join(", ")),
    };
    Err(Problem::bad_request(format!("unknown parameter `{name}`; {help}")))
}

/// The parameters of a query.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a request, which [`check`] has let through.
    pub(super) fn of(uri: &Uri) -> Result<Params, Problem> {
        let pairs = pairs(uri)?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs.iter().take(at).any(|(before, _)| before == name) {
                return Err(Problem::bad_request(format!("`{name}` is given twice")));
            }
        }
        Ok(Params(pairs))
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is set: `1`, or its name alone.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Problem::bad_request(format!(
                "`{name}={other}` is not valid: use 1 or 0"
            ))),
        }
    }
}
