//! From a request to the head of its response: pick, connect, send, and send once more where that is safe.

use std::net::SocketAddr;
use std::task::Poll;
use std::time::Instant;

use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};

use super::copy::Origin;
use super::lane::Lane;
use super::pump::{Broken, Pump, Rest, Waits};
use super::whole::{Upload, change_request_head};
use super::{Request, Squall, Stop, Stopping, copy, gone, relay, rewrites_of_both};
use crate::config::snapshot::Target;
use crate::proxy::body::Sink;
use crate::proxy::client::Client;
use crate::proxy::execute::hold::Holder;
use crate::proxy::http1::head;
use crate::proxy::upstream::{Picked, Session, unresolved};
use crate::shape::Finish;

/// Interim responses to one request. More of them are a flood, which HTTP/2 would let through without limit.
const MOST_INTERIM: usize = 100;

/// A request that was answered, as far as the head.
pub(super) struct Asked {
    pub(super) session: Session,
    pub(super) upload: Pump,
    pub(super) head: ResponseHeader,
    /// The client has asked for another protocol, and the upstream was told.
    pub(super) upgrade: bool,
}

/// A request on its way to the upstream.
struct Outgoing {
    /// The head with what rules change in it; `None`: the client's own.
    head: Option<RequestHeader>,
    upload: Upload,
    body: bool,
    upgrade: bool,
}

impl Outgoing {
    fn head<'a>(&'a self, client: &'a Client) -> &'a RequestHeader {
        self.head.as_ref().unwrap_or_else(|| client.head())
    }

    /// The copies that were not sent yet.
    fn copies(&mut self) -> copy::Copies<'_> {
        copy::Copies {
            at: std::mem::take(&mut self.upload.copies),
            head: self.head.as_ref(),
            body: self.upload.whole(),
        }
    }
}

impl Squall {
    /// Asks the upstream, and waits for the head of its response.
    pub(super) async fn ask(
        &self,
        client: &mut Client,
        request: &mut Request,
        upload: Upload,
        upgrade: bool,
    ) -> Result<Asked, Stop> {
        let mut outgoing = Outgoing {
            head: rewritten(client, request, &upload)?,
            body: !upload.is_empty(client),
            upload,
            upgrade,
        };
        // Copies go first, on connections of their own.
        let mut session = self.session(client, request, &mut outgoing, false).await?;
        let mut upload = self.shape(client, request, &mut outgoing)?;
        upload.keep();
        let mut tried_again = false;
        let mut told = false;
        loop {
            let upgrade = upgrade && session.is_http1();
            let host = host(client.head(), request.picked.as_ref());
            if !told && client.expects_continue() && !session.is_http1() {
                // Over HTTP/2 few servers say it, and a fake never does.
                client.tell_to_continue();
                told = true;
            }
            let answered = match session.ask(outgoing.head(client), host.as_ref(), outgoing.body, upgrade) {
                Ok(()) => response_head(&self.holder, client, &mut session, &mut upload, told).await,
                Err(error) => Err(error.into()),
            };
            match relay::ended_here(client, answered).await {
                Ok(head) => {
                    request.natural = request.sent.map(|sent| sent.elapsed());
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
                    tracing::debug!("asking once more: {error}");
                    tried_again = true;
                    drop(session);
                    // Another kept-alive connection may be just as dead.
                    session = self.session(client, request, &mut outgoing, true).await?;
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Opens the way to the upstream.
    async fn session(
        &self,
        client: &mut Client,
        request: &mut Request,
        outgoing: &mut Outgoing,
        fresh: bool,
    ) -> Result<Session, Stop> {
        let view = std::sync::Arc::clone(&request.view);
        let upstream = match view.target.as_ref() {
            Target::Fake(router) => {
                let origin = Origin::Fake(router, request.address);
                copy::send_all(client, request, outgoing.copies(), origin).await?;
                request.sent = Some(Instant::now());
                return Ok(origin.open(fresh).await?);
            }
            Target::Real(upstream) => upstream,
        };
        let Some(mut picked) = upstream.select(Instant::now()) else {
            return Err(Error::explain(ErrorType::InternalError, "the upstream does not speak http").into());
        };
        if upstream.original_destination().is_some() {
            picked.aim(original_destination(client)?, client.is_http2());
        }
        let peer = picked.peer().await;
        request.picked = Some(picked);
        let peer = peer.map_err(Stop::Upstream)?;
        let origin = Origin::Real(&self.connector, &peer);
        copy::send_all(client, request, outgoing.copies(), origin).await?;
        request.sent = Some(Instant::now());
        tokio::select! {
            biased;
            session = origin.open(fresh) => session.map_err(Stop::Upstream),
            () = gone(client) => Err(Stop::gone()),
        }
    }

    /// What shapes the request's body; changes the head to fit.
    fn shape(&self, client: &Client, request: &Request, outgoing: &mut Outgoing) -> Result<Pump, Stop> {
        let lane = match (request.shaping(&self.holder), &mut outgoing.head) {
            (Some(shaping), Some(head)) => shaping.request(client, head, outgoing.body, outgoing.upgrade)?,
            _ => Lane::default(),
        };
        Ok(match outgoing.upload.body.take() {
            Some((ahead, rest)) => Pump::with(lane, ahead, rest),
            None if outgoing.body => Pump::new(lane),
            None => Pump::with(lane, Default::default(), Rest::End),
        })
    }
}

/// The head with what rules change in it; `None` where there is nothing to change.
fn rewritten(client: &Client, request: &Request, upload: &Upload) -> Result<Option<RequestHeader>, Stop> {
    let Some(execution) = &request.execution else {
        return Ok(None);
    };
    let mut head = client.head().clone();
    for (_, rewrite) in rewrites_of_both(execution.record()) {
        change_request_head(&rewrite.request, &mut head)?;
    }
    upload.change_head(&mut head)?;
    Ok(Some(head))
}

/// Sends the request and waits for the head of its response; interim ones go to the client meanwhile. `told`: the client was
/// told to send its body already.
async fn response_head(
    holder: &Holder,
    client: &mut Client,
    session: &mut Session,
    upload: &mut Pump,
    told: bool,
) -> Result<ResponseHeader, Stop> {
    let mut refused = None;
    let mut interim = 0;
    let mut stopping = Stopping::watch(holder, upload.is_shaped());
    std::future::poll_fn(|cx| {
        if stopping.has_come(cx) {
            upload.release();
        }
        if !upload.is_over() {
            match upload.poll(cx, client, session) {
                Poll::Ready(Ok(Finish::Natural | Finish::Clean(_))) | Poll::Pending => {}
                Poll::Ready(Ok(finish)) => return Poll::Ready(Err(Stop::Finish(finish))),
                Poll::Ready(Err(Broken::Source(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Err(Broken::Sink(error))) if *error.etype() == ErrorType::WriteTimedout => {
                    return Poll::Ready(Err(Stop::Upstream(error)));
                }
                Poll::Ready(Err(Broken::Sink(error))) => {
                    // It may have answered before it stopped reading, and then the answer counts.
                    upload.give_up();
                    refused = Some(error);
                }
            }
        }
        loop {
            if let Poll::Ready(Err(error)) = client.poll_flush(cx) {
                return Poll::Ready(Err(error.into()));
            }
            if client.is_behind() {
                break;
            }
            let head = match session.poll_head(cx) {
                Poll::Ready(Ok(head)) => head,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Stop::Upstream(refused.take().unwrap_or(error)))),
                Poll::Pending => break,
            };
            if !is_interim(head.status) {
                return Poll::Ready(Ok(head));
            }
            interim += 1;
            if interim > MOST_INTERIM {
                let flood = Error::explain(ErrorType::InvalidHTTPHeader, "too many interim responses");
                return Poll::Ready(Err(Stop::Upstream(flood.into_up())));
            }
            if !(told && head.status == StatusCode::CONTINUE) {
                client.inform(&head);
            }
        }
        // Whoever reads the client's body sees it leave.
        if upload.waits() != Waits::Source && client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Stop::gone()));
        }
        Poll::Pending
    })
    .await
}

/// Whether another head follows this one (RFC 9110, section 15.2).
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The `Host` that the upstream is told, where it is not just the client's.
pub(super) fn host(head: &RequestHeader, picked: Option<&Picked>) -> Option<HeaderValue> {
    let picked = picked?;
    if let Some(host) = picked.host() {
        return Some(host.clone());
    }
    // HTTP/1.0 clients need not have one, and later servers demand it (RFC 9112, section 3.2).
    let has_none = head.uri.authority().is_none() && !head.headers.contains_key(HOST);
    let label = if picked.label().starts_with("unix:") {
        "localhost"
    } else {
        picked.label()
    };
    has_none.then(|| HeaderValue::from_str(label).ok()).flatten()
}

/// Whether an upgrade is to be passed on as it was asked for. Not one to HTTP/2: rules meet requests, which squall could
/// not see any more in what follows.
pub(super) fn passes_upgrade(head: &RequestHeader) -> bool {
    // Most requests have no such field.
    if head.version != Version::HTTP_11 || !head.headers.contains_key(UPGRADE) {
        return false;
    }
    let mut protocols = head::tokens(&head.headers, &UPGRADE);
    head::has_token(&head.headers, &CONNECTION, "upgrade")
        && !protocols.any(|protocol| protocol.to_ascii_lowercase().starts_with(b"h2"))
}

/// Where the request's connection was headed before it was redirected to squall.
fn original_destination(client: &Client) -> Result<SocketAddr, Stop> {
    let destination = client.connection().original_destination();
    destination.map_err(|error| Stop::Upstream(unresolved("the original destination", error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_to_http2_are_not_passed_on() {
        let passes = |connection: &'static str, upgrade: &[&'static str]| {
            let mut head = RequestHeader::build("GET", b"/", None).unwrap();
            head.set_version(Version::HTTP_11);
            head.insert_header("Connection", connection).unwrap();
            for value in upgrade {
                head.append_header("Upgrade", *value).unwrap();
            }
            passes_upgrade(&head)
        };
        assert!(passes("keep-alive, Upgrade", &["websocket"]) && passes("upgrade", &["tcp"]));
        for upgrade in [
            &["h2c"][..],
            &["H2C"],
            &[",h2c"],
            &["websocket, h2c"],
            &["websocket", "h2c"],
            &[],
        ] {
            assert!(!passes("upgrade", upgrade), "{upgrade:?}");
        }
        assert!(!passes("keep-alive", &["websocket"]), "RFC 9110, section 7.8");
    }
}
