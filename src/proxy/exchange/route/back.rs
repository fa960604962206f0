//! Maps what an upstream says of itself to what the client knows: redirects and cookies, so that a client that sees only squall
//! can follow and keep them.

use std::borrow::Cow;

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, REFRESH, SET_COOKIE};

use super::paths::Paths;
use crate::proxy::upstream::Place;

/// The two sides of an exchange.
pub(super) struct Mapping<'a> {
    /// What the client knows: whether it speaks TLS, and the host and port that it asked for.
    pub(super) client: (bool, &'a str),
    /// The host and port that the upstream was asked for.
    pub(super) asked: &'a str,
    /// The places of the upstream; empty for a fake.
    pub(super) places: &'a [Place],
    /// Whether the upstream is a fake, which names itself as the client does.
    pub(super) is_fake: bool,
    /// Whether the upstream is reached by TLS.
    pub(super) secure: bool,
    /// How the path was changed.
    pub(super) paths: &'a Paths,
    /// The target that the upstream was asked for.
    pub(super) target: &'a str,
}

/// The new values of the fields that name the upstream. Nothing for a response that names it nowhere.
pub(super) fn changes(
    headers: &HeaderMap,
    mapping: &Mapping<'_>,
    elsewhere: impl Fn(bool, &str, &str) -> Option<String>,
) -> Vec<(HeaderName, Vec<HeaderValue>)> {
    let mut changes = Vec::new();
    for name in [LOCATION, CONTENT_LOCATION] {
        let value = headers.get(&name).and_then(|value| text(value));
        let mapped = value.and_then(|value| mapping.reference(value, &elsewhere));
        changes.extend(mapped.and_then(|mapped| Some((name, vec![HeaderValue::from_str(&mapped).ok()?]))));
    }
    let refresh = headers.get(REFRESH).and_then(text);
    let refresh = refresh.and_then(|value| mapping.refresh(value, &elsewhere));
    changes.extend(refresh.and_then(|mapped| Some((REFRESH, vec![HeaderValue::from_str(&mapped).ok()?]))));
    changes.extend(of_all(headers, LINK, |value| mapping.links(value, &elsewhere)));
    changes.extend(of_all(headers, SET_COOKIE, |value| mapping.cookie(value)));
    changes
}

/// All values of a field, if one of them changes.
fn of_all(
    headers: &HeaderMap,
    name: HeaderName,
    map: impl Fn(&str) -> Option<String>,
) -> Option<(HeaderName, Vec<HeaderValue>)> {
    let mut changed = false;
    let values = headers.get_all(&name).iter().map(|value| {
        let mapped = text(value).and_then(&map);
        let mapped = mapped.and_then(|mapped| HeaderValue::from_str(&mapped).ok());
        changed |= mapped.is_some();
        mapped.unwrap_or_else(|| value.clone())
    });
    let values: Vec<HeaderValue> = values.collect();
    changed.then_some((name, values))
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

impl Mapping<'_> {
    /// A reference to a resource as the client has to use it; `None`: as it is. `elsewhere` knows the absolute URLs, by TLS,
    /// authority and path, of the listener's other upstreams.
    fn reference(&self, value: &str, elsewhere: impl Fn(bool, &str, &str) -> Option<String>) -> Option<String> {
        let value = value.trim();
        let (scheme, rest) = match value.find("//") {
            Some(0) => (None, value.get(2..)?),
            Some(at) if is_scheme(value.get(..at)?) => (Some(value.get(..at)?), value.get(at + 2..)?),
            _ => return self.within(value),
        };
        let secure = match scheme {
            None => self.secure,
            Some(scheme) if scheme.eq_ignore_ascii_case("http:") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("https:") => true,
            Some(_) => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let rooted = if path.starts_with('/') {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(format!("/{path}"))
        };
        let own = self.is_own(secure, authority);
        let mapped = own.then(|| self.paths.to_client(&rooted)).flatten();
        let mapped = mapped.or_else(|| elsewhere(secure, authority, &rooted))?;
        // The upstream may have left out the slash.
        let mapped = if path.starts_with('/') || mapped != *rooted {
            &mapped
        } else {
            path
        };
        let (tls, host) = self.client;
        if host.is_empty() {
            // A request of HTTP/1.0 need not name its host.
            return Some(mapped.to_owned());
        }
        let begin = match (scheme, tls) {
            (None, _) => "",
            (Some(scheme), _) if own && self.is_fake => scheme,
            (Some(_), false) => "http:",
            (Some(_), true) => "https:",
        };
        Some(format!("{begin}//{host}{mapped}")).filter(|mapped| mapped != value)
    }

    /// A reference without a host.
    fn within(&self, value: &str) -> Option<String> {
        let is_other_scheme = value
            .split(['/', '?', '#'])
            .next()
            .is_some_and(|first| first.contains(':'));
        if self.paths.is_same() || value.is_empty() || value.starts_with(['?', '#']) || is_other_scheme {
            return None;
        }
        let mapped = if value.starts_with('/') {
            self.paths.to_client(value)
        } else {
            // Relative to the path that the upstream was asked for, which has another depth (RFC 3986, section 5.2.3).
            let asked = self.target.split(['?', '#']).next().unwrap_or("/");
            let folder = asked.get(..=asked.rfind('/')?)?;
            self.paths.to_client(&format!("{folder}{value}"))
        };
        mapped.filter(|mapped| mapped != value)
    }

    /// Whether a URL's beginning is the upstream's own.
    fn is_own(&self, secure: bool, authority: &str) -> bool {
        // An upstream that is told of its client's TLS names itself so.
        let as_it_is = self.is_fake || self.secure == secure || self.client.0 && secure;
        let asked = as_it_is && same_authority(secure, authority, self.asked);
        asked || self.places.iter().any(|place| is_at(place, secure, authority))
    }

    /// A `Link` field (RFC 8288, section 3) whose targets the client can use; `None`: as it is.
    fn links(&self, value: &str, elsewhere: impl Fn(bool, &str, &str) -> Option<String>) -> Option<String> {
        let mut mapped = String::new();
        let mut done = 0;
        let (mut quoted, mut escaped, mut target) = (false, false, None);
        for (at, character) in value.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' if target.is_none() => quoted = !quoted,
                '<' if !quoted && target.is_none() => target = Some(at + 1),
                '>' => {
                    let Some(start) = target.take() else { continue };
                    if let Some(reference) = value.get(start..at).and_then(|own| self.reference(own, &elsewhere)) {
                        mapped.push_str(value.get(done..start)?);
                        mapped.push_str(&reference);
                        done = at;
                    }
                }
                _ => {}
            }
        }
        mapped.push_str(value.get(done..)?);
        (done > 0).then_some(mapped)
    }

    /// A `Refresh` field, `5; url=/login`, that leads where the client can follow; `None`: as it is.
    fn refresh(&self, value: &str, elsewhere: impl Fn(bool, &str, &str) -> Option<String>) -> Option<String> {
        let (before, url) = value.split_once('=')?;
        let mapped = self.reference(url.trim().trim_matches(['\'', '"']), elsewhere)?;
        Some(format!("{before}={mapped}"))
    }

    /// A cookie as the client can keep it; `None`: as it is.
    fn cookie(&self, cookie: &str) -> Option<String> {
        let mut parts = cookie.split(';');
        let pair = parts.next()?;
        let name = pair.trim_start().to_ascii_lowercase();
        let for_host = name.starts_with("__host-");
        // A browser refuses these names without `Secure`, so that taking it away would lose the cookie.
        let insecure = self.secure && !self.client.0 && !for_host && !name.starts_with("__secure-");
        let mut mapped = pair.to_owned();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim(), value.trim());
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            // `SameSite=None` and `Partitioned` are refused without `Secure`, too.
            let falls =
                insecure && (is("secure") || is("partitioned") || is("samesite") && value.eq_ignore_ascii_case("none"));
            if falls || is("domain") && self.is_foreign(value) {
                continue;
            }
            let path = Some(value).filter(|path| is("path") && !for_host && path.starts_with('/'));
            match path.and_then(|path| self.paths.of_cookie(path)) {
                Some(path) if path != value => {
                    mapped.push_str("; Path=");
                    mapped.push_str(&path);
                }
                _ => {
                    mapped.push(';');
                    mapped.push_str(part);
                }
            }
        }
        Some(mapped).filter(|mapped| mapped != cookie)
    }

    /// Whether a cookie's domain is the upstream's, and not the client's: without it, the cookie is for the host that the client
    /// has asked.
    fn is_foreign(&self, domain: &str) -> bool {
        let domain = domain.trim_start_matches('.');
        let is_in = |authority: &str| is_within(host_of(authority), domain);
        let of_upstream = || {
            is_in(self.asked)
                || self
                    .places
                    .iter()
                    .any(|place| is_within(host_of(&place.authority), domain))
        };
        !domain.is_empty() && !is_in(self.client.1) && of_upstream()
    }
}

/// Whether a reference begins with a scheme and its colon (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.strip_suffix(':').is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// Whether a host is a domain, or within it (RFC 6265, section 5.1.3). An address is within no domain.
fn is_within(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.trim_end_matches('.'), domain.trim_end_matches('.'));
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (before, tail) = host.split_at_checked(at).unwrap_or_default();
    let is_name = || before.ends_with('.') && host.parse::<std::net::IpAddr>().is_err();
    tail.eq_ignore_ascii_case(domain) && (before.is_empty() || is_name())
}

/// The host of an authority, an address of IPv6 without its brackets.
pub(super) fn host_of(authority: &str) -> &str {
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    authority.split(':').next().unwrap_or(authority)
}

/// Whether a URL's beginning is that of a place.
pub(super) fn is_at(place: &Place, secure: bool, authority: &str) -> bool {
    place.secure == secure && same_authority(secure, authority, &place.authority)
}

/// Whether two authorities are the same with this scheme, whose default port may be left out.
fn same_authority(secure: bool, one: &str, other: &str) -> bool {
    let default = if secure { ":443" } else { ":80" };
    let bare = |authority: &str| authority.strip_suffix(default).unwrap_or(authority).len();
    let (one, other) = (one.get(..bare(one)), other.get(..bare(other)));
    one.zip(other)
        .is_some_and(|(one, other)| !one.is_empty() && one.eq_ignore_ascii_case(other))
}
