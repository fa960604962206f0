//! The error response to the client when an upstream fails by itself.
//!
//! The response is natural: it has no `Squall-Fault` header, and its body names squall, the upstream and the cause, so that
//! it can't be taken for an injected fault or for a response of the upstream.

use std::borrow::Cow;
use std::io;

use pingora::{Error, ErrorSource, ErrorType};

use super::resolve::RESOLVE_FAILED;
use crate::proxy::tls::words::{self, rustls_error};

/// A natural failure of an upstream, as an error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status: 502 or 504 (RFC 9110, sections 15.6.3 and 15.6.5), 500 if squall itself failed.
    pub status: u16,
    /// The body, a line of plain text: `squall: upstream shop: connection refused (127.0.0.1:1)`.
    pub text: String,
}

impl Failure {
    /// The failure of a gRPC call that went over HTTP/1.1. A broken connection is then easily taken for an injected UNAVAILABLE.
    pub fn of_grpc_over_http1(mut self) -> Failure {
        if self.status == 502 {
            self.text.truncate(self.text.trim_end().len());
            self.text.push_str(
                "; the call is gRPC but went over HTTP/1.1: if the server speaks HTTP/2, set the upstream's `protocol`: h2c, or h2 over TLS\n",
            );
        }
        self
    }
}

/// Describes what went wrong at the upstream called `upstream`, and at `endpoint` if one was chosen.
pub fn describe_error(error: &Error, upstream: &str, endpoint: Option<&str>) -> Failure {
    let (status, cause) = classify(error);
    let endpoint = endpoint.map(|endpoint| format!(" ({endpoint})")).unwrap_or_default();
    let text = format!("squall: upstream {upstream}: {cause}{endpoint}\n");
    Failure { status, text }
}

/// What went wrong at an upstream, in words.
pub(super) fn cause(error: &Error) -> String {
    classify(error).1.into_owned()
}

fn classify(error: &Error) -> (u16, Cow<'static, str>) {
    match error.etype() {
        ErrorType::ConnectRefused => (502, "connection refused".into()),
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => (504, "connecting timed out".into()),
        ErrorType::ReadTimedout => (504, "no response in time".into()),
        ErrorType::WriteTimedout => (504, "it did not accept the request in time".into()),
        ErrorType::ConnectNoRoute => (502, "no route to it".into()),
        // The system's own error, such as "no such file" or "permission denied" for a unix socket.
        ErrorType::ConnectError | ErrorType::BindError | ErrorType::SocketError => {
            (502, format!("can't connect: {}", error.root_cause()).into())
        }
        kind if *kind == RESOLVE_FAILED => (502, error.root_cause().to_string().into()),
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            (502, format!("TLS: {}", handshake(error)).into())
        }
        ErrorType::ConnectionClosed => (502, "it closed the connection before the response was complete".into()),
        ErrorType::ReadError | ErrorType::WriteError => broken(error),
        ErrorType::H2Error => h2_reason(error),
        ErrorType::InvalidHTTPHeader => (502, "its response is not valid HTTP".into()),
        ErrorType::InternalError if let Some(cause) = root_io(error) => {
            if is_squalls_own(error) {
                (500, format!("squall can't connect: {cause}").into())
            } else {
                (502, format!("can't connect: {cause}").into())
            }
        }
        ErrorType::InternalError => (500, "squall could not handle the request".into()),
        // Any other error with the upstream as its source.
        other if error.esource() == &ErrorSource::Upstream => (502, format!("failed: {}", other.as_str()).into()),
        _ => (500, "squall could not handle the request".into()),
    }
}

/// Whether squall itself failed, usually for lack of file descriptors or local ports. Pingora reports connections that the
/// system forbids (a firewall) in the same way, but these count as failures of the upstream.
pub(super) fn is_squalls_own(error: &Error) -> bool {
    let forbidden = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    *error.etype() == ErrorType::InternalError && !root_io(error).is_some_and(forbidden)
}

fn root_io(error: &Error) -> Option<&io::Error> {
    let cause = error.root_cause();
    // Pingora may wrap it in an error with the local address.
    cause.downcast_ref().or_else(|| cause.source()?.downcast_ref())
}

/// Classifies a broken connection. TLS errors end up here too: with TLS 1.3, a server refuses a client certificate only
/// after the handshake.
fn broken(error: &Error) -> (u16, Cow<'static, str>) {
    let h2 = error.root_cause().downcast_ref::<h2::Error>();
    let Some(io_error) = h2.and_then(h2::Error::get_io).or_else(|| root_io(error)) else {
        return (502, "the connection broke".into());
    };
    if let Some(tls) = rustls_error(io_error) {
        return (502, format!("TLS: {}", words::failure(tls)).into());
    }
    match io_error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            (502, "connection reset".into())
        }
        io::ErrorKind::TimedOut => (504, "connection timed out".into()),
        _ => (502, format!("the connection broke: {io_error}").into()),
    }
}

fn h2_reason(error: &Error) -> (u16, Cow<'static, str>) {
    let Some(h2) = error.root_cause().downcast_ref::<h2::Error>() else {
        return (502, "HTTP/2 failed".into());
    };
    if h2.is_io() {
        return broken(error);
    }
    let text = match h2.reason() {
        Some(code) if h2.is_remote() && h2.is_reset() => format!("it sent RST_STREAM {code:?}"),
        Some(code) if h2.is_remote() && h2.is_go_away() => format!("it sent GOAWAY {code:?}"),
        _ => format!("HTTP/2: {h2}"),
    };
    (502, text.into())
}

/// Why the handshake with an upstream failed.
fn handshake(error: &Error) -> Cow<'static, str> {
    let Some(cause) = root_io(error) else {
        return "the handshake failed".into();
    };
    match rustls_error(cause) {
        Some(tls) => words::failure(tls),
        None if cause.kind() == io::ErrorKind::UnexpectedEof => "it closed the connection in the handshake".into(),
        None => format!("the connection broke in the handshake: {cause}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolve::unresolved;
    use super::*;

    #[test]
    fn natural_failures() {
        let new = Error::new;
        let read_error = |error: io::Error| Error::because(ErrorType::ReadError, "reading", error);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let reset = h2::Error::from(h2::Reason::INTERNAL_ERROR);
        let cases = [
            (new(ErrorType::ConnectRefused), 502, "connection refused"),
            (new(ErrorType::ConnectTimedout), 504, "connecting timed out"),
            (new(ErrorType::ReadTimedout), 504, "no response in time"),
            (new(ErrorType::ConnectNoRoute), 502, "no route to it"),
            (
                read_error(io::ErrorKind::ConnectionReset.into()),
                502,
                "connection reset",
            ),
            (read_error(io::ErrorKind::TimedOut.into()), 504, "connection timed out"),
            (
                read_error(io::Error::other(alert)),
                502,
                "TLS: it requires a client certificate",
            ),
            (Error::because(ErrorType::H2Error, "reading", reset), 502, "HTTP/2: "),
            (
                unresolved("shop.test", "no such name"),
                502,
                "can't resolve shop.test: no such name",
            ),
            (
                Error::because(ErrorType::InternalError, "x", io::Error::from_raw_os_error(24)),
                500,
                "squall can't connect: ",
            ),
            (
                Error::because(ErrorType::InternalError, "x", io::Error::from_raw_os_error(1)),
                502,
                "can't connect: ",
            ),
            (new(ErrorType::FileReadError), 502, "failed: FileReadError"),
        ];
        for (error, status, cause) in cases {
            let error = error.into_up().more_context("Peer: x");
            let failure = describe_error(&error, "shop", Some("127.0.0.1:1"));
            assert_eq!(failure.status, status, "{cause}");
            let start = format!("squall: upstream shop: {cause}");
            assert!(failure.text.starts_with(&start), "{}", failure.text);
            assert!(failure.text.ends_with(" (127.0.0.1:1)\n"), "{}", failure.text);
            let of_grpc = failure.clone().of_grpc_over_http1();
            assert_eq!(of_grpc.text.contains("h2c"), status == 502, "{}", of_grpc.text);
            assert_eq!(of_grpc.text.lines().count(), 1, "{}", of_grpc.text);
        }
    }
}
