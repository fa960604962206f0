//! From the response head to the end of both directions: sends the response and moves both bodies.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use super::ask::Asked;
use super::lane::Lane;
use super::pump::{Broken, Pump, Rest, Waits};
use super::shaping::ShapedResponse;
use super::sides::Sides;
use super::whole::{Collecting, Natural};
use super::{OfRequest, Request, Squall, Stop, allow, ends_early, reframe, rewrite_response, rewrites_of_both, route};
use crate::fault::before::Before;
use crate::limits::bodies::Full;
use crate::limits::collector::Collector;
use crate::proxy::body::{Part, Sink, Source};
use crate::proxy::client::Client;
use crate::proxy::http1::head;
use crate::proxy::net::timer;
use crate::proxy::record::SWITCHED_OFF;
use crate::shape::Finish;

/// How long, and how often in a row, the last bytes get time to leave before a reset, which discards queued DATA in h2 and
/// unsent bytes in TCP. Several short waits, since on a busy machine a single one can pass before the writing task runs.
const FLUSH_TIME: Duration = Duration::from_millis(5);
const FLUSH_TURNS: usize = 5;

/// How long a tunnel's client may be silent after the server has closed its sending side.
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
            // The client would not decode the body, and take it for something else (RFC 9112, section 7).
            let coded = Error::explain(ErrorType::InvalidHTTPHeader, "its transfer coding is not supported");
            return Err(Stop::Upstream(coded.into_up()));
        }
        if switched && !upgrade {
            // Nobody would speak the new protocol (RFC 9110, section 7.8).
            let unasked = Error::explain(
                ErrorType::InvalidHTTPHeader,
                "it switches protocols without being asked",
            );
            return Err(Stop::Upstream(unasked.into_up()));
        }
        route::map_back(
            client,
            (&request.view, request.route()),
            request.picked.as_ref(),
            &mut head,
        );
        let drops = self.before_response(client, request, &mut head).await?;
        let mut download = if drops || session.is_body_done() {
            Pump::whole(Bytes::new(), None)
        } else {
            Pump::new(Lane::default())
        };
        if let Some(execution) = &request.execution
            && let Some((collecting, natural)) =
                Collecting::begin(client, execution.record(), &mut head, self.budget(&request.view)).await
        {
            let mut sides = Sides::new(&self.holder, client, &mut session, &mut upload, None);
            download = sides.collect(&mut head, &collecting, natural).await?;
        }
        let shaped = match request.shaping() {
            Some(shaping) => shaping.response(client, &mut head, !drops, (upgrade, switched)),
            None => ShapedResponse::default(),
        };
        request.reveal(&mut head)?;
        if let Some(cors) = request.route().cors.as_ref().filter(|_| !switched) {
            allow::adjust(cors, client.head(), &mut head);
        }
        if switched {
            client.switch_protocols();
            session.switch_protocols();
            upload = Pump::new(shaped.upload);
            // The bytes of a tunnel count as a body, though a 101 itself has none.
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
        request.cut = ends_early(&ended);
        if matches!(ended, Finish::Natural) && upload.is_over() {
            session.release(&self.connector);
        }
        Ok(())
    }

    /// Carries out the actions that come before the response. Returns true if the natural body is to be dropped.
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
    /// Collects a response body and changes it, or passes it on unchanged if it can't be changed.
    async fn collect(
        &mut self,
        head: &mut ResponseHeader,
        collecting: &Collecting,
        natural: Natural,
    ) -> Result<Pump, Stop> {
        let mut held = match natural {
            Ok(collector) => collector,
            Err(reason) => {
                let new = collecting.settle(head, Err(reason)).await;
                return Ok(new.map_or_else(|| Pump::new(Lane::default()), |new| Pump::whole(new, None)));
            }
        };
        let mut trailers = None;
        // Biased: a body that is complete when its time runs out counts as complete.
        let end = tokio::select! {
            biased;
            end = self.fill(&mut held, &mut trailers) => end?,
            () = tokio::time::sleep(collecting.patience()) => CollectEnd::Not("body too slow"),
            () = collecting.let_go() => CollectEnd::Not(SWITCHED_OFF),
        };
        let (old, rest) = match end {
            CollectEnd::Natural => match held.into_whole() {
                Ok(whole) => {
                    let new = collecting.settle(head, Ok(whole.clone())).await;
                    return Ok(Pump::whole(new.unwrap_or(whole), trailers));
                }
                Err(same) => {
                    held = same;
                    (Full::REASON, Rest::End)
                }
            },
            CollectEnd::Not(reason) => (reason, Rest::Source),
            CollectEnd::Failed(error) => ("body broke off", Rest::Failure(Some(error))),
        };
        if let Some(new) = collecting.settle(head, Err(old)).await {
            return Ok(Pump::whole(new, trailers));
        }
        Ok(Pump::with(Lane::default(), held.into_pieces().into(), rest).with_trailers(trailers))
    }

    /// Collects a response body while the request body moves.
    async fn fill(&mut self, held: &mut Collector, trailers: &mut Option<HeaderMap>) -> Result<CollectEnd, Stop> {
        std::future::poll_fn(|cx| {
            self.poll_signals(cx, None);
            self.poll_upload(cx)?;
            // An interim response may still wait to be sent.
            if let Poll::Ready(Err(error)) = self.client.poll_flush(cx) {
                return Poll::Ready(Err(error.into()));
            }
            while let Poll::Ready(part) = self.session.poll_part(cx) {
                match part {
                    Ok(Some(Part::Data(data))) => {
                        if let Err(reason) = held.push(data) {
                            return Poll::Ready(Ok(CollectEnd::Not(reason.reason())));
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

    /// Moves both directions until the response ends, or for a tunnel until both directions end.
    async fn run(&mut self, download: &mut Pump, tunnel: bool) -> Result<Finish, Stop> {
        let ended = std::future::poll_fn(|cx| self.poll_both(cx, download, tunnel)).await?;
        if tunnel && matches!(ended, Finish::Natural) {
            self.finish_upload().await?;
        }
        Ok(ended)
    }

    /// Polls both directions. Ready at the end of the response.
    fn poll_both(&mut self, cx: &mut Context<'_>, download: &mut Pump, tunnel: bool) -> Poll<Result<Finish, Stop>> {
        self.poll_signals(cx, Some(download));
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

    /// Whether a tunnel's client has disconnected while bytes for either side are held back.
    fn has_left_tunnel(&mut self, cx: &mut Context<'_>, download: &Pump) -> bool {
        // With a timer pending, a client that has closed its sending side counts as gone.
        let held_back = self.upload.waits() == Waits::Time || download.waits() == Waits::Time;
        // While the server takes no bytes the client is not read, so only a reset shows that it is gone.
        let reset = self.upload.waits() == Waits::Sink && self.client.poll_reset(cx).is_ready();
        reset || self.upload.has_ended() && held_back
    }

    /// Moves a tunnel's upload after the server has closed its sending side, for as long as the client keeps sending. The
    /// server may still read: a FIN does not tell whether it has closed both directions.
    async fn finish_upload(&mut self) -> Result<(), Stop> {
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

/// Why collecting a body ended.
enum CollectEnd {
    Natural,
    /// Given up before the end of the body, for this reason.
    Not(&'static str),
    Failed(Box<Error>),
}

/// If a fault has ended the request body, ends the connection or stream now, while the session is still open so that the
/// upstream receives the bytes before the end.
pub(super) async fn ended_here<T>(client: &mut Client, outcome: Result<T, Stop>) -> Result<T, Stop> {
    if let Err(Stop::Finish(end)) = &outcome {
        finish(client, end).await;
    }
    outcome
}

/// Ends the stream or the connection, if the body ends that way.
pub(super) async fn finish(client: &mut Client, finish: &Finish) {
    match finish {
        Finish::Natural | Finish::Clean(_) => {}
        Finish::Close => {
            flush_briefly(client).await;
            client.close();
        }
        Finish::Reset(code) => {
            flush_briefly(client).await;
            client.reset(*code);
        }
    }
}

/// Breaks off a response that has begun, so that the client can't take it for a complete one.
pub(super) async fn break_off(client: &mut Client) {
    flush_briefly(client).await;
    client.break_off();
}

/// Gives the bytes written so far time to leave, as far as the client reads them now.
async fn flush_briefly(client: &mut Client) {
    for _ in 0..FLUSH_TURNS {
        let deadline = Instant::now() + FLUSH_TIME;
        let gone = std::future::poll_fn(|cx| match client.poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => client.poll_gone(cx),
        });
        tokio::select! {
            () = timer::sleep_until(deadline) => {}
            // A client that disconnects meanwhile receives nothing more. Not biased: either way the caller ends it next.
            () = gone => return,
        }
    }
}
