//! Connection rules, carried out: what happens to a connection before it has a request.
//!
//! ```text
//! accept ─ rules decided at accept ─ ClientHello read ─ rules decided in the handshake ─ handshake ─ requests
//! ```
//!
//! A listener without such rules has no [`Gate`]. A connection that a rule hits is under that rule until it ends: so long
//! it counts for `limits.active`, and holds its place of a `concurrency`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use smallvec::SmallVec;

use crate::draw::head::Head;
use crate::fault::before::Before;
use crate::fault::certificate::CertificateSpec;
use crate::fault::effect::{Effect, Ending};
use crate::proxy::client::Connection;
use crate::proxy::exchange::log;
use crate::proxy::execute::hold::{Bounds, Holder, Left};
use crate::proxy::execute::{End, Execution, Subject};
use crate::proxy::record::Record;
use crate::proxy::tls::{FaultAuthority, ServerTls};
use crate::rule::decide::RuleSet;
use crate::rule::plan::Action;
use crate::rule::state::Live;

/// What a connection of one listener needs before it has requests.
#[derive(Debug)]
pub struct ConnectionView {
    /// The rules that are decided when it is accepted.
    pub on_accept: RuleSet,
    /// The rules that are decided in the TLS handshake.
    pub handshake: RuleSet,
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
    /// Who issues faulty certificates.
    pub authority: Arc<FaultAuthority>,
    /// What bounds injected waits.
    pub bounds: Bounds,
    /// Whether each connection with a fault gets a line in the log.
    pub access: bool,
}

impl ConnectionView {
    /// Whether no rule is about connections.
    pub fn is_empty(&self) -> bool {
        self.on_accept.rules().is_empty() && self.handshake.rules().is_empty()
    }
}

/// Carries out the connection rules of one listener.
#[derive(Clone, Debug)]
pub struct Gate {
    view: Arc<ConnectionView>,
    holder: Arc<Holder>,
}

/// One connection on its way through.
pub(super) struct Passage {
    gate: Gate,
    arrival: Arrival,
    began: Instant,
    /// The plans so far.
    executions: SmallVec<[Execution; 1]>,
    asked: Option<String>,
    gone: bool,
    logged: bool,
}

/// A connection that has no request yet, as a plan is carried out on it.
struct Arrival {
    connection: Arc<Connection>,
    certificate: Option<CertificateSpec>,
}

impl Subject for Arrival {
    /// Nothing was asked yet, so nothing is owed.
    const ENDS_WITH_SQUALL: bool = true;

    async fn left(&mut self) -> Left {
        tokio::select! {
            () = self.connection.gone() => Left::Client,
            () = self.connection.listener().stopped() => Left::Stopping,
        }
    }

    fn take(&mut self, at: usize, effect: &Effect, record: &Record) {
        let Effect::Certificate(what) = effect else { return };
        if !self.connection.tls() {
            // It passes through, and the handshake is another's.
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
    /// A gate for the connections of one listener.
    pub fn new(view: Arc<ConnectionView>, holder: Arc<Holder>) -> Gate {
        Gate { view, holder }
    }
}

impl Passage {
    /// A connection that was just accepted.
    pub(super) fn new(gate: &Gate, connection: &Arc<Connection>) -> Passage {
        Passage {
            gate: gate.clone(),
            arrival: Arrival {
                connection: Arc::clone(connection),
                certificate: None,
            },
            began: Instant::now(),
            executions: SmallVec::new(),
            asked: None,
            gone: false,
            logged: false,
        }
    }

    /// Decides and carries out what comes before anything is read. Whether the connection goes on.
    pub(super) async fn on_accept(&mut self) -> bool {
        self.decide(Before::Connection);
        self.carry(Before::Connection).await
    }

    /// The connection has no handshake: what belongs into one has none to act in.
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

    /// Whether the handshake is to begin with [`Passage::on_client_hello`].
    pub(super) fn minds_handshake(&self) -> bool {
        let in_handshake = |action: &Action| action.effect.before() == Before::Handshake;
        let planned = |execution: &Execution| execution.record().plan().actions.iter().any(in_handshake);
        !self.gate.view.handshake.rules().is_empty() || self.executions.iter().any(planned)
    }

    /// Decides and carries out what comes before a ClientHello that asks for `name` is answered. Whether the connection
    /// goes on.
    pub(super) async fn on_client_hello(&mut self, name: Option<String>) -> bool {
        self.asked = name;
        self.decide(Before::Handshake);
        self.carry(Before::Handshake).await
    }

    /// The listener's TLS, as the rules want it for this handshake.
    pub(super) fn tls(&self, tls: &ServerTls) -> ServerTls {
        let Some(what) = self.arrival.certificate else {
            return tls.clone();
        };
        match tls.faulty(what, self.asked.as_deref(), &self.gate.view.authority) {
            Ok(faulty) => faulty,
            Err(error) => {
                tracing::error!(listener = &*self.gate.view.listener, "{error}");
                tls.clone()
            }
        }
    }

    fn decide(&mut self, due: Before) {
        let rules = match due {
            Before::Handshake => &self.gate.view.handshake,
            _ => &self.gate.view.on_accept,
        };
        if rules.rules().is_empty() {
            return;
        }
        let fields = HeaderMap::new();
        let client = self.arrival.connection.client();
        let asked = self.asked.as_deref().unwrap_or_default();
        let head = Head::new(&Method::GET, "", Some(asked), &fields, client);
        let now = Instant::now();
        if let Some(plan) = rules.decide(&head, &Live { now }) {
            self.executions
                .push(Execution::new(plan, now, &self.gate.holder, self.gate.view.bounds));
        }
    }

    /// Carries out what is due, in order. Whether the connection goes on.
    async fn carry(&mut self, due: Before) -> bool {
        for execution in &mut self.executions {
            match execution.run(due, None, &mut self.arrival).await {
                None => continue,
                Some(End::Gone) => self.gone = true,
                Some(End::Fault(Ending::Reset(_))) => self.arrival.connection.reset(),
                // There is no request to answer.
                Some(End::Fault(_)) => self.arrival.connection.close(),
            }
            return false;
        }
        true
    }

    /// Writes a line, once, if anything was injected: when the connection gets to its requests, or ends before.
    pub(super) fn log(&mut self) {
        let records = || self.executions.iter().map(Execution::record);
        let injected: Vec<(&str, &str)> = records().flat_map(|record| record.faults()).collect();
        if std::mem::replace(&mut self.logged, true) || injected.is_empty() || !self.gate.view.access {
            return;
        }
        let (rules, faults): (Vec<&str>, Vec<&str>) = injected.into_iter().unzip();
        let waited: Duration = records().map(|record| record.time()).sum();
        tracing::info!(
            target: log::TARGET,
            listener = &*self.gate.view.listener,
            client = self.arrival.connection.client().map(tracing::field::display),
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
    }
}
