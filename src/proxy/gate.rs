//! Connection rules, carried out: what happens to a connection before it has a request.
//!
//! ```text
//! accept ─ rules decided at accept ─ ClientHello read ─ rules decided in the handshake ─ handshake ─ requests
//! ```
//!
//! A listener without such rules has no [`Gate`]. A connection that a rule hits is under that rule until it ends: so long
//! it counts for `limits.active`, and holds its place of a `concurrency`.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::connection::Connection;
use super::hold::{Held, Holder};
use super::log;
use super::session::record::Record;
use super::tls::ServerTls;
use crate::config::snapshot::EarlyView;
use crate::fault::Before;
use crate::fault::certificate::CertificateSpec;
use crate::fault::concurrency::{Entry, Station};
use crate::rule::decide::RuleSet;
use crate::rule::head::Head;
use crate::rule::plan::{Effect, Plan};
use crate::rule::state::Live;

/// Carries out the connection rules of one listener.
#[derive(Clone, Debug)]
pub struct Gate {
    view: Arc<EarlyView>,
    holder: Arc<Holder>,
}

/// One connection on its way through.
pub(super) struct Passage {
    gate: Gate,
    connection: Arc<Connection>,
    stop: watch::Receiver<bool>,
    began: Instant,
    /// The plans so far, with what has become of them.
    records: SmallVec<[Arc<Record>; 1]>,
    places: Vec<OwnedSemaphorePermit>,
    certificate: Option<CertificateSpec>,
    asked: Option<String>,
    gone: bool,
    logged: bool,
}

/// How a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It does.
    GoOn,
    /// It is over: closed or reset, to be closed now, or left by the client.
    End,
}

impl Gate {
    /// A gate for the connections of one listener.
    pub fn new(view: Arc<EarlyView>, holder: Arc<Holder>) -> Gate {
        Gate { view, holder }
    }
}

impl Passage {
    /// A connection that was just accepted. `stop` becomes true when its listener stops.
    pub(super) fn new(gate: &Gate, connection: &Arc<Connection>, stop: watch::Receiver<bool>) -> Passage {
        Passage {
            gate: gate.clone(),
            connection: Arc::clone(connection),
            stop,
            began: Instant::now(),
            records: SmallVec::new(),
            places: Vec::new(),
            certificate: None,
            asked: None,
            gone: false,
            logged: false,
        }
    }

    /// Decides and carries out what comes before anything is read. Whether the connection goes on.
    pub(super) async fn accepted(&mut self) -> bool {
        let view = Arc::clone(&self.gate.view);
        self.decide(&view.accepted);
        self.carry(Before::Connection).await == Next::GoOn
    }

    /// The connection has no handshake: what belongs into one has none to act in.
    pub(super) fn no_handshake(&mut self) {
        let view = Arc::clone(&self.gate.view);
        self.decide(&view.handshake);
        for record in &self.records {
            let plan = record.plan();
            for (at, action) in plan.actions.iter().enumerate() {
                if action.effect.before() == Before::Handshake && !is_shadow(plan, action.hit) {
                    record.skip(at, "no TLS");
                }
            }
        }
    }

    /// Whether the handshake is to begin with [`Passage::greeted`].
    pub(super) fn minds_handshake(&self) -> bool {
        let planned = |record: &Arc<Record>| has_handshake(record.plan());
        !self.gate.view.handshake.rules().is_empty() || self.records.iter().any(planned)
    }

    /// Decides and carries out what comes before a ClientHello that asks for `name` is answered. Whether the connection
    /// goes on.
    pub(super) async fn greeted(&mut self, name: Option<String>) -> bool {
        self.asked = name;
        let view = Arc::clone(&self.gate.view);
        self.decide(&view.handshake);
        self.carry(Before::Handshake).await == Next::GoOn
    }

    /// The listener's TLS, as the rules want it for this handshake.
    pub(super) fn tls(&self, tls: Arc<ServerTls>) -> Arc<ServerTls> {
        let Some(what) = self.certificate else { return tls };
        match tls.faulty(what, self.asked.as_deref(), &self.gate.view.authority) {
            Ok(faulty) => Arc::new(faulty),
            Err(error) => {
                tracing::error!(listener = &*self.gate.view.listener, "{error}");
                tls
            }
        }
    }

    fn decide(&mut self, rules: &RuleSet) {
        if rules.rules().is_empty() {
            return;
        }
        let fields = HeaderMap::new();
        let client = self.connection.client();
        let head = Head::new(
            &Method::GET,
            "",
            Some(self.asked.as_deref().unwrap_or("")),
            &fields,
            client,
        );
        let memory = Live { now: Instant::now() };
        if let Some(plan) = rules.decide(&head, &memory) {
            self.records.push(Record::new(Arc::from(plan)));
        }
    }

    /// Carries out what is due, in order.
    async fn carry(&mut self, due: Before) -> Next {
        for record in self.records.clone() {
            for (at, action) in record.plan().actions.iter().enumerate() {
                if action.effect.before() != due {
                    continue;
                }
                if is_shadow(record.plan(), action.hit) {
                    record.shadow(at);
                } else if self.act(&record, at, &action.effect).await == Next::End {
                    return Next::End;
                }
            }
        }
        Next::GoOn
    }

    async fn act(&mut self, record: &Record, at: usize, effect: &Effect) -> Next {
        match effect {
            Effect::Wait { time, .. } => {
                let held = self.hold(record, at, *time, std::future::pending::<()>()).await;
                self.after(record, at, &held)
            }
            Effect::Hang { limit, .. } => {
                let time = limit.unwrap_or(self.gate.view.longest_wait);
                match self.hold(record, at, time, std::future::pending::<()>()).await {
                    held @ Held::Full => self.after(record, at, &held),
                    held => {
                        self.after(record, at, &held);
                        self.close()
                    }
                }
            }
            Effect::Queue(station) => self.queue(record, at, station).await,
            Effect::Close { .. } => {
                record.done(at);
                self.close()
            }
            Effect::Reset { .. } => {
                record.done(at);
                self.connection.reset();
                Next::End
            }
            Effect::Certificate(_) if !self.connection.tls() => {
                // It passes through, and the handshake is another's.
                record.skip(at, "no TLS");
                Next::GoOn
            }
            Effect::Certificate(what) => {
                if self.certificate.is_none() {
                    self.certificate = Some(*what);
                    record.done(at);
                } else {
                    record.skip(at, "another certificate");
                }
                Next::GoOn
            }
            // All others are of requests, and no rule has both.
            _ => Next::GoOn,
        }
    }

    async fn queue(&mut self, record: &Record, at: usize, station: &Arc<Station>) -> Next {
        match station.enter() {
            Entry::Served(place) => self.places.push(place),
            Entry::Refused => {
                record.done(at);
                return self.close();
            }
            Entry::Queued(waiting) => {
                let time = station.timeout.unwrap_or(self.gate.view.longest_wait);
                match self.hold(record, at, time, waiting.place()).await {
                    Held::Done(Some(place)) => self.places.push(place),
                    Held::Elapsed => return self.close(),
                    held => return self.after(record, at, &held),
                }
            }
        }
        Next::GoOn
    }

    /// Waits, and counts the fault however the wait ends: who leaves during a delay was delayed.
    async fn hold<T>(&mut self, record: &Record, at: usize, time: Duration, what: impl Future<Output = T>) -> Held<T> {
        let Gate { view, holder } = &self.gate;
        let time = time.min(view.longest_wait);
        let began = Instant::now();
        let held = tokio::select! {
            held = holder.hold(self.connection.gone(), what, Some(time), view.held) => held,
            _ = self.stop.wait_for(|stop| *stop) => {
                holder.note_cut();
                Held::Cut
            }
        };
        if !matches!(held, Held::Full) {
            record.done(at);
            record.waited(at, began.elapsed());
        }
        held
    }

    fn after<T>(&mut self, record: &Record, at: usize, held: &Held<T>) -> Next {
        match held {
            Held::Done(_) | Held::Elapsed => Next::GoOn,
            Held::Full => {
                record.skip(at, "too many held");
                Next::GoOn
            }
            Held::ClientGone => {
                self.gone = true;
                Next::End
            }
            // Nothing was asked yet, so nothing is owed.
            Held::Cut => Next::End,
        }
    }

    fn close(&self) -> Next {
        self.connection.close();
        Next::End
    }

    /// Writes a line, once, if anything was injected: when the connection gets to its requests, or ends before.
    pub(super) fn log(&mut self) {
        let injected: Vec<(&str, &str)> = self.records.iter().flat_map(|record| injected(record)).collect();
        if std::mem::replace(&mut self.logged, true) || injected.is_empty() || !self.gate.view.access {
            return;
        }
        let (rules, faults): (Vec<&str>, Vec<&str>) = injected.into_iter().unzip();
        let waited: Duration = self.records.iter().map(|record| record.time()).sum();
        tracing::info!(
            target: log::TARGET,
            listener = &*self.gate.view.listener,
            client = self.connection.client().map(tracing::field::display),
            host = self.asked.as_deref(),
            rules = rules.join(", "),
            faults = faults.join(", "),
            injected_ms = log::millis(waited),
            total_ms = log::millis(self.began.elapsed()),
            client_gone = self.gone.then_some(true),
            "connection"
        );
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.log();
        for hit in self.records.iter().flat_map(|record| &record.plan().hits) {
            hit.rule.state.leave();
        }
    }
}

fn is_shadow(plan: &Plan, hit: usize) -> bool {
    plan.hits.get(hit).is_some_and(|hit| hit.rule.shadow)
}

fn has_handshake(plan: &Plan) -> bool {
    plan.actions
        .iter()
        .any(|action| action.effect.before() == Before::Handshake)
}

/// Rule and fault of each fault that was injected, in order.
fn injected(record: &Record) -> Vec<(&str, &'static str)> {
    let plan = record.plan();
    let name = |at: usize| {
        let action = plan.actions.get(at)?;
        let rule = &plan.hits.get(action.hit)?.rule;
        Some((&*rule.name, rule.metrics.fault_name(action.fault)))
    };
    record.injected().into_iter().filter_map(name).collect()
}
