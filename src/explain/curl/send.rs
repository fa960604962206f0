//! Builds a request from curl's options, with the fields that curl adds.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Line;
use crate::explain::Asked;
use crate::explain::call::{Call, Place};
use crate::explain::url::{Server, Url, escaped, split_port};

/// The characters that `--data-urlencode` encodes: all but unreserved ones (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The assumed User-Agent, since the version of the caller's curl is unknown.
const AGENT: &str = "curl/8";

impl Line {
    /// The request of the line.
    pub fn call(mut self) -> Result<Call, String> {
        let mut url = self.url()?;
        let method = self.sent_method()?;
        self.finish_path(&mut url);
        let headers = self.sent_headers(&url)?;
        let (place, authority) = self.place(&url)?;
        let target = match &self.request_target {
            Some(target) => escaped(target),
            None => url.target(),
        };
        let asked = Asked {
            method,
            target,
            authority,
            headers,
            body: self.sent_body(),
            client: None,
            listener: None,
            ordinal: None,
            at: None,
        };
        Ok(Call {
            asked,
            place,
            notes: self.notes,
        })
    }

    fn url(&self) -> Result<Url, String> {
        let url = match self.urls.as_slice() {
            [] => return Err("there is no URL".into()),
            [url] => url,
            [_, second, ..] => {
                return Err(format!(
                    "there is more than one URL (the second is `{second}`): explain them one by one"
                ));
            }
        };
        let outside_address = url.replacen("://[", "://", 1);
        let is_list = |text: &str| text.contains(['{', '}']) || text.contains('[');
        if !self.globoff && !self.bare && is_list(&outside_address) {
            return Err("`{}` and `[]` in a URL make curl send several requests: write one of them, or add -g".into());
        }
        Url::parse(url)
    }

    fn sent_method(&self) -> Result<Method, String> {
        let data = !self.data.is_empty() && !self.get;
        let asked = [
            ("-I", self.head),
            ("-T", self.upload.is_some()),
            ("-F", self.form),
            ("-d", data),
        ];
        let mut asked = asked.iter().filter(|(_, given)| *given).map(|(option, _)| *option);
        let inferred = match (asked.next(), asked.next()) {
            (Some(one), Some(other)) => {
                return Err(format!(
                    "`{one}` can't be combined with `{other}`: curl refuses different methods"
                ));
            }
            (Some("-I"), _) => Method::HEAD,
            (Some("-T"), _) => Method::PUT,
            (Some(_), _) => Method::POST,
            (None, _) => Method::GET,
        };
        match &self.method {
            None => Ok(inferred),
            Some(method) => {
                Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a valid method"))
            }
        }
    }

    fn finish_path(&mut self, url: &mut Url) {
        if let Some(file) = &self.upload
            && url.path.ends_with('/')
            && let Some(name) = std::path::Path::new(file).file_name()
            && file != "."
        {
            url.path
                .push_str(&utf8_percent_encode(&name.to_string_lossy(), ENCODED).to_string());
        }
        for query in std::mem::take(&mut self.url_queries) {
            match query.strip_prefix('+') {
                Some(literal) => url.add_query(literal),
                None => match encoded(&query) {
                    Some(query) => url.add_query(&query),
                    None => self
                        .notes
                        .push(format!("the content of the file in `{query}` is left out of the query")),
                },
            }
        }
        if self.get && !self.data.is_empty() {
            match self.body() {
                Some(body) => url.add_query(&escaped(&body)),
                None => self.notes.push("the content of files is left out of the query".into()),
            }
        }
    }

    /// The request's body, or why it is not known.
    fn sent_body(&self) -> Result<Bytes, &'static str> {
        if self.form {
            return Err("is a form in parts, which explain does not make");
        }
        if self.upload.is_some() {
            return Err("is in a file, which explain does not read");
        }
        if self.get {
            return Ok(Bytes::new());
        }
        let body = self.body();
        body.map(Bytes::from)
            .ok_or("is partly in a file, which explain does not read")
    }

    /// The body from `-d` and similar options; `None` if a file is part of it.
    fn body(&self) -> Option<String> {
        let mut body = String::new();
        for (at, (option, value)) in self.data.iter().enumerate() {
            let piece = match (*option, value.strip_prefix('@')) {
                ("data-raw", _) => value.clone(),
                ("data-urlencode", _) => encoded(value)?,
                (_, Some(_)) => return None,
                (_, None) => value.clone(),
            };
            if at > 0 && *option != "json" {
                body.push('&');
            }
            body.push_str(&piece);
        }
        Some(body)
    }

    fn sent_headers(&mut self, url: &Url) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let mut withheld = Vec::new();
        for line in std::mem::take(&mut self.headers) {
            match field(&line)? {
                Some((name, Some(value))) => drop(headers.append(name, value)),
                Some((name, None)) => withheld.push(name),
                None => self
                    .notes
                    .push(format!("curl ignores the field `{line}`: it has no colon")),
            }
        }
        for (name, value) in self.own_fields(url) {
            // The caller's fields replace curl's own, and `-H 'Name:'` removes one.
            if headers.contains_key(&name) || withheld.contains(&name) {
                continue;
            }
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("the field `{name}` contains a control character, such as a newline"))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// The fields that curl adds.
    fn own_fields(&mut self, url: &Url) -> Vec<(HeaderName, String)> {
        let mut fields = Vec::new();
        if let Some(server) = &url.server {
            fields.push((header::HOST, server.authority()));
        }
        fields.extend(
            self.authorization(url.server.as_ref())
                .map(|value| (header::AUTHORIZATION, value)),
        );
        let agent = self.agent.clone().or((!self.bare).then(|| AGENT.to_owned()));
        fields.extend(
            agent
                .filter(|agent| !agent.is_empty())
                .map(|agent| (header::USER_AGENT, agent)),
        );
        let is_json = self.data.iter().any(|(option, _)| *option == "json");
        if !self.bare || is_json {
            fields.push((
                header::ACCEPT,
                if is_json { "application/json" } else { "*/*" }.to_owned(),
            ));
        }
        if self.compressed {
            fields.push((header::ACCEPT_ENCODING, "deflate, gzip, br, zstd".to_owned()));
        }
        let referer = self
            .referer
            .as_ref()
            .map(|referer| referer.split(";auto").next().unwrap_or("").to_owned());
        fields.extend(
            referer
                .filter(|referer| !referer.is_empty())
                .map(|referer| (header::REFERER, referer)),
        );
        if !self.cookies.is_empty() {
            fields.push((header::COOKIE, self.cookies.join(";")));
        }
        fields.extend(self.range.iter().map(|range| (header::RANGE, format!("bytes={range}"))));
        self.body_fields(is_json, &mut fields);
        fields
    }

    fn body_fields(&self, is_json: bool, fields: &mut Vec<(HeaderName, String)>) {
        let content_type = match (self.form, self.data.is_empty() || self.get, is_json) {
            (true, ..) => "multipart/form-data; boundary=------------------------0000000000000000",
            // curl adds the fields of `--json` as if by `-H`, so they stay with `-G`.
            (_, _, true) => "application/json",
            (_, true, _) => return,
            (_, false, _) => "application/x-www-form-urlencoded",
        };
        fields.push((header::CONTENT_TYPE, content_type.to_owned()));
        if !self.form
            && !self.get
            && let Some(body) = self.body()
        {
            fields.push((header::CONTENT_LENGTH, body.len().to_string()));
        }
    }

    fn authorization(&mut self, server: Option<&Server>) -> Option<String> {
        if let Some(bearer) = &self.bearer {
            return Some(format!("Bearer {bearer}"));
        }
        let user = self.user.clone().or_else(|| server?.user.clone())?;
        if let Some(handshake) = self.handshake {
            self.notes.push(format!(
                "this is the first request that `--{handshake}` sends, without an Authorization field"
            ));
            return None;
        }
        let user = if user.contains(':') {
            user
        } else {
            self.notes
                .push("the password that curl would prompt for is assumed to be empty".into());
            format!("{user}:")
        };
        Some(format!("Basic {}", base64(user.as_bytes())))
    }

    /// Where the connection goes, and the authority of the absolute target that a proxy gets.
    fn place(&self, url: &Url) -> Result<(Place, Option<String>), String> {
        if let Some(socket) = &self.socket {
            return Ok((Place::Unix(socket.clone()), None));
        }
        let Some(server) = &url.server else {
            return Ok((Place::Anywhere, None));
        };
        if let Some(proxy) = self.proxy.as_ref().filter(|proxy| !proxy.is_empty()) {
            if server.tls {
                return Err("curl sends an https request through a proxy as CONNECT, which rules don't see".into());
            }
            // curl's default port for proxies.
            let (_, place) = proxy.split_once("://").unwrap_or(("http", proxy));
            let place = place.trim_end_matches('/').rsplit('@').next().unwrap_or("");
            let (host, port) =
                split_port(place, 1080).ok_or_else(|| format!("`{proxy}` is not a valid proxy address"))?;
            return Ok((
                Place::Tcp {
                    host: host.to_owned(),
                    port,
                },
                Some(server.authority()),
            ));
        }
        let rerouted = self.connect_to.iter().find_map(|rule| rerouted(rule, server));
        let (host, port) = rerouted.unwrap_or_else(|| (server.host.clone(), server.port));
        Ok((Place::Tcp { host, port }, None))
    }
}

/// Applies `--connect-to HOST1:PORT1:HOST2:PORT2`: returns the second pair if the first matches. Empty parts match any, or
/// leave it unchanged.
fn rerouted(rule: &str, server: &Server) -> Option<(String, u16)> {
    let (from_host, rest) = host_part(rule)?;
    let (from_port, rest) = rest.split_once(':')?;
    let (host, rest) = host_part(rest).unwrap_or((rest, ""));
    let applies = (from_host.is_empty() || from_host.eq_ignore_ascii_case(&server.host))
        && (from_port.is_empty() || from_port.parse() == Ok(server.port));
    let host = if host.is_empty() { &server.host } else { host };
    applies.then(|| (host.to_owned(), rest.parse().unwrap_or(server.port)))
}

/// Splits off a host at its colon; an IPv6 address is in brackets.
fn host_part(text: &str) -> Option<(&str, &str)> {
    let from = if text.starts_with('[') { text.find(']')? } else { 0 };
    let colon = text.get(from..)?.find(':')? + from;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

/// Parses `-H`: `Name: value`. `Name:` removes curl's own field (`Ok` with `None` as the value), `Name;` sends an empty one.
fn field(line: &str) -> Result<Option<(HeaderName, Option<HeaderValue>)>, String> {
    let (name, value) = match line.split_once(':') {
        Some((name, value)) => (name, Some(value.trim()).filter(|value| !value.is_empty())),
        None => match line.trim_end().strip_suffix(';') {
            Some(name) => (name, Some("")),
            None => return Ok(None),
        },
    };
    let parsed =
        HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| format!("`{name}` is not a valid header name"))?;
    let value = value.map(|value| {
        HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value of `{name}` contains a control character, such as a newline"))
    });
    Ok(Some((parsed, value.transpose()?)))
}

/// Encodes `--data-urlencode`: `content`, `=content`, `name=content`; `None` for `@file` and `name@file`.
fn encoded(value: &str) -> Option<String> {
    let mut encoded = String::new();
    let content = match value.split_once('=') {
        Some((name, content)) => {
            if !name.is_empty() {
                let _ = write!(encoded, "{name}=");
            }
            content
        }
        None if value.contains('@') => return None,
        None => value,
    };
    encoded.push_str(&utf8_percent_encode(content, ENCODED).to_string().replace("%20", "+"));
    Some(encoded)
}

/// Encodes Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS
                .get((bits >> (18 - 6 * at) & 63) as usize)
                .copied()
                .unwrap_or(b'=');
            text.push(if at > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}
