//! Carrying a plan out: waits, queues, endings, changes to heads; each fault counted once, when it happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use tokio::sync::OwnedSemaphorePermit;

use super::hold::{Held, Holder};
use crate::config::root::RevealSpec;
use crate::config::snapshot::View;
use crate::fault::Before;
use crate::fault::abort::{Answer, GrpcStatus};
use crate::fault::concurrency::{Entry, Station};
use crate::fault::delay::Mode;
use crate::fault::quota::quoted;
use crate::fault::rewrite::{HeaderChanges, Rewrite};
use crate::rule::plan::{Effect, Plan};
use crate::rule::when::percent_fraction;

/// A plan on its way, and what it has done so far.
#[derive(Debug)]
pub struct Carrying {
    plan: Box<Plan>,
    started: Instant,
    /// Places at overloaded servers, held until the request is over.
    places: Vec<OwnedSemaphorePermit>,
    /// The actions of the plan whose faults were injected.
    done: Vec<usize>,
    injected: Duration,
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
        Carrying {
            plan,
            started,
            places: Vec::new(),
            done: Vec::new(),
            injected: Duration::ZERO,
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
                Effect::Rewrite(rewrite) => {
                    self.done(at, None);
                    rewrite_response(rewrite, head);
                }
                _ => match self.carry(at, effect, session, holder, view, natural).await {
                    Ending::GoOn => {}
                    ending => return ending,
                },
            }
        }
        for rewrite in self.rewrites() {
            rewrite_response(rewrite, head);
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
                hit.rule.metrics.shadowed(action.fault);
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
            Effect::Hang { limit } => {
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
            Effect::Rewrite(_) => {
                self.done(at, None);
                Ending::GoOn
            }
            Effect::Skip(reason) => {
                self.skip(at, reason);
                Ending::GoOn
            }
            Effect::Fields(_) => Ending::GoOn,
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

    fn done(&mut self, at: usize, waited: Option<Duration>) {
        let Some(action) = self.plan.actions.get(at) else {
            return;
        };
        let Some(hit) = self.plan.hits.get(action.hit) else {
            return;
        };
        hit.rule.metrics.injected(action.fault);
        if let Some(waited) = waited {
            hit.rule.metrics.delayed(waited);
            self.injected += waited;
        }
        self.done.push(at);
    }

    fn skip(&self, at: usize, reason: &'static str) {
        let Some(action) = self.plan.actions.get(at) else {
            return;
        };
        if let Some(hit) = self.plan.hits.get(action.hit) {
            hit.rule.metrics.skipped(action.fault, reason);
        }
    }

    /// The rewrites of rules in force that also touch the request: their response part is due with the response.
    fn rewrites(&self) -> impl Iterator<Item = &Rewrite> {
        self.plan.actions.iter().filter_map(|action| match &action.effect {
            Effect::Rewrite(rewrite) if !rewrite.request.is_empty() && !self.is_shadow(action.hit) => Some(&**rewrite),
            _ => None,
        })
    }

    fn is_shadow(&self, hit: usize) -> bool {
        self.plan.hits.get(hit).is_some_and(|hit| hit.rule.shadow)
    }

    /// Applies rewrites to the request on its way to the upstream.
    pub fn rewrite_request(&self, head: &mut RequestHeader) -> Result<()> {
        for rewrite in self.rewrites() {
            let HeaderChanges { remove, set, add } = &rewrite.request;
            for name in remove {
                head.remove_header(name);
            }
            for (name, value) in set {
                head.insert_header(name.clone(), value.clone())?;
            }
            for (name, value) in add {
                head.append_header(name.clone(), value.clone())?;
            }
        }
        Ok(())
    }

    /// Shows what was injected: a `Squall-Fault` field for each fault, and the waits as `Server-Timing`.
    pub fn reveal(&self, reveal: RevealSpec, head: &mut ResponseHeader) -> Result<()> {
        if reveal.header {
            for &at in &self.done {
                if let Some(field) = self.field(at).and_then(|field| HeaderValue::try_from(field).ok()) {
                    head.append_header("Squall-Fault", field)?;
                }
            }
        }
        if reveal.server_timing && self.injected > Duration::ZERO {
            head.append_header("Server-Timing", format!("squall;dur={:.1}", millis(self.injected)))?;
        }
        Ok(())
    }

    fn field(&self, at: usize) -> Option<String> {
        let action = self.plan.actions.get(at)?;
        let hit = self.plan.hits.get(action.hit)?;
        let (rule, fault) = (quoted(&hit.rule.name), hit.rule.metrics.fault_name(action.fault));
        let mut field = format!("rule={rule}, fault={fault}, draw={}", percent_fraction(hit.drawn));
        if let Effect::Wait { time, .. } = &action.effect {
            // What was drawn, not what the clock made of it: the same seed shows the same text.
            field.push_str(&format!(", delay={:.3}ms", millis(*time)));
        }
        Some(field)
    }

    /// Rule and fault of each injected fault, in order.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.done.iter().filter_map(|&at| {
            let action = self.plan.actions.get(at)?;
            let hit = self.plan.hits.get(action.hit)?;
            Some((&*hit.rule.name, hit.rule.metrics.fault_name(action.fault)))
        })
    }

    /// All injected waits together.
    pub fn injected(&self) -> Duration {
        self.injected
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        for hit in &self.plan.hits {
            hit.rule.state.leave();
        }
    }
}

/// Responses to any request that have no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
pub fn is_bodiless(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

fn rewrite_response(rewrite: &Rewrite, head: &mut ResponseHeader) {
    // After 101 the connection speaks another protocol: its status stays.
    if let Some(status) = rewrite
        .status
        .filter(|_| head.status != StatusCode::SWITCHING_PROTOCOLS)
    {
        // Only a status outside 100 to 999 is refused, and the configuration has none.
        let _ = head.set_status(status);
    }
    let HeaderChanges { remove, set, add } = &rewrite.response;
    for name in remove {
        head.remove_header(name);
    }
    for (name, value) in set {
        let _ = head.insert_header(name.clone(), value.clone());
    }
    for (name, value) in add {
        let _ = head.append_header(name.clone(), value.clone());
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
