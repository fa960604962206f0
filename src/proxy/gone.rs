//! The client's leaving, seen from a callback, and the two ways to end a request without a reply.

use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::connection::Connection;
use super::session::Handle;

/// The type of the error that ends a request without a reply; see [`silence`].
const SILENT: ErrorType = ErrorType::Custom("ended without a reply");

/// Resolves when the client is no longer there to hear the answer.
///
/// HTTP/1: the connection was closed or reset; see [`Connection::gone`] for what unread bytes may hide. HTTP/2: the
/// stream was reset or the connection ended, however much of the body is unread. A client that only closes its sending
/// side counts as gone on HTTP/1, as it does for Pingora, and not on HTTP/2, where END_STREAM says no such thing.
///
/// Consumes nothing and is cancel-safe: made to be raced with a wait, in `request_filter` (before or after the body is
/// read) and in `response_filter`. It never resolves for a session that did not come through a squall listener, unless
/// that is HTTP/2.
pub async fn client_gone(session: &mut Session) {
    if let ServerSession::H2(stream) = &mut *session.downstream_session {
        // An error means that the connection is over.
        let _reason_or_error = stream.idle().await;
        return;
    }
    match (Handle::of(session), Connection::of(session)) {
        (Some(handle), _) => handle.over().await,
        (None, Some(connection)) => connection.gone().await,
        (None, None) => std::future::pending().await,
    }
}

/// Resets what carries the request: the HTTP/2 stream with RST_STREAM and `code`, so that its siblings live on, or the
/// HTTP/1 connection with a TCP RST.
///
/// What the callback returns then: `request_filter` either `Ok(true)` or the error of [`silence`]; any other callback
/// that error. Pingora can't send anything after that.
pub fn reset_stream_or_connection(session: &mut Session, code: h2::Reason) {
    if let ServerSession::H2(stream) = &mut *session.downstream_session {
        stream.shutdown_with_reason(code);
    } else if let Some(connection) = Connection::of(session) {
        connection.reset();
    }
}

/// Closes the connection without a reply: a FIN on HTTP/1 and on HTTP/2, where it ends the other streams too.
///
/// What the callback returns then: as for [`reset_stream_or_connection`].
pub fn close_without_reply(session: &Session) {
    if let Some(connection) = Connection::of(session) {
        connection.close();
    }
}

/// The error to return from a callback after the request was ended without a reply.
///
/// `fail_to_proxy` should ask [`is_silent`], and write nothing and report no status then. Its default tries to write
/// an error response, which is in vain but is logged; `suppress_error_log` should ask, too.
pub fn silence() -> Box<Error> {
    Error::new_in(SILENT)
}

/// Whether an error is the one of [`silence`].
pub fn is_silent(error: &Error) -> bool {
    *error.etype() == SILENT
}

/// Lets the response say `connection: close` if the listener is stopping. To be called before the response's head is
/// written, for instance in `response_filter`: Pingora itself looks only before a request begins.
pub fn close_if_stopping(session: &mut Session) {
    if Connection::of(session).is_some_and(|connection| connection.listener().stopping()) {
        session.set_keepalive(None);
    }
}
