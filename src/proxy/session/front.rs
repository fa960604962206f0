//! What Pingora sees of a wrapped request: a session that hands everything to the carrier.
//!
//! Getters can't wait, so they answer from copies. Nothing here holds bytes back; a method that hands something over
//! waits until the carrier has room for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::{HeaderMap, StatusCode, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::raw_connect::ProxyDigest;
use tokio::sync::{mpsc, oneshot};

use super::{Down, Handle, Phase, Piece, taken};
use crate::proxy::bodies::request::Replay;
use crate::proxy::gone;

/// Bytes of a request's body that are kept for a second try, as Pingora keeps them.
const RETRY_BYTES: usize = 64 * 1024;

type CustomMessages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// Pingora's side of a wrapped request.
pub(super) struct Shaped {
    handle: Arc<Handle>,
    pieces: mpsc::Receiver<Piece>,
    header: RequestHeader,
    digest: Digest,
    /// The final head.
    written: Option<Box<ResponseHeader>>,
    /// The end of the response was handed over.
    ended: bool,
    body_empty: bool,
    body_done: bool,
    upgrade: bool,
    upgraded: bool,
    retry: Option<Retry>,
}

/// What was read of the body, as long as it is short.
#[derive(Default)]
struct Retry {
    kept: BytesMut,
    truncated: bool,
}

impl Shaped {
    /// Pingora's side of a session that is about to be moved into the carrier.
    pub(super) fn new(
        real: &mut ServerSession,
        supplied: Option<&Replay>,
        handle: Arc<Handle>,
        pieces: mpsc::Receiver<Piece>,
    ) -> Shaped {
        let mut digest = real.digest().cloned().unwrap_or_default();
        digest.proxy_digest = Some(reachable(&handle));
        let retry = real.retry_buffer_truncated().then(|| Retry {
            kept: BytesMut::new(),
            truncated: true,
        });
        Shaped {
            handle,
            pieces,
            header: real.req_header().clone(),
            digest,
            written: real.response_written().cloned().map(Box::new),
            ended: false,
            body_empty: supplied.map_or_else(|| real.is_body_empty(), Replay::is_empty),
            body_done: supplied.map_or_else(|| real.is_body_done(), Replay::is_empty),
            upgrade: real.is_upgrade_req(),
            upgraded: real.was_upgraded(),
            retry,
        }
    }

    async fn give(&self, down: Down) -> Result<()> {
        taken(self.handle.down.send(down).await, &self.handle.link)
    }

    /// Hands the final head over, or an interim one.
    async fn give_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        let upgrades = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if upgrades || !head.status.is_informational() {
            if self.written.is_some() {
                return Ok(());
            }
            if upgrades && self.upgrade && head.version == Version::HTTP_11 {
                self.upgraded = true;
                self.body_done = false;
            }
            self.written = Some(head.clone());
            self.ended = end;
        }
        self.give(Down::Head(head, end)).await
    }

    async fn give_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        if self.ended || bytes.is_empty() && !end {
            return Ok(());
        }
        if end {
            self.set_ended();
        }
        self.give(Down::Body(bytes, end)).await
    }

    async fn give_end(&mut self, trailers: Option<HeaderMap>) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.set_ended();
        self.give(trailers.map_or(Down::End, Down::Trailers)).await
    }

    /// After the upstream's end of an upgraded connection, nothing is read from the client any more.
    fn set_ended(&mut self) {
        self.ended = true;
        self.body_done |= self.upgraded;
    }

    /// Waits until all that was handed over has been written.
    async fn drain(&self) -> Result<()> {
        let (done, drained) = oneshot::channel();
        self.give(Down::Drain(done)).await?;
        taken(drained.await, &self.handle.link)
    }

    /// Waits for the end of the response to be written, if it was handed over.
    async fn written_to_end(&self) -> Phase {
        let mut phase = self.handle.link.phase.subscribe();
        // The sender is in the handle: it can't be gone.
        phase
            .wait_for(|phase| *phase != Phase::Running)
            .await
            .map_or(Phase::Gone, |phase| *phase)
    }

    /// The next piece of the request's body. Cancel-safe.
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        if self.body_done {
            return Ok(None);
        }
        tokio::select! {
            biased;
            _ = self.handle.link.is_over() => Err(self.handle.link.error()),
            piece = self.pieces.recv() => match piece {
                Some(Some(bytes)) => {
                    if let Some(retry) = &mut self.retry {
                        retry.keep(&bytes);
                    }
                    Ok(Some(bytes))
                }
                Some(None) => {
                    self.body_done = true;
                    Ok(None)
                }
                // The carrier is gone, and has said why.
                None => Err(self.handle.link.error()),
            },
        }
    }
}

impl Retry {
    fn keep(&mut self, bytes: &[u8]) {
        if self.truncated || self.kept.len() + bytes.len() > RETRY_BYTES {
            self.truncated = true;
            self.kept = BytesMut::new();
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }
}

/// Puts the handle where every callback finds it. The response header in it is not used by anybody.
fn reachable(handle: &Arc<Handle>) -> Arc<ProxyDigest> {
    let header = Box::new(ResponseHeader::from(http::response::Response::new(()).into_parts().0));
    Arc::new(ProxyDigest::new(header, Some(Box::new(Arc::clone(handle)))))
}

impl Drop for Shaped {
    /// Without Pingora's side, nothing of the request is left behind.
    fn drop(&mut self) {
        if let Some(task) = self.handle.task.lock().take() {
            task.abort();
        }
    }
}

#[async_trait]
impl CustomSession for Shaped {
    fn req_header(&self) -> &RequestHeader {
        &self.header
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.header
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.piece().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        while self.piece().await?.is_some() {}
        Ok(())
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.give_head(resp, end).await
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, end: bool) -> Result<()> {
        self.give_head(Box::new(resp.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.give_body(data, end).await?;
        match end {
            true => self.finish().await,
            false => Ok(()),
        }
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.give_end(Some(trailers)).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        for task in tasks {
            match task {
                HttpTask::Header(head, end) => self.give_head(head, end).await?,
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    self.give_body(data.unwrap_or_default(), end).await?;
                }
                HttpTask::Trailer(trailers) => self.give_end(trailers.map(|trailers| *trailers)).await?,
                HttpTask::Done => self.give_end(None).await?,
                HttpTask::Failed(error) => {
                    self.drain().await?;
                    return Err(error);
                }
            }
        }
        Ok(self.ended)
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
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        if let Some(connection) = &self.handle.connection {
            connection.close();
        }
    }

    fn is_body_done(&mut self) -> bool {
        self.body_done
    }

    async fn finish(&mut self) -> Result<()> {
        if self.written.is_none() {
            return Ok(());
        }
        if let Err(error) = self.give_end(None).await
            && !gone::is_silent(&error)
        {
            return Err(error);
        }
        match self.written_to_end().await {
            Phase::Gone => Err(self.handle.link.error()),
            _ => Ok(()),
        }
    }

    fn is_body_empty(&mut self) -> bool {
        self.body_empty
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.body_done {
            return self.piece().await;
        }
        self.handle.link.is_over().await;
        Err(self.handle.link.error())
    }

    fn body_bytes_sent(&self) -> usize {
        self.handle.link.sent.load(Ordering::Relaxed)
    }

    fn body_bytes_read(&self) -> usize {
        self.handle.link.read.load(Ordering::Relaxed)
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

    fn enable_retry_buffering(&mut self) {
        self.retry.get_or_insert_default();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.retry.as_ref().is_some_and(|retry| retry.truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        let retry = self
            .retry
            .as_ref()
            .filter(|retry| !retry.truncated && !retry.kept.is_empty())?;
        Some(retry.kept.clone().freeze())
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
        self.upgrade
    }

    fn was_upgraded(&self) -> bool {
        self.upgraded
    }
}
