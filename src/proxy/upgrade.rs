//! Requests that ask for another protocol, such as WebSocket, until they are answered.
//!
//! Pingora tells an upstream's half of its proxy that such a request has no body, and only then reads the answer. If the
//! answer is there first, as it can be on a busy machine, the end of the body is taken for the end of the new protocol and
//! the connection is closed right behind the 101. So a stand-in takes the session's place that never says that there is no
//! body, from when the request is sent until its answer comes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use http::header::UPGRADE;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use tokio::sync::Mutex;

type CustomMessages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// The real session, while the stand-in is in its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Real(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot(Option<ServerSession>);

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slot").field(&self.0.is_some()).finish()
    }
}

/// Puts the stand-in in place where `request`, as it is to be sent, asks for an upgrade over HTTP/1 and has no body.
pub(super) fn stand_in(session: &mut Session, request: &RequestHeader) -> Option<Real> {
    let ServerSession::H1(_) = &*session.downstream_session else {
        return None;
    };
    let asks = session.is_upgrade_req() && request.headers.contains_key(UPGRADE);
    if !asks || request.version == http::Version::HTTP_2 || !session.is_body_empty() {
        return None;
    }
    let real = Real::default();
    let waiting = Waiting {
        real: real.clone(),
        header: session.req_header().clone(),
        digest: session.digest().cloned().unwrap_or_default(),
        sent: false,
    };
    let stand_in = ServerSession::new_custom(Box::new(waiting));
    // Nobody else has it yet.
    let mut slot = real.0.try_lock().ok()?;
    slot.0 = Some(std::mem::replace(&mut *session.downstream_session, stand_in));
    drop(slot);
    Some(real)
}

/// Puts the real session back, if the stand-in is in its place.
pub(super) fn put_back(session: &mut Session, real: &mut Option<Real>) {
    let Some(real) = real.take() else { return };
    // The stand-in locks it only while it is asked for something, which needs the session.
    if let Ok(mut slot) = real.0.try_lock()
        && let Some(real) = slot.0.take()
    {
        *session.downstream_session = real;
    }
}

/// The stand-in.
struct Waiting {
    real: Real,
    header: RequestHeader,
    digest: Digest,
    /// Pingora has sent the request's head: from now on there may be more to come.
    sent: bool,
}

fn missing() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "the session is back in its place")
}

#[async_trait]
impl CustomSession for Waiting {
    fn req_header(&self) -> &RequestHeader {
        &self.header
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.header
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read_body_or_idle(false).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.response_duplex_vec(vec![HttpTask::Header(resp, end)])
            .await
            .map(drop)
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(resp.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.response_duplex_vec(vec![HttpTask::Body(Some(data), end)])
            .await
            .map(drop)
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.response_duplex_vec(vec![HttpTask::Trailer(Some(Box::new(trailers)))])
            .await
            .map(drop)
    }

    /// Interim responses come this way; before the final one, the real session is put back.
    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        match &mut self.real.0.lock().await.0 {
            Some(real) => real.response_duplex_vec(tasks).await,
            None => Err(missing()),
        }
    }

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    fn request_summary(&self) -> String {
        format!(
            "{} {}",
            self.header.method,
            String::from_utf8_lossy(self.header.raw_path())
        )
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        None
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        if let Some(real) = &mut self.real.0.lock().await.0 {
            real.shutdown().await;
        }
    }

    fn is_body_done(&mut self) -> bool {
        !self.sent
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// True while the head is made, which depends on it.
    fn is_body_empty(&mut self) -> bool {
        !self.sent
    }

    /// Nothing is to be read before the answer; what comes early is kept by the real session. An error means that the
    /// client has left.
    async fn read_body_or_idle(&mut self, _no_body_expected: bool) -> Result<Option<Bytes>> {
        match &mut self.real.0.lock().await.0 {
            Some(real) => real.read_body_or_idle(true).await,
            None => Err(missing()),
        }
    }

    fn body_bytes_sent(&self) -> usize {
        0
    }

    fn body_bytes_read(&self) -> usize {
        0
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        // For Pingora's subrequests only, of which there are none.
        Bytes::new()
    }

    /// What Pingora does when it has sent the head, and before it looks for a body.
    fn enable_retry_buffering(&mut self) {
        self.sent = true;
    }

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<CustomMessages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _reader: CustomMessages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        true
    }

    fn was_upgraded(&self) -> bool {
        false
    }
}
