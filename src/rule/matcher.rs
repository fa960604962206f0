//! Compiled conditions on a request, made from [`MatchSpec`].

use std::fmt;

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::body::{self, BodyCondition};
use super::text::{Place, Text, check_host};
use crate::cors;
use crate::draw::head::Head;
use crate::rule::spec::{FieldSpec, GrpcSpec, MatchSpec, TextSpec};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::report::Span;

/// A compiled condition on a request.
#[derive(Debug, Clone)]
pub enum Condition {
    /// One of these methods.
    Method(Vec<Method>),
    /// The host.
    Host(Shown<Text>),
    /// The port that the request is for.
    Port(u16),
    /// The path.
    Path(Shown<Text>),
    /// A header field.
    Header(HeaderName, Field),
    /// A query parameter.
    Query(Box<str>, Field),
    /// A cookie.
    Cookie(Box<str>, Field),
    /// The client's address is in one of these networks.
    Client(Vec<IpNet>),
    /// The client of the connection offers one of these protocols by ALPN.
    Alpn(Vec<String>),
    /// A gRPC call.
    Grpc,
    /// The body.
    Body(BodyCondition),
    /// It goes to one of these upstreams.
    Upstream(Vec<String>),
    /// All hold.
    All(Vec<Condition>),
    /// At least one holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

/// A compiled value with its source text, for messages.
#[derive(Debug, Clone)]
pub struct Shown<T> {
    /// The value that was compiled from the text.
    pub value: T,
    text: Box<str>,
}

/// A condition on a named field.
#[derive(Debug, Clone)]
pub enum Field {
    /// The field is present.
    Present,
    /// The field is absent.
    Absent,
    /// One of the field's values matches.
    Value(Shown<Text>),
}

/// A mistake in a condition, with its position.
pub type Mistake = (Span, String);

impl Condition {
    /// Compiles a whole `match`, collecting every mistake.
    pub fn compile(spec: &MatchSpec, mistakes: &mut Vec<Mistake>) -> Condition {
        let mut all = Vec::new();
        if let Some(methods) = &spec.method {
            all.push(Condition::Method(
                methods.value.0.iter().map(|method| method.0.clone()).collect(),
            ));
        }
        if let Some(host) = &spec.host {
            all.extend(host_and_port(host, mistakes));
        }
        if let Some(path) = &spec.path {
            all.extend(Shown::compile(path, Place::Path, mistakes).map(Condition::Path));
        }
        if let Some(grpc) = &spec.grpc {
            all.push(Condition::Grpc);
            match grpc_path(&grpc.value) {
                Ok(path) => all.extend(path.map(Condition::Path)),
                Err(message) => mistakes.push((grpc.span, message)),
            }
        }
        if let Some(client) = &spec.client {
            all.push(Condition::Client(
                client.value.0.iter().map(|network| network.0).collect(),
            ));
        }
        if let Some(alpn) = &spec.alpn {
            all.push(Condition::Alpn(alpn.value.0.clone()));
        }
        for (name, field) in spec.headers.iter().flat_map(Named::iter) {
            match HeaderName::from_bytes(name.value.as_bytes()) {
                Ok(header) => all.extend(Field::compile(field, mistakes).map(|field| Condition::Header(header, field))),
                Err(_) => {
                    let own = match &*name.value {
                        ":authority" => ": use `host` in `match`",
                        ":method" => ": use `method` in `match`",
                        ":path" => ": use `path` and `query` in `match`",
                        ":scheme" => ": leave it out, since a listener has one scheme",
                        _ => " (RFC 9110, section 5.1)",
                    };
                    mistakes.push((name.span, format!("`{}` is not a valid header name{own}", name.value)));
                }
            }
        }
        for (name, field) in spec.query.iter().flat_map(Named::iter) {
            all.extend(
                Field::compile(field, mistakes).map(|field| Condition::Query(name.value.as_str().into(), field)),
            );
        }
        for (name, field) in spec.cookies.iter().flat_map(Named::iter) {
            all.extend(
                Field::compile(field, mistakes).map(|field| Condition::Cookie(name.value.as_str().into(), field)),
            );
        }
        if let Some(body) = &spec.body {
            all.extend(body::compile(body, mistakes).into_iter().map(Condition::Body));
        }
        let branches = |specs: &Option<Spanned<Vec<MatchSpec>>>, mistakes: &mut Vec<Mistake>| {
            let specs = specs.as_ref()?;
            if specs.value.is_empty() {
                mistakes.push((
                    specs.span,
                    "the list is empty: give at least one condition, or leave out the key".into(),
                ));
            }
            Some(
                specs
                    .value
                    .iter()
                    .map(|spec| Condition::compile(spec, mistakes))
                    .collect::<Vec<_>>(),
            )
        };
        all.extend(branches(&spec.any, mistakes).map(Condition::Any));
        all.extend(branches(&spec.all, mistakes).into_iter().flatten());
        if let Some(not) = &spec.not {
            all.push(Condition::Not(Box::new(Condition::compile(not, mistakes))));
        }
        match <[Condition; 1]>::try_from(all) {
            Ok([one]) => one,
            Err(all) => Condition::All(all),
        }
    }

    /// Whether the condition holds for every request.
    pub fn is_always(&self) -> bool {
        matches!(self, Condition::All(all) if all.iter().all(Condition::is_always))
    }

    /// Whether the condition obviously holds for no request.
    pub fn is_never(&self) -> bool {
        match self {
            Condition::Not(not) => not.is_always(),
            Condition::All(all) => all.iter().any(Condition::is_never),
            Condition::Any(any) => any.iter().all(Condition::is_never),
            _ => false,
        }
    }

    /// Whether the condition depends on what a client says in its TLS handshake: the name that it asks for, or protocols.
    pub fn concerns_hello(&self) -> bool {
        match self {
            Condition::Host(_) | Condition::Alpn(_) => true,
            Condition::All(all) | Condition::Any(all) => all.iter().any(Condition::concerns_hello),
            Condition::Not(not) => not.concerns_hello(),
            _ => false,
        }
    }

    /// Whether the condition holds for a request. One on a part that connections lack does not hold for a connection, and none
    /// holds that depends on a body which was not looked at.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        self.holds(head) == Some(true)
    }

    /// Whether the condition holds for a request; `None` if that depends on its body, which was not looked at.
    pub fn holds(&self, head: &Head<'_>) -> Option<bool> {
        let holds = match self {
            _ if head.is_connection() && self.needs_request() => false,
            Condition::Method(methods) => methods.contains(head.method),
            Condition::Host(text) => text.value.matches(head.host()),
            Condition::Port(port) => head.is_for_port(*port),
            Condition::Path(text) => text.value.matches(head.path()),
            Condition::Header(name, field) => field.matches(
                head.headers
                    .get_all(name)
                    .iter()
                    .map(|value| String::from_utf8_lossy(value.as_bytes())),
            ),
            Condition::Query(name, field) => field.matches(
                head.query()
                    .filter(|(other, _)| *other == **name)
                    .map(|(_, value)| value),
            ),
            Condition::Cookie(name, field) => field.matches(
                head.cookies()
                    .filter(|(other, _)| *other == **name)
                    .map(|(_, value)| value),
            ),
            Condition::Client(networks) => head
                .client
                .is_some_and(|client| networks.iter().any(|network| network.contains(&client))),
            Condition::Alpn(protocols) => head.protocols().iter().any(|offered| protocols.contains(offered)),
            Condition::Grpc => head.is_grpc(),
            Condition::Upstream(names) => head.upstream.is_some_and(|own| names.iter().any(|name| name == own)),
            Condition::Body(body) => return head.body().map(|content| body.check(content).is_ok()),
            Condition::All(all) => return all_hold(all.iter().map(|condition| condition.holds(head))),
            Condition::Any(any) => {
                let none = all_hold(any.iter().map(|condition| condition.holds(head).map(|holds| !holds)));
                return none.map(|none| !none);
            }
            Condition::Not(not) => return not.holds(head).map(|holds| !holds),
        };
        Some(holds)
    }

    /// The longest body that the condition looks at, in bytes; `None` if it looks at none.
    pub fn body_limit(&self) -> Option<usize> {
        match self {
            Condition::Body(body) => Some(body.limit),
            Condition::All(all) | Condition::Any(all) => all.iter().filter_map(Condition::body_limit).max(),
            Condition::Not(not) => not.body_limit(),
            _ => None,
        }
    }

    /// Whether a condition that holds for a preflight was written for preflights: it names the method OPTIONS, or one of the
    /// fields with which a preflight asks.
    pub fn names_preflight(&self, head: &Head<'_>) -> bool {
        match self {
            Condition::Method(methods) => methods.contains(&Method::OPTIONS),
            Condition::Header(name, Field::Present | Field::Value(_)) => cors::asks(name),
            Condition::All(all) => all.iter().any(|condition| condition.names_preflight(head)),
            Condition::Any(any) => any
                .iter()
                .any(|condition| condition.matches(head) && condition.names_preflight(head)),
            _ => false,
        }
    }

    /// The conditions that do not hold, in words; empty if the head matches.
    pub fn failures(&self, head: &Head<'_>) -> Vec<String> {
        match self {
            Condition::All(all) => all.iter().flat_map(|condition| condition.failures(head)).collect(),
            other if other.matches(head) => Vec::new(),
            other if head.is_connection() && other.needs_request() => {
                vec![format!("{self}: a connection has no request")]
            }
            Condition::Host(_) if head.is_connection() => {
                vec![format!(
                    "{self}: the client asks for `{}` in its TLS handshake",
                    head.host()
                )]
            }
            Condition::Method(_) => vec![format!("{self}: the request has {}", head.method)],
            Condition::Host(_) => vec![format!("{self}: the request has `{}`", head.host())],
            Condition::Path(_) => vec![format!("{self}: the request has `{}`", head.path())],
            Condition::Client(_) => match head.client {
                Some(client) => vec![format!("{self}: the client is {client}")],
                None => vec![format!("{self}: the client has no address")],
            },
            Condition::Alpn(_) if head.protocols().is_empty() => vec![format!("{self}: the client offers none")],
            Condition::Alpn(_) => vec![format!("{self}: the client offers {}", head.protocols().join(", "))],
            Condition::Grpc => vec![format!("{self}: the content type is not application/grpc")],
            Condition::Body(body) => match head.body().map(|content| body.check(content)) {
                Some(Ok(())) => Vec::new(),
                Some(Err(reason)) => vec![format!("{self}: the body {reason}")],
                None => vec![format!("{self}: the body was not looked at")],
            },
            Condition::Upstream(_) => match head.upstream {
                Some(upstream) if !upstream.is_empty() => {
                    vec![format!("{self}: the {} goes to `{upstream}`", head.subject())]
                }
                _ => vec![format!("{self}: the {} goes to none", head.subject())],
            },
            Condition::Header(name, _) => {
                let values = head.headers.get_all(name).iter();
                self.field_failure(values.map(|value| String::from_utf8_lossy(value.as_bytes())))
            }
            Condition::Query(name, _) => self.field_failure(
                head.query()
                    .filter(|(other, _)| *other == **name)
                    .map(|(_, value)| value),
            ),
            Condition::Cookie(name, _) => self.field_failure(
                head.cookies()
                    .filter(|(other, _)| **other == **name)
                    .map(|(_, value)| value),
            ),
            other => vec![other.to_string()],
        }
    }

    /// Whether it can match a request that goes to this upstream, as far as that alone tells.
    pub fn may_go_to(&self, upstream: &str) -> bool {
        match self {
            Condition::Upstream(names) => names.iter().any(|name| name == upstream),
            Condition::All(all) => all.iter().all(|condition| condition.may_go_to(upstream)),
            Condition::Any(any) => any.iter().any(|condition| condition.may_go_to(upstream)),
            _ => true,
        }
    }

    /// Whether the condition is on a part of a request that a connection lacks.
    fn needs_request(&self) -> bool {
        match self {
            Condition::Method(_)
            | Condition::Port(_)
            | Condition::Path(_)
            | Condition::Header(..)
            | Condition::Query(..)
            | Condition::Cookie(..)
            | Condition::Grpc
            | Condition::Body(_) => true,
            Condition::Host(_)
            | Condition::Client(_)
            | Condition::Alpn(_)
            | Condition::Upstream(_)
            | Condition::All(_)
            | Condition::Any(_)
            | Condition::Not(_) => false,
        }
    }

    fn field_failure<S: AsRef<str>>(&self, values: impl Iterator<Item = S>) -> Vec<String> {
        let values: Vec<String> = values.map(|value| format!("`{}`", value.as_ref())).collect();
        if values.is_empty() {
            vec![format!("{self}: the request has none")]
        } else {
            vec![format!("{self}: the request has {}", values.join(", "))]
        }
    }
}

/// Whether all hold; `None` if that is not known of one, and none is known not to.
fn all_hold(conditions: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for condition in conditions {
        match condition {
            Some(false) => return Some(false),
            None => all = None,
            Some(true) => {}
        }
    }
    all
}

impl Field {
    /// Compiles a condition on a field's values, of which a plain string is the whole.
    pub fn compile(spec: &Spanned<FieldSpec>, mistakes: &mut Vec<Mistake>) -> Option<Field> {
        Some(match &spec.value {
            FieldSpec::Present => Field::Present,
            FieldSpec::Absent => Field::Absent,
            FieldSpec::Value(value) => {
                let value = value.clone();
                Field::Value(Shown::compile(
                    &Spanned { value, span: spec.span },
                    Place::Value,
                    mistakes,
                )?)
            }
        })
    }

    /// Whether the values of a field, of which there may be none, are as asked.
    pub fn matches<S: AsRef<str>>(&self, mut values: impl Iterator<Item = S>) -> bool {
        match self {
            Field::Present => values.next().is_some(),
            Field::Absent => values.next().is_none(),
            Field::Value(text) => values.any(|value| text.value.matches(value.as_ref())),
        }
    }
}

impl<T> Shown<T> {
    /// Shows a value as this text.
    pub(super) fn new(value: T, text: &str) -> Shown<T> {
        Shown {
            value,
            text: text.into(),
        }
    }
}

impl Shown<Text> {
    /// Compiles a pattern for its place.
    pub fn compile(spec: &Spanned<TextSpec>, place: Place, mistakes: &mut Vec<Mistake>) -> Option<Shown<Text>> {
        match Text::compile(&spec.value, place) {
            Ok(value) => Some(Shown {
                value,
                text: show(&spec.value),
            }),
            Err(message) => {
                mistakes.push((spec.span, message));
                None
            }
        }
    }

    /// Shows another text than the pattern's in messages.
    pub(super) fn retitle(&mut self, text: &str) {
        self.text = text.into();
    }
}

/// The conditions for `host:`. A port at the end of the pattern is one of its own.
fn host_and_port(spec: &Spanned<TextSpec>, mistakes: &mut Vec<Mistake>) -> Vec<Condition> {
    if let Err(message) = check_host(&spec.value) {
        mistakes.push((spec.span, message));
        return Vec::new();
    }
    let pattern = spec.value.text();
    let port = pattern.rsplit_once(':').and_then(|(host, port)| {
        let is_one_host = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        Some((host, port.parse().ok()?)).filter(|_| is_one_host)
    });
    let Some((host, port)) = port else {
        return Shown::compile(spec, Place::Host, mistakes)
            .into_iter()
            .map(Condition::Host)
            .collect();
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let value = match (&spec.value, address) {
        (TextSpec::Plain(_) | TextSpec::Exact(_), Some(address)) => TextSpec::Exact(address.to_owned()),
        (TextSpec::Plain(_), None) => TextSpec::Plain(host.to_owned()),
        (TextSpec::Exact(_), None) => TextSpec::Exact(host.to_owned()),
        (TextSpec::Glob(_), _) => TextSpec::Glob(host.to_owned()),
        (TextSpec::Suffix(_), _) => TextSpec::Suffix(host.to_owned()),
        (TextSpec::Prefix(_) | TextSpec::Contains(_) | TextSpec::Regex(_), _) => {
            let message = "this pattern is matched without the port: use a glob such as `shop-*:8080`";
            mistakes.push((spec.span, message.to_owned()));
            return Vec::new();
        }
    };
    let host = Shown::compile(&Spanned { value, span: spec.span }, Place::Host, mistakes);
    host.map(Condition::Host)
        .into_iter()
        .chain([Condition::Port(port)])
        .collect()
}

/// The path of a gRPC call is `/service/method` (gRPC over HTTP/2, "Requests").
fn grpc_path(spec: &GrpcSpec) -> Result<Option<Shown<Text>>, String> {
    let (service, method) = (spec.service.as_deref(), spec.method.as_deref());
    // Neither has a slash; who writes one means the call's path, or a part of it.
    let given = service.into_iter().chain(method);
    let parts: Vec<&str> = given
        .flat_map(|name| name.split('/'))
        .filter(|part| !part.is_empty())
        .collect();
    if [service, method].into_iter().flatten().any(|name| name.contains('/')) {
        let name = service.or(method).unwrap_or_default();
        return Err(match parts.as_slice() {
            [service, method] => {
                format!("a slash is between the two names: use `grpc: {{service: {service}, method: {method}}}`")
            }
            [service] if spec.service.is_some() => format!("a service's name has no slash: use `service: {service}`"),
            [method] => format!("a method's name has no slash: use `method: {method}`"),
            _ => format!("`{name}` is not a valid name: use `grpc: {{service: shop.Cart, method: Add}}`"),
        });
    }
    let value = match (service, method) {
        (None, None) => return Ok(None),
        (Some(service), None) => Text::Prefix(format!("/{service}/").into()),
        (Some(service), Some(method)) => Text::Exact(format!("/{service}/{method}").into()),
        (None, Some(method)) => Text::Suffix(format!("/{method}").into()),
    };
    let text = match &value {
        Text::Prefix(text) => format!("{text}…"),
        Text::Suffix(text) => format!("…{text}"),
        Text::Exact(text) => text.to_string(),
        _ => String::new(),
    };
    Ok(Some(Shown {
        value,
        text: text.into(),
    }))
}

fn show(spec: &TextSpec) -> Box<str> {
    let kind = match spec {
        TextSpec::Plain(text) => return format!("`{text}`").into(),
        TextSpec::Exact(_) => "exact",
        TextSpec::Prefix(_) => "prefix",
        TextSpec::Suffix(_) => "suffix",
        TextSpec::Contains(_) => "contains",
        TextSpec::Glob(_) => "glob",
        TextSpec::Regex(_) => "regex",
    };
    format!("{kind} `{}`", spec.text()).into()
}

impl<T> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Present => f.write_str("present"),
            Field::Absent => f.write_str("absent"),
            Field::Value(text) => text.fmt(f),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], by: &str) -> fmt::Result {
            for (i, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if i == 0 { "" } else { by })?;
            }
            Ok(())
        }
        match self {
            Condition::Method(methods) => {
                f.write_str("method ")?;
                join(f, methods, " or ")
            }
            Condition::Host(text) => write!(f, "host {text}"),
            Condition::Port(port) => write!(f, "port {port}"),
            Condition::Path(text) => write!(f, "path {text}"),
            Condition::Header(name, field) => write!(f, "header {name} {field}"),
            Condition::Query(name, field) => write!(f, "query {name} {field}"),
            Condition::Cookie(name, field) => write!(f, "cookie {name} {field}"),
            Condition::Client(networks) => {
                f.write_str("client in ")?;
                join(f, networks, " or ")
            }
            Condition::Alpn(protocols) => {
                f.write_str("ALPN ")?;
                join(f, protocols, " or ")
            }
            Condition::Grpc => f.write_str("gRPC"),
            Condition::Body(body) => body.fmt(f),
            Condition::Upstream(names) => {
                f.write_str("upstream ")?;
                join(f, names, " or ")
            }
            Condition::All(all) if all.is_empty() => f.write_str("always"),
            Condition::All(all) => {
                f.write_str("all of (")?;
                join(f, all, ", ")?;
                f.write_str(")")
            }
            Condition::Any(any) => {
                f.write_str("any of (")?;
                join(f, any, ", ")?;
                f.write_str(")")
            }
            Condition::Not(not) => write!(f, "not ({not})"),
        }
    }
}
