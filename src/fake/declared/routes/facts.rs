//! What templates know of a request.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use minijinja::value::{Enumerator, Object, Value};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::sequence::Counters;
use crate::content::Content;
use crate::draw::head::{Head, normalise};
use crate::fake::query::{Pairs, firsts};
use crate::fake::reply::{Address, origin_of};

/// The variables that every template knows.
pub(super) const VARIABLES: &[&str] = &[
    "path",
    "query",
    "query_all",
    "headers",
    "cookies",
    "method",
    "url",
    "host",
    "body",
    "json",
    "form",
    "client",
    "request_number",
    "state",
    "request",
    "trace_id",
    "span_id",
];

/// What `request` has: the variables of the same names, and the path as text.
pub(super) const OF_REQUEST: &[&str] = &[
    "path",
    "query",
    "query_all",
    "headers",
    "cookies",
    "method",
    "url",
    "host",
    "body",
    "json",
    "form",
    "client",
];

/// How many parameters of a query, or fields of a form, are looked at.
const MAX_FIELDS: usize = 1000;

/// What templates know of a request.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) method: Method,
    /// Path and query, as they came.
    pub(super) url: String,
    /// The host with its port, as the client wrote it.
    host: String,
    /// Scheme and host for an absolute address; empty if the host is not known.
    pub(super) origin: String,
    /// Where the client reaches the fake.
    pub(super) address: Address,
    pub(super) headers: HeaderMap,
    pub(super) client: Option<IpAddr>,
    pub(super) parameters: Pairs,
    pub(super) query: Pairs,
    pub(super) cookies: Pairs,
    /// Without its content encodings.
    pub(super) body: Bytes,
    /// Which request of its route it is, from 1.
    pub(super) number: u64,
    /// The route's state as the request found it.
    pub(super) state: Option<String>,
    pub(super) counters: Arc<Counters>,
}

impl Facts {
    pub(super) fn new(head: &Parts, client: Option<IpAddr>, body: Bytes, counters: Arc<Counters>) -> Self {
        let url = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned();
        let view = Head::new(&head.method, &url, None, &head.headers, client);
        let (query, cookies) = (owned(view.query()), owned(view.cookies()));
        let field = || head.headers.get("host").and_then(|host| host.to_str().ok());
        let authority = head.uri.authority().map(|authority| authority.as_str());
        let host = authority.or_else(field).unwrap_or("").to_owned();
        Self {
            method: head.method.clone(),
            url,
            host,
            origin: origin_of(head),
            address: Address::of(head),
            headers: head.headers.clone(),
            client,
            parameters: Vec::new(),
            query,
            cookies,
            body,
            number: 0,
            state: None,
            counters,
        }
    }

    /// What templates know of a request that a fault responds to. `number` is its number in the rule.
    pub(super) fn of_head(head: &Head<'_>, number: u64) -> Self {
        let body = head.body().and_then(|content| content.bytes().ok());
        Self {
            method: head.method.clone(),
            url: head.target().into_owned(),
            host: head.authority().to_owned(),
            // Only pages of a fake link to others.
            origin: String::new(),
            address: Address::default(),
            headers: head.headers.clone(),
            client: head.client,
            parameters: Vec::new(),
            query: owned(head.query()),
            cookies: owned(head.cookies()),
            body: body.cloned().unwrap_or_default(),
            number,
            state: None,
            counters: Arc::default(),
        }
    }

    /// A part of `traceparent`, which is `version-trace-span-flags` (W3C Trace Context).
    fn of_trace(&self, part: usize) -> Option<&str> {
        let trace = self.headers.get("traceparent")?.to_str().ok()?;
        trace.split('-').nth(part)
    }

    /// The body as JSON; nothing if it is none.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        Content::json_of(&self.body).ok()
    }

    /// The fields of a form, without its files.
    pub(super) fn form(&self) -> Pairs {
        Content::fields_of(&self.headers, &self.body)
    }

    /// The first value of a parameter of the query.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    fn variable(&self, name: &str) -> Option<Value> {
        Some(match name {
            "path" => pairs(&self.parameters),
            "query" => pairs(&self.query),
            "query_all" => all(&self.query),
            "headers" => Value::from_object(Headers(self.headers.clone())),
            "cookies" => pairs(&self.cookies),
            "method" => Value::from(self.method.as_str()),
            "url" => Value::from(self.url.as_str()),
            "host" => Value::from(self.host.as_str()),
            "body" => Value::from(String::from_utf8_lossy(&self.body)),
            "json" => self.json().map_or(Value::UNDEFINED, value_of),
            "form" => pairs(&self.form()),
            "client" => self
                .client
                .map_or(Value::UNDEFINED, |client| Value::from(client.to_string())),
            "request_number" => Value::from(self.number),
            "trace_id" => self.of_trace(1).map_or(Value::UNDEFINED, Value::from),
            "span_id" => self.of_trace(2).map_or(Value::UNDEFINED, Value::from),
            "state" => self.state.as_deref().map_or(Value::UNDEFINED, Value::from),
            _ => return None,
        })
    }

    #[cfg(test)]
    pub(super) fn example() -> Self {
        let request = http::Request::builder()
            .method("POST")
            .uri("/x/7?x=a+b&x=c")
            .header("host", "h:80")
            .header("x-a", "1")
            .header("cookie", "b=1; c=2");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let body = Bytes::from_static(br#"{"z": 1, "a": [true, null, 1.5]}"#);
        Self {
            parameters: vec![("id".to_owned(), "7".to_owned())],
            number: 1,
            ..Self::new(&head, Some([10, 0, 0, 1].into()), body, Arc::default())
        }
    }
}

/// The first [`MAX_FIELDS`] pairs.
fn owned<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Pairs {
    pairs
        .take(MAX_FIELDS)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// Where a rendering's random data come from: the seed, a name, a number, and how many were drawn before.
#[derive(Debug)]
pub(super) struct Luck {
    key: u64,
    drawn: AtomicU64,
}

impl Luck {
    pub(super) fn new(seed: u64, name: &str, number: u64) -> Self {
        let key = xxh3_64_with_seed(name.as_bytes(), seed);
        Self {
            key: xxh3_64_with_seed(&number.to_le_bytes(), key),
            drawn: AtomicU64::new(0),
        }
    }

    /// The seed and the index of the next draw.
    pub(super) fn next(&self) -> (u64, u64) {
        (self.key, self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a template's variables are looked up in.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) facts: Arc<Facts>,
    pub(super) luck: Arc<Luck>,
    pub(super) extra: Vec<(&'static str, Value)>,
}

impl Root {
    /// The name under which functions find it.
    pub(super) const NAME: &str = "__root";
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if name == Self::NAME {
            return Some(Value::from_dyn_object(Arc::clone(self)));
        }
        if name == "request" {
            return Some(Value::from_object(RequestView(Arc::clone(&self.facts))));
        }
        let extra = self.extra.iter().find(|(other, _)| *other == name);
        extra
            .map(|(_, value)| value.clone())
            .or_else(|| self.facts.variable(name))
    }
}

/// The request by itself: its path as text, and what else it has.
#[derive(Debug)]
struct RequestView(Arc<Facts>);

impl Object for RequestView {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "path" => {
                let path = self.0.url.split('?').next().unwrap_or_default();
                Some(Value::from(normalise(path).into_owned()))
            }
            name if OF_REQUEST.contains(&name) => self.0.variable(name),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(OF_REQUEST)
    }
}

/// Header fields, by their names in any case.
#[derive(Debug)]
struct Headers(HeaderMap);

impl Object for Headers {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = self.0.get(key.as_str()?)?;
        Some(Value::from(String::from_utf8_lossy(value.as_bytes())))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// A map that keeps its order.
#[derive(Debug)]
struct Ordered(Vec<(String, Value)>);

impl Object for Ordered {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(name.as_str())).collect())
    }
}

/// The first value of each name.
fn pairs(pairs: &[(String, String)]) -> Value {
    let firsts = firsts(pairs.iter().cloned()).into_iter();
    Value::from_object(Ordered(
        firsts.map(|(name, value)| (name, Value::from(value))).collect(),
    ))
}

/// All values of each name.
fn all(pairs: &[(String, String)]) -> Value {
    let mut lists: Vec<(String, Vec<Value>)> = Vec::new();
    for (name, value) in pairs {
        let value = Value::from(value.as_str());
        match lists.iter_mut().find(|(other, _)| other == name) {
            Some((_, list)) => list.push(value),
            None => lists.push((name.clone(), vec![value])),
        }
    }
    let lists = lists.into_iter().map(|(name, list)| (name, Value::from(list)));
    Value::from_object(Ordered(lists.collect()))
}

/// JSON as a template sees it.
pub(super) fn value_of(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Array(items) => Value::from(items.into_iter().map(value_of).collect::<Vec<_>>()),
        serde_json::Value::Object(entries) => {
            let entries = entries.into_iter().map(|(name, value)| (name, value_of(value)));
            Value::from_object(Ordered(entries.collect()))
        }
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(value),
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or_default()),
        },
    }
}
