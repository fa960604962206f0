//! A request head in one piece of memory, so that keeping it costs one allocation, and its size is known.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::draw::head::{self, Head};

/// The most bytes of one head that are kept. Fields beyond it are left out, and the entry says so.
const MOST: usize = 8 << 10;

/// What most heads take, in bytes.
const USUAL: usize = 768;

/// The lengths before each field: of its name and of its value.
const LENGTHS: usize = 4;

/// A request head as it is kept: the target, the authority, then fields with their lengths before them.
#[derive(Debug, Clone, Default)]
pub struct KeptHead {
    method: Option<Method>,
    bytes: Box<[u8]>,
    /// How many of the bytes are the target, and how many are the authority.
    target: u16,
    authority: u16,
    has_authority: bool,
    cut: bool,
}

impl KeptHead {
    /// Keeps a request head. `authority` is HTTP/2's, or that of an absolute target.
    pub fn new(method: &Method, target: &str, authority: Option<&str>, headers: &HeaderMap) -> KeptHead {
        KeptHead::within(MOST, Some(method), (target, authority), headers)
    }

    /// Keeps the name that a client asked for in its TLS handshake.
    pub fn of_connection(name: Option<&str>) -> KeptHead {
        KeptHead::within(MOST, None, ("", name), &HeaderMap::new())
    }

    fn within(
        most: usize,
        method: Option<&Method>,
        (target, authority): (&str, Option<&str>),
        headers: &HeaderMap,
    ) -> KeptHead {
        let (target_all, authority_all) = (target, authority.unwrap_or_default());
        let target = target_all
            .get(..target_all.floor_char_boundary(most))
            .unwrap_or_default();
        let room = most - target.len();
        let authority = authority_all
            .get(..authority_all.floor_char_boundary(room))
            .unwrap_or_default();
        let mut cut = target.len() < target_all.len() || authority.len() < authority_all.len();
        // One pass over the fields: counting them first would take longer than what is too much is worth.
        let mut bytes = Vec::with_capacity(USUAL);
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend_from_slice(authority.as_bytes());
        // Lengths fit: all of the bytes are at most `most`.
        let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            if bytes.len() + LENGTHS + name.len() + value.len() > most {
                cut = true;
                break;
            }
            bytes.extend_from_slice(&short(name.len()).to_le_bytes());
            bytes.extend_from_slice(&short(value.len()).to_le_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        KeptHead {
            method: method.cloned(),
            target: short(target.len()),
            authority: short(authority.len()),
            has_authority: !authority.is_empty(),
            bytes: bytes.into_boxed_slice(),
            cut,
        }
    }

    /// The method; `None` for a connection, and for a request whose head was refused.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The target: a path with an optional query.
    pub fn target(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes.get(..self.target.into()).unwrap_or_default())
    }

    /// HTTP/2's authority, or that of an absolute target, or the name that a connection's client asked for.
    pub fn authority(&self) -> Option<Cow<'_, str>> {
        let (from, length) = (usize::from(self.target), usize::from(self.authority));
        let authority = self.bytes.get(from..from + length).unwrap_or_default();
        self.has_authority.then(|| String::from_utf8_lossy(authority))
    }

    /// Whether a part of the head was left out because it was too large.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The bytes in memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The fields, as names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self
            .bytes
            .get(usize::from(self.target) + usize::from(self.authority)..)
            .unwrap_or_default();
        std::iter::from_fn(move || {
            let ([a, b, c, d], behind) = rest.split_first_chunk::<LENGTHS>()?;
            let (name, value) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
            let (name, behind) = behind.split_at_checked(name.into())?;
            let (value, behind) = behind.split_at_checked(value.into())?;
            rest = behind;
            Some((std::str::from_utf8(name).unwrap_or_default(), value))
        })
    }

    /// The first value of a field; `None` if there is none, or if it is not text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields().find(|(other, _)| *other == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The space that the request names.
    pub fn space(&self) -> Option<String> {
        // Looked for first, since most requests have neither, and a map takes much longer to make.
        let names = |(name, _): (&str, &[u8])| name == head::SPACE_FIELD || name == "baggage";
        if !self.fields().any(names) {
            return None;
        }
        head::space_of(&self.headers()).map(Cow::into_owned)
    }

    /// The fields as a map, as rules match them.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.fields() {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Makes the head again, as rules see it, for a request from `client` to `upstream`. A connection's client offered `protocols` in
    /// its TLS handshake.
    pub fn with<T>(
        &self,
        (client, upstream): (Option<std::net::IpAddr>, &str),
        protocols: &[String],
        then: impl FnOnce(&Head<'_>) -> T,
    ) -> T {
        let (target, authority) = (self.target(), self.authority());
        let Some(method) = &self.method else {
            let head = Head::of_connection(client, authority.as_deref()).offering(protocols);
            return then(&head.to(upstream));
        };
        let headers = self.headers();
        then(&Head::new(method, &target, authority.as_deref(), &headers, client).to(upstream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn a_head_comes_back_as_it_was() {
        let fields = headers(&[
            ("host", "shop.example:8080"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-empty", ""),
        ]);
        let kept = KeptHead::new(&Method::POST, "/pay?x=1", None, &fields);
        assert_eq!((&*kept.target(), kept.authority()), ("/pay?x=1", None));
        assert_eq!(kept.headers(), fields);
        assert_eq!(kept.field("x-a"), Some("1"));
        assert!(!kept.is_cut());
        kept.with((None, ""), &[], |head| {
            assert_eq!((head.path(), head.host()), ("/pay", "shop.example"));
            assert_eq!(head.method, Method::POST);
        });
        let kept = KeptHead::new(&Method::GET, "/", Some("a.example"), &HeaderMap::new());
        kept.with((None, ""), &[], |head| assert_eq!(head.host(), "a.example"));
        let kept = KeptHead::of_connection(Some("db.example"));
        kept.with((None, ""), &[], |head| {
            assert!(head.is_connection());
            assert_eq!(head.host(), "db.example");
        });
    }

    #[test]
    fn a_large_head_is_cut_and_says_so() {
        let fields = headers(&[("host", "a"), ("x-large", &"x".repeat(100)), ("x-after", "b")]);
        for most in 0..200 {
            let kept = KeptHead::within(most, Some(&Method::GET), ("/päth", None), &fields);
            assert!(kept.size() <= most);
            assert_eq!(kept.is_cut(), most < 6 + 9 + 111 + 12, "{most}");
            let count = kept.fields().count();
            assert!(count == 3 || kept.is_cut());
            kept.with((None, ""), &[], |head| assert!("/päth".starts_with(head.path())));
        }
    }

    #[test]
    fn the_space_is_that_which_the_request_names() {
        let space = |pairs: &[(&'static str, &str)]| KeptHead::new(&Method::GET, "/", None, &headers(pairs)).space();
        assert_eq!(space(&[("host", "a")]), None);
        assert_eq!(space(&[("squall-space", "t1")]).as_deref(), Some("t1"));
        assert_eq!(space(&[("baggage", "a=b,squall-space=t2")]).as_deref(), Some("t2"));
    }
}
