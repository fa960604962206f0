//! Patterns of origins: the scheme, host and port of a page (RFC 6454, section 7; Fetch, "`Origin` header").

use std::fmt;
use std::str::FromStr;

use crate::yaml::forms::string_form;

/// One origin, or a pattern of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Every origin, also `null`.
    Any,
    /// The origin of pages without one of their own: from files, and in sandboxed frames.
    Null,
    /// Origins with a scheme and a host.
    Of {
        /// The scheme, in lower case.
        scheme: Box<str>,
        /// Their host.
        host: Host,
        /// Their port.
        port: Port,
    },
}

/// The host of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Every host.
    Any,
    /// All names below this one: `*.example.com`, without the asterisk.
    Below(Box<str>),
    /// This host, in lower case; an IPv6 address is in brackets.
    Is(Box<str>),
}

/// The port of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Every port.
    Any,
    /// The scheme's own port, which origins leave out.
    Default,
    /// This port.
    Is(u16),
}

impl Origin {
    /// Whether the value of an `Origin` field is one of these origins.
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            Origin::Any => true,
            Origin::Null => origin == "null",
            Origin::Of { scheme, host, port } => {
                let Some((own_scheme, authority)) = origin.split_once("://") else {
                    return false;
                };
                let (own_host, own_port) = split_port(authority);
                own_scheme == &**scheme && host.matches(own_host) && port.matches(own_port)
            }
        }
    }
}

impl Host {
    fn matches(&self, own: &str) -> bool {
        match self {
            Host::Any => is_host(own),
            Host::Below(domain) => own
                .strip_suffix(&**domain)
                .is_some_and(|below| !below.is_empty() && is_host(below)),
            Host::Is(host) => own == &**host,
        }
    }
}

impl Port {
    fn matches(self, own: Option<&str>) -> bool {
        match self {
            Port::Any => own.is_none_or(|own| own.parse::<u16>().is_ok()),
            Port::Default => own.is_none(),
            Port::Is(port) => own.and_then(|own| own.parse().ok()) == Some(port),
        }
    }
}

/// Whether a text has only what can be in a host: no client sends another origin, and nothing else is to be let in.
fn is_host(text: &str) -> bool {
    !text.contains(['/', '@', '?', '#', '\\', ' ']) && (text.starts_with('[') || !text.contains(':'))
}

/// The host of an authority, and the text behind its colon. The colons of an IPv6 address are within brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        match text {
            "*" => return Ok(Origin::Any),
            "null" => return Ok(Origin::Null),
            _ => {}
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let is_here = ["localhost", "127.", "[::1]"]
                .iter()
                .any(|begin| text.starts_with(begin));
            let scheme = if is_here { "http" } else { "https" };
            return Err(format!(
                "`{text}` is not an origin, which begins with a scheme: write `{scheme}://{text}`"
            ));
        };
        let valid = |scheme: &str| {
            let mut bytes = scheme.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        if !valid(scheme) {
            return Err(format!("`{scheme}` is not a valid scheme: use one such as https"));
        }
        // The address of a page's start is often copied with its slash.
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(end) = authority.find(['/', '?', '#']) {
            let (authority, _) = authority.split_at(end);
            return Err(format!(
                "`{text}` is longer than an origin, which ends with the host and the port: write `{scheme}://{authority}`"
            ));
        }
        if authority.contains('@') {
            return Err(format!("`{text}` names a user, and origins have none: leave it out"));
        }
        let (host, port) = split_port(authority);
        let scheme = scheme.to_ascii_lowercase();
        Ok(Origin::Of {
            host: host_of(host, text)?,
            port: port_of(port, &scheme)?,
            scheme: scheme.into(),
        })
    }
}

fn host_of(host: &str, text: &str) -> Result<Host, String> {
    let host = host.to_ascii_lowercase();
    if host == "*" {
        return Ok(Host::Any);
    }
    let (below, name) = match host.strip_prefix('*') {
        Some(domain) if domain.starts_with('.') => (true, domain),
        _ => (false, host.as_str()),
    };
    if name.is_empty() || name == "." && below {
        return Err(format!("`{text}` has no host"));
    }
    if name.contains('*') {
        return Err(format!(
            "in `{text}`, `*` can't stand there: it takes the place of the whole host, of the names before a domain \
             (`https://*.example.com`) or of the port (`http://localhost:*`)"
        ));
    }
    if name
        .bytes()
        .any(|byte| !byte.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&byte))
    {
        return Err(format!(
            "`{text}` has characters that hosts don't have; names that are not ASCII begin with `xn--` in origins"
        ));
    }
    Ok(if below {
        Host::Below(name.into())
    } else {
        Host::Is(name.into())
    })
}

fn port_of(port: Option<&str>, scheme: &str) -> Result<Port, String> {
    match port {
        None => Ok(Port::Default),
        Some("*") => Ok(Port::Any),
        Some(port) => match (port.parse(), scheme) {
            (Ok(443), "https") | (Ok(80), "http") => Ok(Port::Default),
            (Ok(port), _) => Ok(Port::Is(port)),
            (Err(_), _) => Err(format!("`{port}` is not a valid port: use 0 to 65535, or `*`")),
        },
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Any => f.write_str("*"),
            Origin::Null => f.write_str("null"),
            Origin::Of { scheme, host, port } => {
                write!(f, "{scheme}://")?;
                match host {
                    Host::Any => f.write_str("*")?,
                    Host::Below(domain) => write!(f, "*{domain}")?,
                    Host::Is(host) => f.write_str(host)?,
                }
                match port {
                    Port::Any => f.write_str(":*"),
                    Port::Default => Ok(()),
                    Port::Is(port) => write!(f, ":{port}"),
                }
            }
        }
    }
}

string_form!(
    Origin,
    "Origin",
    "an origin such as https://app.example.com or http://localhost:*",
    r"^(\*|null|[A-Za-z][A-Za-z0-9+.\-]*://[^/?#@\s]+/?)$|\$\{"
);

#[cfg(test)]
mod tests;
