//! `/status/{codes}`: a status of one's choice, or one of several, by weight.

use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION, PROXY_AUTHENTICATE, WWW_AUTHENTICATE};

use super::response::{TEXT, bad, empty, header, typed};
use crate::fake::made_up::dice::Dice;

/// What `/image` and a 406 say that there is.
const ACCEPTABLE: &str = "{\"message\": \"Client did not request a supported media type.\", \
    \"accept\": [\"image/webp\", \"image/svg+xml\", \"image/jpeg\", \"image/png\", \"image/*\"]}";

const TEAPOT: &str = r"
          ( (
           ) )
        .______.
    _  /        \  __
   ( \_|  tea   |_/ /
    \__         __/
       \_______/
";

/// `503`, or `200:0.9,500:0.1`; a code without a weight weighs 1. A single one has no weight, as in httpbin.
pub(super) fn route(codes: &str, dice: &mut Dice) -> Response {
    let mut choices: Vec<(u16, f64)> = Vec::new();
    if codes.contains(':') && !codes.contains(',') {
        return bad("Invalid status code");
    }
    for choice in codes.split(',') {
        let (code, weight) = choice.split_once(':').unwrap_or((choice, "1"));
        match (code.trim().parse::<u16>(), weight.trim().parse::<f64>()) {
            // Final ones only: a 1xx can't be the whole response (RFC 9110, section 15.2).
            (Ok(code @ 200..=999), Ok(weight)) if weight.is_finite() && weight >= 0.0 => choices.push((code, weight)),
            _ => return bad("Invalid status code"),
        }
    }
    let total: f64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut left = dice.unit() * total;
    for (code, weight) in &choices {
        left -= weight;
        if left < 0.0 {
            return response(*code);
        }
    }
    match choices.last() {
        Some((code, _)) if total > 0.0 || choices.len() == 1 => response(*code),
        _ => bad("the weights are all zero"),
    }
}

/// The response with this status, with the fields that go with it.
pub(super) fn response(code: u16) -> Response {
    let Ok(status) = StatusCode::from_u16(code) else {
        return bad("Invalid status code");
    };
    let untyped = |body: &'static str| {
        let mut response = typed(status, TEXT, body);
        response.headers_mut().remove(CONTENT_TYPE);
        response
    };
    let more = |body, url| header(untyped(body), "x-more-info", url);
    match code {
        301 | 302 | 303 | 305 | 307 => header(untyped(""), LOCATION, "/redirect/1"),
        304 => untyped(""),
        401 => header(untyped(""), WWW_AUTHENTICATE, "Basic realm=\"Fake Realm\""),
        402 => more(
            "Coins first, please.",
            "https://www.rfc-editor.org/rfc/rfc9110#section-15.5.3",
        ),
        406 => typed(status, "application/json", ACCEPTABLE),
        407 => header(untyped(""), PROXY_AUTHENTICATE, "Basic realm=\"Fake Realm\""),
        418 => more(TEAPOT, "http://tools.ietf.org/html/rfc2324"),
        _ => empty(status),
    }
}
