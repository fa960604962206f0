//! Carrying a plan out: waits, queues, endings, changes to heads; each fault counted once, when it happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use smallvec::SmallVec;
use tokio::sync::OwnedSemaphorePermit;

use super::bodies::request::Replay;
use super::bodies::{Change, change_request_head, change_response_head};
use super::hold::{Held, Holder};
use super::session::record::Record;
use super::session::{self, Shaping};
use crate::config::root::RevealSpec;
use crate::config::snapshot::View;
use crate::fault::Before;
use crate::fault::abort::{Answer, GrpcStatus};
use crate::fault::concurrency::{Entry, Station};
use crate::fault::delay::Mode;
use crate::fault::quota::quoted;
use crate::fault::rewrite::Rewrite;
pub use crate::fault::rewrite::is_bodiless;
use crate::rule::plan::{Action, Effect, Plan};
use crate::rule::when::percent_fraction;
use crate::shape::Direction;

/// A plan on its way, and what it has done so far.
#[derive(Debug)]
pub struct Carrying {
    plan: Arc<Plan>,
    /// What was injected, and counted.
    record: Arc<Record>,
    started: Instant,
    /// Places at overloaded servers, held until the request is over.
    places: Vec<OwnedSemaphorePermit>,
    /// What comes instead of the upstream's response.
    pub instead: Option<Ending>,
    /// The status was rewritten to one that has no content.
    drops_body: bool,
}

/// How a request goes on.
#[derive(Debug)]
pub enum Ending {
    /// It does.
    GoOn,
    /// The client has left.
    ClientGone,
    /// The connection ends without a reply.
    Close,
    /// The connection or stream is reset, with this HTTP/2 code.
    Reset(u32),
    /// squall answers.
    Answer(Arc<Answer>, Option<StatusCode>),
    /// squall answers a gRPC call.
    Grpc(Arc<GrpcStatus>),
}

impl Carrying {
    /// Begins to carry out a plan for a request that arrived at `started`.
    pub fn new(plan: Box<Plan>, started: Instant) -> Carrying {
        let plan: Arc<Plan> = Arc::from(plan);
        Carrying {
            record: Record::new(Arc::clone(&plan)),
            plan,
            started,
            places: Vec::new(),
            instead: None,
            drops_body: false,
        }
    }

    /// Whether the response's body is not to be sent.
    pub fn drops_body(&self) -> bool {
        self.drops_body
    }

    /// Carries out what comes before the upstream is asked.
    pub async fn before_request(&mut self, session: &mut Session, holder: &Holder, view: &View) -> Ending {
        for at in 0..self.plan.actions.len() {
            let Some(effect) = self.due(at, Before::Request) else {
                continue;
            };
            if effect.is_terminal() {
                // Delays of the response that are listed before it still come before its answer.
                match self.response_waits(session, holder, view, None, at).await {
                    Ending::GoOn => {}
                    ending => return ending,
                }
            }
            match self.carry(at, effect, session, holder, view, None).await {
                Ending::GoOn => {}
                ending => return ending,
            }
        }
        Ending::GoOn
    }

    /// Carries out what comes between the upstream's response and the client. `natural` is the upstream's own time.
    pub async fn before_response(
        &mut self,
        session: &mut Session,
        holder: &Holder,
        view: &View,
        natural: Option<Duration>,
        head: &mut ResponseHeader,
    ) -> Ending {
        let natural_status = head.status;
        for at in 0..self.plan.actions.len() {
            let Some(effect) = self.due(at, Before::Response) else {
                continue;
            };
            match &effect {
                // A quota that lets a request pass injects nothing, it only tells.
                Effect::Fields(fields) => {
                    for (name, value) in fields.iter() {
                        let _ = head.insert_header(name.clone(), value.clone());
                    }
                }
                Effect::Rewrite(rewrite) => self.rewrite_response(at, rewrite, head),
                _ => match self.carry(at, effect, session, holder, view, natural).await {
                    Ending::GoOn => {}
                    ending => return ending,
                },
            }
        }
        for (at, rewrite) in self.rewrites_of_both() {
            self.rewrite_response(at, &rewrite, head);
        }
        self.reframe(natural_status, head);
        Ending::GoOn
    }

    /// A status with no content has no body and no length; one that was given up for another has an empty body.
    fn reframe(&mut self, natural: StatusCode, head: &mut ResponseHeader) {
        if is_bodiless(head.status) && !is_bodiless(natural) {
            head.remove_header(&header::CONTENT_LENGTH);
            head.remove_header(&header::TRANSFER_ENCODING);
            self.drops_body = true;
        } else if is_bodiless(natural) && !is_bodiless(head.status) {
            let _ = head.insert_header(header::CONTENT_LENGTH, "0");
        }
    }

    /// The waits of the response that stand before action `end`.
    async fn response_waits(
        &mut self,
        session: &mut Session,
        holder: &Holder,
        view: &View,
        natural: Option<Duration>,
        end: usize,
    ) -> Ending {
        for at in 0..end {
            if let Some(effect @ Effect::Wait { .. }) = self.due(at, Before::Response) {
                match self.carry(at, effect, session, holder, view, natural).await {
                    Ending::GoOn => {}
                    ending => return ending,
                }
            }
        }
        Ending::GoOn
    }

    /// The effect of an action that is to be carried out now; those of shadow rules are only counted.
    fn due(&self, at: usize, before: Before) -> Option<Effect> {
        let action = self
            .plan
            .actions
            .get(at)
            .filter(|action| action.effect.before() == before)?;
        let hit = self.plan.hits.get(action.hit)?;
        if hit.rule.shadow {
            if !matches!(action.effect, Effect::Fields(_) | Effect::Skip(_)) {
                self.record.shadow(at);
            }
            return None;
        }
        Some(action.effect.clone())
    }

    async fn carry(
        &mut self,
        at: usize,
        effect: Effect,
        session: &mut Session,
        holder: &Holder,
        view: &View,
        natural: Option<Duration>,
    ) -> Ending {
        match effect {
            Effect::Wait { mode, time, .. } => {
                let time = self.remaining(mode, time, natural).min(view.longest_wait);
                let held = holder.wait(session, time, view.held);
                let held = self.waiting(at, held).await;
                self.after_wait(at, held)
            }
            Effect::Queue(station) => self.queue(at, &station, session, holder, view).await,
            Effect::Hang { limit, .. } => {
                let time = limit.unwrap_or(view.longest_wait).min(view.longest_wait);
                let held = holder.wait(session, time, view.held);
                match self.waiting(at, held).await {
                    Held::ClientGone => Ending::ClientGone,
                    Held::Full => self.after_wait(at, Held::Full),
                    Held::Done(()) | Held::Elapsed | Held::Cut => Ending::Close,
                }
            }
            Effect::Answer { answer, status, .. } => self.ending(at, Ending::Answer(answer, status)),
            Effect::Grpc { status, .. } => self.ending(at, Ending::Grpc(status)),
            Effect::Close { .. } => self.ending(at, Ending::Close),
            Effect::Reset { code, .. } => self.ending(at, Ending::Reset(code)),
            Effect::Rewrite(rewrite) => {
                if !rewrite.request.is_empty() {
                    self.done(at, None);
                }
                Ending::GoOn
            }
            Effect::Skip(reason) => {
                self.skip(at, reason);
                Ending::GoOn
            }
            Effect::Fields(_) | Effect::Shape(_) | Effect::Duplicate { .. } | Effect::Certificate(_) => Ending::GoOn,
        }
    }

    /// How much of a delay is left to wait.
    fn remaining(&self, mode: Mode, time: Duration, natural: Option<Duration>) -> Duration {
        match mode {
            Mode::Total => mode.wait(time, self.started.elapsed()),
            Mode::Add | Mode::Floor => mode.wait(time, natural.unwrap_or_default()),
        }
    }

    /// Waits, and counts the fault however the wait ends: who leaves during a delay was delayed.
    async fn waiting<T>(&mut self, at: usize, held: impl Future<Output = Held<T>>) -> Held<T> {
        let began = Instant::now();
        let held = held.await;
        if !matches!(held, Held::Full) {
            let waited = began.elapsed();
            self.done(at, Some(waited));
        }
        held
    }

    fn after_wait(&mut self, at: usize, held: Held<()>) -> Ending {
        match held {
            Held::Done(()) | Held::Elapsed | Held::Cut => Ending::GoOn,
            Held::ClientGone => Ending::ClientGone,
            Held::Full => {
                self.skip(at, "too many held");
                Ending::GoOn
            }
        }
    }

    async fn queue(
        &mut self,
        at: usize,
        station: &Arc<Station>,
        session: &mut Session,
        holder: &Holder,
        view: &View,
    ) -> Ending {
        let refused = || Ending::Answer(station.refusal.clone(), None);
        match station.enter() {
            Entry::Served(place) => self.places.push(place),
            Entry::Refused => return self.ending(at, refused()),
            Entry::Queued(waiting) => {
                let longest = station.timeout.unwrap_or(view.longest_wait).min(view.longest_wait);
                let held = holder.wait_for(session, waiting.place(), Some(longest), view.held);
                match self.waiting(at, held).await {
                    Held::Done(Some(place)) => self.places.push(place),
                    Held::ClientGone => return Ending::ClientGone,
                    Held::Elapsed => return refused(),
                    Held::Full => return self.after_wait(at, Held::Full),
                    Held::Done(None) | Held::Cut => {}
                }
            }
        }
        Ending::GoOn
    }

    fn ending(&mut self, at: usize, ending: Ending) -> Ending {
        self.done(at, None);
        ending
    }

    fn done(&self, at: usize, waited: Option<Duration>) {
        self.record.done(at);
        if let Some(waited) = waited {
            self.record.waited(at, waited);
        }
    }

    fn skip(&self, at: usize, reason: &'static str) {
        self.record.skip(at, reason);
    }

    /// Begins to shape the body of the request, which is about to be sent on with `head`. `body` is the body where it is
    /// not just the client's, and is taken if there is something to shape.
    pub fn shape_request(
        &self,
        session: &mut Session,
        holder: &Arc<Holder>,
        view: &View,
        head: &mut RequestHeader,
        body: &mut Option<Replay>,
    ) -> Result<()> {
        session::shape_request(&mut session.downstream_session, self.shaping(holder, view), head, body)
    }

    /// Begins to shape the body of the response whose head is about to be sent.
    pub async fn shape_response(
        &self,
        session: &mut Session,
        holder: &Arc<Holder>,
        view: &View,
        head: &mut ResponseHeader,
    ) -> Result<()> {
        let session = &mut session.downstream_session;
        session::shape_response(session, self.shaping(holder, view), head, self.drops_body).await
    }

    fn shaping<'a>(&'a self, holder: &'a Arc<Holder>, view: &'a View) -> Shaping<'a> {
        Shaping {
            record: &self.record,
            holder,
            view,
        }
    }

    /// What has happened so far.
    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// The actions of rules in force.
    fn in_force(&self) -> impl Iterator<Item = (usize, &Action)> {
        let actions = self.plan.actions.iter().enumerate();
        actions.filter(|(_, action)| !self.is_shadow(action.hit))
    }

    /// The rewrites that touch the request, too: their response part is due with the response.
    fn rewrites_of_both(&self) -> SmallVec<[(usize, Arc<Rewrite>); 2]> {
        let rewrites = self.in_force().filter_map(|(at, action)| match &action.effect {
            Effect::Rewrite(rewrite) if rewrite.touches_request() => Some((at, rewrite.clone())),
            _ => None,
        });
        rewrites.collect()
    }

    /// The changes of bodies, in order.
    pub(super) fn body_changes(&self, direction: Direction) -> Vec<Change> {
        let changes = self.in_force().filter_map(|(at, action)| {
            let Effect::Rewrite(rewrite) = &action.effect else {
                return None;
            };
            Change::of(rewrite, direction, at, &self.record)
        });
        changes.collect()
    }

    /// Those that send the request twice, and for bodies of how many bytes.
    pub(super) fn copies(&self) -> Vec<(usize, usize)> {
        let copies = self.in_force().filter_map(|(at, action)| match action.effect {
            Effect::Duplicate { limit } => Some((at, limit)),
            _ => None,
        });
        copies.collect()
    }

    fn is_shadow(&self, hit: usize) -> bool {
        self.plan.hits.get(hit).is_some_and(|hit| hit.rule.shadow)
    }

    /// Changes the head of the request on its way to the upstream.
    pub fn rewrite_request(&self, head: &mut RequestHeader) -> Result<()> {
        for (_, rewrite) in self.rewrites_of_both() {
            change_request_head(&rewrite.request, head)?;
        }
        Ok(())
    }

    fn rewrite_response(&self, at: usize, rewrite: &Rewrite, head: &mut ResponseHeader) {
        if !rewrite.touches_response_head() {
            return;
        }
        self.done(at, None);
        // After 101 the connection speaks another protocol: its status stays.
        if let Some(status) = rewrite
            .status
            .filter(|_| head.status != StatusCode::SWITCHING_PROTOCOLS)
        {
            // Only a status outside 100 to 999 is refused, and the configuration has none.
            let _ = head.set_status(status);
        }
        change_response_head(&rewrite.response, head);
    }

    /// Shows what was injected; see [`reveal`].
    pub fn reveal(&self, wanted: RevealSpec, head: &mut ResponseHeader) -> Result<()> {
        reveal(&self.record, wanted, head)
    }

    /// Rule and fault of each injected fault, in order.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.record.injected().into_iter().filter_map(|at| {
            let action = self.plan.actions.get(at)?;
            let hit = self.plan.hits.get(action.hit)?;
            Some((&*hit.rule.name, hit.rule.metrics.fault_name(action.fault)))
        })
    }

    /// All injected waits together.
    pub fn injected(&self) -> Duration {
        self.record.time()
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        for hit in &self.plan.hits {
            hit.rule.state.leave();
        }
    }
}

/// Shows what was injected: a `Squall-Fault` field for each fault, and the waits as `Server-Timing`.
pub fn reveal(record: &Record, reveal: RevealSpec, head: &mut ResponseHeader) -> Result<()> {
    if reveal.header {
        for at in record.announced() {
            if let Some(field) = field(record.plan(), at).and_then(|field| HeaderValue::try_from(field).ok()) {
                head.append_header("Squall-Fault", field)?;
            }
        }
    }
    let waited = record.time();
    if reveal.server_timing && waited > Duration::ZERO {
        head.append_header("Server-Timing", format!("squall;dur={:.1}", millis(waited)))?;
    }
    Ok(())
}

fn field(plan: &Plan, at: usize) -> Option<String> {
    let action = plan.actions.get(at)?;
    let hit = plan.hits.get(action.hit)?;
    let (rule, fault) = (quoted(&hit.rule.name), hit.rule.metrics.fault_name(action.fault));
    let mut field = format!("rule={rule}, fault={fault}, draw={}", percent_fraction(hit.drawn));
    if let Effect::Wait { time, .. } = &action.effect {
        // What was drawn, not what the clock made of it: the same seed shows the same text.
        field.push_str(&format!(", delay={:.3}ms", millis(*time)));
    }
    Some(field)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
