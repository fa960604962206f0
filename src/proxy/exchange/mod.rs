//! The exchange: one request from its head to the end of its response, over HTTP/1 or HTTP/2 on either side, or with a fake.
//!
//! ```text
//! head ─ decide ─ execute: before the request ─ pick, connect ─ head out ─┬─ upload:   client ─ lane ─> upstream
//!        │                │                                              └─ download: upstream ─ lane ─> client
//!        Plan             Ending: response, close, reset                     both polled in turn, by one task
//! ```
//!
//! Both directions are pumps, polled in turn by the request's one task. A session is a single `&mut`, so nothing is split
//! or locked, and a blocked write returns so that the other direction gets its turn. If the plan shapes bytes, a pump's
//! lane has a Shaper; if it changes whole bodies, the pump sends them from memory. A request without a plan has neither.

mod ahead;
mod allow;
mod answer;
mod ask;
mod copy;
mod fields;
pub(in crate::proxy) mod lane;
pub(crate) mod log;
mod note;
pub(in crate::proxy) mod pump;
mod relay;
pub mod route;
pub(in crate::proxy) mod shaping;
mod sides;
mod tell;
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
use self::route::Route;
use self::shaping::Shaping;
use self::whole::Outgoing;
use super::client::{Client, Connection};
use super::execute::hold::{Holder, Left};
use super::execute::{End, Execution, Subject};
use super::record::Record;
use super::upstream::{Connector, Failure, Picked, describe_error};
use crate::content::Unanswered;
use crate::cors;
use crate::draw::head::Head;
use crate::events::Events;
use crate::fault::before::Before;
use crate::fault::effect::{Effect, Ending};
use crate::fault::rewrite::change::Rewrite;
use crate::fault::rewrite::is_bodiless;
use crate::journal::Journal;
use crate::journal::entry::{Missed, Unmatched};
use crate::limits::bodies::{Bodies, Budget};
use crate::metrics::NO_STATUS;
use crate::proxy::exchange::view::View;
use crate::rule::state::Live;
use crate::shape::Finish;
use crate::traffic::{Seen, Traffic, Wrong};

/// How long the RST of a client may take that has closed both sides of its connection in the middle of its request.
const LATE_RESET: Duration = Duration::from_millis(100);

/// squall opens no tunnels to hosts that clients name (RFC 9110, section 9.3.6).
const NO_TUNNELS: &str = "squall: CONNECT is not supported, since faults can't be injected into encrypted traffic. For https://HOST, \
    add a listener with `upstream: {url: https://HOST}` and give the client its http:// address; for http:// no CONNECT is needed\n";

/// The proxy behind one listener.
#[derive(Debug)]
pub struct Squall {
    /// This listener's part of the configuration in force.
    pub view: Arc<ArcSwap<View>>,
    /// Holds requests during injected waits.
    pub holder: Arc<Holder>,
    /// Opens and pools connections to upstreams.
    pub connector: Arc<Connector>,
    /// Counts the bodies in memory.
    pub bodies: Arc<Bodies>,
    /// Tells those who listen what happens.
    pub events: Arc<Events>,
    /// Counts requests by the second.
    pub traffic: Arc<Traffic>,
    /// Keeps the last requests.
    pub journal: Arc<Journal>,
}

/// The state of one request.
#[derive(Debug)]
struct Request {
    view: Arc<View>,
    /// Where it goes, if a route takes it.
    routed: Option<Arc<Route>>,
    started: Instant,
    /// The client's address, taken from X-Forwarded-For behind trusted proxies.
    address: Option<IpAddr>,
    /// `None` if no rule hit.
    execution: Option<Execution>,
    /// The rules that matched and did not hit, for the journal.
    missed: Vec<Missed>,
    /// The rules that its body was read for and that did not match, for the journal.
    unmatched: Vec<Unmatched>,
    /// Why rules could not look at its body, though they had to.
    unread: Option<Unanswered>,
    /// Whether the client was sent a 100, so that it has sent its body.
    continued: bool,
    picked: Option<Picked>,
    /// When the request was sent to the upstream, and the time from then to the response head.
    sent: Option<Instant>,
    natural: Option<Duration>,
    /// Whether it is a gRPC call that was sent over HTTP/1.1, which few gRPC servers speak.
    is_grpc_over_http1: bool,
    /// Whether the upstream failed, or responded with a status from 500 on.
    failed: bool,
    /// Whether a fault ended it: its response, the connection or the stream.
    cut: bool,
    /// Whether the client disconnected before the response was complete.
    gone: bool,
    /// The error to log.
    error: Option<String>,
}

/// Why a request ends without its natural response.
#[derive(Debug)]
enum Stop {
    /// A fault ends it, or the client disconnected.
    End(End),
    /// A fault ended the request body early, and the connection or the stream with it.
    Finish(Finish),
    /// The client disconnected, or broke the protocol.
    Client(Box<Error>),
    /// The upstream failed, or squall itself.
    Upstream(Box<Error>),
    /// squall has nowhere to send it, or may not: with this status and text.
    Refused(u16, String),
}

impl Stop {
    /// The client has disconnected.
    fn gone() -> Stop {
        Stop::End(End::Gone)
    }
}

/// Errors that don't name the client as their source are the upstream's or squall's own.
impl From<Box<Error>> for Stop {
    fn from(error: Box<Error>) -> Stop {
        match error.esource() {
            ErrorSource::Downstream => Stop::Client(error),
            _ => Stop::Upstream(error),
        }
    }
}

impl Squall {
    /// Serves one request to its end, then counts and logs it.
    pub(in crate::proxy) async fn serve(&self, client: &mut Client) {
        let mut request = self.request(client);
        let stopped = self.handle(client, &mut request).await;
        if let Err(stop) = stopped {
            self.stop(client, &mut request, stop).await;
        }
        // Before `finish`, which may wait: the request is over now, and its places are free for others.
        self.settle(client, request);
        client.finish().await;
    }

    /// Counts and logs a request whose head was refused with `status`, so that no rule has seen it.
    pub(in crate::proxy) fn refused(&self, connection: &Connection, status: u16, reason: &str) {
        let view = self.view.load();
        if let Some(counter) = view.own.metrics.requests(status) {
            counter.inc();
        }
        if log::wanted(&view, false, status) {
            log::write_refused(&view, connection, status, reason);
        }
        if self.journal.is_on() {
            self.journal.record(note::refused(&view, connection, status, reason));
        }
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
        let routed = (!view.routes.is_empty()).then(|| Arc::clone(view.route(&head_of(head, address))));
        Request {
            execution: None,
            missed: Vec::new(),
            unmatched: Vec::new(),
            unread: None,
            continued: false,
            routed,
            view,
            started: Instant::now(),
            address,
            picked: None,
            sent: None,
            natural: None,
            is_grpc_over_http1: false,
            failed: false,
            cut: false,
            gone: false,
            error: None,
        }
    }

    /// The bound on bodies that a request counts against.
    fn budget(&self, view: &View) -> Budget {
        Budget::new(&self.bodies, view.bodies)
    }

    /// Decides which rules hit a request. Reads its body first if a rule needs it for that.
    async fn decide(&self, client: &mut Client, request: &mut Request) -> Result<()> {
        if request.view.rules.is_empty() || !self.holder.switches().is_armed() {
            return Ok(());
        }
        let route = Arc::clone(request.routed.as_ref().unwrap_or(&request.view.own));
        // Not kept across the await below: a head is of one thread.
        let wanted = {
            let head = head_of(client.head(), request.address).to(&route.upstream);
            request.view.rules.body_wanted(&head)
        };
        let content = match &wanted {
            Some(wanted) => Some(self.read_ahead(client, request, wanted.limit).await?),
            None => None,
        };
        let head = client.head();
        let spared = route.cors.is_some() && cors::is_preflight(&head.method, &head.headers);
        let head = head_of(head, request.address)
            .to(&route.upstream)
            .with_body(content.as_ref())
            .sparing(spared);
        let noted = self.journal.is_on();
        let missed = &mut request.missed;
        let live = Live { now: request.started };
        let plan = request.view.rules.decide_noting(&head, &live, |rule, drawn| {
            if noted {
                missed.extend(Missed::new(rule, drawn, missed.len()));
            }
        });
        if let (Some(wanted), true) = (&wanted, noted) {
            request.unmatched = Unmatched::of(&wanted.rules, &head);
        }
        let bounds = request.view.bounds;
        let site = &route.metrics.site;
        request.execution = plan.map(|plan| Execution::new(plan, request.started, site, &self.holder, bounds));
        Ok(())
    }

    async fn handle(&self, client: &mut Client, request: &mut Request) -> Result<(), Stop> {
        self.decide(client, request).await?;
        if client.head().method == Method::CONNECT {
            return Err(Stop::Refused(405, NO_TUNNELS.into()));
        }
        // With a body, the boundary between its end and the other protocol would be ambiguous.
        let upgrade = ask::passes_upgrade(client.head()) && client.is_body_done();
        let mut outgoing = Outgoing {
            upgrade,
            continued: request.continued,
            ..Outgoing::default()
        };
        if let Some(execution) = &mut request.execution {
            let mut subject = OfRequest { client, head: None };
            let ending = execution.run(Before::Request, None, &mut subject).await;
            if let Some(ending) = ending {
                return Err(Stop::End(ending));
            }
            let budget = self.budget(&request.view);
            outgoing.change(client, execution.record(), &budget).await?;
        }
        outgoing.settle_expectation(client);
        let asked = self.ask(client, request, outgoing).await?;
        self.relay(client, request, asked).await
    }

    /// Ends a request that gets no natural response.
    async fn stop(&self, client: &mut Client, request: &mut Request, stop: Stop) {
        if client.connection().ended() || client.has_whole_response() {
            // A fault on another stream closed the connection, or the response was complete: the client is not counted as
            // gone.
            return;
        }
        let ended = match stop {
            Stop::End(end) => self.end(client, request, end).await,
            Stop::Finish(finish) => {
                request.cut = ends_early(&finish);
                Ok(())
            }
            Stop::Client(error) => {
                let malformed = match error.etype() {
                    ErrorType::InvalidHTTPHeader => true,
                    // The request ended short. A client that has only closed its sending side still gets a response (RFC 9112,
                    // section 8).
                    ErrorType::ConnectionClosed => tokio::time::timeout(LATE_RESET, gone(client)).await.is_err(),
                    _ => false,
                };
                let text = format!("squall: the request is not valid HTTP: {}\n", reason(&error));
                request.error = Some(words(&error));
                request.gone = !malformed;
                if malformed {
                    request.explain(client, 400, text).await
                } else {
                    Ok(())
                }
            }
            Stop::Refused(status, text) => {
                request.error = Some(text.lines().next().unwrap_or_default().to_owned());
                request.explain(client, status, text).await
            }
            Stop::Upstream(error) => {
                let failure = request.failure(&error);
                request.error = Some(failure.text.trim_end().to_owned());
                request.explain(client, failure.status, failure.text).await
            }
        };
        // If a fault on another stream closed the connection in the meantime, the client is not counted as gone either.
        if let Err(error) = ended
            && !client.connection().ended()
        {
            request.gone = true;
            request.error.get_or_insert_with(|| words(&error));
        }
        if request.gone && client.status().is_some() {
            // A client that only closed its sending side must not take the partial response for a complete one.
            client.break_off();
        }
    }

    async fn end(&self, client: &mut Client, request: &mut Request, end: End) -> Result<()> {
        match end {
            End::Gone => request.gone = true,
            End::Fault(Ending::Close | Ending::Hang(_)) => {
                request.cut = true;
                client.close();
            }
            End::Fault(Ending::Reset(code)) => {
                request.cut = true;
                client.reset(code);
            }
            End::Fault(Ending::Answer(answer, status)) => {
                let mut head = answer::head(&answer, status)?;
                request.complete(client, &mut head)?;
                answer::send(client, head, answer.body.clone()).await?;
            }
            End::Fault(Ending::Grpc(answer)) => {
                request.cut = true;
                let mut head = answer::grpc_head(&answer)?;
                request.complete(client, &mut head)?;
                answer::send_trailers_only(client, head).await?;
            }
        }
        Ok(())
    }

    /// Counts, logs, notes and tells of a finished request. Dropping it frees the places that it held.
    fn settle(&self, client: &Client, mut request: Request) {
        let (view, metrics) = (&request.view, &request.route().metrics);
        let total = request.started.elapsed();
        let status = client.status().map_or(NO_STATUS, |status| status.as_u16());
        if let Some(counter) = metrics.requests(status) {
            counter.inc();
        }
        metrics.request_seconds.observe(total.as_secs_f64());
        if let Some(natural) = request.natural {
            metrics.upstream_seconds.observe(natural.as_secs_f64());
        }
        if request.gone {
            metrics.clients_gone.inc();
        }
        let seen = request.seen(status, total);
        self.traffic.record(request.started + total, &seen);
        if let Some(execution) = request.execution.as_ref().filter(|_| seen.faults > 0) {
            self.events
                .tell_request(|left_out| tell::request(client, &request, execution, (status, total), left_out));
        }
        if log::wanted(view, request.execution.is_some(), status) {
            log::write(client, &request, status, total);
        }
        let remarkable = request.execution.is_some() || request.gone || request.error.is_some() || status >= 500;
        if self.journal.is_on() && (remarkable || self.journal.admits(request.started)) {
            self.journal.record(note::entry(client, &mut request, status, total));
        }
    }
}

impl Request {
    /// Where it goes.
    fn route(&self) -> &Route {
        self.routed.as_ref().unwrap_or(&self.view.own)
    }

    /// Adds the fields to a response head that show what was injected.
    fn reveal(&self, head: &mut ResponseHeader) -> Result<()> {
        match &self.execution {
            Some(execution) => execution.record().reveal(self.view.reveal, head),
            None => Ok(()),
        }
    }

    /// Adds the fields to the head of a response of squall's own that show what was injected, and let pages of other origins
    /// read it.
    fn complete(&self, client: &Client, head: &mut ResponseHeader) -> Result<()> {
        self.reveal(head)?;
        if let Some(cors) = &self.route().cors {
            allow::complete(cors, client.head(), head);
        }
        Ok(())
    }

    /// Sends an error response in plain text. If a response has begun, breaks it off instead, so that it does not look
    /// complete.
    async fn explain(&self, client: &mut Client, status: u16, text: String) -> Result<()> {
        if client.status().is_some() {
            relay::break_off(client).await;
            return Ok(());
        }
        let mut head = answer::text_head(status)?;
        self.complete(client, &mut head)?;
        answer::send(client, head, text.into()).await
    }

    /// Counts a failure of the upstream, and returns the error response for the client.
    fn failure(&mut self, error: &Error) -> Failure {
        if let Some(picked) = &mut self.picked {
            picked.failed(error, Instant::now());
        }
        self.route().metrics.upstream_errors.inc();
        self.failed = true;
        let time = self.sent.map(|sent| sent.elapsed());
        // A response that breaks off after its head has been noted already.
        if self.natural.is_none() {
            self.view.guards.failed(&self.view.name, time);
        }
        let failure = describe_error(error, &self.route().upstream, self.picked.as_ref().map(Picked::label));
        if self.is_grpc_over_http1 && self.natural.is_none() {
            failure.of_grpc_over_http1()
        } else {
            failure
        }
    }

    /// What the client saw of the request, given the status sent and the time until now.
    fn seen(&self, status: u16, total: Duration) -> Seen {
        let record = self.execution.as_ref().map(Execution::record);
        let error = if self.failed {
            Some(Wrong::Natural)
        } else if !self.gone && (self.cut || status >= 500 || status == NO_STATUS) {
            Some(Wrong::Injected)
        } else {
            None
        };
        Seen {
            natural: self.natural,
            injected: record.map(|record| record.time()).unwrap_or_default(),
            total,
            error,
            faults: record.map_or(0, |record| record.injected().len()),
        }
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

/// Whether a fault ends a body before its natural end, and the client can tell.
fn ends_early(finish: &Finish) -> bool {
    matches!(finish, Finish::Close | Finish::Reset(_))
}

/// An error's message without its type and source.
fn reason(error: &Error) -> &str {
    error
        .context
        .as_ref()
        .map_or("it is malformed", |context| context.as_str())
}

/// An error in words for the log: its message, and what the operating system says. The library's own words, which name types of its
/// code, stay out of it.
pub(in crate::proxy) fn words(error: &Error) -> String {
    let message = error.context.as_ref().map(|context| context.as_str().to_owned());
    let system = error
        .root_cause()
        .downcast_ref::<std::io::Error>()
        .map(ToString::to_string);
    match (message, system) {
        (Some(message), Some(system)) if !message.contains(&system) => format!("{message}: {system}"),
        (Some(message), _) => message,
        (None, Some(system)) => system,
        (None, None) => match error.etype() {
            ErrorType::ConnectionClosed => "the connection was closed".to_owned(),
            ErrorType::H1Error | ErrorType::H2Error => "the connection broke".to_owned(),
            ErrorType::ReadError => "reading failed".to_owned(),
            ErrorType::WriteError => "writing failed".to_owned(),
            ErrorType::ReadTimedout => "nothing came in time".to_owned(),
            ErrorType::WriteTimedout => "nothing could be sent in time".to_owned(),
            other => other.as_str().to_owned(),
        },
    }
}

/// The subject of a request's plan: the client, and the response head once there is one.
struct OfRequest<'a> {
    client: &'a mut Client,
    /// The response head, before it is sent.
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
            // Not counted: a quota that lets a request pass injects nothing, and only adds its fields.
            (Effect::Fields(fields), Some(head)) => {
                for (name, value) in fields.iter() {
                    head.set(name, value.clone());
                }
            }
            // No request can follow a tunnel, so there is nothing to announce.
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

/// Applies a rewrite to a response head.
fn rewrite_response(at: usize, rewrite: &Rewrite, head: &mut ResponseHeader, record: &Record) {
    if !rewrite.touches_response_head() {
        return;
    }
    // The status of a 101 stays, since the connection switches protocols.
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && rewrite.response.is_empty() {
        return record.skip(at, "upgraded");
    }
    record.done(at);
    if let Some(status) = rewrite.status.filter(|_| !switches) {
        // Fails only for a status outside 100 to 999, which the configuration refuses.
        let _ = head.set_status(status);
    }
    head.change(&rewrite.response);
}

/// The rewrites that touch the request, by index. Their response part is applied when the response arrives.
fn rewrites_of_both(record: &Record) -> impl Iterator<Item = (usize, &Arc<Rewrite>)> {
    record.in_force().filter_map(|(at, action)| match &action.effect {
        Effect::Rewrite(rewrite) if rewrite.touches_request() => Some((at, rewrite)),
        _ => None,
    })
}

/// Reframes a head whose status was rewritten. A status without content gets no body and no length; a status with content
/// in place of one without gets an empty body. Returns true if the natural body is to be dropped.
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

/// Resolves when the client can no longer receive the response. Cancel-safe.
async fn gone(client: &mut Client) {
    std::future::poll_fn(|cx| client.poll_gone(cx)).await;
}

/// A request head as rules see it, without the body.
fn head_of(head: &RequestHeader, address: Option<IpAddr>) -> Head<'_> {
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    Head::new(&head.method, target, authority, &head.headers, address)
}

/// Joins the values of a repeated field into one list (RFC 9110, section 5.3).
fn joined(head: &RequestHeader, name: &str) -> Option<String> {
    let values: Vec<&str> = head
        .headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}
