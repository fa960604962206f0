//! The session between Pingora and the client's own that hands another request body out and holds the response back.
//!
//! Pingora's trait for it is `#[doc(hidden)]`; the version is pinned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::request::Replay;
use super::response::Collecting;
use crate::config::snapshot::View;
use crate::proxy::carry::reveal;
use crate::proxy::hold::Holder;
use crate::proxy::session::record::Record;
use crate::proxy::session::{Shaping, shape_response};

/// Where the real session comes back to.
#[derive(Clone, Default)]
pub struct Home(Arc<Mutex<Option<Parts>>>);

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Home")
    }
}

struct Parts {
    real: ServerSession,
    request: Option<Replay>,
}

/// The session in between.
pub struct Whole {
    real: ServerSession,
    request: Option<Replay>,
    response: Option<(Collecting, Finishing)>,
    home: Home,
}

/// What the head of a response needs when its body is settled.
#[derive(Debug)]
pub struct Finishing {
    /// What is injected.
    pub record: Arc<Record>,
    /// What bounds the requests that are held.
    pub holder: Arc<Holder>,
    /// The configuration that the request sees.
    pub view: Arc<View>,
}

impl Finishing {
    /// Begins to shape the body, and shows what is injected.
    async fn finish(&self, session: &mut ServerSession, head: &mut ResponseHeader) -> Result<()> {
        let shaping = Shaping {
            record: &self.record,
            holder: &self.holder,
            view: &self.view,
        };
        shape_response(session, shaping, head, false).await?;
        reveal(&self.record, self.view.reveal, head)
    }
}

impl Home {
    /// Puts a session in between. [`Home::restore`] takes it away again; until then Pingora does not know it as an HTTP/1
    /// or HTTP/2 session, and setting `keepalive` has no effect.
    pub fn install(&self, session: &mut Session, request: Option<Replay>, response: Option<(Collecting, Finishing)>) {
        let real = std::mem::replace(&mut *session.downstream_session, placeholder());
        *session.downstream_session = ServerSession::new_custom(Box::new(Whole {
            real,
            request,
            response,
            home: self.clone(),
        }));
    }

    /// Takes the session in between away, and returns what is left of the request body that it hands out. Only to be
    /// called where [`Home::install`] was the last to replace the session.
    pub fn restore(&self, session: &mut Session) -> Option<Replay> {
        drop(std::mem::replace(&mut *session.downstream_session, placeholder()));
        let parts = self.0.lock().take()?;
        *session.downstream_session = parts.real;
        parts.request
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let real = std::mem::replace(&mut self.real, placeholder());
        let request = self.request.take();
        *self.home.0.lock() = Some(Parts { real, request });
    }
}

/// Pingora's session that is none; takes no memory.
fn placeholder() -> ServerSession {
    ServerSession::new_custom(Box::new(()))
}

#[async_trait]
impl CustomSession for Whole {
    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        match &mut self.request {
            Some(replay) => replay.read(&mut self.real).await,
            None => self.real.read_request_body().await,
        }
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        match &mut self.request {
            Some(replay) => replay.read_or_idle(&mut self.real, no_body_expected).await,
            None => self.real.read_body_or_idle(no_body_expected).await,
        }
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let Some((collecting, finishing)) = self.response.as_mut().filter(|(collecting, _)| !collecting.passes())
        else {
            return self.real.response_duplex_vec(tasks).await;
        };
        let mut due = collecting.turn(tasks, Instant::now()).await;
        for task in &mut due {
            if let HttpTask::Header(head, _) = task
                && !head.status.is_informational()
            {
                finishing.finish(&mut self.real, head).await?;
            }
        }
        let over = collecting.is_over();
        match due.is_empty() {
            true => Ok(over),
            false => Ok(self.real.response_duplex_vec(due).await? || over),
        }
    }

    fn is_body_done(&mut self) -> bool {
        match &self.request {
            Some(replay) => replay.is_done(&mut self.real),
            None => self.real.is_body_done(),
        }
    }

    fn is_body_empty(&mut self) -> bool {
        match &self.request {
            Some(replay) => replay.is_empty(),
            None => self.real.is_body_empty(),
        }
    }

    fn enable_retry_buffering(&mut self) {
        if self.request.is_none() {
            self.real.enable_retry_buffering();
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        match &self.request {
            Some(replay) => !replay.can_repeat(),
            None => self.real.retry_buffer_truncated(),
        }
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.request {
            Some(replay) => replay.handed_out(),
            None => self.real.get_retry_buffer(),
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.real.drain_request_body().await
    }

    fn req_header(&self) -> &RequestHeader {
        self.real.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.real.req_header_mut()
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.real.write_response_header(head).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, _end: bool) -> Result<()> {
        self.real.write_response_header_ref(head).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.real.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.real.write_response_trailers(trailers).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.real.finish_body().await
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.real.shutdown().await;
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.real.response_written()
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.real.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.real.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.real.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.real.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.real.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.real.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.real.request_summary()
    }

    fn body_bytes_sent(&self) -> usize {
        self.real.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.real.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.real.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.real.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.real.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.real.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.real.to_h1_raw()
    }

    fn is_upgrade_req(&self) -> bool {
        self.real.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.real.was_upgraded()
    }

    // Messages of custom protocols: HTTP has none.

    fn take_custom_message_reader(&mut self) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync>,
    ) -> Result<()> {
        Err(Error::explain(ErrorType::InternalError, "HTTP has no custom messages"))
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Err(Error::explain(ErrorType::InternalError, "HTTP has no custom messages"))
    }
}
