//! Queries and paths as they stand in a URL.

use percent_encoding::percent_decode_str;

/// The names and values of a query, decoded, in order.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    decode_path(&text.replace('+', " "))
}

/// A path or a part of one, decoded. What is no UTF-8 becomes U+FFFD.
pub(super) fn decode_path(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The response without its body, for HEAD: its length stays as a field (RFC 9110, section 9.3.2).
pub(super) fn without_body(response: axum::response::Response) -> axum::response::Response {
    let (mut head, body) = response.into_parts();
    if let Some(length) = axum::body::HttpBody::size_hint(&body).exact() {
        head.headers
            .entry(http::header::CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    axum::response::Response::from_parts(head, axum::body::Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_queries_have_pairs_too() {
        let read = |query: &str| -> Vec<String> { pairs(query).iter().map(|(n, v)| format!("{n}:{v}")).collect() };
        assert_eq!(
            read("a=1&&b&=c&d=%zz+%C3%A9&e==f"),
            ["a:1", "b:", ":c", "d:%zz é", "e:=f"]
        );
        assert!(read("").is_empty());
    }
}
