//! The task that has the real session: it writes the response and reads the request, each as its lane says.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use tokio::sync::{mpsc, oneshot, watch};

use super::client::{Client, Heard, Listen};
use super::lane::{Due, Lane};
use super::raw::Spoil;
use super::{Down, Link, Phase, Piece};
use crate::proxy::timer;
use crate::shape::Finish;

/// Carries one wrapped request.
pub(super) struct Carrier {
    client: Client,
    link: Arc<Link>,
    tasks: mpsc::Receiver<Down>,
    up: mpsc::Sender<Piece>,
    stopping: watch::Receiver<bool>,
    response: Lane,
    request: Lane,
    /// The final head has been written.
    started: bool,
    /// What the request's lane is once the connection is upgraded.
    next_request: Option<Lane>,
    /// Read and due, but Pingora has not taken the one before.
    piece: Option<Piece>,
    /// How the response is broken.
    spoil: Option<Spoil>,
    trailers: Option<HeaderMap>,
    /// To be told when all that was taken in has been written.
    drained: Option<oneshot::Sender<()>>,
    /// The session is wanted back.
    leaving: bool,
    /// All waits were given up.
    released: bool,
    /// When the response and the request are to be looked at again.
    times: [Option<Instant>; 2],
}

/// What has happened.
enum Event {
    Task(Option<Down>),
    Heard(Heard),
    /// A piece was taken; false: nobody takes any more.
    Taken(bool),
    Leave,
    Stopping,
    /// It is time, or there is more to do.
    Time,
}

impl Carrier {
    /// A carrier for a client's session.
    pub(super) fn new(
        client: Client,
        link: Arc<Link>,
        (tasks, up): (mpsc::Receiver<Down>, mpsc::Sender<Piece>),
        stopping: watch::Receiver<bool>,
        request: Lane,
    ) -> Carrier {
        let mut carrier = Carrier {
            client,
            link,
            tasks,
            up,
            stopping,
            response: Lane::plain(),
            request,
            started: false,
            next_request: None,
            piece: None,
            spoil: None,
            trailers: None,
            drained: None,
            leaving: false,
            released: false,
            times: [None; 2],
        };
        if carrier.client.has_no_body() {
            carrier.request.has_no_body();
        }
        carrier
    }

    /// Carries the request to its end, and gives the session back if the connection has not ended.
    pub(super) async fn run(mut self) -> Option<ServerSession> {
        let _panic = Panic(Arc::clone(&self.link));
        self.client.set_autoflush(true);
        while !(self.is_over() || self.leaving && self.may_leave()) {
            let busy = self.carry_response().await | self.carry_request().await;
            if self.waits_for_nobody() {
                self.link.set(Phase::Gone);
            }
            if !self.is_over() {
                let event = self.next_event(busy).await;
                self.handle(event).await;
            }
        }
        // Whoever hands something over, or waits, finds out now.
        self.tasks.close();
        self.response = Lane::plain();
        self.request = Lane::plain();
        self.client.set_autoflush(false);
        match self.link.phase() {
            Phase::Ended | Phase::Gone => None,
            Phase::Running | Phase::Done | Phase::Cut => self.client.into_session(),
        }
    }

    fn is_over(&self) -> bool {
        self.link.phase().is_over()
    }

    /// Bytes, or an end, are held back from a client that has closed its side of an upgraded connection: it has left.
    fn waits_for_nobody(&self) -> bool {
        let now = Instant::now();
        let closed = self.client.upgraded() && self.request.has_ended();
        closed && self.times.iter().flatten().any(|time| *time > now)
    }

    /// What was taken in has been written, if it was taken in to its end.
    fn may_leave(&self) -> bool {
        self.response.is_over() || !self.response.has_ended()
    }

    /// Carries out one due step of the response. True if there may be another at once.
    async fn carry_response(&mut self) -> bool {
        self.times[0] = None;
        // An early end comes after the head, too.
        if self.is_over() || !self.started {
            self.tell_drained();
            return false;
        }
        match self.response.due(Instant::now()) {
            Due::Send(bytes) => {
                self.write(bytes).await;
                return true;
            }
            Due::End(finish) => {
                self.finish(finish).await;
                return true;
            }
            Due::Wait(until) => self.times[0] = Some(until),
            Due::More | Due::Over => self.tell_drained(),
        }
        false
    }

    fn tell_drained(&mut self) {
        if let Some(drained) = self.drained.take() {
            // If nobody waits any more, nobody needs to know.
            let _ = drained.send(());
        }
    }

    /// Carries out one due step of the request. True if there may be another at once.
    async fn carry_request(&mut self) -> bool {
        self.times[1] = None;
        if self.piece.is_some() || self.is_over() {
            return false;
        }
        match self.request.due(Instant::now()) {
            Due::Send(bytes) => self.piece = Some(Some(bytes)),
            Due::End(Finish::Natural | Finish::Clean(_)) => self.piece = Some(None),
            Due::End(finish @ (Finish::Close | Finish::Reset(_))) => self.finish(finish).await,
            Due::Wait(until) => {
                self.times[1] = Some(until);
                return false;
            }
            Due::More | Due::Over => return false,
        }
        true
    }

    async fn write(&mut self, bytes: Bytes) {
        let count = bytes.len();
        match self.client.body(bytes).await {
            Ok(true) => Link::count(&self.link.sent, count),
            // The response is broken now, and that is its end.
            Ok(false) => self.finish(Finish::Natural).await,
            Err(_) => self.link.set(Phase::Gone),
        }
    }

    async fn finish(&mut self, finish: Finish) {
        let phase = self.client.finish(finish, self.trailers.take()).await;
        self.link.set(phase);
    }

    async fn head(&mut self, head: Box<ResponseHeader>, end: bool) {
        let interim = head.status.is_informational();
        let is_final = !interim || head.status == StatusCode::SWITCHING_PROTOCOLS;
        let spoil = self.spoil.take_if(|_| !interim);
        let spoiled = spoil.is_some();
        let upgraded = self.client.upgraded();
        if self.client.head(head, end, spoil).await.is_err() {
            return self.link.set(Phase::Gone);
        }
        self.started |= is_final;
        if self.client.upgraded() && !upgraded {
            self.request = self.next_request.take().unwrap_or_else(Lane::plain);
        }
        if end && is_final {
            self.response.has_no_body();
            match spoiled {
                true => self.finish(Finish::Natural).await,
                false => self.link.set(Phase::Done),
            }
        }
    }

    /// What to hear from the client.
    fn listen(&self) -> Listen {
        let done = self.link.phase() == Phase::Done;
        if self.client.waits_for_upgrade() {
            // Before the answer nobody knows what the bytes mean.
            Listen::Leaving
        } else if self.request.has_ended() {
            // A client that closes its side of an upgraded connection may still be heard to the end.
            match done || self.client.upgraded() {
                true => Listen::Nothing,
                false => Listen::Idle,
            }
        } else if done && self.client.upgraded() {
            Listen::Nothing
        } else if self.request.is_over() || self.piece.is_none() && self.request.wants_more() {
            // After an early end, the rest is read and thrown away.
            Listen::Body
        } else {
            Listen::Leaving
        }
    }

    async fn next_event(&mut self, busy: bool) -> Event {
        let listen = self.listen();
        let wants_task = self.response.wants_more() || self.response.is_over();
        let time = self.times.iter().flatten().min().copied();
        let (leaving, released) = (self.leaving, self.released);
        tokio::select! {
            () = self.link.leave.notified(), if !leaving => Event::Leave,
            _ = self.stopping.wait_for(|stopping| *stopping), if !released => Event::Stopping,
            heard = self.client.hear(listen) => Event::Heard(heard),
            room = self.up.reserve(), if self.piece.is_some() => match (room, self.piece.take()) {
                (Ok(room), Some(piece)) => {
                    room.send(piece);
                    Event::Taken(true)
                }
                _ => Event::Taken(false),
            },
            task = self.tasks.recv(), if wants_task => Event::Task(task),
            () = at(time) => Event::Time,
            () = std::future::ready(()), if busy => Event::Time,
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Task(Some(task)) => self.task(task).await,
            Event::Heard(Heard::Body(Some(bytes))) => {
                Link::count(&self.link.read, bytes.len());
                self.request.take(bytes);
                // Asked for more, Pingora would wait for the client's leaving.
                if self.client.has_no_body() {
                    self.request.end();
                }
            }
            Event::Heard(Heard::Body(None)) => self.request.end(),
            Event::Heard(Heard::Gone) => self.link.set(Phase::Gone),
            Event::Leave => self.leaving = true,
            Event::Stopping => {
                self.released = true;
                self.response.release();
                self.request.release();
            }
            // Pingora's side is gone, and this task will be.
            Event::Task(None) | Event::Taken(false) => self.leaving = true,
            Event::Taken(true) | Event::Time => {}
        }
    }

    async fn task(&mut self, task: Down) {
        match task {
            Down::Response(lane, spoil) => {
                self.response = *lane;
                self.spoil = spoil;
                if self.released {
                    self.response.release();
                }
            }
            Down::Request(lane) => self.next_request = Some(*lane),
            Down::Head(head, end) => self.head(head, end).await,
            Down::Body(bytes, end) => {
                self.response.take(bytes);
                if end {
                    self.response.end();
                }
            }
            Down::Trailers(trailers) => {
                self.trailers = Some(trailers);
                self.response.end();
            }
            Down::End => self.response.end(),
            Down::Drain(drained) => self.drained = Some(drained),
        }
    }
}

/// A panic ends its request as the client's leaving does: whoever waits for this task has to find out.
struct Panic(Arc<Link>);

impl Drop for Panic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set(Phase::Gone);
        }
    }
}

/// Waits until a time; for ever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => timer::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
