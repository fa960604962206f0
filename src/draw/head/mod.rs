//! The request head as rules match it, and what takes its place for a connection.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::LazyLock;

use http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;

use crate::content::Content;

/// The header fields of a connection, which has none.
static NO_FIELDS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// A request head. Cheap to create: costly parts are computed when a rule first asks for them.
pub struct Head<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The header fields of the request.
    pub headers: &'a HeaderMap,
    /// The client's address; `None` on a unix socket.
    pub client: Option<IpAddr>,
    /// The name of the upstream that it goes to, where that is known.
    pub upstream: Option<&'a str>,
    raw_path: &'a str,
    query: Option<&'a str>,
    authority: &'a str,
    connection: bool,
    spared: bool,
    protocols: &'a [String],
    body: Option<&'a Content>,
    path: OnceCell<Cow<'a, str>>,
    host: OnceCell<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    /// Creates a head. `target` is the request target as received: a path with an optional query. `authority` is HTTP/2's
    /// `:authority` or that of an absolute target; with `None` the Host field is used.
    pub fn new(
        method: &'a Method,
        target: &'a str,
        authority: Option<&'a str>,
        headers: &'a HeaderMap,
        client: Option<IpAddr>,
    ) -> Self {
        let (raw_path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let host_field = || {
            headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or("")
        };
        Head {
            method,
            headers,
            client,
            upstream: None,
            raw_path,
            query,
            authority: authority.unwrap_or_else(host_field),
            connection: false,
            spared: false,
            protocols: &[],
            body: None,
            path: OnceCell::new(),
            host: OnceCell::new(),
        }
    }

    /// Creates what takes the place of a head for a connection without requests. `server_name` is what the client asks for in
    /// its TLS handshake, and becomes the host. Conditions on anything else of a request don't hold.
    pub fn of_connection(client: Option<IpAddr>, server_name: Option<&'a str>) -> Self {
        let authority = Some(server_name.unwrap_or_default());
        Head {
            connection: true,
            ..Head::new(&Method::GET, "", authority, &NO_FIELDS, client)
        }
    }

    /// Adds the name of the upstream that it goes to.
    pub fn to(self, upstream: &'a str) -> Self {
        Head {
            upstream: Some(upstream),
            ..self
        }
    }

    /// Adds the protocols that the client of a connection offers by ALPN in its TLS handshake.
    pub fn offering(self, protocols: &'a [String]) -> Self {
        Head { protocols, ..self }
    }

    /// Adds the body, which rules may match once it was looked at.
    pub fn with_body(self, body: Option<&'a Content>) -> Self {
        Head { body, ..self }
    }

    /// The body; `None` if it was not looked at.
    pub fn body(&self) -> Option<&'a Content> {
        self.body
    }

    /// The protocols that the client of a connection offers by ALPN.
    pub fn protocols(&self) -> &'a [String] {
        self.protocols
    }

    /// Makes rules spare the request unless they name its kind: it is a preflight, which browsers send by themselves.
    pub fn sparing(self, spared: bool) -> Self {
        Head { spared, ..self }
    }

    /// Whether rules spare the request, see [`Head::sparing`].
    pub fn is_spared(&self) -> bool {
        self.spared
    }

    /// What it is of, in words: `connection` or `request`.
    pub fn subject(&self) -> &'static str {
        if self.connection { "connection" } else { "request" }
    }

    /// Whether this stands for a connection rather than a request.
    pub fn is_connection(&self) -> bool {
        self.connection
    }

    /// The request target: a path with an optional query.
    pub fn target(&self) -> Cow<'a, str> {
        match self.query {
            Some(query) => format!("{}?{query}", self.raw_path).into(),
            None => self.raw_path.into(),
        }
    }

    /// The host with its port, as the client wrote it.
    pub fn authority(&self) -> &'a str {
        self.authority
    }

    /// The path, percent-decoded and normalised: see [`normalise`].
    pub fn path(&self) -> &str {
        self.path.get_or_init(|| normalise(self.raw_path))
    }

    /// The host, in lower case, without the port and without a final dot.
    pub fn host(&self) -> &str {
        self.host.get_or_init(|| {
            let (host, _) = split_port(self.authority);
            let host = host.strip_suffix('.').unwrap_or(host);
            if host.bytes().any(|b| b.is_ascii_uppercase()) {
                Cow::Owned(host.to_ascii_lowercase())
            } else {
                Cow::Borrowed(host)
            }
        })
    }

    /// Whether the request is for this port. The default ports, 80 and 443, can be left out (RFC 9110, section 4.2.3).
    pub fn is_for_port(&self, port: u16) -> bool {
        match split_port(self.authority).1 {
            None | Some("") => matches!(port, 80 | 443),
            Some(text) => text.parse() == Ok(port),
        }
    }

    /// The query's parameters, decoded as `application/x-www-form-urlencoded`.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        self.query
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (form_decode(name), form_decode(value))
            })
    }

    /// The cookies, not decoded (RFC 6265, section 4.2.1).
    pub fn cookies(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let pairs = self
            .headers
            .get_all(header::COOKIE)
            .iter()
            .flat_map(|field| field.as_bytes().split(|b| *b == b';'));
        pairs.filter_map(|pair| {
            let equals = pair.iter().position(|b| *b == b'=')?;
            let (name, value) = (pair.get(..equals)?.trim_ascii(), pair.get(equals + 1..)?.trim_ascii());
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value);
            Some((String::from_utf8_lossy(name), String::from_utf8_lossy(bare)))
        })
    }

    /// Whether the content type is that of a gRPC call.
    pub fn is_grpc(&self) -> bool {
        // `application/grpc` with an optional `+proto` or parameters; `application/grpc-web` is another protocol.
        let Some(kind) = self.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes) else {
            return false;
        };
        let (name, rest) = kind.split_at_checked(b"application/grpc".len()).unwrap_or((kind, b""));
        name.eq_ignore_ascii_case(b"application/grpc") && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    }
}

/// The header field with which a request names its space.
pub const SPACE_FIELD: &str = "squall-space";

/// The space that a request names: in `Squall-Space`, or else as `squall-space=NAME` in `baggage` (W3C Baggage), which
/// instrumented clients pass on to the calls that they make themselves.
pub fn space_of(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let own = headers.get(SPACE_FIELD).and_then(|name| name.to_str().ok());
    if let Some(name) = own.map(str::trim).filter(|name| !name.is_empty()) {
        return Some(Cow::Borrowed(name));
    }
    let fields = headers
        .get_all("baggage")
        .iter()
        .filter_map(|field| field.to_str().ok());
    let mut members = fields.flat_map(|field| field.split(','));
    members.find_map(|member| {
        // Properties follow a semicolon. Values are percent-encoded.
        let (name, value) = member.split(';').next()?.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        (name.trim() == SPACE_FIELD && !value.is_empty()).then_some(value)
    })
}

/// The host of an authority, an IPv6 address without its brackets, and the text behind the colon.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some((address, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

fn form_decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// The path that rules match: percent-decoded, except `%2F`, which is not a separator; without `.` and `..` segments
/// (RFC 3986, section 5.2.4); with runs of slashes merged. The upstream still gets the original path.
pub fn normalise(raw: &str) -> Cow<'_, str> {
    // An absolute target (`GET http://host/path`) has its path after the authority.
    let raw = match raw.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => {
            rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/")
        }
        _ => raw,
    };
    let bytes = raw.as_bytes();
    let plain = !bytes.contains(&b'%') && !raw.contains("//") && !raw.contains("/.");
    if plain {
        return Cow::Borrowed(raw);
    }
    let decoded = decode_keeping_slashes(raw);
    Cow::Owned(remove_dots(&decoded))
}

fn decode_keeping_slashes(raw: &str) -> String {
    // `%2F` is protected by encoding its percent sign once more.
    let protected = raw.replace("%2F", "%252F").replace("%2f", "%252F");
    percent_decode_str(&protected).decode_utf8_lossy().into_owned()
}

fn remove_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        // A path that ends in a dot segment ends in a slash.
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in &kept {
        normal.push('/');
        normal.push_str(segment);
    }
    if normal.is_empty() || open || path.ends_with('/') {
        normal.push('/');
    }
    normal
}

#[cfg(test)]
mod tests;
