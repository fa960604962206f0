//! From a request to the head of its response: picks an endpoint, connects, sends, and retries once where that is safe.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};

use super::copy::Origin;
use super::lane::Lane;
use super::pump::{Pump, Rest};
use super::sides::Sides;
use super::whole::Outgoing;
use super::{Request, Squall, Stop, allow, copy, gone, head_of, relay};
use crate::grpc;
use crate::proxy::body::Sink;
use crate::proxy::client::Client;
use crate::proxy::exchange::view::Target;
use crate::proxy::http1::head::{self, origin_form};
use crate::proxy::upstream::{Picked, Session, refused, unresolved};

/// Interim responses that are passed on for one request. More count as a flood, which h2 itself does not limit.
const MOST_INTERIM: usize = 100;

/// A request whose response head was received.
pub(super) struct Asked {
    pub(super) session: Session,
    pub(super) upload: Pump,
    pub(super) head: ResponseHeader,
    /// Whether the client's `Upgrade` was passed on to the upstream.
    pub(super) upgrade: bool,
}

impl Squall {
    /// Sends the request to the upstream, and waits for the head of its response.
    pub(super) async fn ask(
        &self,
        client: &mut Client,
        request: &mut Request,
        mut outgoing: Outgoing,
    ) -> Result<Asked, Stop> {
        let body = outgoing.has_body(client);
        if !request.route().paths.is_same() {
            let head = outgoing.head.get_or_insert_with(|| client.head().clone());
            request.route().apply(head);
        }
        // Copies go first, on connections of their own.
        let mut session = self.session(client, request, &mut outgoing, false).await?;
        let mut upload = self.shape(client, request, &mut outgoing, body);
        upload.keep();
        let mut tried_again = false;
        let mut told = outgoing.continued;
        loop {
            let upgrade = outgoing.upgrade && session.can_upgrade();
            let host = host(client.head(), request.picked.as_ref());
            if !told && client.expects_continue() && !session.is_http1() {
                // Few HTTP/2 servers send 100, and fakes never do; the client would wait in vain.
                client.tell_to_continue();
                told = true;
            }
            let head = outgoing.head.as_ref().unwrap_or_else(|| client.head());
            request.is_grpc_over_http1 = session.is_http1() && head_of(head, request.address).is_grpc();
            let answered = match session.ask(head, host.as_ref(), body, upgrade) {
                Ok(()) => {
                    let mut sides = Sides::new(&self.holder, client, &mut session, &mut upload, None);
                    sides.head(told).await
                }
                Err(error) => Err(error.into()),
            };
            match relay::ended_here(client, answered).await {
                Ok(mut head) => {
                    allow::warn_of_refusal(&request.view.name, request.route(), client.head(), &head);
                    allow::natural(request.route(), client.head(), &mut head);
                    request.natural = request.sent.map(|sent| sent.elapsed());
                    request.failed = head.status.is_server_error();
                    request
                        .view
                        .guards
                        .answered(&request.view.name, || is_error(&head), request.natural);
                    if let Some(picked) = &mut request.picked {
                        picked.answered(head.status.as_u16(), Instant::now());
                    }
                    return Ok(Asked {
                        session,
                        upload,
                        head,
                        upgrade,
                    });
                }
                Err(Stop::Upstream(error)) => {
                    let idempotent = client.head().method.is_idempotent();
                    let again =
                        !tried_again && session.may_ask_again(&error, idempotent, &self.connector) && upload.rewind();
                    if !again {
                        return Err(Stop::Upstream(error));
                    }
                    tracing::debug!("retrying the request: {error}");
                    tried_again = true;
                    drop(session);
                    // A fresh connection: another kept-alive one may be just as dead.
                    session = self.session(client, request, &mut outgoing, true).await?;
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Opens a session with the upstream, after the copies of the request were sent. `fresh` rules out a used connection.
    async fn session(
        &self,
        client: &mut Client,
        request: &mut Request,
        outgoing: &mut Outgoing,
        fresh: bool,
    ) -> Result<Session, Stop> {
        let target = request.route().target.clone();
        let preflights = allow::preflights(request.route(), client.head());
        let upstream = match (&preflights, target.as_deref()) {
            (Some(router), _) | (None, Some(Target::Fake(router))) => {
                let budget = self.budget(&request.view);
                let mount = request.route().mount();
                let of = (request.address, client.connection().tls());
                let origin = Origin::Fake(router, of, mount.as_ref(), &budget);
                copy::send_all(client, request, outgoing, origin).await?;
                request.sent = Some(Instant::now());
                return Ok(origin.open(fresh).await?);
            }
            (None, Some(Target::Real(upstream))) => upstream,
            (None, None) => {
                let head = client.head();
                let path = String::from_utf8_lossy(origin_form(head));
                return Err(Stop::Refused(404, request.view.no_route(head.method.as_str(), &path)));
            }
        };
        let Some(mut picked) = upstream.select(Instant::now()) else {
            return Err(Error::explain(ErrorType::InternalError, "the upstream does not support HTTP").into());
        };
        if upstream.original_destination().is_some() {
            picked.aim(original_destination(client)?, client.is_http2());
        }
        if upstream.is_forward() {
            let url = asked_of_proxy(client).ok_or_else(|| Stop::Refused(400, not_of_proxy(request)))?;
            let known = picked.forward(url);
            known.map_err(|refused| refusal(request, refused))?;
        }
        let destination = picked.destination().await;
        let stream_limit = picked.stream_limit();
        request.picked = Some(picked);
        let destination = destination.map_err(|error| match refused(&error) {
            Some(text) => refusal(request, text),
            None => Stop::Upstream(error),
        })?;
        let origin = Origin::Real(&self.connector, &destination);
        copy::send_all(client, request, outgoing, origin).await?;
        request.sent = Some(Instant::now());
        // Biased: opening is polled first because a pooled connection is often ready at once, so the client's socket is
        // looked at only where there is a wait. Dropping `open` drops the connection attempt.
        let mut session = tokio::select! {
            biased;
            session = origin.open(fresh) => session.map_err(Stop::Upstream)?,
            () = gone(client) => return Err(Stop::gone()),
        };
        session.limit_streams(stream_limit);
        Ok(session)
    }

    /// The pump of the request body, with the plan's shaping. Changes the head to fit the shaped length.
    fn shape(&self, client: &Client, request: &Request, outgoing: &mut Outgoing, body: bool) -> Pump {
        let lane = match (request.shaping(), &mut outgoing.head) {
            (Some(shaping), Some(head)) => shaping.request(client, head, body, outgoing.upgrade),
            _ => Lane::default(),
        };
        match outgoing.body.take() {
            Some((ahead, rest)) => Pump::with(lane, ahead, rest),
            None if body => Pump::new(lane),
            None => Pump::with(lane, Default::default(), Rest::End),
        }
    }
}

impl Sides<'_> {
    /// Waits for the final response head while the request body moves, and passes interim responses on. `told`: the client
    /// was already told to send its body.
    async fn head(&mut self, told: bool) -> Result<ResponseHeader, Stop> {
        let mut interim = 0;
        std::future::poll_fn(|cx| {
            self.poll_signals(cx, None);
            self.poll_upload(cx)?;
            if let Some(error) = self.refused.take_if(|error| *error.etype() == ErrorType::WriteTimedout) {
                // A write that timed out ends the request; after any other write error the upstream may still have responded.
                return Poll::Ready(Err(Stop::Upstream(error)));
            }
            while let Some(head) = self.poll_head(cx)? {
                if !is_interim(head.status) {
                    return Poll::Ready(Ok(head));
                }
                interim += 1;
                if interim > MOST_INTERIM {
                    let flood = Error::explain(ErrorType::InvalidHTTPHeader, "too many interim responses");
                    return Poll::Ready(Err(Stop::Upstream(flood.into_up())));
                }
                if !(told && head.status == StatusCode::CONTINUE) {
                    self.client.inform(&head);
                }
            }
            if self.poll_gone(cx) {
                Poll::Ready(Err(Stop::gone()))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Polls for the next head, once the client has read the interim ones before it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Result<Option<ResponseHeader>, Stop> {
        if let Poll::Ready(Err(error)) = self.client.poll_flush(cx) {
            return Err(error.into());
        }
        if self.client.is_behind() {
            return Ok(None);
        }
        match self.session.poll_head(cx) {
            Poll::Ready(Ok(head)) => Ok(Some(head)),
            Poll::Ready(Err(error)) => Err(Stop::Upstream(self.refused.take().unwrap_or(error))),
            Poll::Pending => Ok(None),
        }
    }
}

/// Whether a response says that its server has failed: by its status, or by the gRPC status of a response without a body.
fn is_error(head: &ResponseHeader) -> bool {
    let grpc = head.headers.get(grpc::STATUS).map(HeaderValue::as_bytes);
    // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    head.status.is_server_error() || matches!(grpc, Some(b"2" | b"4" | b"13" | b"14" | b"15"))
}

/// Whether a head is followed by another one (RFC 9110, section 15.2).
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The `Host` to send to the upstream, if it differs from the client's.
pub(super) fn host(head: &RequestHeader, picked: Option<&Picked>) -> Option<HeaderValue> {
    let picked = picked?;
    if let Some(host) = picked.host() {
        return Some(host.clone());
    }
    // HTTP/1.0 clients may omit it, but it is sent on as HTTP/1.1, which requires it (RFC 9112, section 3.2).
    let has_none = head.uri.authority().is_none() && !head.headers.contains_key(HOST);
    let label = if picked.label().starts_with("unix:") {
        "localhost"
    } else {
        picked.label()
    };
    has_none.then(|| HeaderValue::from_str(label).ok()).flatten()
}

/// Whether an `Upgrade` is passed on. An upgrade to HTTP/2 is not: squall would not see the requests that follow, so no
/// rule could match them.
pub(super) fn passes_upgrade(head: &RequestHeader) -> bool {
    // The common case first: most requests have no `Upgrade`.
    if head.version != Version::HTTP_11 || !head.headers.contains_key(UPGRADE) {
        return false;
    }
    let mut protocols = head::tokens(&head.headers, &UPGRADE);
    head::has_token(&head.headers, &CONNECTION, "upgrade")
        && !protocols.any(|protocol| protocol.to_ascii_lowercase().starts_with(b"h2"))
}

/// The scheme and the authority of a request that was made to a proxy (RFC 9112, section 3.2.2); `None` for one to a server.
fn asked_of_proxy(client: &Client) -> Option<(bool, &str)> {
    let target = client.head().raw_path();
    let authority = head::authority_of(target).filter(|_| !client.is_http2())?;
    let secure = target
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
    Some((secure, std::str::from_utf8(authority).ok()?))
}

/// What a request is told that names no server to forward it to.
fn not_of_proxy(request: &Request) -> String {
    format!(
        "squall: the upstream {} forwards requests that are made to a proxy (GET http://HOST/PATH over HTTP/1.1): set \
        http_proxy to this listener, or use curl -x\n",
        request.route().upstream
    )
}

/// The end of a request that may not go where it is to go.
fn refusal(request: &Request, reason: impl std::fmt::Display) -> Stop {
    Stop::Refused(
        403,
        format!("squall: upstream {}: {reason}\n", request.route().upstream),
    )
}

/// The destination of the client's connection before it was redirected to squall.
fn original_destination(client: &Client) -> Result<SocketAddr, Stop> {
    let destination = client.connection().original_destination();
    destination.map_err(|error| Stop::Upstream(unresolved("the original destination", error)))
}

#[cfg(test)]
mod tests;
