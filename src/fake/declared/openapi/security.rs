//! What an operation demands of a request before it looks at it: `security`, and the schemes that it names.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::document::Document;
use crate::fake::query::Pairs;
use crate::fake::reply::basic_credentials;

/// Alternatives, of which one must be met. Without any, everyone may call.
#[derive(Debug, Default)]
pub(super) struct Security(Vec<Vec<Scheme>>);

/// What a client shows to be let in. Any token and password will do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    Header(String),
    Query(String),
    Cookie(String),
    /// `Authorization` with this scheme.
    Http(String),
    /// What squall can't know or tell: a certificate of the client's, or a scheme that the document does not describe.
    Any,
}

impl Security {
    /// The demands of an operation: its own, or else those of the document.
    pub(super) fn read(document: &Document, operation: &Value) -> Self {
        let demands = operation.get("security").or_else(|| document.root.get("security"));
        let demands = demands.and_then(Value::as_array).into_iter().flatten();
        let alternative = |demand: &Value| {
            let names = demand.as_object().into_iter().flatten();
            names.map(|(name, _)| Scheme::read(document, name)).collect()
        };
        Self(demands.map(alternative).collect())
    }

    /// Whether a request has all that one of the alternatives demands.
    pub(super) fn is_met(&self, head: &Parts, query: &Pairs) -> bool {
        let met = |alternative: &Vec<Scheme>| alternative.iter().all(|scheme| scheme.is_met(head, query));
        self.0.is_empty() || self.0.iter().any(met)
    }

    /// The alternatives, in words.
    pub(super) fn alternatives(&self) -> Vec<String> {
        let words = |alternative: &Vec<Scheme>| alternative.iter().map(Scheme::words).collect::<Vec<_>>().join(" and ");
        self.0.iter().map(words).collect()
    }

    /// The challenges of a 401 (RFC 9110, section 11.6.1).
    pub(super) fn challenges(&self) -> Vec<HeaderValue> {
        let mut names: Vec<_> = self
            .0
            .iter()
            .flatten()
            .filter_map(|scheme| match scheme {
                Scheme::Http(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        names.dedup();
        let challenges = names.into_iter().map(|name| match name {
            "bearer" => "Bearer".to_owned(),
            "basic" => "Basic realm=\"fake\"".to_owned(),
            name => name.to_owned(),
        });
        challenges.filter_map(|text| HeaderValue::try_from(text).ok()).collect()
    }
}

impl Scheme {
    fn read(document: &Document, name: &str) -> Self {
        let schemes = document
            .root
            .get("components")
            .and_then(|all| all.get("securitySchemes"));
        let Some(scheme) = schemes.and_then(|schemes| document.get(schemes, name)) else {
            return Self::Any;
        };
        let text = |key| scheme.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text("type").as_str(), text("in").as_str()) {
            ("apiKey", "header") => Self::Header(text("name")),
            ("apiKey", "query") => Self::Query(text("name")),
            ("apiKey", "cookie") => Self::Cookie(text("name")),
            ("http", _) => Self::Http(text("scheme").to_ascii_lowercase()),
            ("oauth2" | "openIdConnect", _) => Self::Http("bearer".to_owned()),
            _ => Self::Any,
        }
    }

    fn is_met(&self, head: &Parts, query: &Pairs) -> bool {
        match self {
            Self::Header(name) => texts(&head.headers, name).any(|text| !text.trim().is_empty()),
            Self::Query(name) => query.iter().any(|(key, value)| key == name && !value.is_empty()),
            Self::Cookie(name) => {
                let pairs = texts(&head.headers, COOKIE.as_str()).flat_map(|line| line.split(';'));
                let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
                pairs.any(|(key, value)| key == name && !value.is_empty())
            }
            Self::Http(scheme) => texts(&head.headers, AUTHORIZATION.as_str()).any(|text| shows(text, scheme)),
            Self::Any => true,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Header(name) => format!("the header `{name}`"),
            Self::Query(name) => format!("`{name}` in the query"),
            Self::Cookie(name) => format!("the cookie `{name}`"),
            Self::Http(scheme) if scheme == "basic" => {
                "`Authorization: Basic` with `user:password` in base64".to_owned()
            }
            Self::Http(scheme) => format!("`Authorization: {scheme}` with a token"),
            Self::Any => "anything".to_owned(),
        }
    }
}

fn texts<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok())
}

/// Whether the value of an `Authorization` field has credentials of this scheme.
fn shows(field: &str, scheme: &str) -> bool {
    if scheme == "basic" {
        return basic_credentials(field).is_some_and(|credentials| credentials.contains(&b':'));
    }
    let (given, credentials) = field.trim().split_once(' ').unwrap_or((field, ""));
    given.eq_ignore_ascii_case(scheme) && !credentials.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::query::pairs;

    const SCHEMES: &str = "
openapi: 3.1.0
components:
  securitySchemes:
    header: {type: apiKey, in: header, name: X-Key}
    query: {type: apiKey, in: query, name: key}
    cookie: {type: apiKey, in: cookie, name: sid}
    basic: {type: http, scheme: Basic}
    bearer: {type: http, scheme: bearer}
    digest: {type: http, scheme: digest}
    oauth: {type: oauth2, flows: {}}
    tls: {type: mutualTLS}
";

    /// Whether a request with this query and these headers is let in.
    #[track_caller]
    fn check(security: &str, query: &str, headers: &[(&str, &str)], expect: bool) {
        let document = Document::read_from(SCHEMES.as_bytes(), None).unwrap();
        let security: Value = serde_json::from_str(security).unwrap();
        let security = Security::read(&document, &serde_json::json!({ "security": security }));
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(
            security.is_met(&head, &pairs(query.as_bytes())),
            expect,
            "{security:?} {query} {headers:?}"
        );
    }

    #[test]
    fn each_scheme_is_met_by_its_credentials() {
        check(r#"[{"header": []}]"#, "", &[("x-key", "k")], true);
        check(r#"[{"header": []}]"#, "X-Key=k", &[], false);
        check(r#"[{"query": []}]"#, "key=k", &[], true);
        check(r#"[{"query": []}]"#, "key=", &[], false);
        check(r#"[{"cookie": []}]"#, "", &[("cookie", "a=b; sid=c")], true);
        check(r#"[{"cookie": []}]"#, "", &[("cookie", "asid=c")], false);
        check(r#"[{"basic": []}]"#, "", &[("authorization", "basic YTpi")], true);
        for wrong in ["Basic abc123", "Basic YQ==", "Bearer YTpi", "Basic", ""] {
            check(r#"[{"basic": []}]"#, "", &[("authorization", wrong)], false);
        }
        for scheme in ["bearer", "oauth"] {
            let demand = format!(r#"[{{"{scheme}": ["read"]}}]"#);
            check(&demand, "", &[("authorization", "Bearer t")], true);
            check(&demand, "", &[("authorization", "Bearer ")], false);
            check(&demand, "", &[("authorization", "Basic YTpi")], false);
        }
        check(
            r#"[{"digest": []}]"#,
            "",
            &[("authorization", "Digest username=\"a\"")],
            true,
        );
        check(r#"[{"tls": []}]"#, "", &[], true);
        check(r#"[{"unknown": []}]"#, "", &[], true);
    }

    #[test]
    fn one_alternative_must_be_met_as_a_whole() {
        let both = r#"[{"header": [], "query": []}]"#;
        check(both, "key=k", &[], false);
        check(both, "key=k", &[("x-key", "k")], true);
        let either = r#"[{"header": []}, {"query": []}]"#;
        check(either, "key=k", &[], true);
        check(either, "", &[], false);
        check(r#"[{"header": []}, {}]"#, "", &[], true);
        check("[]", "", &[], true);
    }
}
