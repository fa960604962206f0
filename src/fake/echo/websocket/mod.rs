//! WebSocket: each message comes back as it is (RFC 6455). Extensions such as compression are not negotiated.

mod session;

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream::unfold;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::session::Session;
use crate::fake::reply::{budget_of, error, with_field};
use crate::fake::tunnel::Tunnel;

/// What the key is hashed with (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How much is read at once from the socket of a fake of its own.
const READ_BYTES: usize = 16 * 1024;

/// Whether a request asks for a WebSocket, and can get one.
pub(super) fn is_asked(request: &Request) -> bool {
    let can = |request: &Request| {
        let extensions = request.extensions();
        extensions.get::<Tunnel>().is_some() || extensions.get::<OnUpgrade>().is_some()
    };
    request.version() == Version::HTTP_11
        && has_token(request.headers(), &UPGRADE, "websocket")
        && has_token(request.headers(), &CONNECTION, "upgrade")
        && can(request)
}

/// Shakes hands, and gives every message back until either side closes.
pub(super) fn accept(mut request: Request) -> Response {
    let response = match checked_key(&request) {
        Ok(key) => switching(request.headers(), key),
        Err((status, text)) => return with_field(error(status, text), SEC_WEBSOCKET_VERSION, "13"),
    };
    let session = Session::new(&budget_of(request.extensions()));
    if let Some(bytes) = request.extensions().get().and_then(Tunnel::take) {
        return response.map(|_| in_process(session, bytes));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // Fails if the client has left before the 101 was sent.
        if let Ok(upgraded) = upgrade.await
            && let Err(error) = on_socket(session, TokioIo::new(upgraded)).await
        {
            tracing::debug!(%error, "a WebSocket broke off");
        }
    });
    response
}

/// The key of a valid handshake (RFC 6455, section 4.2.1), or the status and the text of its refusal.
fn checked_key(request: &Request) -> Result<&str, (StatusCode, &'static str)> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
        return Err((
            StatusCode::UPGRADE_REQUIRED,
            "only version 13 of WebSocket is spoken here",
        ));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let is_valid = |key: &&str| BASE64.decode(key).is_ok_and(|key| key.len() == 16);
    key.map(str::trim).filter(is_valid).ok_or((
        StatusCode::BAD_REQUEST,
        "Sec-WebSocket-Key must be 16 bytes in Base64 (RFC 6455, section 4.1)",
    ))
}

/// The response that switches protocols (RFC 6455, section 4.2.2).
fn switching(headers: &HeaderMap, key: &str) -> Response {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response = with_field(response, CONNECTION, "Upgrade");
    response = with_field(response, UPGRADE, "websocket");
    response = with_field(response, SEC_WEBSOCKET_ACCEPT, &BASE64.encode(hash));
    // Browsers close a WebSocket for which none of the protocols that they offer is chosen.
    match tokens(headers, &SEC_WEBSOCKET_PROTOCOL).next() {
        Some(first) => with_field(response, SEC_WEBSOCKET_PROTOCOL, first),
        None => response,
    }
}

fn in_process(session: Session, bytes: Body) -> Body {
    Body::from_stream(unfold((session, bytes), |(mut session, mut bytes)| async move {
        loop {
            let output = session.take_output();
            if !output.is_empty() {
                return Some((Ok::<_, Infallible>(output), (session, bytes)));
            }
            if session.is_over() {
                return None;
            }
            // The client's end without a close frame is the end.
            let frame = bytes.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                session.receive(data);
            }
        }
    }))
}

async fn on_socket(mut session: Session, mut socket: TokioIo<Upgraded>) -> std::io::Result<()> {
    let mut buffer = bytes::BytesMut::with_capacity(READ_BYTES);
    loop {
        socket.write_all(&session.take_output()).await?;
        if session.is_over() {
            return socket.shutdown().await;
        }
        buffer.reserve(READ_BYTES);
        if socket.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        session.receive(buffer.split().freeze());
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|own| own.eq_ignore_ascii_case(token))
}

/// The members of a list, over all fields of the name.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let members = values.flat_map(|value| value.split(','));
    members.map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(fields: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().uri("/chat").extension(Tunnel::new(Body::empty()));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    const VALID: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        // The example of RFC 6455, section 1.3.
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn a_handshake_is_answered() {
        let request = asking(&VALID);
        assert!(is_asked(&request));
        let response = accept(request);
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
        let offering = [VALID.as_slice(), &[("sec-websocket-protocol", "a, b")]].concat();
        assert_eq!(accept(asking(&offering)).headers()[SEC_WEBSOCKET_PROTOCOL], "a");
    }

    #[test]
    fn a_bad_handshake_is_refused() {
        let with = |name: &str, value| {
            let fields = VALID.map(|(own, valid)| (own, if own == name { value } else { valid }));
            asking(&fields)
        };
        assert_eq!(accept(with("sec-websocket-version", "8")).status(), 426);
        assert_eq!(accept(with("sec-websocket-key", "short")).status(), 400);
        assert_eq!(accept(with("sec-websocket-key", "AAAA")).status(), 400);
        let mut post = asking(&VALID);
        *post.method_mut() = Method::POST;
        assert_eq!(accept(post).status(), 405);
        assert!(!is_asked(&with("upgrade", "h2c")) && !is_asked(&with("connection", "close")));
        let mut alone = asking(&VALID);
        alone.extensions_mut().remove::<Tunnel>();
        assert!(!is_asked(&alone));
    }
}
