//! From the head of a response to the end of both directions.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use super::ask::Asked;
use super::collector::Collector;
use super::lane::Lane;
use super::pump::{Broken, Pump, Rest, Waits};
use super::shaping::ShapedResponse;
use super::sides::Sides;
use super::whole::Collecting;
use super::{OfRequest, Request, Squall, Stop, reframe, rewrite_response, rewrites_of_both};
use crate::fault::before::Before;
use crate::proxy::body::{Part, Sink, Source};
use crate::proxy::client::Client;
use crate::proxy::http1::head;
use crate::proxy::net::timer;
use crate::shape::Finish;

/// What was written last gets this long to leave before the stream or the connection is reset: HTTP/2 throws queued DATA
/// away then, and TCP what it has not sent. This many times one after the other, since on a busy machine one wait can be
/// over before the task that writes has had its turn.
const LAST_WORDS: Duration = Duration::from_millis(5);
const LAST_TURNS: usize = 5;

/// How long the client of a tunnel may be silent after the server has closed its side.
const SILENCE: Duration = Duration::from_secs(1);

impl Squall {
    /// Sends the response, and moves both directions to their ends.
    pub(super) async fn relay(&self, client: &mut Client, request: &mut Request, asked: Asked) -> Result<(), Stop> {
        let Asked {
            mut session,
            mut upload,
            mut head,
            upgrade,
        } = asked;
        let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if head::is_transfer_coded(&head.headers) && !client.takes_transfer_codings() {
            // RFC 9112, section 7: without its coding the body would be taken for something else.
            let coded = Error::explain(ErrorType::InvalidHTTPHeader, "its transfer coding is not supported");
            return Err(Stop::Upstream(coded.into_up()));
        }
        let drops = self.before_response(client, request, &mut head).await?;
        let mut download = if drops || session.is_body_done() {
            Pump::whole(Bytes::new(), None)
        } else {
            Pump::new(Lane::default())
        };
        if let Some(execution) = &request.execution
            && let Some(collecting) = Collecting::begin(client, execution.record(), &mut head).await
        {
            let mut sides = Sides::new(&self.holder, client, &mut session, &mut upload, None);
            download = sides.collect(&mut head, &collecting).await?;
        }
        let shaped = match request.shaping() {
            Some(shaping) => shaping.response(client, &mut head, !drops, (upgrade, switched)),
            None => ShapedResponse::default(),
        };
        request.reveal(&mut head)?;
        if switched {
            client.switch_protocols();
            session.switch_protocols();
            upload = Pump::new(shaped.upload);
            // A tunnel has a body, whatever a response with this status has.
            download = Pump::new(Lane::default());
        }
        let whole = download.is_empty();
        download.pass(shaped.download);
        if let Some(malformed) = shaped.malformed {
            client.malform(malformed);
        }
        client.respond(head, whole)?;
        let mut sides = Sides::new(&self.holder, client, &mut session, &mut upload, Some(&download));
        let ended = sides.run(&mut download, switched).await;
        let ended = ended_here(client, ended).await?;
        finish(client, &ended).await;
        if matches!(ended, Finish::Natural) && upload.is_over() {
            session.release(&self.connector);
        }
        Ok(())
    }

    /// Carries out what comes between the upstream's response and the client. True if the body is to be dropped.
    async fn before_response(
        &self,
        client: &mut Client,
        request: &mut Request,
        head: &mut ResponseHeader,
    ) -> Result<bool, Stop> {
        let Some(execution) = &mut request.execution else {
            return Ok(false);
        };
        let natural = head.status;
        let mut subject = OfRequest {
            client,
            head: Some(head),
        };
        let ending = execution.run(Before::Response, request.natural, &mut subject).await;
        if let Some(ending) = ending {
            // The upstream's response is dropped.
            return Err(Stop::End(ending));
        }
        let record = execution.record();
        for (at, rewrite) in rewrites_of_both(record) {
            rewrite_response(at, rewrite, head, record);
        }
        Ok(reframe(natural, head))
    }
}

impl Sides<'_> {
    /// Holds a response until its body has come, and changes it; or lets it pass as it was, where it can't be changed.
    async fn collect(&mut self, head: &mut ResponseHeader, collecting: &Collecting) -> Result<Pump, Stop> {
        if let Some(reason) = collecting.at_once {
            return Ok(match collecting.settle(head, Err(reason)).await {
                Some(new) => Pump::whole(new, None),
                None => Pump::new(Lane::default()),
            });
        }
        let mut held = Collector::new(collecting.limit());
        let mut trailers = None;
        // Biased: a body that is complete as its time runs out is taken.
        let end = tokio::select! {
            biased;
            end = self.fill(&mut held, &mut trailers) => end?,
            () = tokio::time::sleep(collecting.patience()) => CollectEnd::Not("body too slow"),
        };
        let old = match &end {
            CollectEnd::Natural => Ok(held.whole()),
            CollectEnd::Not(reason) => Err(*reason),
            CollectEnd::Failed(_) => Err("body broke off"),
        };
        if let Some(new) = collecting.settle(head, old).await {
            return Ok(Pump::whole(new, trailers));
        }
        let rest = match end {
            CollectEnd::Natural => Rest::End,
            CollectEnd::Not(_) => Rest::Source,
            CollectEnd::Failed(error) => Rest::Failure(Some(error)),
        };
        Ok(Pump::with(Lane::default(), held.into_pieces().into(), rest).with_trailers(trailers))
    }

    /// Collects a response's body while the request's goes on.
    async fn fill(&mut self, held: &mut Collector, trailers: &mut Option<HeaderMap>) -> Result<CollectEnd, Stop> {
        std::future::poll_fn(|cx| {
            self.poll_stop(cx);
            self.poll_upload(cx)?;
            // What the client was told before may still have to leave.
            if let Poll::Ready(Err(error)) = self.client.poll_flush(cx) {
                return Poll::Ready(Err(error.into()));
            }
            while let Poll::Ready(part) = self.session.poll_part(cx) {
                match part {
                    Ok(Some(Part::Data(data))) => {
                        if !held.push(data) {
                            return Poll::Ready(Ok(CollectEnd::Not("body too large")));
                        }
                    }
                    Ok(Some(Part::Trailers(fields))) => *trailers = Some(fields),
                    Ok(None) => return Poll::Ready(Ok(CollectEnd::Natural)),
                    Err(error) => return Poll::Ready(Ok(CollectEnd::Failed(error))),
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

    /// Moves both directions until the response is at its end; a tunnel until both are.
    async fn run(&mut self, download: &mut Pump, tunnel: bool) -> Result<Finish, Stop> {
        let ended = std::future::poll_fn(|cx| self.poll_both(cx, download, tunnel)).await?;
        if tunnel && matches!(ended, Finish::Natural) {
            self.hear_out().await?;
        }
        Ok(ended)
    }

    /// Ready when the response is at its end.
    fn poll_both(&mut self, cx: &mut Context<'_>, download: &mut Pump, tunnel: bool) -> Poll<Result<Finish, Stop>> {
        if self.poll_stop(cx) {
            download.release();
        }
        self.poll_upload(cx)?;
        match download.poll(cx, self.session, self.client) {
            Poll::Ready(Ok(finish)) => return Poll::Ready(Ok(finish)),
            Poll::Ready(Err(Broken::Source(error))) => return Poll::Ready(Err(Stop::Upstream(error))),
            Poll::Ready(Err(Broken::Sink(error))) => return Poll::Ready(Err(error.into())),
            Poll::Pending => {}
        }
        let gone = if tunnel {
            self.has_left_tunnel(cx, download)
        } else {
            self.poll_gone(cx)
        };
        if gone {
            Poll::Ready(Err(Stop::gone()))
        } else {
            Poll::Pending
        }
    }

    /// Whether a tunnel's client is not there for what is still to come.
    fn has_left_tunnel(&mut self, cx: &mut Context<'_>, download: &Pump) -> bool {
        // Bytes, or an end, are held back from a client that has closed its side: it has left.
        let held_back = self.upload.waits() == Waits::Time || download.waits() == Waits::Time;
        // Nothing else looks at a client whose bytes the server does not take.
        let reset = self.upload.waits() == Waits::Sink && self.client.poll_reset(cx).is_ready();
        reset || self.upload.has_ended() && held_back
    }

    /// A server that has closed its side of a tunnel may still listen: the client is heard for as long as it goes on
    /// talking. Nothing tells whether the server has really closed both.
    async fn hear_out(&mut self) -> Result<(), Stop> {
        while !self.upload.is_over() {
            let before = self.client.bytes_read();
            let to_end = std::future::poll_fn(|cx| {
                self.poll_upload(cx)?;
                if self.upload.is_over() {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                }
            });
            match tokio::time::timeout(SILENCE, to_end).await {
                Ok(ended) => return ended,
                Err(_) if self.client.bytes_read() == before => return Ok(()),
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// What ended the collecting of a body.
enum CollectEnd {
    Natural,
    /// It has not ended: it is given up, for this reason.
    Not(&'static str),
    Failed(Box<Error>),
}

/// Carries out an end that a fault has made in a request's body, while the upstream is still there to hear what came before.
pub(super) async fn ended_here<T>(client: &mut Client, outcome: Result<T, Stop>) -> Result<T, Stop> {
    if let Err(Stop::Finish(end)) = &outcome {
        finish(client, end).await;
    }
    outcome
}

/// Ends the stream or the connection, where that is how a body ends.
pub(super) async fn finish(client: &mut Client, finish: &Finish) {
    match finish {
        Finish::Natural | Finish::Clean(_) => {}
        Finish::Close => {
            last_words(client).await;
            client.close();
        }
        Finish::Reset(code) => {
            last_words(client).await;
            client.reset(*code);
        }
    }
}

/// Breaks off a response that has begun, so that its receiver can't take it for a whole one.
pub(super) async fn break_off(client: &mut Client) {
    last_words(client).await;
    client.break_off();
}

/// Lets what was handed on leave, as far as the client takes it now.
async fn last_words(client: &mut Client) {
    for _ in 0..LAST_TURNS {
        let deadline = Instant::now() + LAST_WORDS;
        let gone = std::future::poll_fn(|cx| match client.poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => client.poll_gone(cx),
        });
        tokio::select! {
            () = timer::sleep_until(deadline) => {}
            // Who leaves in that time hears no end, and needs none.
            () = gone => return,
        }
    }
}
