//! Carrying plans out: waits, queues, endings; each fault counted once, when it happens.
//!
//! One executor serves requests and connections alike. It decides nothing and sends nothing: it waits, counts, and says how
//! its subject is to end, if it is.

pub mod hold;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use self::hold::{Bounds, Held, Holder, Left};
use super::record::Record;
use crate::fault::before::{Before, Mode};
use crate::fault::concurrency::{Entry, Station};
use crate::fault::effect::{Effect, Ending};
use crate::rule::plan::{Action, Plan};

/// What a plan is carried out on: a request, or a connection that has none yet.
pub(super) trait Subject: Send {
    /// Resolves when nobody waits any more. Cancel-safe.
    fn left(&mut self) -> impl Future<Output = Left> + Send;

    /// Takes an effect that is its own affair: heads, certificates.
    fn take(&mut self, at: usize, effect: &Effect, record: &Record);

    /// Whether a wait that is cut short because squall stops ends it. A request is answered nonetheless.
    const ENDS_WITH_SQUALL: bool;
}

/// Why a subject goes no further.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The client has left.
    Gone,
    /// It ends like this; never with [`Ending::Hang`], which has been waited for.
    Fault(Ending),
}

/// A plan that is being carried out.
#[derive(Debug)]
pub(super) struct Execution {
    record: Arc<Record>,
    started: Instant,
    /// Counts who is held.
    holder: Arc<Holder>,
    bounds: Bounds,
    /// Places at overloaded servers, held until the subject is over.
    places: Vec<OwnedSemaphorePermit>,
}

impl Execution {
    /// Begins to carry out a plan for something that came at `started`.
    pub(super) fn new(plan: Box<Plan>, started: Instant, holder: &Arc<Holder>, bounds: Bounds) -> Execution {
        Execution {
            record: Record::new(Arc::from(plan)),
            started,
            holder: Arc::clone(holder),
            bounds,
            places: Vec::new(),
        }
    }

    /// The plan, and what has become of it.
    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Who holds it.
    pub(super) fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// What bounds its waits.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Carries out what is due at a moment, in order. `natural` is the upstream's own time, where that is known. `None`: the
    /// subject goes on.
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
                // Delays of the response that are listed before an answer still come before it.
                for (earlier, action) in record.plan().actions.iter().enumerate().take(at) {
                    let waits = matches!(action.effect, Effect::Wait { .. });
                    if waits && action.effect.before() == Before::Response && is_in_force(&record, earlier, action) {
                        let ending = self.act(earlier, &action.effect, None, subject).await;
                        if ending.is_some() {
                            return ending;
                        }
                    }
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
                }
            }
            Effect::End { ending, .. } => self.end(at, ending.clone()),
            Effect::Queue(station) => self.queue(at, station, subject).await,
            Effect::Skip(reason) => {
                self.record.skip(at, reason);
                None
            }
            Effect::Certificate(_) | Effect::Fields(_) | Effect::GoAway | Effect::Rewrite(_) => {
                subject.take(at, effect, &self.record);
                None
            }
            // The exchange's affair: they concern bodies.
            Effect::Shape(_) | Effect::Duplicate { .. } => None,
        }
    }

    fn end(&self, at: usize, ending: Ending) -> Option<End> {
        self.record.done(at);
        Some(End::Fault(ending))
    }

    /// How much of a delay is left to wait.
    fn remaining(&self, mode: Mode, time: Duration, natural: Option<Duration>) -> Duration {
        match mode {
            Mode::Total => mode.wait(time, self.started.elapsed()),
            Mode::Add | Mode::Floor => mode.wait(time, natural.unwrap_or_default()),
        }
    }

    /// Waits, and counts the fault however the wait ends: who leaves during a delay was delayed.
    async fn wait<S: Subject, T>(
        &mut self,
        at: usize,
        time: Duration,
        what: impl Future<Output = T> + Send,
        subject: &mut S,
    ) -> Held<T> {
        let began = Instant::now();
        let held = self.holder.hold(subject.left(), what, time, self.bounds).await;
        if !matches!(held, Held::Full) {
            let waited = began.elapsed();
            self.record.done(at);
            self.record.waited(at, waited);
        }
        held
    }

    fn after<S: Subject, T>(&self, at: usize, held: &Held<T>) -> Option<End> {
        match held {
            Held::Done(_) | Held::Elapsed => None,
            Held::ClientGone => Some(End::Gone),
            Held::Cut => S::ENDS_WITH_SQUALL.then_some(End::Fault(Ending::Close)),
            Held::Full => {
                self.record.skip(at, "too many held");
                None
            }
        }
    }

    async fn queue<S: Subject>(&mut self, at: usize, station: &Arc<Station>, subject: &mut S) -> Option<End> {
        let refusal = || Ending::Answer(Arc::clone(&station.refusal), None);
        match station.enter() {
            Entry::Served(place) => self.places.push(place),
            Entry::Refused => return self.end(at, refusal()),
            Entry::Queued(waiting) => {
                let longest = station.timeout.unwrap_or(self.bounds.longest);
                match self.wait(at, longest, waiting.place(), subject).await {
                    Held::Done(Some(place)) => self.places.push(place),
                    Held::Elapsed => return Some(End::Fault(refusal())),
                    held => return self.after::<S, _>(at, &held),
                }
            }
        }
        None
    }
}

/// Whether an action is to be carried out; those of shadow rules are only counted.
fn is_in_force(record: &Record, at: usize, action: &Action) -> bool {
    let shadow = record.is_shadow(at);
    if shadow && !matches!(action.effect, Effect::Fields(_) | Effect::Skip(_)) {
        record.shadow(at);
    }
    !shadow
}

impl Drop for Execution {
    fn drop(&mut self) {
        for hit in &self.record.plan().hits {
            hit.rule.state.leave();
        }
    }
}
