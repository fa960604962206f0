//! A request as httpbin describes it.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use crate::fake::forms::{self, Form};
use crate::fake::query::{Pairs, decode_path, firsts, grouped};
use crate::fake::reply::{Address, client_of};

/// Fields that proxies add: they are hidden, unless the query has `show_env`.
const OF_PROXIES: &[&str] = &[
    "x-varnish",
    "x-request-start",
    "x-heroku-queue-depth",
    "x-real-ip",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-ssl",
    "x-heroku-queue-wait-time",
    "x-forwarded-for",
    "x-heroku-dynos-in-use",
    "x-forwarded-port",
    "x-request-id",
    "via",
    "total-route-time",
    "connect-time",
];

/// A request, with its whole body.
#[derive(Debug)]
pub(super) struct HttpbinRequest {
    pub(super) method: Method,
    /// The path, decoded, with a single slash at its start.
    pub(super) path: String,
    /// Path and query as they arrived.
    pub(super) target: String,
    pub(super) query: Pairs,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// `http://HOST` of the Host field.
    pub(super) base: String,
    /// Where the client reaches the fake.
    pub(super) address: Address,
    remote: String,
    url: String,
}

impl HttpbinRequest {
    pub(super) fn new(parts: Parts, body: Bytes) -> Self {
        let raw_path = format!("/{}", parts.uri.path().trim_start_matches('/'));
        let host = parts
            .headers
            .get(HOST)
            .map(|host| String::from_utf8_lossy(host.as_bytes()));
        let authority = parts.uri.authority().map(|authority| authority.as_str().into());
        let base = format!("http://{}", host.or(authority).unwrap_or("localhost".into()));
        let raw_query = parts.uri.query().unwrap_or_default();
        let question = if raw_query.is_empty() { "" } else { "?" };
        Self {
            url: format!(
                "{}{question}{}",
                readable(&raw_path, b"?#"),
                readable(raw_query, b"%&=+#")
            ),
            path: decode_path(&raw_path),
            target: parts.uri.path_and_query().map_or(raw_path.clone(), ToString::to_string),
            query: forms::pairs(raw_query.as_bytes()),
            base,
            remote: client_of(&parts.extensions)
                .map_or_else(|| "127.0.0.1".to_owned(), |client: IpAddr| client.to_string()),
            address: Address::of(&parts),
            method: parts.method,
            headers: parts.headers,
            body,
        }
    }

    /// The first value of a query parameter, by its name in any case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A header field, its lines joined with commas.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let lines: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        (!lines.is_empty()).then(|| lines.join(","))
    }

    /// The first value of each query parameter, in their order.
    pub(super) fn first_values(&self) -> Pairs {
        firsts(self.query.iter().cloned())
    }

    /// The cookies, the first of each name.
    pub(super) fn cookies(&self) -> Pairs {
        let lines = self.headers.get_all(COOKIE).iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        let text = lines.join(";");
        let pairs = text.split(';').map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (name.trim().to_owned(), unquoted(value.trim()))
        });
        firsts(pairs.filter(|(name, _)| !name.is_empty()))
    }

    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies()
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// The client: what a proxy says, or else the other end of the connection.
    pub(super) fn origin(&self) -> String {
        self.header("x-forwarded-for").unwrap_or_else(|| self.remote.clone())
    }

    fn url(&self) -> String {
        let said = self
            .header("x-forwarded-proto")
            .or_else(|| self.header("x-forwarded-protocol"));
        let scheme =
            said.or_else(|| (self.header("x-forwarded-ssl").as_deref() == Some("on")).then(|| "https".to_owned()));
        match (scheme, self.base.strip_prefix("http")) {
            (Some(scheme), Some(rest)) => format!("{scheme}{rest}{}", self.url),
            _ => format!("{}{}", self.base, self.url),
        }
    }

    /// The header fields, named as CGI programs see them: `X-A3b` is `X-A3B`.
    pub(super) fn headers(&self) -> Value {
        let show_all = self.query.iter().any(|(name, _)| name == "show_env");
        let mut all = Map::new();
        for name in self.headers.keys() {
            if show_all || !OF_PROXIES.contains(&name.as_str()) {
                let value = self.header(name.as_str()).unwrap_or_default();
                if !(name == CONTENT_LENGTH && value.is_empty()) {
                    all.insert(titled(name.as_str()), Value::String(value));
                }
            }
        }
        Value::Object(all)
    }

    /// An object with these things of the request, in this order.
    pub(super) fn describe(&self, keys: &[&str]) -> Map<String, Value> {
        let form = if keys.contains(&"form") {
            let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            forms::form(content_type.unwrap_or_default(), &self.body)
        } else {
            Form::default()
        };
        let value = |key: &str| match key {
            "url" => Value::String(self.url()),
            "args" => grouped(self.query.iter().cloned()),
            "headers" => self.headers(),
            "origin" => Value::String(self.origin()),
            "method" => Value::String(self.method.to_string()),
            "form" => grouped(form.fields.iter().cloned()),
            "files" => files(&form),
            "data" if form.is_form => json!(""),
            "data" => Value::String(text_or_base64(&self.body, "application/octet-stream")),
            "json" if !form.is_form => serde_json::from_slice(&self.body).unwrap_or(Value::Null),
            _ => Value::Null,
        };
        keys.iter().map(|key| ((*key).to_owned(), value(key))).collect()
    }
}

/// The first file of each name, as in httpbin.
fn files(form: &Form) -> Value {
    let mut all = Map::new();
    for file in &form.files {
        all.entry(&file.name)
            .or_insert_with(|| text_or_base64(&file.content, &file.content_type).into());
    }
    Value::Object(all)
}

/// The text; a `data:` URL (RFC 2397) if it is not UTF-8.
fn text_or_base64(bytes: &Bytes, content_type: &str) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("data:{content_type};base64,{}", BASE64_STANDARD.encode(bytes)),
    }
}

/// A name in which every run of letters begins with a capital.
fn titled(name: &str) -> String {
    let mut after_letter = false;
    name.chars()
        .map(|letter| {
            let same = if after_letter {
                letter
            } else {
                letter.to_ascii_uppercase()
            };
            after_letter = letter.is_ascii_alphabetic();
            same
        })
        .collect()
}

/// A part of a URL as people write it: percent-encoded are only blanks, control characters, `special` characters, and
/// bytes that are not UTF-8.
fn readable(raw: &str, special: &[u8]) -> String {
    let stays = |byte: u8| byte <= b' ' || byte == 0x7f || special.contains(&byte);
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(byte) = bytes.get(i) {
        match digits(bytes.get(i + 1..i + 3), 16) {
            Some(quoted) if *byte == b'%' => {
                if stays(quoted) {
                    decoded.extend(bytes.get(i..i + 3).unwrap_or_default())
                } else {
                    decoded.push(quoted)
                }
                i += 3;
            }
            _ => {
                decoded.push(*byte);
                i += 1;
            }
        }
    }
    forms::quoting_invalid(&decoded)
}

/// The number that these digits are; `from_str_radix` alone would accept a plus sign.
fn digits(text: Option<&[u8]>, radix: u32) -> Option<u8> {
    let text = std::str::from_utf8(text?).ok()?;
    let all = text.chars().all(|digit| digit.is_digit(radix));
    all.then(|| u8::from_str_radix(text, radix).ok()).flatten()
}

/// A cookie's value without its quotes, and with `\"` and octal escapes undone.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let bytes = inner.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(byte) = bytes.get(i) {
        match digits(bytes.get(i + 1..i + 4), 8) {
            Some(value) if *byte == b'\\' => {
                plain.push(value);
                i += 4;
            }
            _ if *byte == b'\\' => {
                plain.extend(bytes.get(i + 1));
                i += 2;
            }
            _ => {
                plain.push(*byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
