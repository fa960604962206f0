//! Carries plans out: waits, queues and endings, with each fault counted once, when it takes effect.
//!
//! One executor serves requests and connections alike. It decides nothing and sends nothing: it waits, counts, and returns
//! how its subject is to end, if it is.

pub mod hold;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use self::hold::{Bounds, Held, Holder, Left};
use super::record::Record;
use crate::fault::before::{Before, Mode};
use crate::fault::concurrency::{Entry, Station};
use crate::fault::effect::{Effect, Ending};
use crate::metrics::Site;
use crate::rule::plan::{Action, Plan};

/// What a plan is carried out on: a request, or a connection before its first request.
pub(super) trait Subject: Send {
    /// Resolves when a wait is no longer useful: the client has disconnected, or the listener is stopping. Cancel-safe.
    fn left(&mut self) -> impl Future<Output = Left> + Send;

    /// Applies an effect that is not a wait or an ending, such as a change of the head or another certificate.
    fn take(&mut self, at: usize, effect: &Effect, record: &Record);

    /// Whether a wait that squall's stopping cuts short ends the subject. It ends a connection; a request still gets its
    /// response.
    const ENDS_WITH_SQUALL: bool;
}

/// Why a subject goes no further.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The client has disconnected.
    Gone,
    /// A fault ends it in this way; never [`Ending::Hang`], which was waited for and became [`Ending::Close`].
    Fault(Ending),
}

/// A plan in execution.
#[derive(Debug)]
pub(super) struct Execution {
    record: Arc<Record>,
    started: Instant,
    /// Holds the subject during waits.
    holder: Arc<Holder>,
    bounds: Bounds,
    /// Places in `concurrency` faults, held until the subject ends.
    places: Vec<OwnedSemaphorePermit>,
}

impl Execution {
    /// Begins to carry out a plan for a request or connection that arrived at `started`. Its faults are counted at `site`.
    pub(super) fn new(
        plan: Box<Plan>,
        started: Instant,
        site: &Arc<Site>,
        holder: &Arc<Holder>,
        bounds: Bounds,
    ) -> Execution {
        Execution {
            record: Record::new(Arc::from(plan), Arc::clone(holder.switches()), site),
            started,
            holder: Arc::clone(holder),
            bounds,
            places: Vec::new(),
        }
    }

    /// The plan and its counters.
    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// The holder of its waits.
    pub(super) fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// The bounds of its waits.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Carries out the actions that are due at `moment`, in order. `natural` is the time that the upstream took, if known.
    /// Returns how the subject ends, or `None` if it goes on.
    pub(super) async fn run<S: Subject>(
        &mut self,
        moment: Before,
        natural: Option<Duration>,
        subject: &mut S,
    ) -> Option<End> {
        let record = Arc::clone(&self.record);
        for (at, action) in record.plan().actions.iter().enumerate() {
            if action.effect.before() != moment || !is_in_force(&record, at, action) {
                continue;
            }
            if moment == Before::Request && action.effect.is_terminal() {
                // A response delay listed before a terminal fault applies to the injected response.
                for (earlier, action) in record.plan().actions.iter().enumerate().take(at) {
                    let waits = matches!(action.effect, Effect::Wait { .. });
                    if waits && action.effect.before() == Before::Response && is_in_force(&record, earlier, action) {
                        let ending = self.act(earlier, &action.effect, None, subject).await;
                        if ending.is_some() {
                            return ending;
                        }
                    }
                }
                // Looked at again: it may have been switched off during such a delay.
                if record.is_let_go(at) {
                    continue;
                }
            }
            let ending = self.act(at, &action.effect, natural, subject).await;
            if ending.is_some() {
                return ending;
            }
        }
        None
    }

    async fn act<S: Subject>(
        &mut self,
        at: usize,
        effect: &Effect,
        natural: Option<Duration>,
        subject: &mut S,
    ) -> Option<End> {
        match effect {
            Effect::Wait { mode, time, .. } => {
                let time = self.remaining(*mode, *time, natural);
                let held = self.wait(at, time, std::future::pending::<()>(), subject).await;
                self.after::<S, _>(at, &held)
            }
            Effect::End {
                ending: Ending::Hang(limit),
                ..
            } => {
                let time = limit.unwrap_or(self.bounds.longest);
                let held = self.wait(at, time, std::future::pending::<()>(), subject).await;
                match held {
                    Held::Full | Held::ClientGone => self.after::<S, _>(at, &held),
                    Held::Done(()) | Held::Elapsed | Held::Cut => Some(End::Fault(Ending::Close)),
                    // It goes on to where it would have gone without the fault.
                    Held::LetGo => None,
                }
            }
            Effect::End { ending, .. } => self.end(at, ending.clone()),
            Effect::Queue { station, refusal } => self.queue(at, station, refusal, subject).await,
            Effect::Skip(skip) => {
                self.record.skip(at, skip.clone());
                None
            }
            Effect::Certificate(_) | Effect::Fields(_) | Effect::GoAway | Effect::Rewrite(_) => {
                subject.take(at, effect, &self.record);
                None
            }
            // These concern bodies, and are carried out by the exchange.
            Effect::Shape(_) | Effect::Duplicate { .. } => None,
        }
    }

    fn end(&self, at: usize, ending: Ending) -> Option<End> {
        // Counted before the ending is sent: a client that sees it must find it in the metrics.
        self.record.done(at);
        Some(End::Fault(ending))
    }

    /// How much of a delay is still to be waited.
    fn remaining(&self, mode: Mode, time: Duration, natural: Option<Duration>) -> Duration {
        match mode {
            Mode::Total => mode.wait(time, self.started.elapsed()),
            Mode::Add | Mode::Floor => mode.wait(time, natural.unwrap_or_default()),
        }
    }

    /// Waits, and counts the fault however the wait ends: a client that disconnects during a delay was delayed.
    async fn wait<S: Subject, T>(
        &mut self,
        at: usize,
        time: Duration,
        what: impl Future<Output = T> + Send,
        subject: &mut S,
    ) -> Held<T> {
        let began = Instant::now();
        let in_force = || !self.record.is_let_go(at);
        let held = self
            .holder
            .hold(subject.left(), what, time, self.bounds, in_force)
            .await;
        if !matches!(held, Held::Full) {
            let waited = began.elapsed();
            self.record.done(at);
            self.record.waited(at, waited);
        }
        held
    }

    fn after<S: Subject, T>(&self, at: usize, held: &Held<T>) -> Option<End> {
        match held {
            Held::Done(_) | Held::Elapsed | Held::LetGo => None,
            Held::ClientGone => Some(End::Gone),
            Held::Cut => S::ENDS_WITH_SQUALL.then_some(End::Fault(Ending::Close)),
            Held::Full => {
                self.record.skip(at, "too many held");
                None
            }
        }
    }

    async fn queue<S: Subject>(
        &mut self,
        at: usize,
        station: &Arc<Station>,
        refusal: &Ending,
        subject: &mut S,
    ) -> Option<End> {
        match station.enter() {
            Entry::Served(place) => self.places.push(place),
            Entry::Refused => return self.end(at, refusal.clone()),
            Entry::Queued(waiting) => {
                let longest = station.timeout.unwrap_or(self.bounds.longest);
                match self.wait(at, longest, waiting.place(), subject).await {
                    Held::Done(Some(place)) => self.places.push(place),
                    Held::Elapsed => return Some(End::Fault(refusal.clone())),
                    held => return self.after::<S, _>(at, &held),
                }
            }
        }
        None
    }
}

/// Whether an action is to be carried out. Actions of shadow rules are only counted, those of rules that were switched off
/// since the plan was made not even that.
fn is_in_force(record: &Record, at: usize, action: &Action) -> bool {
    if record.is_let_go(at) {
        return false;
    }
    let shadow = record.is_shadow(at);
    if shadow && !matches!(action.effect, Effect::Fields(_) | Effect::Skip(_)) {
        record.shadow(at);
    }
    !shadow
}

impl Drop for Execution {
    /// Ends the hits here, so that rules' counts of active requests stay right however the request ends.
    fn drop(&mut self) {
        for hit in &self.record.plan().hits {
            hit.rule.state.leave();
        }
    }
}
