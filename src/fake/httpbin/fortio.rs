//! fortio's query parameters, on every route: `delay=150us:10,2ms:5`, `status=503:5`, `size=1000`, `close=5.3`,
//! `header=Name:value`.
//!
//! Numbers after a colon are percentages; the remaining requests are answered as always. Ignored are parameters
//! that fortio would not understand, and those that the route has itself ([`OWN`]).

use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;

use super::request::HttpbinRequest;
use super::response::{chosen_header, header, typed};
use crate::fake::made_up::dice::Dice;

/// Paths, by their first segment, that have these query parameters themselves, or any (`*`).
const OWN: &[(&str, &[&str])] = &[
    ("drip", &["delay"]),
    ("sse", &["delay"]),
    ("response-headers", &["*"]),
    ("trailers", &["*"]),
    ("cookies", &["*"]),
    ("redirect-to", &["*"]),
];

/// The longest delay, as with `/delay`.
const DELAY_LIMIT: Duration = Duration::from_secs(10);

/// The longest body in bytes, as fortio has it unless told otherwise.
const SIZE_LIMIT: usize = 256 * 1024;

/// What the query asks for, drawn once for a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wishes {
    pub(super) delay: Duration,
    status: Option<StatusCode>,
    size: Option<usize>,
    close: bool,
    headers: Vec<(String, String)>,
}

impl Wishes {
    pub(super) fn draw(request: &HttpbinRequest, dice: &mut Dice) -> Self {
        let route = request.path.split('/').nth(1).unwrap_or_default();
        let own = OWN
            .iter()
            .find(|(name, _)| *name == route)
            .map_or(&[][..], |(_, own)| *own);
        let mut wishes = Self::default();
        for (name, value) in &request.query {
            if own.contains(&"*") || own.contains(&name.as_str()) {
                continue;
            }
            match name.as_str() {
                "delay" => {
                    let drawn = pick(value, dice, |text| humantime::parse_duration(text).ok());
                    wishes.delay = drawn.unwrap_or_default().min(DELAY_LIMIT);
                }
                "status" => {
                    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (200..=999).contains(code));
                    wishes.status = pick(value, dice, code).and_then(|code| StatusCode::from_u16(code).ok());
                }
                "size" => {
                    wishes.size = pick(value, dice, |text| text.parse::<usize>().ok()).map(|size| size.min(SIZE_LIMIT))
                }
                "close" => {
                    wishes.close =
                        value == "true" || value.parse().is_ok_and(|percent: f64| dice.unit() * 100.0 < percent)
                }
                "header" => wishes.headers.extend(
                    value
                        .split_once(':')
                        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())),
                ),
                _ => {}
            }
        }
        wishes
    }

    /// The response, with what was wished for.
    pub(super) fn apply(self, mut response: Response) -> Response {
        if let Some(size) = self.size {
            let status = response.status();
            response = typed(status, "application/octet-stream", Bytes::from(vec![b'x'; size]));
        }
        if let Some(status) = self.status {
            *response.status_mut() = status;
        }
        if self.close {
            response = header(response, "connection", "close");
        }
        for (name, value) in &self.headers {
            response = chosen_header(response, name, value);
        }
        response
    }
}

/// One of `value:percent,value:percent`, or none for the percentages that remain. A single value needs none.
fn pick<T>(text: &str, dice: &mut Dice, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut choices = Vec::new();
    for choice in text.split(',') {
        let (value, percent) = choice.split_once(':').unwrap_or((choice, "100"));
        choices.push((parse(value.trim())?, percent.trim().parse::<f64>().ok()?));
    }
    let mut left = dice.unit() * 100.0;
    choices.into_iter().find_map(|(value, percent)| {
        left -= percent;
        (left < 0.0).then_some(value)
    })
}
