//! Responses of a certain format: documents, images, encodings. All are this project's own.

use std::io::Write as _;

use axum::response::Response;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use serde_json::{Value, json};

use super::request::HttpbinRequest;
use super::response::{HTML, header, reply, typed};
use super::{python_json, status};

const PAGE: &str = "<!DOCTYPE html>\n<html>\n  <head>\n    <title>A page</title>\n  </head>\n  <body>\n    <h1>The slow boat</h1>\n    \
    <p>It was late, as it always was, and nobody on the quay had expected anything else.</p>\n  </body>\n</html>\n";

const FORM: &str = "<!DOCTYPE html>\n<html>\n  <body>\n    <form method=\"post\" action=\"/post\">\n      \
    <p><label>Name <input name=\"custname\"></label>\n      <p><label>Telephone <input type=\"tel\" name=\"custtel\"></label>\n      \
    <p><label>E-mail <input type=\"email\" name=\"custemail\"></label>\n      \
    <p><label>Size <select name=\"size\"><option>small<option>medium<option>large</select></label>\n      \
    <p><label><input type=\"checkbox\" name=\"topping\" value=\"cheese\"> Cheese</label>\n      \
    <label><input type=\"checkbox\" name=\"topping\" value=\"onion\"> Onion</label>\n      \
    <p><label>When <input type=\"time\" name=\"delivery\"></label>\n      \
    <p><label>Remarks <textarea name=\"comments\"></textarea></label>\n      <p><button>Send</button>\n    </form>\n  </body>\n</html>\n";

const XML: &str = "<?xml version='1.0' encoding='us-ascii'?>\n<slideshow title=\"Slides\" date=\"Some day\" author=\"squall\">\n  \
    <slide type=\"all\">\n    <title>What waits</title>\n  </slide>\n  <slide type=\"all\">\n    <title>What breaks</title>\n    \
    <item>Connections</item>\n    <item>Promises</item>\n  </slide>\n</slideshow>\n";

const UTF8: &str = "<h1>Text in UTF-8</h1>\n<pre>\nGrüße · ça va · ¿qué? · Ελληνικά · Русский · עברית · العربية · ไทย · 日本語 · 한국어\n\
    ∮ E⋅da = Q, n → ∞, ∑ f(i) = ∏ g(i), ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋\n╔══╦══╗ ┌──┬──┐ ☀ ☂ ♞ 😀\n</pre>\n";

const DENY: &str = "     .--------.\n    /  -    -  \\\n   |   o    o   |\n    \\    __    /\n     '--------'\n  Robots were asked to stay out\n";

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" fill=\"#f0f0e6\"/>\
    <circle cx=\"16\" cy=\"16\" r=\"10\" fill=\"#28c878\"/></svg>\n";

pub(super) fn document(name: &str) -> Option<Response> {
    Some(match name {
        "html" => typed(StatusCode::OK, HTML, PAGE),
        "xml" => typed(StatusCode::OK, "application/xml", XML),
        "robots.txt" => typed(StatusCode::OK, "text/plain", "User-agent: *\nDisallow: /deny\n"),
        "deny" => typed(StatusCode::OK, "text/plain", DENY),
        "encoding/utf8" => typed(StatusCode::OK, HTML, UTF8),
        "forms/post" => typed(StatusCode::OK, HTML, FORM),
        "json" => reply(StatusCode::OK, &slides()),
        _ => return None,
    })
}

fn slides() -> Value {
    json!({"slideshow": {
        "author": "squall",
        "date": "some day",
        "title": "Slides",
        "slides": [
            {"title": "What waits", "type": "all"},
            {"title": "What <em>breaks</em>", "type": "all", "items": ["Connections", "Promises"]},
        ],
    }})
}

/// The image of this kind, or the one that the client would rather have.
pub(super) fn image(kind: &str) -> Option<Response> {
    let (content_type, image) = match kind {
        "png" => ("image/png", &include_bytes!("images/checks.png")[..]),
        "jpeg" => ("image/jpeg", &include_bytes!("images/checks.jpeg")[..]),
        "webp" => ("image/webp", &include_bytes!("images/checks.webp")[..]),
        "svg" => ("image/svg+xml", SVG.as_bytes()),
        _ => return None,
    };
    Some(typed(StatusCode::OK, content_type, image))
}

pub(super) fn negotiated_image(request: &HttpbinRequest) -> Response {
    let Some(accept) = request.header("accept").map(|accept| accept.to_ascii_lowercase()) else {
        return image("png").unwrap_or_else(|| status::response(406));
    };
    let kinds = [
        ("image/webp", "webp"),
        ("image/svg+xml", "svg"),
        ("image/jpeg", "jpeg"),
        ("image/png", "png"),
        ("image/*", "png"),
    ];
    let kind = kinds.iter().find(|(wanted, _)| accept.contains(wanted));
    kind.and_then(|(_, kind)| image(kind))
        .unwrap_or_else(|| status::response(406))
}

/// The request, described in a compressed body, whether the client accepts that or not, as in httpbin.
pub(super) fn encoded(request: &HttpbinRequest, name: &str) -> Response {
    let mut described = request.describe(&["origin", "headers", "method"]);
    let (flag, coding) = match name {
        "gzip" => ("gzipped", "gzip"),
        "deflate" => ("deflated", "deflate"),
        _ => ("brotli", "br"),
    };
    described.insert(flag.to_owned(), Value::Bool(true));
    let text = python_json::pretty(&Value::Object(described));
    let compressed = match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(4));
            encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish())
        }
        // The zlib format (RFC 9110, section 8.4.1.2).
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish())
        }
        _ => {
            let mut out = Vec::new();
            let params = brotli::enc::BrotliEncoderParams::default();
            brotli::BrotliCompress(&mut text.as_bytes(), &mut out, &params).map(|_| out)
        }
    };
    match compressed {
        Ok(bytes) => header(
            typed(StatusCode::OK, "application/json", bytes),
            CONTENT_ENCODING,
            coding,
        ),
        Err(_) => status::response(500),
    }
}
