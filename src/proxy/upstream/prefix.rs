//! Prefixes of paths, as they are typed.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What can't stand in a path as it is (RFC 3986, section 3.3), except what is encoded already.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'`')
    .add(b'|')
    .add(b'}');

/// Checks a prefix of paths, and returns it without a final slash.
///
/// # Errors
/// A sentence that says what is wrong and what would be valid.
pub fn check_prefix(key: &str, text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    if !text.starts_with('/') {
        return Err(format!("{key} must begin with a slash: use `/{prefix}`"));
    }
    if prefix.is_empty() {
        return Err(format!("{key} of `/` changes nothing: leave it out"));
    }
    if let Some(at) = prefix.find(['*', '{', '[', '^']) {
        let literal = prefix.get(..at).unwrap_or_default().trim_end_matches('/');
        let literal = if literal.is_empty() { "/api" } else { literal };
        return Err(format!(
            "{key} is not a pattern: give the prefix itself, such as `{literal}`"
        ));
    }
    if prefix.contains(['?', '#']) {
        return Err(format!("{key} is a prefix of paths, without `?` and `#`"));
    }
    let encoded = utf8_percent_encode(prefix, ENCODED).to_string();
    if encoded != prefix {
        return Err(format!("{key} must be percent-encoded, as in a URL: use `{encoded}`"));
    }
    let odd =
        |segment: &str| segment.is_empty() || matches!(&*percent_decode_str(segment).decode_utf8_lossy(), "." | "..");
    if prefix.split('/').skip(1).any(odd) {
        return Err(format!("{key} can't have `.`, `..` or empty segments"));
    }
    Ok(prefix.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let check = |text| check_prefix("`strip_prefix`", text);
        for (text, prefix) in [
            ("/a", "/a"),
            ("/a/", "/a"),
            ("/a/b//", "/a/b"),
            ("/a%20b", "/a%20b"),
            ("/~x", "/~x"),
        ] {
            assert_eq!(check(text).as_deref(), Ok(prefix));
        }
        for (text, part) in [
            ("a", "use `/a`"),
            ("/", "leave it out"),
            ("/a/**", "such as `/a`"),
            ("/{id}", "such as `/api`"),
            ("/a?x", "without `?`"),
            ("/a b", "use `/a%20b`"),
            ("/a/../b", "segments"),
            ("/a/%2e%2E", "segments"),
            ("/a//b", "segments"),
        ] {
            let message = check(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
