//! Carries out rules on connections, before a connection has its first request.
//!
//! ```text
//! accept ─ rules decided at accept ─ ClientHello read ─ rules decided in the handshake ─ handshake ─ requests
//! ```
//!
//! A listener without such rules has no [`Gate`]. A connection that is hit counts for the rule's `limits.active`, and holds
//! its place in a `concurrency` fault, until it ends.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use smallvec::SmallVec;

use crate::draw::head::Head;
use crate::fault::before::Before;
use crate::fault::certificate::CertificateSpec;
use crate::fault::effect::{Effect, Ending};
use crate::journal::Journal;
use crate::journal::entry::{Entry, Kind};
use crate::journal::kept::KeptHead;
use crate::metrics::Site;
use crate::proxy::client::Connection;
use crate::proxy::exchange::log;
use crate::proxy::execute::hold::{Bounds, Holder, Left};
use crate::proxy::execute::{End, Execution, Subject};
use crate::proxy::record::Record;
use crate::proxy::tls::{FaultAuthority, Hello, ServerTls};
use crate::rule::plan::Action;
use crate::rule::sets::RuleSets;
use crate::rule::state::Live;

/// A listener's part of a configuration snapshot, for connections before their first request.
#[derive(Debug, Clone)]
pub struct ConnectionView {
    /// Rules decided when a connection is accepted.
    pub on_accept: RuleSets,
    /// Rules decided in the TLS handshake.
    pub handshake: RuleSets,
    /// The listener, and its upstream if that is the only one.
    pub site: Arc<Site>,
    /// The space that all connections of this listener are in.
    pub space: Option<Arc<str>>,
    /// The authority that issues faulty certificates.
    pub authority: Arc<FaultAuthority>,
    /// The bounds of injected waits.
    pub bounds: Bounds,
    /// Whether connections with a fault are logged.
    pub access: bool,
}

impl ConnectionView {
    /// Whether there are no rules on connections.
    pub fn is_empty(&self) -> bool {
        self.on_accept.is_empty() && self.handshake.is_empty()
    }
}

/// The connection rules of one listener, ready to be carried out.
#[derive(Clone, Debug)]
pub struct Gate {
    view: Arc<ConnectionView>,
    holder: Arc<Holder>,
    journal: Arc<Journal>,
}

/// One connection passing a [`Gate`].
pub(super) struct Passage {
    gate: Gate,
    arrival: Arrival,
    began: Instant,
    /// Plans decided so far. Kept until the connection ends, since they hold its places.
    executions: SmallVec<[Execution; 1]>,
    hello: Hello,
    gone: bool,
    logged: bool,
}

/// The subject of a connection's plan.
struct Arrival {
    connection: Arc<Connection>,
    certificate: Option<CertificateSpec>,
}

impl Subject for Arrival {
    /// True: without a request there is no response to finish.
    const ENDS_WITH_SQUALL: bool = true;

    async fn left(&mut self) -> Left {
        // Not biased: if both happen at once, the connection ends either way.
        tokio::select! {
            () = self.connection.gone() => Left::Client,
            () = self.connection.listener().stopped() => Left::Stopping,
        }
    }

    fn take(&mut self, at: usize, effect: &Effect, record: &Record) {
        let Effect::Certificate(what) = effect else { return };
        if !self.connection.tls() {
            // The TLS of a passed-on connection is terminated elsewhere.
            record.skip(at, "no TLS");
        } else if self.certificate.is_none() {
            self.certificate = Some(*what);
            record.done(at);
        } else {
            record.skip(at, "another certificate");
        }
    }
}

impl Gate {
    /// Creates the gate of one listener.
    pub fn new(view: Arc<ConnectionView>, holder: Arc<Holder>, journal: Arc<Journal>) -> Gate {
        Gate { view, holder, journal }
    }
}

impl Passage {
    /// Begins with a connection that was just accepted.
    pub(super) fn new(gate: &Gate, connection: &Arc<Connection>) -> Passage {
        Passage {
            gate: gate.clone(),
            arrival: Arrival {
                connection: Arc::clone(connection),
                certificate: None,
            },
            began: Instant::now(),
            executions: SmallVec::new(),
            hello: Hello::default(),
            gone: false,
            logged: false,
        }
    }

    /// Decides and carries out what precedes the first read. Returns whether the connection goes on.
    pub(super) async fn on_accept(&mut self) -> bool {
        self.decide(Before::Connection);
        self.carry(Before::Connection).await
    }

    /// Counts faults in the handshake as skipped, for a connection without one.
    pub(super) fn no_handshake(&mut self) {
        self.decide(Before::Handshake);
        for execution in &self.executions {
            let record = execution.record();
            for (at, action) in record.in_force() {
                if action.effect.before() == Before::Handshake {
                    record.skip(at, "no TLS");
                }
            }
        }
    }

    /// Whether a rule or a plan concerns the handshake, so that [`Passage::on_client_hello`] is to be called.
    pub(super) fn concerns_handshake(&self) -> bool {
        let in_handshake = |action: &Action| action.effect.before() == Before::Handshake;
        let planned = |execution: &Execution| execution.record().plan().actions.iter().any(in_handshake);
        !self.gate.view.handshake.is_empty() || self.executions.iter().any(planned)
    }

    /// Decides and carries out what follows a ClientHello. Returns whether the connection goes on.
    pub(super) async fn on_client_hello(&mut self, hello: Hello) -> bool {
        self.hello = hello;
        self.decide(Before::Handshake);
        self.carry(Before::Handshake).await
    }

    /// The TLS settings for this handshake: the listener's, or those with a faulty certificate.
    pub(super) fn tls(&self, tls: &ServerTls) -> ServerTls {
        let Some(what) = self.arrival.certificate else {
            return tls.clone();
        };
        match tls.faulty(what, self.hello.name.as_deref(), &self.gate.view.authority) {
            Ok(faulty) => faulty,
            Err(error) => {
                tracing::error!(listener = &*self.gate.view.site.listener, "{error}");
                tls.clone()
            }
        }
    }

    fn decide(&mut self, due: Before) {
        let rules = match due {
            Before::Handshake => &self.gate.view.handshake,
            _ => &self.gate.view.on_accept,
        };
        if rules.is_empty() || !self.gate.holder.switches().is_armed() {
            return;
        }
        let head = Head::of_connection(self.arrival.connection.client(), self.hello.name.as_deref())
            .offering(&self.hello.protocols);
        let now = Instant::now();
        if let Some(plan) = rules.decide(&head, &Live { now }) {
            let Gate { view, holder, .. } = &self.gate;
            self.executions
                .push(Execution::new(plan, now, &view.site, holder, view.bounds));
        }
    }

    /// Carries out what is due, in order. Returns whether the connection goes on.
    async fn carry(&mut self, due: Before) -> bool {
        for execution in &mut self.executions {
            match execution.run(due, None, &mut self.arrival).await {
                None => continue,
                Some(End::Gone) => self.gone = true,
                Some(End::Fault(Ending::Reset(_))) => self.arrival.connection.reset(),
                // Without a request, every other ending is a close.
                Some(End::Fault(_)) => self.arrival.connection.close(),
            }
            return false;
        }
        true
    }

    /// Logs and records the connection once if anything was injected or could not be: before its first request, or when it ends without one.
    pub(super) fn log(&mut self) {
        let records = || self.executions.iter().map(Execution::record);
        let injected: Vec<(&str, &str)> = records().flat_map(|record| record.faults()).collect();
        let skipped: Vec<String> = records().filter_map(|record| log::skipped(record)).collect();
        if std::mem::replace(&mut self.logged, true) || (injected.is_empty() && skipped.is_empty()) {
            return;
        }
        if self.gate.journal.is_on() {
            self.gate.journal.record(self.entry());
        }
        if !self.gate.view.access {
            return;
        }
        let hit = !injected.is_empty();
        let (rules, faults): (Vec<&str>, Vec<&str>) = injected.into_iter().unzip();
        let waited: Duration = records().map(|record| record.time()).sum();
        tracing::info!(
            target: log::TARGET,
            listener = &*self.gate.view.site.listener,
            client = self.arrival.connection.client().map(tracing::field::display),
            host = self.hello.name.as_deref(),
            rules = hit.then(|| rules.join(", ")),
            faults = hit.then(|| faults.join(", ")),
            skipped = (!skipped.is_empty()).then(|| skipped.join(", ")),
            injected_ms = log::millis(waited),
            total_ms = log::millis(self.began.elapsed()),
            client_gone = self.gone.then_some(true),
            "connection"
        );
    }
}

impl Passage {
    /// The connection's entry in the journal, as far as the connection has come.
    fn entry(&self) -> Entry {
        let records = || self.executions.iter().map(Execution::record);
        let (total, now) = (self.began.elapsed(), SystemTime::now());
        let view = &self.gate.view;
        Entry {
            kind: Kind::Connection,
            started: self.began,
            time: now.checked_sub(total).unwrap_or(now),
            listener: Arc::clone(&view.site.listener),
            upstream: "".into(),
            listener_space: view.space.clone(),
            client: self.arrival.connection.client(),
            head: KeptHead::of_connection(self.hello.name.as_deref()),
            protocols: self.hello.protocols.as_slice().into(),
            status: 0,
            injected: records().flat_map(|record| record.notes()).collect(),
            skipped: records().flat_map(|record| record.skipped()).collect(),
            missed: Vec::new(),
            unmatched: Vec::new(),
            waited: records().map(|record| record.time()).sum(),
            natural: None,
            total,
            bytes: [0, 0],
            gone: self.gone,
            error: None,
        }
    }
}

impl Drop for Passage {
    /// Logs a connection that ended before its first request.
    fn drop(&mut self) {
        self.log();
    }
}
