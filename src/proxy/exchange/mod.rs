//! The loop: one request's way from its head to the end of its response, the same for HTTP/1 and HTTP/2 on either side and
//! for fakes.
//!
//! ```text
//! head ─ decide ─ execute: before the request ─ pick, connect ─ head out ─┬─ upload:   client ─ lane ─> upstream
//!        │                │                                              └─ download: upstream ─ lane ─> client
//!        Plan             Ending: answered, closed, reset                    both polled in turn, by one task
//! ```
//!
//! Both directions are pumps, polled one after the other by the one task of the request. A session is one
//! `&mut`, so nothing is split and nothing is locked; a write that is blocked returns, and then the other direction has its
//! turn. Where the plan shapes bytes, a pump's lane has a Shaper; where it changes whole bodies, they come out
//! of memory instead of the source. A request without a plan has neither.

mod answer;
mod ask;
mod collector;
mod copy;
mod fields;
mod lane;
pub(in crate::proxy) mod log;
mod pump;
mod relay;
mod shaping;
mod sides;
pub mod view;
mod whole;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorSource, ErrorType, Result};

use self::fields::Fields;
use self::shaping::Shaping;
use self::whole::Outgoing;
use super::client::Client;
use super::execute::hold::{Holder, Left};
use super::execute::{End, Execution, Subject};
use super::record::Record;
use super::upstream::{Connector, Failure, Picked, describe_error};
use crate::draw::head::Head;
use crate::fault::before::Before;
use crate::fault::effect::{Effect, Ending};
use crate::fault::rewrite::change::Rewrite;
use crate::fault::rewrite::is_bodiless;
use crate::metrics::NO_STATUS;
use crate::proxy::exchange::view::View;
use crate::rule::state::Live;
use crate::shape::Finish;

/// The proxy behind one listener.
#[derive(Debug)]
pub struct Squall {
    /// The part of the configuration in force that is this listener's.
    pub view: Arc<ArcSwap<View>>,
    /// Holds requests in injected waits.
    pub holder: Arc<Holder>,
    /// Opens and keeps connections to upstreams.
    pub connector: Arc<Connector>,
}

/// One request on its way.
#[derive(Debug)]
struct Request {
    view: Arc<View>,
    started: Instant,
    /// The client's address, by way of the proxies that are trusted.
    address: Option<IpAddr>,
    /// Present only where a rule hit.
    execution: Option<Execution>,
    picked: Option<Picked>,
    /// When the upstream was asked, and how long it took to the head of its response.
    sent: Option<Instant>,
    natural: Option<Duration>,
    /// The client left before the answer was complete.
    gone: bool,
    /// What went wrong, for the log.
    error: Option<Box<Error>>,
}

/// Why a request ends otherwise than with its natural answer.
#[derive(Debug)]
enum Stop {
    /// A fault ends it, or the client's leaving during one.
    End(End),
    /// A fault has ended the request's body in the middle, and the connection or the stream with it.
    Finish(Finish),
    /// The client left, or broke the protocol.
    Client(Box<Error>),
    /// The upstream failed, or squall itself.
    Upstream(Box<Error>),
}

impl Stop {
    /// The client was seen to leave.
    fn gone() -> Stop {
        Stop::End(End::Gone)
    }
}

/// Errors that blame nobody else are squall's own or the upstream's.
impl From<Box<Error>> for Stop {
    fn from(error: Box<Error>) -> Stop {
        match error.esource() {
            ErrorSource::Downstream => Stop::Client(error),
            _ => Stop::Upstream(error),
        }
    }
}

impl Squall {
    /// Serves one request to its end, whatever that is; counts it, and logs it.
    pub(in crate::proxy) async fn serve(&self, client: &mut Client) {
        let mut request = self.request(client);
        let stopped = self.handle(client, &mut request).await;
        if let Err(stop) = stopped {
            self.stop(client, &mut request, stop).await;
        }
        settle(client, request);
        client.finish().await;
    }

    fn request(&self, client: &Client) -> Request {
        let view = self.view.load_full();
        let head = client.head();
        let forwarded = if view.trusted_proxies.is_empty() {
            None
        } else {
            joined(head, "x-forwarded-for")
        };
        let address = view.client(client.connection().client(), forwarded.as_deref());
        let started = Instant::now();
        Request {
            execution: self.decide(&view, head, address, started),
            view,
            started,
            address,
            picked: None,
            sent: None,
            natural: None,
            gone: false,
            error: None,
        }
    }

    /// Which rules hit a request, and what they do to it.
    fn decide(&self, view: &View, head: &RequestHeader, address: Option<IpAddr>, now: Instant) -> Option<Execution> {
        if view.rules.rules().is_empty() {
            return None;
        }
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let authority = head.uri.authority().map(http::uri::Authority::as_str);
        let head = Head::new(&head.method, target, authority, &head.headers, address);
        let plan = view.rules.decide(&head, &Live { now })?;
        Some(Execution::new(plan, now, &self.holder, view.bounds))
    }

    async fn handle(&self, client: &mut Client, request: &mut Request) -> Result<(), Stop> {
        if client.head().method == Method::CONNECT {
            // RFC 9110, section 9.3.6: squall does not open tunnels to hosts that clients name.
            let text = "squall: CONNECT is not supported\n".into();
            return Ok(request.explain(client, 405, text).await?);
        }
        // With a body nobody could tell where that ends and the other protocol begins.
        let upgrade = ask::passes_upgrade(client.head()) && client.is_body_done();
        let mut outgoing = Outgoing {
            upgrade,
            ..Outgoing::default()
        };
        if let Some(execution) = &mut request.execution {
            let mut subject = OfRequest { client, head: None };
            let ending = execution.run(Before::Request, None, &mut subject).await;
            if let Some(ending) = ending {
                return Err(Stop::End(ending));
            }
            outgoing.change(client, execution.record()).await?;
        }
        let asked = self.ask(client, request, outgoing).await?;
        self.relay(client, request, asked).await
    }

    /// Ends a request otherwise than with its natural answer.
    async fn stop(&self, client: &mut Client, request: &mut Request, stop: Stop) {
        if client.connection().ended() || client.has_whole_answer() {
            // Another stream's fault has closed the connection, or all was said already: nobody has left too early.
            return;
        }
        let ended = match stop {
            Stop::End(end) => self.end(client, request, end).await,
            Stop::Finish(_) => Ok(()),
            Stop::Client(error) => {
                let malformed = *error.etype() == ErrorType::InvalidHTTPHeader;
                let text = format!("squall: the request is not valid HTTP: {}\n", reason(&error));
                request.error = Some(error);
                request.gone = !malformed;
                if malformed {
                    request.explain(client, 400, text).await
                } else {
                    Ok(())
                }
            }
            Stop::Upstream(error) => {
                let failure = request.failure(&error);
                request.error = Some(error);
                request.explain(client, failure.status, failure.text).await
            }
        };
        // Where another stream's fault has closed the connection meanwhile, nobody has left either.
        if let Err(error) = ended
            && !client.connection().ended()
        {
            request.gone = true;
            request.error.get_or_insert(error);
        }
        if request.gone && client.status().is_some() {
            // Who has only closed its sending side must not take what it got for a whole answer.
            client.break_off();
        }
    }

    async fn end(&self, client: &mut Client, request: &mut Request, end: End) -> Result<()> {
        match end {
            End::Gone => request.gone = true,
            End::Fault(Ending::Close | Ending::Hang(_)) => client.close(),
            End::Fault(Ending::Reset(code)) => client.reset(code),
            End::Fault(Ending::Answer(answer, status)) => {
                let mut head = answer::head(&answer, status)?;
                request.reveal(&mut head)?;
                answer::send(client, head, answer.body.clone()).await?;
            }
            End::Fault(Ending::Grpc(status)) => {
                let mut head = answer::grpc_head(&status)?;
                request.reveal(&mut head)?;
                answer::send_trailers_only(client, head).await?;
            }
        }
        Ok(())
    }
}

impl Request {
    /// Shows on a response what was injected.
    fn reveal(&self, head: &mut ResponseHeader) -> Result<()> {
        match &self.execution {
            Some(execution) => execution.record().reveal(self.view.reveal, head),
            None => Ok(()),
        }
    }

    /// Tells the client in plain text why it gets no other answer. Where one has begun it is broken off instead: it must not
    /// look whole.
    async fn explain(&self, client: &mut Client, status: u16, text: String) -> Result<()> {
        if client.status().is_some() {
            relay::break_off(client).await;
            return Ok(());
        }
        let mut head = answer::text_head(status)?;
        self.reveal(&mut head)?;
        answer::send(client, head, text.into()).await
    }

    /// Counts a failure of the upstream, and says what the client is to be told of it.
    fn failure(&mut self, error: &Error) -> Failure {
        if let Some(picked) = &mut self.picked {
            picked.failed(error, Instant::now());
        }
        self.view.metrics.upstream_errors.inc();
        describe_error(error, &self.view.upstream, self.picked.as_ref().map(Picked::label))
    }

    fn shaping(&self) -> Option<Shaping<'_>> {
        let execution = self.execution.as_ref()?;
        Some(Shaping {
            execution,
            record: execution.record(),
            buffer: self.view.buffer,
        })
    }
}

/// What an error says, without its type and without who is to blame.
fn reason(error: &Error) -> &str {
    error
        .context
        .as_ref()
        .map_or("it is malformed", |context| context.as_str())
}

/// Counts and logs what became of a request. What it held is given back with it.
fn settle(client: &Client, request: Request) {
    let view = &request.view;
    let total = request.started.elapsed();
    let status = client.status().map_or(NO_STATUS, |status| status.as_u16());
    if let Some(counter) = view.metrics.requests(status) {
        counter.inc();
    }
    view.metrics.request_seconds.observe(total.as_secs_f64());
    if let Some(natural) = request.natural {
        view.metrics.upstream_seconds.observe(natural.as_secs_f64());
    }
    if request.gone {
        view.metrics.clients_gone.inc();
    }
    if log::wanted(view, request.execution.is_some(), status) {
        log::write(client, &request, status, total);
    }
}

/// A request, or a response that is about to be sent, as a plan is carried out on it.
struct OfRequest<'a> {
    client: &'a mut Client,
    /// The head of the response, once there is one.
    head: Option<&'a mut ResponseHeader>,
}

impl Subject for OfRequest<'_> {
    const ENDS_WITH_SQUALL: bool = false;

    async fn left(&mut self) -> Left {
        gone(self.client).await;
        Left::Client
    }

    fn take(&mut self, at: usize, effect: &Effect, record: &Record) {
        match (effect, &mut self.head) {
            // A quota that lets a request pass injects nothing, it only tells.
            (Effect::Fields(fields), Some(head)) => {
                for (name, value) in fields.iter() {
                    head.set(name, value.clone());
                }
            }
            // A tunnel has no request after it.
            (Effect::GoAway, _) if ask::passes_upgrade(self.client.head()) => record.skip(at, "upgraded"),
            (Effect::GoAway, _) => {
                self.client.go_away();
                record.done(at);
            }
            (Effect::Rewrite(rewrite), Some(head)) => rewrite_response(at, rewrite, head, record),
            (Effect::Rewrite(rewrite), None) if !rewrite.request.is_empty() => record.done(at),
            _ => {}
        }
    }
}

/// Changes the head of a response as one rewrite says.
fn rewrite_response(at: usize, rewrite: &Rewrite, head: &mut ResponseHeader, record: &Record) {
    if !rewrite.touches_response_head() {
        return;
    }
    record.done(at);
    // After 101 the connection speaks another protocol: its status stays.
    if let Some(status) = rewrite
        .status
        .filter(|_| head.status != StatusCode::SWITCHING_PROTOCOLS)
    {
        // Only a status outside 100 to 999 is refused, and the configuration has none.
        let _ = head.set_status(status);
    }
    head.change(&rewrite.response);
}

/// The rewrites that touch the request, too: their response part is due with the response.
fn rewrites_of_both(record: &Record) -> impl Iterator<Item = (usize, &Arc<Rewrite>)> {
    record.in_force().filter_map(|(at, action)| match &action.effect {
        Effect::Rewrite(rewrite) if rewrite.touches_request() => Some((at, rewrite)),
        _ => None,
    })
}

/// Makes a head fit a status that was rewritten: one with no content has no body and no length, one that was given up for
/// another has an empty body. True if the body is to be dropped.
fn reframe(natural: StatusCode, head: &mut ResponseHeader) -> bool {
    if is_bodiless(head.status) && !is_bodiless(natural) {
        head.remove(&CONTENT_LENGTH);
        head.remove(&TRANSFER_ENCODING);
        return true;
    }
    if is_bodiless(natural) && !is_bodiless(head.status) {
        head.set(&CONTENT_LENGTH, 0.into());
    }
    false
}

/// Resolves when the client is no longer there to hear the answer. Cancel-safe.
async fn gone(client: &mut Client) {
    std::future::poll_fn(|cx| client.poll_gone(cx)).await;
}

/// A field's values as one list (RFC 9110, section 5.3).
fn joined(head: &RequestHeader, name: &str) -> Option<String> {
    let values: Vec<&str> = head
        .headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}
