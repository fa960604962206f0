//! What a recorded response says of the recorded server, made to lead to the fake.

use std::collections::HashSet;

use http::header::{CONTENT_LOCATION, LINK, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The hosts that a recording answers for.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashSet<String>);

impl Hosts {
    pub(super) fn new<'a>(hosts: impl Iterator<Item = &'a str>) -> Self {
        let hosts = hosts.filter(|host| !host.is_empty());
        Self(
            hosts
                .map(|host| without_default_port(host).to_ascii_lowercase())
                .collect(),
        )
    }

    /// Lets addresses of these hosts lead to `origin` instead, and cookies belong to it.
    pub(super) fn lead_to(&self, origin: &str, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION] {
            change(headers, &name, |value| self.moved(value, origin));
        }
        change(headers, &LINK, |value| {
            let mut parts = value.split('<');
            let before = parts.next().unwrap_or_default().to_owned();
            parts.fold(before, |text, part| {
                let (target, rest) = part.split_once('>').unwrap_or((part, ""));
                format!("{text}<{}>{rest}", self.moved(target, origin))
            })
        });
        change(headers, &REFRESH, |value| match value.split_once('=') {
            Some((before, target)) => format!("{before}={}", self.moved(target.trim(), origin)),
            None => value.to_owned(),
        });
        let secure = origin.starts_with("https:");
        change(headers, &SET_COOKIE, |value| {
            let parts = value.split(';').filter(|part| self.keeps(part.trim(), secure));
            parts.collect::<Vec<_>>().join(";")
        });
    }

    /// Whether an attribute of a cookie is right here too: a client drops cookies for other domains, and does not send secure
    /// ones without TLS (RFC 6265, sections 5.3 and 5.4).
    fn keeps(&self, attribute: &str, secure: bool) -> bool {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "domain" => !self.within(value.trim().trim_start_matches('.')),
            "secure" | "partitioned" => secure || !value.is_empty(),
            "samesite" => secure || !value.trim().eq_ignore_ascii_case("none"),
            _ => true,
        }
    }

    fn within(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        self.0.iter().any(|host| {
            let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
            host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
        })
    }

    fn moved(&self, target: &str, origin: &str) -> String {
        let Some((scheme, rest)) = target.split_once("//") else {
            return target.to_owned();
        };
        let known = ["", "http:", "https:"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if !known || !self.0.contains(&without_default_port(host).to_ascii_lowercase()) {
            return target.to_owned();
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{origin}{slash}{path}")
    }
}

fn without_default_port(host: &str) -> &str {
    let stripped = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443"));
    stripped.unwrap_or(host)
}

/// Changes the values of a field. What is not a text stays as it is.
fn change(headers: &mut HeaderMap, name: &HeaderName, changed: impl Fn(&str) -> String) {
    let http::header::Entry::Occupied(mut values) = headers.entry(name) else {
        return;
    };
    for value in values.iter_mut() {
        if let Some(text) = value.to_str().ok().map(&changed)
            && let Ok(new) = HeaderValue::from_str(&text)
        {
            *value = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(name: HeaderName, value: &str, origin: &str) -> String {
        let hosts = Hosts::new(["Api.example:443", "b.example:8080", ""].into_iter());
        let mut headers = HeaderMap::new();
        headers.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        hosts.lead_to(origin, &mut headers);
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn addresses_of_the_recorded_hosts_lead_to_the_fake() {
        for (value, expected) in [
            ("https://api.example/x?y#z", "http://h:1/x?y#z"),
            ("http://API.example:80?y", "http://h:1/?y"),
            ("//b.example:8080", "http://h:1/"),
            ("http://b.example/x", "http://b.example/x"),
            ("https://api.example.org/", "https://api.example.org/"),
            ("/x//api.example/", "/x//api.example/"),
            ("x?to=https://api.example/", "x?to=https://api.example/"),
        ] {
            assert_eq!(moved(LOCATION, value, "http://h:1"), expected);
        }
        let links = "<https://api.example/?page=2>; rel=\"next\", </x>; rel=\"last\", <https://c/>";
        let expected = "<http://h:1/?page=2>; rel=\"next\", </x>; rel=\"last\", <https://c/>";
        assert_eq!(moved(LINK, links, "http://h:1"), expected);
        assert_eq!(
            moved(REFRESH, "0; url=https://api.example/x", "http://h:1"),
            "0; url=http://h:1/x"
        );
        assert_eq!(moved(LOCATION, "https://api.example/x", ""), "/x");
    }

    #[test]
    fn cookies_belong_to_the_fake() {
        let cookie = "a=secure; Domain=.example; Path=/; Secure; HttpOnly; SameSite=None";
        assert_eq!(moved(SET_COOKIE, cookie, "http://h"), "a=secure; Path=/; HttpOnly");
        let expected = "a=secure; Path=/; Secure; HttpOnly; SameSite=None";
        assert_eq!(moved(SET_COOKIE, cookie, "https://h"), expected);
        assert_eq!(moved(SET_COOKIE, "a=1; Domain=c.org", "http://h"), "a=1; Domain=c.org");
        assert_eq!(moved(SET_COOKIE, "Secure=1; Path=/", "http://h"), "Secure=1; Path=/");
    }
}
