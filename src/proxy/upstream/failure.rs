//! What the client is told when an upstream fails by itself.
//!
//! Such an answer is natural: it carries no `Squall-Fault` header, and its body names squall, the upstream and the cause,
//! so that nobody takes it for an injected fault or for an answer of the upstream.

use std::io;

use pingora::{Error, ErrorSource, ErrorType};

use super::resolve::RESOLVE_FAILED;

/// A natural failure of an upstream, in the form that a client and a metric need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status to answer with: 502 or 504 (RFC 9110 sections 15.6.3 and 15.6.5), 500 if squall itself is at fault,
    /// 400 if the client's request is, 0 if the client is gone and nobody can be answered.
    pub status: u16,
    /// One of few words, for a metric's label and the log: `refused`, `timeout`, `resolve`, `unreachable`, `tls`,
    /// `reset`, `closed`, `protocol`, `internal`, `client`.
    pub reason: &'static str,
    /// The answer's body, a line of plain text: `squall: upstream shop: connection refused (127.0.0.1:1)`.
    pub text: String,
}

/// Tells what went wrong at `endpoint`, if one was chosen, of the upstream called `upstream`.
pub fn describe_error(error: &Error, upstream: &str, endpoint: Option<&str>) -> Failure {
    if error.esource() == &ErrorSource::Downstream {
        return of_client(error);
    }
    let (status, reason, cause) = classify(error);
    let mut text = format!("squall: upstream {upstream}: {cause}");
    if let Some(endpoint) = endpoint {
        text.push_str(&format!(" ({endpoint})"));
    }
    text.push('\n');
    Failure { status, reason, text }
}

/// The client went away, or sent what can't be forwarded.
fn of_client(error: &Error) -> Failure {
    let gone = matches!(
        error.etype(),
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed
    );
    let (status, text) = match error.etype() {
        _ if gone => (0, String::new()),
        ErrorType::HTTPStatus(status) => (*status, "squall: the request was refused\n".to_owned()),
        ErrorType::ReadTimedout => (408, "squall: the request took too long to arrive\n".to_owned()),
        _ => (400, "squall: the request is not valid HTTP\n".to_owned()),
    };
    let reason = "client";
    Failure { status, reason, text }
}

fn classify(error: &Error) -> (u16, &'static str, String) {
    let owned = str::to_owned;
    match error.etype() {
        ErrorType::ConnectRefused => (502, "refused", owned("connection refused")),
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => (504, "timeout", owned("connecting timed out")),
        ErrorType::ReadTimedout => (504, "timeout", owned("no answer in time")),
        ErrorType::WriteTimedout => (504, "timeout", owned("it did not take the request in time")),
        ErrorType::ConnectNoRoute => (502, "unreachable", owned("no route to it")),
        ErrorType::ConnectError | ErrorType::BindError | ErrorType::SocketError | ErrorType::ConnectProxyFailure => {
            (502, "unreachable", unreachable(error))
        }
        kind if *kind == RESOLVE_FAILED => (502, "resolve", resolve_reason(error)),
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSWantX509Lookup
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => (502, "tls", format!("TLS: {}", tls_reason(error))),
        ErrorType::ConnectionClosed => (
            502,
            "closed",
            owned("it closed the connection before the answer was complete"),
        ),
        ErrorType::ReadError | ErrorType::WriteError => broken(error),
        ErrorType::H2Error => h2_reason(error),
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::InvalidH2 | ErrorType::H2Downgrade => {
            (502, "protocol", owned("its answer is not valid HTTP"))
        }
        ErrorType::HTTPStatus(status) => (*status, "protocol", owned("its answer can't be forwarded")),
        // Chiefly a lack of file descriptors or local ports: squall's trouble.
        ErrorType::InternalError => match root_io(error) {
            Some(error) => (500, "internal", format!("squall can't connect: {error}")),
            None => (500, "internal", owned("squall could not handle the request")),
        },
        // Whatever else has the upstream as its source is a failure of the gateway's other side.
        other if error.esource() == &ErrorSource::Upstream => (502, "protocol", format!("failed: {}", other.as_str())),
        _ => (500, "internal", owned("squall could not handle the request")),
    }
}

fn root_io(error: &Error) -> Option<&io::Error> {
    error.root_cause().downcast_ref::<io::Error>()
}

/// For a Unix socket: no such file, permission denied; for an address: what the system says.
fn unreachable(error: &Error) -> String {
    root_io(error).map_or_else(|| "can't connect".to_owned(), |error| format!("can't connect: {error}"))
}

/// The connection broke, or TLS ended it: with TLS 1.3 a server refuses a client certificate only after the handshake.
fn broken(error: &Error) -> (u16, &'static str, String) {
    let h2 = error.root_cause().downcast_ref::<h2::Error>();
    let io_error = h2.and_then(h2::Error::get_io).or_else(|| root_io(error));
    let Some(io_error) = io_error else {
        return (502, "closed", "the connection broke".to_owned());
    };
    let tls = io_error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(tls) = tls {
        return (502, "tls", format!("TLS: {tls}"));
    }
    match io_error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            (502, "reset", "connection reset".to_owned())
        }
        io::ErrorKind::TimedOut => (504, "timeout", "connection timed out".to_owned()),
        _ => (502, "closed", format!("the connection broke: {io_error}")),
    }
}

fn h2_reason(error: &Error) -> (u16, &'static str, String) {
    let Some(h2) = error.root_cause().downcast_ref::<h2::Error>() else {
        return (502, "protocol", "HTTP/2 failed".to_owned());
    };
    if h2.is_io() {
        return broken(error);
    }
    let frame = match (h2.is_reset(), h2.is_go_away(), h2.is_remote()) {
        (true, _, true) => Some("RST_STREAM"),
        (_, true, true) => Some("GOAWAY"),
        _ => None,
    };
    match (frame, h2.reason()) {
        (Some(frame), Some(code)) => (502, "reset", format!("it sent {frame} {code:?}")),
        _ => (502, "protocol", format!("HTTP/2: {h2}")),
    }
}

/// The context of [`RESOLVE_FAILED`] as the resolver wrote it.
fn resolve_reason(error: &Error) -> String {
    let text = error.to_string();
    let start = text.find("can't resolve").unwrap_or(0);
    text.get(start..).unwrap_or(&text).trim_end().to_owned()
}

/// What rustls said, out of the text that Pingora makes of it: "invalid peer certificate: UnknownIssuer".
fn tls_reason(error: &Error) -> String {
    let text = error.to_string();
    let end = text.rfind(", SNI: ").unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(&text);
    let start = text.rfind("cause: ").map_or(0, |start| start + "cause: ".len());
    text.get(start..).unwrap_or(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mut error: Box<Error>, status: u16, reason: &str, text: &str) {
        error.as_up();
        let failure = describe_error(&error.more_context("Peer: x"), "shop", Some("127.0.0.1:1"));
        assert_eq!((failure.status, failure.reason), (status, reason), "{}", failure.text);
        assert_eq!(failure.text, format!("squall: upstream shop: {text} (127.0.0.1:1)\n"));
    }

    #[test]
    fn natural_failures() {
        let new = Error::new;
        check(new(ErrorType::ConnectRefused), 502, "refused", "connection refused");
        check(new(ErrorType::ConnectTimedout), 504, "timeout", "connecting timed out");
        check(new(ErrorType::ReadTimedout), 504, "timeout", "no answer in time");
        check(new(ErrorType::ConnectNoRoute), 502, "unreachable", "no route to it");
        let io = |kind| Error::because(ErrorType::ReadError, "reading", io::Error::from(kind));
        check(io(io::ErrorKind::ConnectionReset), 502, "reset", "connection reset");
        check(io(io::ErrorKind::TimedOut), 504, "timeout", "connection timed out");
        let tls = io::Error::other(rustls::Error::AlertReceived(
            rustls::AlertDescription::CertificateRequired,
        ));
        let text = "TLS: received fatal alert: the peer requires a certificate";
        let failure = describe_error(&Error::because(ErrorType::ReadError, "reading", tls), "shop", None);
        assert_eq!((failure.status, failure.reason), (502, "tls"));
        assert!(
            failure
                .text
                .starts_with("squall: upstream shop: TLS: received fatal alert"),
            "{} {text}",
            failure.text
        );
        let reset = Error::because(
            ErrorType::H2Error,
            "reading",
            h2::Error::from(h2::Reason::INTERNAL_ERROR),
        );
        assert_eq!(describe_error(&reset, "shop", None).status, 502);
        let resolve = Error::explain(RESOLVE_FAILED, "can't resolve shop.internal: no such name");
        check(resolve, 502, "resolve", "can't resolve shop.internal: no such name");
        let descriptors = Error::because(ErrorType::InternalError, "x", io::Error::from_raw_os_error(24));
        assert_eq!(describe_error(&descriptors, "shop", None).status, 500);
    }

    #[test]
    fn the_client_is_at_fault() {
        let down = |kind| describe_error(&Error::new_down(kind), "shop", None);
        assert_eq!(down(ErrorType::WriteError).status, 0);
        assert_eq!(down(ErrorType::InvalidHTTPHeader).status, 400);
        assert_eq!(down(ErrorType::HTTPStatus(413)).status, 413);
        assert_eq!(down(ErrorType::InvalidHTTPHeader).reason, "client");
    }
}
