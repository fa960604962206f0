//! Parses URLs as curl accepts them.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// The server; `None` for a bare path.
    pub(super) server: Option<Server>,
    /// The path, at least `/`.
    pub(super) path: String,
    /// What follows the first `?`.
    pub(super) query: Option<String>,
}

/// The server of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) tls: bool,
    /// The user and password, decoded.
    pub(super) user: Option<String>,
    /// The host; an IPv6 address is in brackets.
    pub(super) host: String,
    /// The port, as given or the scheme's default.
    pub(super) port: u16,
}

impl Url {
    /// Parses a URL or a bare path. Without a scheme it is http.
    pub(super) fn parse(text: &str) -> Result<Url, String> {
        let text = text.trim();
        let text = text.split('#').next().unwrap_or("");
        if text.is_empty() {
            return Err("the URL is empty".into());
        }
        let (server, rest) = if text.starts_with('/') && !text.starts_with("//") {
            (None, text)
        } else {
            let (server, rest) = Server::parse(text)?;
            (Some(server), rest)
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(escaped(query))),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/".to_owned() } else { escaped(path) };
        Ok(Url { server, path, query })
    }

    /// Appends to the query.
    pub(super) fn add_query(&mut self, more: &str) {
        match &mut self.query {
            Some(query) if !query.is_empty() => {
                query.push('&');
                query.push_str(more);
            }
            query => *query = Some(more.to_owned()),
        }
    }

    /// The path and query, as they are sent.
    pub(super) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

impl Server {
    fn parse(text: &str) -> Result<(Server, &str), String> {
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => match scheme.to_ascii_lowercase().as_str() {
                "http" => (false, rest),
                "https" => (true, rest),
                _ => {
                    return Err(format!("`{scheme}` is not a supported scheme: use http or https"));
                }
            },
            _ => (false, text.trim_start_matches("//")),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(percent_decode_str(user).decode_utf8_lossy().into_owned()), place),
            None => (None, authority),
        };
        let default = if tls { 443 } else { 80 };
        let (host, port) = split_port(place, default)
            .ok_or_else(|| format!("`{place}` is not a valid host with a port from 1 to 65535"))?;
        Ok((
            Server {
                tls,
                user,
                host: host.to_owned(),
                port,
            },
            rest,
        ))
    }

    /// The host and port for the Host field, without the scheme's default port (RFC 9110, section 4.2.1).
    pub(super) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// Splits `host`, `host:port` or `[::1]:port`.
pub(super) fn split_port(place: &str, default: u16) -> Option<(&str, u16)> {
    let colon = match place.rfind(']') {
        Some(bracket) => place.get(bracket..)?.find(':').map(|at| at + bracket),
        None => place.find(':'),
    };
    let (host, port) = match colon {
        Some(colon) => (place.get(..colon)?, place.get(colon + 1..)?),
        None => (place, ""),
    };
    let port = match port {
        "" => default,
        port => port.parse().ok().filter(|port| *port > 0)?,
    };
    (!host.is_empty()).then_some((host, port))
}

/// Percent-encodes characters that can't be in a request line; everything else stays as typed.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Authority, and path with query.
    fn check(text: &str, expect: Result<(&str, &str), &str>) {
        let url = Url::parse(text);
        let got = url
            .as_ref()
            .map(|url| (url.server.as_ref().map_or("".into(), Server::authority), url.target()));
        match expect {
            Ok((authority, target)) => assert_eq!(got, Ok((authority.into(), target.into())), "{text}"),
            Err(part) => assert!(got.as_ref().is_err_and(|error| error.contains(part)), "{text}: {got:?}"),
        }
    }

    #[test]
    fn urls() {
        check("http://127.0.0.1:8080/pay?x=1#top", Ok(("127.0.0.1:8080", "/pay?x=1")));
        check("https://shop.example.com", Ok(("shop.example.com", "/")));
        check("https://shop.example.com:443?x", Ok(("shop.example.com", "/?x")));
        check("http://[::1]:8080/a", Ok(("[::1]:8080", "/a")));
        check("http://[::1]", Ok(("[::1]", "/")));
        check("localhost:8080/a b/ü", Ok(("localhost:8080", "/a%20b/%C3%BC")));
        check("/pay?to=http://x", Ok(("", "/pay?to=http://x")));
        check("HTTP://user:p%40ss@h/", Ok(("h", "/")));
        check("localhost/go?to=http://x", Ok(("localhost", "/go?to=http://x")));
        check("ftp://h/", Err("`ftp`"));
        check("http://h:0/", Err("port"));
        check("http://h:99999/", Err("port"));
        check("http:///x", Err("host"));
        check("", Err("empty"));
        let user = Url::parse("http://user:p%40ss@h/").unwrap().server.unwrap().user;
        assert_eq!(user.as_deref(), Some("user:p@ss"));
    }
}
