//! The parameters of requests: only known ones, and each once.

use http::Uri;

use super::explain::pairs;
use super::problem::Problem;
use crate::yaml::report::did_you_mean;

/// The parameters of a query, of which only some are valid.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a request.
    pub(super) fn of(uri: &Uri, valid: &[&str]) -> Result<Params, Problem> {
        let pairs = pairs(uri)?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !valid.contains(&name.as_str()) {
                let help = match (did_you_mean(name, valid.iter().copied()), valid) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, []) => "there are none here".to_owned(),
                    (None, valid) => format!("there are {}", valid.join(", ")),
                };
                return Err(Problem::bad_request(format!("unknown parameter `{name}`; {help}")));
            }
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
