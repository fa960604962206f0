//! Keys, which tell requests apart: requests with equal keys get equal draws.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

use super::KeyHash;
use super::head::Head;
use crate::yaml::forms::string_form;

/// What a draw depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum KeySpec {
    /// The request's number among those that the rule matched, from 1.
    #[default]
    Ordinal,
    /// The client's address.
    Client,
    /// The path, as matched.
    Path,
    /// A request header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
}

impl FromStr for KeySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let valid = "valid keys: ordinal, client, path, header:NAME, cookie:NAME, query:NAME";
        let named = |name: &str| match name {
            "" => Err(format!("the key `{text}` needs a name; {valid}")),
            name => Ok(name.to_owned()),
        };
        match text.split_once(':') {
            None => match text {
                "ordinal" => Ok(KeySpec::Ordinal),
                "client" => Ok(KeySpec::Client),
                "path" => Ok(KeySpec::Path),
                _ => Err(format!("unknown key `{text}`; {valid}")),
            },
            Some(("header", name)) => HeaderName::from_str(&named(name)?)
                .map(KeySpec::Header)
                .map_err(|_| format!("`{name}` is not a valid header name (RFC 9110, section 5.1)")),
            Some(("cookie", name)) => named(name).map(KeySpec::Cookie),
            Some(("query", name)) => named(name).map(KeySpec::Query),
            Some(_) => Err(format!("unknown key `{text}`; {valid}")),
        }
    }
}

impl std::fmt::Display for KeySpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeySpec::Ordinal => f.write_str("ordinal"),
            KeySpec::Client => f.write_str("client"),
            KeySpec::Path => f.write_str("path"),
            KeySpec::Header(name) => write!(f, "header:{name}"),
            KeySpec::Cookie(name) => write!(f, "cookie:{name}"),
            KeySpec::Query(name) => write!(f, "query:{name}"),
        }
    }
}

string_form!(
    KeySpec,
    "Key",
    "a key such as `client` or `header:x-user`",
    r"^(ordinal|client|path|(header|cookie|query):.+)$|\$\{"
);

/// A key ready for hashing, with its kind as text.
#[derive(Debug, Clone, Default)]
pub struct Key {
    spec: KeySpec,
    kind: String,
}

impl Key {
    /// Prepares a key for hashing requests.
    pub fn new(spec: KeySpec) -> Key {
        Key {
            kind: spec.to_string(),
            spec,
        }
    }

    /// The hash of the request's key. A request without it (no such header, a client without an address) gets a key of its
    /// own, by its ordinal.
    pub fn hash(&self, head: &Head<'_>, ordinal: u64) -> KeyHash {
        self.value(head, |bytes| KeyHash::of(&self.kind, bytes))
            .unwrap_or_else(|| KeyHash::ordinal(ordinal))
    }

    /// The request's key as text; `None` if its ordinal takes the place of the key.
    pub fn text(&self, head: &Head<'_>) -> Option<String> {
        self.value(head, |bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Whether each request has a key of its own.
    pub fn is_ordinal(&self) -> bool {
        self.spec == KeySpec::Ordinal
    }

    fn value<T>(&self, head: &Head<'_>, then: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match &self.spec {
            KeySpec::Ordinal => None,
            KeySpec::Client => head.client.map(|client| then(client.to_string().as_bytes())),
            KeySpec::Path => (!head.is_connection()).then(|| then(head.path().as_bytes())),
            KeySpec::Header(name) => head.headers.get(name).map(|value| then(value.as_bytes())),
            KeySpec::Cookie(name) => head
                .cookies()
                .find(|(n, _)| n == name)
                .map(|(_, value)| then(value.as_bytes())),
            KeySpec::Query(name) => head
                .query()
                .find(|(n, _)| n == name)
                .map(|(_, value)| then(value.as_bytes())),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_the_key_is_one_of_its_own() {
        let key = Key::new("header:x-user".parse().unwrap());
        let mut headers = http::HeaderMap::new();
        let hash = |headers: &http::HeaderMap, ordinal| {
            key.hash(&Head::new(&http::Method::GET, "/", None, headers, None), ordinal)
        };
        assert_ne!(hash(&headers, 1), hash(&headers, 2));
        headers.insert("x-user", "ada".parse().unwrap());
        assert_eq!(hash(&headers, 1), hash(&headers, 2));
    }
}
