//! Paths on their way to an upstream and back: one prefix is taken off, another one is put on.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::fake::Mount;

/// How the paths of requests are changed for an upstream. By default they are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// The prefix that is taken off, without a final slash; empty: none.
    strip: Box<str>,
    /// The prefix that takes its place: the upstream's own, then the route's. Empty: none.
    add: Box<str>,
}

impl Paths {
    /// Takes the prefix `strip` off, and puts `base`, then `add` on. All of them are valid prefixes, or empty.
    pub fn new(strip: &str, add: &str, base: &str) -> Paths {
        Paths {
            strip: strip.into(),
            add: format!("{base}{add}").into(),
        }
    }

    /// What a fake has to know so that its links lead the client back to it.
    pub fn mount(&self) -> Mount {
        Mount {
            outer: self.strip.to_string(),
            inner: self.add.to_string(),
        }
    }

    /// Whether paths pass as they are.
    pub fn is_same(&self) -> bool {
        self.strip.is_empty() && self.add.is_empty()
    }

    /// The target of a request, a path with an optional query, as the upstream gets it. A path that does not have the prefix
    /// keeps all of itself. In a path that is changed, dot segments are resolved first (RFC 3986, section 5.2.4).
    pub fn to_upstream<'t>(&self, target: &'t [u8]) -> Cow<'t, [u8]> {
        if self.is_same() || !target.starts_with(b"/") {
            return Cow::Borrowed(target);
        }
        let (path, query) = split(target, b"?");
        let path = without_dots(path);
        let tail = without_prefix(&path, &self.strip).unwrap_or(&path);
        let mut sent = Vec::with_capacity(self.add.len() + tail.len() + query.len() + 1);
        sent.extend_from_slice(self.add.as_bytes());
        sent.extend_from_slice(tail);
        if sent.is_empty() {
            sent.push(b'/');
        }
        sent.extend_from_slice(query);
        Cow::Owned(sent)
    }

    /// What of the client's stands for a path of the upstream, with its query and fragment; `None` if the client can't reach it.
    pub fn to_client(&self, reference: &str) -> Option<String> {
        if self.is_same() {
            return Some(reference.to_owned());
        }
        let (path, rest) = split(reference.as_bytes(), b"?#");
        let path = without_dots(path);
        let tail = without_prefix(&path, &self.add)?;
        let tail = if tail.is_empty() && self.strip.is_empty() {
            b"/"
        } else {
            tail
        };
        let (tail, rest) = (std::str::from_utf8(tail).ok()?, std::str::from_utf8(rest).ok()?);
        Some(format!("{}{tail}{rest}", self.strip))
    }

    /// What of the client's stands for the path of a cookie. One above all of the upstream's paths becomes the one above all of
    /// the client's. `None`: it stands for nothing that the client can ask for.
    pub fn of_cookie(&self, path: &str) -> Option<String> {
        let all = || match &*self.strip {
            "" => "/".to_owned(),
            strip => strip.to_owned(),
        };
        match self.to_client(path) {
            // `/` would leave out the prefix itself.
            Some(mapped) if mapped.strip_suffix('/') == Some(&*self.strip) => Some(all()),
            Some(mapped) => Some(mapped),
            None if without_prefix(self.add.as_bytes(), path).is_some() => Some(all()),
            None => None,
        }
    }
}

/// Splits before the first of some bytes.
fn split<'t>(text: &'t [u8], at: &[u8]) -> (&'t [u8], &'t [u8]) {
    let end = text.iter().position(|byte| at.contains(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

/// What follows a prefix of whole segments, which may be percent-encoded in another way, with slashes repeated: nothing, or what
/// begins with a slash.
fn without_prefix<'p>(path: &'p [u8], prefix: &str) -> Option<&'p [u8]> {
    let mut rest = path;
    for wanted in prefix.split('/').filter(|segment| !segment.is_empty()) {
        let begin = rest.iter().position(|byte| *byte != b'/')?;
        let (segment, behind) = split(rest.get(begin..)?, b"/");
        if !percent_decode(segment).eq(percent_decode(wanted.as_bytes())) {
            return None;
        }
        rest = behind;
    }
    Some(rest)
}

/// A path without `.` and `..`, as rules see it, but with its percent-encoding. What upstreams are known to take for a slash or
/// for dots counts too (`%2F`, `%5C`, `\`, `..;x`), so that nothing leads out of a prefix.
fn without_dots(path: &[u8]) -> Cow<'_, [u8]> {
    let segments = || path.split(|byte| *byte == b'/');
    if !segments().any(|segment| pieces(segment).any(|piece| dots(piece).is_some())) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<Cow<'_, [u8]>> = Vec::new();
    let mut open = false;
    for segment in segments().filter(|segment| !segment.is_empty()) {
        let mut within: Vec<&[u8]> = Vec::new();
        let mut changed = false;
        for piece in pieces(segment) {
            let found = dots(piece);
            // A path that ends in a dot segment ends in a slash.
            open = found.is_some();
            changed |= open;
            match found {
                Some(2) if within.pop().is_none() => drop(kept.pop()),
                Some(_) => {}
                None => within.push(piece),
            }
        }
        match (changed, within.is_empty()) {
            (false, _) => kept.push(Cow::Borrowed(segment)),
            (true, true) => {}
            (true, false) => kept.push(Cow::Owned(within.join(&b"%2F"[..]))),
        }
    }
    let mut resolved = Vec::with_capacity(path.len());
    for segment in &kept {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if resolved.is_empty() || open || path.ends_with(b"/") {
        resolved.push(b'/');
    }
    Cow::Owned(resolved)
}

/// The parts of a segment between what some upstreams take for a slash.
fn pieces(segment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(segment);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let separator = |at: usize| match text.get(at..)? {
            [b'\\', ..] => Some(1),
            [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => Some(3),
            _ => None,
        };
        let found = (0..text.len()).find_map(|at| Some((at, separator(at)?)));
        let Some((at, length)) = found else { return Some(text) };
        rest = text.get(at + length..);
        text.get(..at)
    })
}

/// How many dots a part of a path consists of, one or two, however they are encoded, with or without parameters (`..;x`).
fn dots(piece: &[u8]) -> Option<usize> {
    let (name, _) = split(piece, b";");
    // Longer ones can't be: `%2e%2e`.
    if !(1..=6).contains(&name.len()) || !percent_decode(name).all(|byte| byte == b'.') {
        return None;
    }
    Some(percent_decode(name).count()).filter(|count| *count <= 2)
}
