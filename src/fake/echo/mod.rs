//! `echo`: answers every request with what arrived, as JSON.
//!
//! ```json
//! {"method":"POST","path":"/a%20b","query":{"x":["1","2"]},"headers":{"host":"localhost"},
//!  "body":"hello","body_bytes":5,"client":"127.0.0.1","http_version":"HTTP/1.1"}
//! ```
//!
//! `path` is as it arrived, not decoded. A query parameter or header that comes more than once has a list. A body that
//! is not UTF-8 is `{"base64":"…"}`. Bodies over [`BODY_LIMIT`] get a 413.
//!
//! A few paths answer with something long or slow instead: see [`streams`]. A browser at `/` gets a page that documents
//! them. On any other path, a WebSocket gets its messages back; gRPC has services of its own, see [`grpc`].

mod grpc;
mod streams;
mod websocket;

use std::net::IpAddr;

use axum::Router;
use axum::extract::{Query, Request};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::page::{page, rows};
use crate::fake::query::{Pairs, grouped};
use crate::fake::reply::{Address, BodyError, client_of, error, json, read_body};

const INTRODUCTION: &str = "A fake served by squall: it returns every request as JSON. A few paths return something long or \
    slow instead. A WebSocket on any other path returns each message. Over HTTP/2 there is a gRPC service too, squall.echo.v1.Echo, \
    with reflection and health checks.";

/// The rows of the page, see [`rows`].
const ROWS: &str = r#"
any | /anything | the request as JSON |  | -d hello /a/b?x=1
GET | /bytes/{size} | this number of bytes: 1000, 64KiB, 4GiB |  | -o /dev/null /bytes/64KiB
GET | /lines/{n} | this number of JSON lines | every: the time between two of them | -N /lines/5?every=200ms
GET | /events/{n} | this number of server-sent events | every: the time between two of them | -N /events/5?every=200ms
POST | /count | the body's length and Adler-32 checksum |  | -d hello /count
"#;

/// The longest body that is echoed, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// From this many bytes of body on, the reply is put together off the async workers, which would stand still for
/// milliseconds.
const LARGE_BODY: usize = 128 * 1024;

/// Every method and path goes to the one handler, but for a few long ones.
pub(super) fn router() -> Router {
    streams::router().fallback(echo)
}

async fn echo(request: Request) -> Response {
    if websocket::is_asked(&request) {
        return websocket::accept(request);
    }
    if grpc::is_call(&request) {
        return grpc::call(request).await;
    }
    let (parts, body) = request.into_parts();
    if wants_page(&parts) {
        return page("Echo", INTRODUCTION, &rows(ROWS), &Address::of(&parts));
    }
    let body = match read_body(&parts.extensions, body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(problem @ BodyError::TooLarge) => return error(problem.status(), "the body is longer than 16 MiB"),
        Err(problem @ BodyError::Full) => return error(problem.status(), BodyError::FULL),
        Err(problem @ BodyError::Broken) => return error(problem.status(), "the body could not be read"),
    };
    if body.len() < LARGE_BODY {
        return json(StatusCode::OK, &describe(&parts, &body));
    }
    let large = tokio::task::spawn_blocking(move || json(StatusCode::OK, &describe(&parts, &body)));
    large
        .await
        .unwrap_or_else(|_| error(StatusCode::INTERNAL_SERVER_ERROR, "the response could not be generated"))
}

/// A browser gets the documentation at `/`; other clients get the echo there, too.
fn wants_page(parts: &Parts) -> bool {
    let accept = parts.headers.get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    parts.method == Method::GET && parts.uri.path() == "/" && accept.starts_with(b"text/html")
}

fn describe(parts: &Parts, body: &Bytes) -> Value {
    json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": query(parts),
        "headers": headers(parts),
        "body": text_or_base64(body),
        "body_bytes": body.len(),
        "client": client_of(&parts.extensions).as_ref().map(IpAddr::to_string),
        "http_version": format!("{:?}", parts.version),
    })
}

fn query(parts: &Parts) -> Value {
    let pairs = Query::<Pairs>::try_from_uri(&parts.uri).map(|query| query.0);
    grouped(pairs.unwrap_or_default())
}

fn headers(parts: &Parts) -> Value {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    grouped(
        parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value))),
    )
}

fn text_or_base64(body: &Bytes) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({ "base64": BASE64.encode(body) }),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::header;
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use tower::ServiceExt as _;

    use super::*;
    use crate::fake::reply::Client;

    async fn send(request: Request) -> (StatusCode, http::HeaderMap, Bytes) {
        let response = router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn everything_that_arrived_comes_back() {
        let request = Request::builder()
            .method("BREW")
            .uri("/a%20b//c?x=1&y=%C3%A4&x=2+3&z")
            .header("Host", "pot")
            .header("X-B", "1")
            .header("X-A", "2")
            .header("X-B", "3")
            .extension(Client("192.0.2.7".parse().unwrap()))
            .body(Body::from("grüße"))
            .unwrap();
        let (status, headers, body) = send(request).await;
        assert_eq!(status, 200);
        assert_eq!(headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(headers[header::CONTENT_LENGTH], body.len().to_string().as_str());
        assert_eq!(
            body,
            concat!(
                r#"{"method":"BREW","path":"/a%20b//c","query":{"x":["1","2 3"],"y":"ä","z":""},"#,
                r#""headers":{"host":"pot","x-b":["1","3"],"x-a":"2"},"body":"grüße","body_bytes":7,"#,
                r#""client":"192.0.2.7","http_version":"HTTP/1.1"}"#
            )
        );
    }

    #[tokio::test]
    async fn a_head_request_gets_the_headers_alone() {
        let request = Request::builder()
            .method(Method::HEAD)
            .uri("/")
            .body(Body::empty())
            .unwrap();
        let (status, headers, body) = send(request).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        assert_ne!(headers[header::CONTENT_LENGTH], "0");
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_taken() {
        let request = Request::new(Body::from(vec![b'x'; BODY_LIMIT]));
        let (status, _, body) = send(request).await;
        assert_eq!(status, 200);
        assert!(body.len() > BODY_LIMIT);
        let request = Request::new(Body::from(vec![b'x'; BODY_LIMIT + 1]));
        assert_eq!(send(request).await.0, 413);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_marked() {
        let (_, _, body) = send(Request::new(Body::from(&b"\xff\x00"[..]))).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["body"], json!({ "base64": "/wA=" }));
        assert_eq!(body["body_bytes"], 2);
    }

    proptest! {
        #[test]
        fn any_query_is_described(raw in "[!-~&&[^#<>\"]]{0,60}") {
            if let Ok(uri) = http::Uri::try_from(format!("/?{raw}")) {
                let parts = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
                prop_assert!(describe(&parts, &Bytes::new()).is_object());
            }
        }
    }
}
