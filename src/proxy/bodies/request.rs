//! A request's body: read whole before the upstream is asked, changed, and handed on.

use std::collections::VecDeque;

use bytes::Bytes;
use http::header;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use tokio::time::{Instant, timeout_at};

use super::collector::Collector;
use super::{PATIENCE, accepted, change, change_request_head, limit};
use crate::fault::rewrite::{HeaderChanges, Message};
use crate::proxy::carry::Carrying;
use crate::shape::Direction;

/// Bytes of a new body that are handed out at once.
const PIECE: usize = 64 << 10;

/// A request's body as the upstream is to get it.
#[derive(Debug, Default)]
pub struct Prepared {
    /// What it is made of; `None`: the client's, which nobody has read from.
    pub body: Option<Replay>,
    /// What the head needs for it.
    pub fields: Vec<HeaderChanges>,
    /// The client was told to go on; the upstream need not be asked.
    pub continued: bool,
    /// The actions of the plan that send a copy first.
    pub copies: Vec<usize>,
}

/// A request's body, other than read from the client.
#[derive(Debug)]
pub enum Replay {
    /// This one. What the client still sends is dropped.
    New {
        /// All of it.
        body: Bytes,
        /// How much of it has been read.
        handed: usize,
    },
    /// The client's: first what was read from it already.
    Rest(VecDeque<Bytes>),
}

/// What came of reading a body.
enum Read {
    Whole(Bytes),
    Part(Vec<Bytes>, &'static str),
}

/// Reads the body if the plan has something to do with it, and does what it can.
///
/// # Errors
/// The client left, or broke off.
pub async fn prepare(session: &mut Session, carrying: &Carrying) -> Result<Option<Prepared>> {
    let changes = carrying.body_changes(Direction::Request);
    let mut copies = carrying.copies();
    if changes.is_empty() && copies.is_empty() {
        return Ok(None);
    }
    let empty = session.is_body_empty();
    let upgraded = session.downstream_session.is_upgrade_req() || session.req_header().method == http::Method::CONNECT;
    let message = Message {
        headers: &session.req_header().headers,
        status: None,
        empty,
        upgraded,
    };
    let length = message.length();
    let changes = accepted(changes, &message);
    if upgraded {
        skip_all(carrying, &mut copies, "upgraded");
    }
    if changes.is_empty() && copies.is_empty() {
        return Ok(None);
    }
    let most = copies.iter().map(|(_, limit)| *limit).fold(limit(&changes), usize::max);
    let mut prepared = Prepared::default();
    let read = if empty {
        Read::Whole(Bytes::new())
    } else if length.is_some_and(|length| length > most as u64) {
        Read::Part(Vec::new(), "body too large")
    } else {
        prepared.continued = tell_to_go_on(session).await?;
        read(session, most).await?
    };
    let (old, pieces) = match read {
        Read::Whole(body) => (Ok(body.clone()), vec![body]),
        Read::Part(pieces, reason) => (Err(reason), pieces),
    };
    let changed = change(&changes, old.clone()).await;
    if changed.body.is_some() && old.is_err() {
        prepared.continued = prepared.continued || tell_to_go_on(session).await?;
        drain(session).await?;
    }
    prepared.fields = changed.fields;
    let new = |body| Replay::New { body, handed: 0 };
    prepared.body = match (changed.body.clone(), &old) {
        (Some(body), _) => Some(new(body)),
        (None, Ok(body)) if body.is_empty() => None,
        (None, Ok(body)) => Some(new(body.clone())),
        (None, Err(_)) if pieces.is_empty() => None,
        (None, Err(_)) => Some(Replay::Rest(pieces.into())),
    };
    prepared.copies = copies
        .into_iter()
        .filter(|(at, limit)| match changed.body.as_ref().ok_or(()).or(old.as_ref()) {
            Ok(body) if body.len() <= *limit => true,
            Ok(_) => {
                carrying.record().skip(*at, "body too large");
                false
            }
            Err(reason) => {
                carrying.record().skip(*at, reason);
                false
            }
        })
        .map(|(at, _)| at)
        .collect();
    Ok(Some(prepared))
}

fn skip_all(carrying: &Carrying, copies: &mut Vec<(usize, usize)>, reason: &'static str) {
    for (at, _) in copies.drain(..) {
        carrying.record().skip(at, reason);
    }
}

/// The client may wait for leave to send its body (RFC 9110, section 10.1.1).
///
/// # Errors
/// The client has left.
pub async fn tell_to_go_on(session: &mut Session) -> Result<bool> {
    let expect = session.get_header(header::EXPECT);
    if !expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Ok(false);
    }
    session.downstream_session.write_continue_response().await?;
    Ok(true)
}

async fn read(session: &mut Session, most: usize) -> Result<Read> {
    let deadline = Instant::now() + PATIENCE;
    let mut collector = Collector::new(most);
    loop {
        match timeout_at(deadline, session.downstream_session.read_request_body()).await {
            Ok(Ok(Some(piece))) => {
                if !collector.push(piece) {
                    return Ok(Read::Part(collector.into_pieces(), "body too large"));
                }
            }
            Ok(Ok(None)) => return Ok(Read::Whole(collector.whole())),
            Ok(Err(error)) => return Err(error.into_down()),
            Err(_) => return Ok(Read::Part(collector.into_pieces(), "body too slow")),
        }
    }
}

/// Reads what nobody wants. Clients that send all of a request before they look for its answer would be stuck otherwise.
async fn drain(session: &mut Session) -> Result<()> {
    let to_end = async {
        while session.downstream_session.read_request_body().await?.is_some() {}
        Ok(())
    };
    // Whoever has not come to an end by then is read from while the upstream answers.
    let drained: Result<()> = tokio::time::timeout(PATIENCE, to_end).await.unwrap_or(Ok(()));
    drained.map_err(|error| error.into_down())
}

impl Prepared {
    /// Changes the request's head to fit the body.
    ///
    /// # Errors
    /// As Pingora's own.
    pub fn change_head(&self, head: &mut RequestHeader) -> Result<()> {
        for fields in &self.fields {
            change_request_head(fields, head)?;
        }
        if self.continued {
            head.remove_header(&header::EXPECT);
        }
        Ok(())
    }
}

impl Replay {
    pub(super) async fn read(&mut self, real: &mut ServerSession) -> Result<Option<Bytes>> {
        match self {
            Replay::New { body, handed } => {
                let end = handed.saturating_add(PIECE).min(body.len());
                let piece = body.slice(*handed..end);
                *handed = end;
                Ok((!piece.is_empty()).then_some(piece))
            }
            Replay::Rest(pieces) => match pieces.pop_front() {
                Some(piece) => Ok(Some(piece)),
                None => real.read_request_body().await,
            },
        }
    }

    /// The next piece, or an error once the client has left. `idle`: no piece is wanted. Cancel-safe.
    ///
    /// # Errors
    /// The client has left, or broke off.
    pub async fn read_or_idle(&mut self, real: &mut ServerSession, idle: bool) -> Result<Option<Bytes>> {
        if !idle && !self.is_done(real) {
            return self.read(real).await;
        }
        // What the client still sends of a body that nobody wants must not be taken for its next request.
        while !real.is_body_done() && real.read_request_body().await?.is_some() {}
        real.read_body_or_idle(true).await
    }

    /// Whether all of it was handed out.
    pub fn is_done(&self, real: &mut ServerSession) -> bool {
        match self {
            Replay::New { body, handed } => *handed >= body.len(),
            Replay::Rest(pieces) => pieces.is_empty() && real.is_body_done(),
        }
    }

    /// Whether there is nothing to hand out at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Replay::New { body, .. } => body.is_empty(),
            // A body that turned out to be too large or too slow is not empty.
            Replay::Rest(_) => false,
        }
    }

    /// Whether another upstream can get it from the beginning.
    pub(super) fn can_repeat(&self) -> bool {
        matches!(self, Replay::New { .. })
    }

    pub(super) fn handed_out(&self) -> Option<Bytes> {
        match self {
            Replay::New { body, handed } if *handed > 0 => Some(body.slice(..*handed)),
            _ => None,
        }
    }

    /// Whether the real session alone can go on from here.
    pub fn is_used_up(&self, real: &mut ServerSession) -> bool {
        match self {
            Replay::New { body, handed } => *handed >= body.len() && real.is_body_done(),
            Replay::Rest(pieces) => pieces.is_empty(),
        }
    }
}
