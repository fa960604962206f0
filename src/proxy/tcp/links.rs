//! The rules of a connection: decided when it begins, and again when they change.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::flow::Flow;
use super::view::TcpView;
use crate::draw::head::Head;
use crate::fault::before::Before;
use crate::fault::effect::Effect;
use crate::proxy::client::Connection;
use crate::proxy::exchange::shaping::Shaping;
use crate::proxy::execute::hold::{Holder, Left};
use crate::proxy::execute::{End, Execution, Subject};
use crate::proxy::record::Record;
use crate::proxy::tls::Hello;
use crate::rule::decide::Rule;
use crate::rule::plan::Action;
use crate::rule::state::{Live, Memory};
use crate::shape::Direction;

/// What a rule did to a connection that it matches.
struct Link {
    rule: Arc<Rule>,
    /// Whether the rule's window (`schedule`, `limits.expires`) was open when it was decided.
    open: bool,
    /// Tells the shapers of this link from others in the lanes.
    id: u64,
    /// The plan in execution; `None` if the rule did not hit, or while it is in `start`.
    execution: Option<Execution>,
    /// What precedes the bytes and has not ended.
    start: Option<Start>,
}

/// The waits, queues and endings of a plan that come before any byte. It owns the execution, so that changes of other rules don't
/// interrupt it.
type Start = Pin<Box<dyn Future<Output = (Execution, Option<End>)> + Send>>;

/// The rules that match a connection, in the order of their faults.
pub(super) struct Links {
    links: Vec<Link>,
    last_id: u64,
    /// What rules match on.
    client: Option<IpAddr>,
    hello: Arc<Hello>,
    /// The records of rules that were removed, for the log.
    past: Vec<Arc<Record>>,
    /// When the window of a rule next opens or closes.
    next: Option<Instant>,
}

/// What a change of rules means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequel {
    /// It goes on.
    GoesOn,
    /// A rule that has thrown bytes away is gone, and the stream has a hole.
    Broken,
}

impl Links {
    pub(super) fn new(client: Option<IpAddr>, hello: Hello) -> Links {
        Links {
            links: Vec::new(),
            last_id: 0,
            client,
            hello: Arc::new(hello),
            past: Vec::new(),
            next: None,
        }
    }

    /// Takes on the rules of a view: keeps what known rules have done, decides new and changed ones and those whose window has
    /// opened, and retires the shapers of those that are gone or switched off or whose window has closed.
    pub(super) fn update(
        &mut self,
        view: &TcpView,
        connection: &Arc<Connection>,
        holder: &Arc<Holder>,
        mut flows: [&mut Flow; 2],
    ) -> Sequel {
        let mut known = std::mem::take(&mut self.links);
        let hello = Arc::clone(&self.hello);
        let head = Head::of_connection(self.client, hello.name.as_deref())
            .offering(&hello.protocols)
            .to(&view.metrics.site.upstream);
        let memory = Live { now: Instant::now() };
        let mut ended = false;
        let mut sequel = Sequel::GoesOn;
        // The ids of the links so far: the shapers of a new one come after theirs.
        let mut before: Vec<u64> = Vec::new();
        let first = view.rules.any();
        let over = first.is_some_and(|rule| rule.state.overall().is_over(memory.now));
        let left = first.and_then(|rule| rule.state.overall().left(memory.now));
        self.next = left.and_then(|left| memory.now.checked_add(left));
        if let Some(rule) = first.filter(|_| self.last_id == 0 && known.is_empty()) {
            memory.arrive(rule);
        }
        let armed = holder.switches().is_armed() && !over;
        for rule in view.rules.matching(&head).filter(|_| armed) {
            let since = memory.since(rule);
            let open = rule.when.open(since).is_ok();
            let edge = rule.when.next_edge(since);
            let edge = edge.and_then(|edge| memory.now.checked_add(edge));
            self.next = [self.next, edge].into_iter().flatten().min();
            let is_same = |link: &Link| Arc::ptr_eq(&link.rule, rule) && link.open == open;
            if let Some(at) = known.iter().position(is_same) {
                let link = known.remove(at);
                before.push(link.id);
                self.links.push(link);
                continue;
            }
            // A changed rule takes the place of its predecessor, and positions in the stream count on.
            let mut passed = [0, 0];
            if let Some(at) = known.iter().position(|link| link.rule.name == rule.name) {
                let old = known.remove(at);
                before.push(old.id);
                passed = self.retire(old, &mut flows, &mut sequel);
            }
            self.last_id += 1;
            let mut link = Link {
                rule: Arc::clone(rule),
                open,
                id: self.last_id,
                execution: None,
                start: None,
            };
            if let Some(plan) = rule.decide(&head, &memory, ended) {
                let ends = |action: &Action| action.effect.is_terminal() && !rule.shadow;
                ended |= plan.actions.iter().any(ends);
                let execution = Execution::new(plan, memory.now, &view.metrics.site, holder, view.bounds);
                shape(
                    &execution,
                    view.buffer,
                    connection,
                    &mut flows,
                    (passed, link.id, &before),
                );
                link.begin(execution, connection);
            }
            before.push(link.id);
            self.links.push(link);
        }
        for gone in known {
            self.retire(gone, &mut flows, &mut sequel);
        }
        // Rules that come and go for as long as a connection lasts must not add up.
        let excess = self.past.len().saturating_sub(PAST_MAX);
        self.past.drain(..excess);
        sequel
    }

    /// Retires the shapers of a link. Returns the bytes that passed each.
    fn retire(&mut self, link: Link, flows: &mut [&mut Flow; 2], sequel: &mut Sequel) -> [u64; 2] {
        let retired = flows
            .each_mut()
            .map(|flow| flow.shaped().and_then(|lane| lane.retire(link.id)));
        if retired.iter().flatten().any(|retired| retired.discards) {
            *sequel = Sequel::Broken;
        }
        self.past.extend(link.into_record());
        retired.map(|retired| retired.map_or(0, |retired| retired.sent))
    }

    /// When to [update](Links::update) next although no rule changes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The server name that the client asked for.
    pub(super) fn name(&self) -> Option<&str> {
        self.hello.name.as_deref()
    }

    /// The protocols that the client offered.
    pub(super) fn protocols(&self) -> &[String] {
        &self.hello.protocols
    }

    /// Whether something precedes the bytes now.
    pub(super) fn is_starting(&self) -> bool {
        self.links.iter().any(|link| link.start.is_some())
    }

    /// Carries out what precedes the bytes, in order. Ready when there is nothing left of it, or with how the connection ends.
    pub(super) fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        for link in &mut self.links {
            let Some(start) = &mut link.start else { continue };
            let (execution, end) = ready!(start.as_mut().poll(cx));
            link.start = None;
            link.execution = Some(execution);
            if end.is_some() {
                return Poll::Ready(end);
            }
        }
        Poll::Ready(None)
    }

    /// What was injected, by rules in force and by those that are gone.
    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        let in_force = self.links.iter().filter_map(|link| link.execution.as_ref());
        self.past.iter().chain(in_force.map(Execution::record))
    }
}

/// The most records that are kept of rules that are gone.
const PAST_MAX: usize = 16;

/// Adds the shapers of a plan to the lanes of both directions: behind those of the links `before`, and with positions that count
/// from the bytes that have passed.
fn shape(
    execution: &Execution,
    buffer: usize,
    connection: &Arc<Connection>,
    flows: &mut [&mut Flow; 2],
    (passed, id, before): ([u64; 2], u64, &[u64]),
) {
    let shaping = Shaping {
        execution,
        record: execution.record(),
        buffer,
    };
    let directions = [Direction::Request, Direction::Response].into_iter().zip(flows);
    for ((direction, flow), passed) in directions.zip(passed) {
        if let Some(stage) = shaping.connection(connection, direction, passed, id) {
            flow.lane().insert(stage, before);
        }
    }
    execution.record().settle();
}

impl Link {
    /// Keeps the execution, or begins what precedes the bytes.
    fn begin(&mut self, execution: Execution, connection: &Arc<Connection>) {
        let actions = &execution.record().plan().actions;
        let precedes = |effect: &Effect| effect.before() == Before::Request;
        if !actions.iter().any(|action| precedes(&action.effect)) {
            self.execution = Some(execution);
            return;
        }
        let mut subject = OfConnection(Arc::clone(connection));
        let mut execution = execution;
        self.start = Some(Box::pin(async move {
            let end = execution.run(Before::Request, None, &mut subject).await;
            (execution, end)
        }));
    }

    /// The record, if it says that something was injected or could not be.
    fn into_record(self) -> Option<Arc<Record>> {
        let record = Arc::clone(self.execution?.record());
        (!record.injected().is_empty() || !record.skipped().is_empty()).then_some(record)
    }
}

/// The subject of a plan: a connection.
struct OfConnection(Arc<Connection>);

impl Subject for OfConnection {
    /// True: a connection that squall's stopping finds waiting has not begun.
    const ENDS_WITH_SQUALL: bool = true;

    async fn left(&mut self) -> Left {
        // Not biased: if both happen at once, the connection ends either way. A client that closes its sending side still waits
        // for the server's bytes.
        tokio::select! {
            () = self.0.reset_by_client() => Left::Client,
            () = self.0.listener().stopped() => Left::Stopping,
        }
    }

    /// What concerns requests was left out when the plan was made.
    fn take(&mut self, at: usize, _: &Effect, record: &Record) {
        record.skip(at, "not HTTP");
    }
}
