//! Whole bodies: collected up to a limit, changed, and handed on with exact framing; and requests that are sent twice.
//!
//! ```text
//! request   client ── collect ── rewrite ─┬─ copy ──> upstream     its answer is thrown away
//!                                         └─ Replay ─> Pingora ──> upstream
//! response  upstream ──> Pingora ── Collecting: hold head and body ── rewrite ──> client
//! ```
//!
//! What can't be changed passes as it came: the head as it was, the pieces that were held, then the rest.
//! [`session::Whole`] is the session in between; it is there only for requests that need it, and for as long.

pub mod collector;
pub mod copy;
pub mod fake;
pub mod request;
pub mod response;
pub mod session;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::HeaderValue;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;

use self::copy::Sent;
use self::request::{Prepared, Replay};
use self::response::Collecting;
use self::session::{Finishing, Home};
use super::carry::Carrying;
use super::hold::Holder;
use super::session::record::Record;
use super::{fakes, gone};
use crate::config::snapshot::View;
use crate::fault::rewrite::{BodyChange, HeaderChanges, Message, Rewrite, fields_of_new_body};
use crate::shape::Direction;

/// How long a message is held for its body to come to its end. Whoever streams is let through after that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same where the natural body does not matter. Reading it to its end only keeps the upstream's connection for the
/// next request.
const PATIENCE_WITH_WASTE: Duration = Duration::from_secs(1);

/// Bodies beyond this many bytes are changed on a thread that may block.
const LARGE: usize = 128 << 10;

/// The change of one body that a plan asks for.
#[derive(Debug, Clone)]
pub struct Change {
    rewrite: Arc<Rewrite>,
    direction: Direction,
    /// The action's place in the plan.
    at: usize,
    record: Arc<Record>,
}

/// What a request has to do with whole bodies; nothing for most.
#[derive(Debug, Default)]
pub struct Bodies {
    prepared: Option<Prepared>,
    collecting: Option<Collecting>,
    home: Option<Home>,
}

/// What became of the copies of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Copied {
    /// They were sent, or not; the request goes on.
    Done,
    /// The client has left.
    ClientGone,
}

/// A fake, the client's address, and the longest wait for an answer that is thrown away.
pub type Fake<'a> = (&'a Router, Option<IpAddr>, Duration);

/// An endpoint, the host that it is to be told, and the longest wait for an answer that is thrown away.
pub type Endpoint<'a> = (&'a HttpPeer, Option<&'a HeaderValue>, Duration);

/// What became of a body.
#[derive(Debug)]
pub struct Changed {
    /// The new body; `None`: it stays as it is.
    pub body: Option<Bytes>,
    /// What the head needs for it.
    pub fields: Vec<HeaderChanges>,
}

impl Bodies {
    /// Reads the request's body, if the plan has something to do with it.
    ///
    /// # Errors
    /// The client left, or broke off.
    pub async fn read(&mut self, session: &mut Session, carrying: &Carrying) -> pingora::Result<()> {
        self.prepared = request::prepare(session, carrying).await?;
        Ok(())
    }

    /// Makes the request's head fit its body.
    ///
    /// # Errors
    /// As Pingora's own.
    pub fn change_head(&self, head: &mut RequestHeader) -> pingora::Result<()> {
        match &self.prepared {
            Some(prepared) => prepared.change_head(head),
            None => Ok(()),
        }
    }

    /// Whether the client was told to send its body.
    pub fn continued(&self) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| prepared.continued)
    }

    /// The request's body, if it is another than the client's or was read from.
    pub fn body(&mut self) -> &mut Option<Replay> {
        &mut self.prepared.get_or_insert_default().body
    }

    /// Sends the copies that the plan wants before the request itself.
    ///
    /// # Errors
    /// The request's head can't be rewritten.
    pub async fn send_first(
        &mut self,
        session: &mut Session,
        carrying: &Carrying,
        (peer, host, longest): Endpoint<'_>,
    ) -> pingora::Result<Copied> {
        for at in self.copies() {
            let mut head = session.req_header().clone();
            carrying.rewrite_request(&mut head)?;
            self.change_head(&mut head)?;
            let body = self.whole();
            match copy::send(session, head, host, &body, peer.clone(), longest).await {
                Sent::Yes => carrying.record().done(at),
                Sent::No => carrying.record().skip(at, "not sent"),
                Sent::ClientGone => return Ok(Copied::ClientGone),
            }
        }
        Ok(Copied::Done)
    }

    /// The same for a fake.
    ///
    /// # Errors
    /// The client broke off.
    pub async fn ask_first(
        &mut self,
        session: &mut Session,
        carrying: &Carrying,
        head: &RequestHeader,
        (router, client, longest): Fake<'_>,
    ) -> pingora::Result<Copied> {
        for at in self.copies() {
            carrying.record().done(at);
            let Some((_, body)) = fakes::ask(session, head, router, client, self.body().as_ref()).await? else {
                return Ok(Copied::ClientGone);
            };
            tokio::select! {
                _ = tokio::time::timeout(longest, fake::read_to_end(body)) => {}
                () = gone::client_gone(session) => return Ok(Copied::ClientGone),
            }
        }
        Ok(Copied::Done)
    }

    fn copies(&mut self) -> Vec<usize> {
        let copies = self.prepared.as_mut().map(|prepared| &mut prepared.copies);
        copies.map(std::mem::take).unwrap_or_default()
    }

    fn whole(&mut self) -> Bytes {
        match self.body() {
            Some(Replay::New { body, .. }) => body.clone(),
            Some(Replay::Rest(_)) | None => Bytes::new(),
        }
    }

    /// Steps between Pingora and the client, if the upstream is to get another body, or one that was read from already.
    pub fn step_between(&mut self, session: &mut Session) {
        if let Some(body) = self.prepared.as_mut().and_then(|prepared| prepared.body.take()) {
            let home = self.home.insert(Home::default());
            home.install(session, Some(body), None);
        }
    }

    /// Gives Pingora the client's own session back. The body can be sent again.
    pub fn step_back(&mut self, session: &mut Session) {
        if let Some(home) = self.home.take() {
            let body = home.restore(session);
            if let Some(prepared) = &mut self.prepared {
                prepared.body = body;
            }
        }
    }

    /// The same, if the upstream has got all of the body: only Pingora's own sessions can do everything.
    pub fn step_back_if_read(&mut self, session: &mut Session) {
        self.step_back(session);
        let Some(prepared) = &mut self.prepared else { return };
        let real = &mut session.downstream_session;
        prepared.body = prepared.body.take().filter(|body| !body.is_used_up(real));
        self.step_between(session);
    }

    /// Looks at a response's head: whether it has to wait for its body.
    pub async fn begin(&mut self, session: &Session, carrying: &Carrying, head: &mut ResponseHeader) -> bool {
        self.collecting = response::begin(session, carrying, head).await;
        self.collecting.is_some()
    }

    /// What collects the response, if something does.
    pub fn collecting(&mut self) -> Option<Collecting> {
        self.collecting.take()
    }

    /// Steps between Pingora and the client, if the response has to wait for its body.
    pub fn hold_response(
        &mut self,
        session: &mut Session,
        carrying: &Carrying,
        holder: &Arc<Holder>,
        view: &Arc<View>,
    ) {
        if let Some(collecting) = self.collecting() {
            self.step_back(session);
            let body = self.body().take();
            let finishing = Finishing {
                record: carrying.record().clone(),
                holder: holder.clone(),
                view: view.clone(),
            };
            let home = self.home.insert(Home::default());
            home.install(session, body, Some((collecting, finishing)));
        }
    }
}

impl Change {
    /// What a rewrite, which is action `at` of its plan, does to the body of one direction, if anything.
    pub fn of(rewrite: &Arc<Rewrite>, direction: Direction, at: usize, record: &Arc<Record>) -> Option<Change> {
        let change = Change {
            rewrite: rewrite.clone(),
            direction,
            at,
            record: record.clone(),
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

/// Keeps the changes that a message accepts, and counts the others as skipped. What comes after a whole new body is not
/// asked: it meets that body.
pub fn accepted(changes: Vec<Change>, message: &Message<'_>) -> Vec<Change> {
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

/// How many bytes are worth holding for these changes.
pub fn limit(changes: &[Change]) -> usize {
    changes.iter().map(|change| change.rewrite.limit).max().unwrap_or(0)
}

/// How long to wait for the body that these changes begin with.
pub fn patience(changes: &[Change]) -> Duration {
    match changes.first().and_then(Change::body) {
        Some(BodyChange::Whole(_)) => PATIENCE_WITH_WASTE,
        _ => PATIENCE,
    }
}

/// Carries changes out, one after the other, and counts them. `old` is the body that came, or why it is not known as a whole.
pub async fn change(changes: &[Change], old: Result<Bytes, &'static str>) -> Changed {
    let mut changed = Changed {
        body: None,
        fields: Vec::new(),
    };
    for one in changes {
        let now = changed.body.clone().map_or_else(|| old.clone(), Ok);
        let outcome = apply(one, now).await;
        one.count(outcome.as_ref().map(drop).map_err(|reason| *reason));
        if let (Ok(new), Some(body)) = (outcome, one.body()) {
            changed.fields.push(fields_of_new_body(body, new.len(), one.users()));
            changed.body = Some(new);
        }
    }
    changed
}

async fn apply(change: &Change, body: Result<Bytes, &'static str>) -> Result<Bytes, &'static str> {
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
    if body.len() < LARGE {
        return edit(change, &body);
    }
    let change = change.clone();
    let edited = tokio::task::spawn_blocking(move || edit(&change, &body)).await;
    // Only a panic or the runtime's end gets in the way.
    edited.unwrap_or(Err("patch failed"))
}

fn edit(change: &Change, body: &Bytes) -> Result<Bytes, &'static str> {
    match change.body() {
        Some(BodyChange::Edit(edit)) => edit.apply(body),
        Some(BodyChange::Whole(content)) => Ok(content.bytes.clone()),
        None => Ok(body.clone()),
    }
}

/// Changes a request's head.
///
/// # Errors
/// As Pingora's own; not for what the configuration lets pass.
pub fn change_request_head(changes: &HeaderChanges, head: &mut RequestHeader) -> pingora::Result<()> {
    for name in &changes.remove {
        head.remove_header(name);
    }
    for (name, value) in &changes.set {
        head.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &changes.add {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Changes a response's head.
pub fn change_response_head(changes: &HeaderChanges, head: &mut ResponseHeader) {
    for name in &changes.remove {
        head.remove_header(name);
    }
    for (name, value) in &changes.set {
        let _ = head.insert_header(name.clone(), value.clone());
    }
    for (name, value) in &changes.add {
        let _ = head.append_header(name.clone(), value.clone());
    }
}
