//! Changes to whole bodies, which are collected up to a limit, changed, and sent on with exact framing.
//!
//! ```text
//! request   client ── collect ── change ─┬─ copy ──> upstream     the response is discarded
//!                                        └─ Outgoing ─> upstream
//! response  upstream ── collect ── change ──> client
//! ```
//!
//! A body that can't be changed passes as it came: the original head, the pieces collected so far, then the rest.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{EXPECT, TRAILER};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use tokio::time::{Instant, timeout_at};

use super::fields::Fields;
use super::pump::Rest;
use super::rewrites_of_both;
use crate::fault::effect::Effect;
use crate::fault::rewrite::change::{HeaderChanges, Rewrite};
use crate::fault::rewrite::{BodyChange, Message, content_length, fields_of_new_body};
use crate::limits::aside;
use crate::limits::bodies::{Budget, Full};
use crate::limits::collector::{Collector, Uncollected};
use crate::proxy::body::{Part, Sink, Source};
use crate::proxy::client::Client;
use crate::proxy::record::{Record, SWITCHED_OFF};
use crate::shape::Direction;

/// How long a message is held for its body to be complete. After that a streamed body passes unchanged.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a message is held for a body that is replaced anyway. Reading it only keeps the upstream's connection usable.
const PATIENCE_WITH_WASTE: Duration = Duration::from_secs(1);

/// Bodies of at least this many bytes are changed off the threads that carry traffic.
const LARGE: usize = 128 << 10;

/// A change that a plan makes to one body.
#[derive(Debug, Clone)]
struct Change {
    rewrite: Arc<Rewrite>,
    direction: Direction,
    /// The index of the action in the plan.
    at: usize,
    record: Arc<Record>,
}

/// A request as it is sent to the upstream.
#[derive(Default)]
pub(super) struct Outgoing {
    /// The head after rules have changed it; `None`: the client's own.
    pub(super) head: Option<RequestHeader>,
    /// The pieces read of the body, or their replacement, and what follows them. `None`: the client's body, still unread.
    pub(super) body: Option<(VecDeque<Bytes>, Rest)>,
    /// The actions, by index, that send a copy first.
    pub(super) copies: Vec<usize>,
    /// Whether the client asks for another protocol.
    pub(super) upgrade: bool,
    /// Whether the client was sent a 100, so that the upstream need not send one.
    pub(super) continued: bool,
}

impl Outgoing {
    /// Applies the plan's changes. Reads the body if they concern it.
    ///
    /// # Errors
    /// The client disconnected, or sent an invalid body.
    pub(super) async fn change(&mut self, client: &mut Client, record: &Arc<Record>, budget: &Budget) -> Result<()> {
        let mut head = client.head().clone();
        for (_, rewrite) in rewrites_of_both(record) {
            head.change(&rewrite.request);
        }
        self.change_body(client, record, &mut head, budget).await?;
        self.head = Some(head);
        Ok(())
    }

    async fn change_body(
        &mut self,
        client: &mut Client,
        record: &Arc<Record>,
        head: &mut RequestHeader,
        budget: &Budget,
    ) -> Result<()> {
        let empty = client.is_body_done();
        let message = Message {
            headers: &client.head().headers,
            status: None,
            empty,
            upgraded: self.upgrade,
        };
        let length = content_length(message.headers);
        let changes = accepted(body_changes(record, Direction::Request), &message);
        let mut copies = copies(record);
        if self.upgrade {
            for (at, _) in copies.drain(..) {
                record.skip(at, "upgraded");
            }
        }
        if changes.is_empty() && copies.is_empty() {
            return Ok(());
        }
        let most = copies.iter().map(|(_, limit)| *limit).fold(limit(&changes), usize::max);
        let (old, pieces) = match Collector::new(most, length, budget) {
            _ if empty => (Ok(Bytes::new()), Vec::new()),
            Err(reason) => (Err(reason.reason()), Vec::new()),
            Ok(collector) => {
                self.tell_to_continue(client).await?;
                let mut actions: Vec<usize> = changes.iter().map(|change| change.at).collect();
                actions.extend(copies.iter().map(|(at, _)| *at));
                // A collected body is sent on without its trailers.
                let read = read(client, collector, record.let_go(&actions)).await?;
                (read.whole, read.pieces)
            }
        };
        let new = change(&changes, old.clone(), head, (budget, true)).await;
        if new.is_some() && old.is_err() {
            self.tell_to_continue(client).await?;
            drain(client).await?;
        }
        let whole = new.map_or(old, Ok);
        for (at, limit) in copies {
            match &whole {
                _ if record.is_let_go(at) => record.skip(at, SWITCHED_OFF),
                Ok(body) if body.len() <= limit => self.copies.push(at),
                Ok(_) => record.skip(at, "body too large"),
                Err(reason) => record.skip(at, *reason),
            }
        }
        self.body = match whole {
            Ok(body) => Some(([body].into(), Rest::End)),
            Err(_) if pieces.is_empty() => None,
            Err(_) => Some((pieces.into(), Rest::Source)),
        };
        Ok(())
    }

    async fn tell_to_continue(&mut self, client: &mut Client) -> Result<()> {
        if !self.continued && client.expects_continue() {
            self.continued = true;
            tell_to_continue(client).await?;
        }
        Ok(())
    }

    /// Leaves out `Expect` if squall has told the client to send its body: the upstream need not.
    pub(super) fn settle_expectation(&mut self, client: &Client) {
        if self.continued {
            let head = self.head.get_or_insert_with(|| client.head().clone());
            head.remove_header(&EXPECT);
        }
    }

    /// The whole body, for copies.
    pub(super) fn whole(&self) -> Bytes {
        match &self.body {
            Some((pieces, Rest::End)) => pieces.front().cloned().unwrap_or_default(),
            _ => Bytes::new(),
        }
    }

    /// Whether there is a body to send.
    pub(super) fn has_body(&self, client: &Client) -> bool {
        match &self.body {
            Some((pieces, Rest::End)) => !pieces.iter().all(Bytes::is_empty),
            Some(_) => true,
            None => !client.is_body_done(),
        }
    }
}

/// The plan's changes to bodies of one direction, in order.
fn body_changes(record: &Arc<Record>, direction: Direction) -> Vec<Change> {
    let changes = record.in_force().filter_map(|(at, action)| match &action.effect {
        Effect::Rewrite(rewrite) => Change::of(rewrite, direction, at, record),
        _ => None,
    });
    changes.collect()
}

/// The actions, by index, that send a copy, each with its limit of the body in bytes.
fn copies(record: &Record) -> Vec<(usize, usize)> {
    let copies = record.in_force().filter_map(|(at, action)| match action.effect {
        Effect::Duplicate { limit } => Some((at, limit)),
        _ => None,
    });
    copies.collect()
}

/// What was read of a request body.
pub(super) struct Read {
    /// The whole body, or why it was not collected.
    pub(super) whole: Result<Bytes, &'static str>,
    /// Without the whole body: the pieces read so far.
    pub(super) pieces: Vec<Bytes>,
    /// The trailers that followed it.
    pub(super) trailers: Option<HeaderMap>,
}

/// Sends 100 (Continue) to a client that waits for it before it sends its body.
pub(super) async fn tell_to_continue(client: &mut Client) -> Result<()> {
    client.tell_to_continue();
    std::future::poll_fn(|cx| client.poll_flush(cx)).await
}

/// Reads the request body, until `let_go` resolves because those that it is read for were switched off.
pub(super) async fn read(
    client: &mut Client,
    mut collector: Collector,
    let_go: impl Future<Output = ()>,
) -> Result<Read> {
    let deadline = Instant::now() + PATIENCE;
    let mut let_go = pin!(let_go);
    let mut trailers = None;
    let reason = loop {
        // Biased: a part that is there is taken, and reading can be broken off between two parts.
        let part = tokio::select! {
            biased;
            part = timeout_at(deadline, client.part()) => part,
            () = &mut let_go => break SWITCHED_OFF,
        };
        match part {
            Ok(Ok(Some(Part::Data(piece)))) => {
                if let Err(reason) = collector.push(piece) {
                    break reason.reason();
                }
            }
            Ok(Ok(Some(Part::Trailers(fields)))) => trailers = Some(fields),
            Ok(Ok(None)) => match collector.into_whole() {
                Ok(whole) => {
                    return Ok(Read {
                        whole: Ok(whole),
                        pieces: Vec::new(),
                        trailers,
                    });
                }
                Err(same) => {
                    collector = same;
                    break Full::REASON;
                }
            },
            Ok(Err(error)) => return Err(error),
            Err(_) => break "body too slow",
        }
    };
    Ok(Read {
        whole: Err(reason),
        pieces: collector.into_pieces(),
        trailers,
    })
}

/// Reads and discards the rest of a request body.
async fn drain(client: &mut Client) -> Result<()> {
    let to_end = async {
        while client.part().await?.is_some() {}
        Ok(())
    };
    // A body that has not ended by then is read on while the upstream responds.
    tokio::time::timeout(PATIENCE, to_end).await.unwrap_or(Ok(()))
}

/// The changes that a response body is collected for.
pub(super) struct Collecting {
    changes: Vec<Change>,
    budget: Budget,
    /// Whether the client gets no trailers with a new body, since its protocol has them only after chunks.
    loses_trailers: bool,
}

/// Collects the natural body, or says why it is not collected: it is a stream, or too large.
pub(super) type Natural = Result<Collector, &'static str>;

impl Collecting {
    /// Decides by a response head what to do once the body is collected; `None` if nothing. For a response to HEAD, the head
    /// is changed at once.
    pub(super) async fn begin(
        client: &Client,
        record: &Arc<Record>,
        head: &mut ResponseHeader,
        budget: Budget,
    ) -> Option<(Collecting, Natural)> {
        let to_head = client.head().method == Method::HEAD;
        let message = Message {
            headers: &head.headers,
            status: Some(head.status),
            empty: to_head,
            upgraded: head.status == StatusCode::SWITCHING_PROTOCOLS,
        };
        let changes = accepted(body_changes(record, Direction::Response), &message);
        if changes.is_empty() {
            return None;
        }
        let length = content_length(message.headers);
        let endless = message.is_endless();
        let collecting = Collecting {
            changes,
            budget,
            loses_trailers: client.head().version != Version::HTTP_2,
        };
        if to_head {
            collecting.settle(head, Err("no body")).await;
            return None;
        }
        let natural = if endless {
            Err("a stream")
        } else {
            let collector = Collector::new(limit(&collecting.changes), length, &collecting.budget);
            collector.map_err(Uncollected::reason)
        };
        Some((collecting, natural))
    }

    /// How long to wait for the natural body.
    pub(super) fn patience(&self) -> Duration {
        match self.changes.first().and_then(Change::body) {
            Some(BodyChange::Whole(_)) => PATIENCE_WITH_WASTE,
            _ => PATIENCE,
        }
    }

    /// Resolves once the rules of all changes were switched off.
    pub(super) async fn let_go(&self) {
        let actions: Vec<usize> = self.changes.iter().map(|change| change.at).collect();
        match self.changes.first() {
            Some(first) => first.record.let_go(&actions).await,
            None => std::future::pending().await,
        }
    }

    /// Applies the changes, and fits the head. Returns the new body, if there is one.
    pub(super) async fn settle(&self, head: &mut ResponseHeader, old: Result<Bytes, &'static str>) -> Option<Bytes> {
        change(&self.changes, old, head, (&self.budget, self.loses_trailers)).await
    }
}

impl Change {
    /// The change that a rewrite, the plan's action `at`, makes to the body of one direction, if any.
    fn of(rewrite: &Arc<Rewrite>, direction: Direction, at: usize, record: &Arc<Record>) -> Option<Change> {
        let change = Change {
            rewrite: Arc::clone(rewrite),
            direction,
            at,
            record: Arc::clone(record),
        };
        change.body().is_some().then_some(change)
    }

    fn body(&self) -> Option<&BodyChange> {
        match self.direction {
            Direction::Response => self.rewrite.response_body.as_ref(),
            Direction::Request => self.rewrite.request_body.as_ref(),
        }
    }

    fn users(&self) -> &HeaderChanges {
        match self.direction {
            Direction::Response => &self.rewrite.response,
            Direction::Request => &self.rewrite.request,
        }
    }

    fn count(&self, outcome: Result<(), &'static str>) {
        match outcome {
            Ok(()) => self.record.done(self.at),
            Err(reason) => self.record.skip(self.at, reason),
        }
    }
}

/// Returns the changes that a message accepts, and counts the others as skipped. Changes after a replacement are always
/// kept, since they apply to the new body.
fn accepted(changes: Vec<Change>, message: &Message<'_>) -> Vec<Change> {
    let mut replaced = false;
    let mut kept = Vec::new();
    for change in changes {
        let Some(body) = change.body() else { continue };
        if !replaced && let Err(reason) = message.accepts(body, change.rewrite.limit) {
            change.count(Err(reason));
            continue;
        }
        replaced |= body.is_whole();
        kept.push(change);
    }
    kept
}

/// The largest limit of these changes, in bytes.
fn limit(changes: &[Change]) -> usize {
    changes.iter().map(|change| change.rewrite.limit).max().unwrap_or(0)
}

/// Applies changes in order, counts them, and fits the head. `old` is the natural body, or why it was not collected.
/// Returns the new body, if there is one. `loses_trailers`: none follow a new body, so the head must announce none.
async fn change(
    changes: &[Change],
    old: Result<Bytes, &'static str>,
    head: &mut (impl Fields + Send),
    (budget, loses_trailers): (&Budget, bool),
) -> Option<Bytes> {
    let mut changed = None;
    for one in changes {
        let now = changed.clone().map_or_else(|| old.clone(), Ok);
        let outcome = apply(one, now, budget).await;
        one.count(outcome.as_ref().map(drop).map_err(|reason| *reason));
        if let (Ok(new), Some(body)) = (outcome, one.body()) {
            head.change(&fields_of_new_body(body, new.len(), one.users()));
            if loses_trailers && !one.users().name(&TRAILER) {
                head.remove(&TRAILER);
            }
            changed = Some(new);
        }
    }
    changed
}

async fn apply(change: &Change, body: Result<Bytes, &'static str>, budget: &Budget) -> Result<Bytes, &'static str> {
    if change.record.is_let_go(change.at) {
        return Err(SWITCHED_OFF);
    }
    if let Some(BodyChange::Whole(content)) = change.body() {
        return Ok(content.bytes.clone());
    }
    let body = body?;
    if body.is_empty() {
        return Err("no body");
    }
    if body.len() > change.rewrite.limit {
        return Err("body too large");
    }
    let large = body.len() >= LARGE;
    let (change, budget) = (change.clone(), budget.clone());
    let edit = move || match change.body() {
        Some(BodyChange::Edit(edit)) => edit.apply(&body, &budget),
        _ => Ok(body),
    };
    if large {
        // A large edit takes milliseconds, which would stall the other tasks of this runtime thread.
        aside::run(edit).await.unwrap_or(Err("patch failed"))
    } else {
        edit()
    }
}
