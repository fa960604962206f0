//! Carries one connection from its first rule to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::Sleep;

use super::Relay;
use super::flow::{Break, Flow};
use super::links::{Links, Sequel};
use super::log::{self, Line};
use super::side::Side;
use super::view::TcpView;
use crate::fault::effect::Ending;
use crate::journal::Journal;
use crate::proxy::client::Connection;
use crate::proxy::execute::End;
use crate::proxy::execute::hold::Holder;
use crate::proxy::tls::Hello;
use crate::shape::Finish;

/// Once the listener stops, a connection on which no byte has moved for this long is closed.
const SILENCE: Duration = Duration::from_secs(1);

/// A connection on its way.
pub(super) struct Carry {
    view: Arc<TcpView>,
    holder: Arc<Holder>,
    journal: Arc<Journal>,
    connection: Arc<Connection>,
    began: Instant,
    client: Side,
    /// `None` until it is connected.
    server: Option<Side>,
    upload: Flow,
    download: Flow,
    links: Links,
    changed: Pin<Box<dyn Future<Output = Changed> + Send>>,
    /// Set while the window of a rule is going to open or close.
    edge: Option<Pin<Box<Sleep>>>,
    /// Resolves when squall stops, so that injected waits end. `None` while bytes are not shaped.
    stopping: Option<Watch>,
    /// Resolves when the client has reset the connection, which a direction that is held does not notice by itself. `None` while
    /// bytes are not shaped.
    gone: Option<Watch>,
}

type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What has changed: the view, or else a switch, and the receivers for the next change. `None` if there can't be another.
type Changed = Option<(RuleWatch, Option<Arc<TcpView>>)>;

/// What decides which rules there are.
struct RuleWatch {
    views: watch::Receiver<Arc<TcpView>>,
    switches: watch::Receiver<u64>,
}

/// How a connection ends.
#[derive(Debug)]
enum Closing {
    /// Both sides have ended it.
    Natural,
    /// A fault, or a plan's ending.
    Fault(Ending),
    /// The client has reset it, or its TLS failed.
    Client(std::io::Error),
    /// The server can't be reached, or has reset it.
    Server(std::io::Error),
    /// squall stops.
    Stopped,
    /// No byte has moved for the listener's idle time.
    Idle,
}

impl Carry {
    pub(super) fn new(relay: &Relay, client: Side, connection: Arc<Connection>, hello: Hello) -> Carry {
        let mut views = relay.views.subscribe();
        let view = Arc::clone(&views.borrow_and_update());
        let holder = Arc::clone(&relay.holder);
        let mut switches = holder.switches().watch();
        // The rules are looked at after this, when the connection begins.
        switches.mark_unchanged();
        let journal = Arc::clone(&relay.journal);
        view.metrics.connections.inc();
        Carry {
            upload: Flow::new(view.metrics.bytes_in.clone()),
            download: Flow::new(view.metrics.bytes_out.clone()),
            links: Links::new(connection.client(), hello),
            changed: Box::pin(RuleWatch { views, switches }.next()),
            edge: None,
            stopping: None,
            gone: None,
            began: Instant::now(),
            server: None,
            view,
            holder,
            journal,
            connection,
            client,
        }
    }

    /// Carries the connection to its end, counts and logs it.
    pub(super) async fn run(mut self: Box<Self>) {
        log::opened(&self.view, &self.connection, self.links.name());
        let outcome = match self.update() {
            Sequel::GoesOn => self.carry().await,
            Sequel::Broken => Closing::Fault(Ending::Close),
        };
        self.end(&outcome);
        let error = match &outcome {
            Closing::Client(error) | Closing::Server(error) => Some(error.to_string()),
            Closing::Idle => Some("no byte moved for the listener's idle time".to_owned()),
            Closing::Natural | Closing::Fault(_) | Closing::Stopped => None,
        };
        let line = Line {
            view: &self.view,
            connection: &self.connection,
            links: &self.links,
            bytes: [self.upload.bytes(), self.download.bytes()],
            total: self.began.elapsed(),
            gone: matches!(outcome, Closing::Client(_)),
            error,
        };
        line.write();
        if self.journal.is_on() {
            self.journal.record(line.entry());
        }
    }

    async fn carry(&mut self) -> Closing {
        loop {
            if self.links.is_starting() {
                match std::future::poll_fn(|cx| self.poll_start(cx)).await {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            }
            if self.server.is_none() {
                match self.dial().await {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            }
            let outcome = if self.connection.is_leaving() {
                Box::pin(self.until_silent(SILENCE, Closing::Stopped)).await
            } else {
                let listener = Arc::clone(self.connection.listener());
                // Biased: what has ended has ended, whatever else happens.
                tokio::select! {
                    biased;
                    outcome = self.until_idle() => outcome,
                    () = listener.stopped() => continue,
                }
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    async fn until_idle(&mut self) -> Option<Closing> {
        match self.view.idle {
            Some(limit) => Box::pin(self.until_silent(limit, Closing::Idle)).await,
            None => std::future::poll_fn(|cx| self.poll(cx)).await,
        }
    }

    /// Moves bytes both ways for as long as some move within each `limit`. Then the connection ends with `silent`.
    async fn until_silent(&mut self, limit: Duration, silent: Closing) -> Option<Closing> {
        loop {
            let before = (self.upload.bytes(), self.download.bytes());
            let moved = std::future::poll_fn(|cx| self.poll(cx));
            if let Ok(outcome) = tokio::time::timeout(limit, moved).await {
                return outcome;
            }
            if before == (self.upload.bytes(), self.download.bytes()) {
                return Some(silent);
            }
        }
    }

    /// Connects to the server while rules may change. Returns how the connection ends, if it does.
    async fn dial(&mut self) -> Option<Closing> {
        let (server, connection) = (Arc::clone(&self.view.server), Arc::clone(&self.connection));
        // Boxed: needed for a moment, it would otherwise take its place for as long as the connection lasts.
        let mut dialled = Box::pin(server.connect(connection.ends()));
        let mut gone = Box::pin(connection.reset_by_client());
        let side = std::future::poll_fn(|cx| {
            if let Some(outcome) = self.poll_change(cx) {
                return Poll::Ready(Err(outcome));
            }
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Closing::Client(std::io::ErrorKind::ConnectionReset.into())));
            }
            dialled.as_mut().poll(cx).map_err(Closing::Server)
        });
        match side.await {
            Ok((socket, secure)) => {
                self.view
                    .guards
                    .answered(&self.view.metrics.site.listener, || false, None);
                self.server = Some(Side::new(socket, secure));
            }
            Err(outcome) => return Some(outcome),
        }
        None
    }

    /// Carries out what precedes the bytes. Ready when nothing does any more, or with how the connection ends.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Option<Closing>> {
        if let Some(outcome) = self.poll_change(cx) {
            return Poll::Ready(Some(outcome));
        }
        let end = ready!(self.links.poll_start(cx));
        Poll::Ready(end.map(|end| match end {
            End::Gone => Closing::Client(std::io::ErrorKind::ConnectionReset.into()),
            End::Fault(ending) => Closing::Fault(ending),
        }))
    }

    /// Moves bytes both ways. Ready with how the connection ends, or without if something precedes further bytes.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Closing>> {
        if let Some(outcome) = self.poll_change(cx) {
            return Poll::Ready(Some(outcome));
        }
        if self.links.is_starting() {
            return Poll::Ready(None);
        }
        self.poll_stopping(cx);
        if self.gone.as_mut().is_some_and(|gone| gone.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Closing::Client(std::io::ErrorKind::ConnectionReset.into())));
        }
        let Some(server) = &mut self.server else {
            return Poll::Ready(None);
        };
        if !self.upload.is_over() {
            match self.upload.poll(cx, &mut self.client, server) {
                Poll::Pending | Poll::Ready(Ok(Finish::Natural)) => {}
                Poll::Ready(Ok(finish)) => return Poll::Ready(Some(finished(&finish))),
                Poll::Ready(Err(Break::Sender(error))) => return Poll::Ready(Some(Closing::Client(error))),
                Poll::Ready(Err(Break::Receiver(error))) => return Poll::Ready(Some(Closing::Server(error))),
            }
        }
        if !self.download.is_over() {
            match self.download.poll(cx, server, &mut self.client) {
                Poll::Pending | Poll::Ready(Ok(Finish::Natural)) => {}
                Poll::Ready(Ok(finish)) => return Poll::Ready(Some(finished(&finish))),
                Poll::Ready(Err(Break::Sender(error))) => return Poll::Ready(Some(Closing::Server(error))),
                Poll::Ready(Err(Break::Receiver(error))) => return Poll::Ready(Some(Closing::Client(error))),
            }
        }
        if self.upload.is_over() && self.download.is_over() {
            return Poll::Ready(Some(Closing::Natural));
        }
        Poll::Pending
    }

    /// Takes on changed rules, and those whose windows open or close. Returns how the connection ends, if they end it.
    fn poll_change(&mut self, cx: &mut Context<'_>) -> Option<Closing> {
        while self.edge.as_mut().is_some_and(|edge| edge.as_mut().poll(cx).is_ready()) {
            if self.update() == Sequel::Broken {
                return Some(Closing::Fault(Ending::Close));
            }
        }
        while let Poll::Ready(changed) = self.changed.as_mut().poll(cx) {
            let Some((watched, view)) = changed else {
                self.changed = Box::pin(std::future::pending());
                return None;
            };
            self.changed = Box::pin(watched.next());
            if let Some(view) = view {
                // The server stays the one that it is connected to.
                self.view = view;
            }
            if self.update() == Sequel::Broken {
                return Some(Closing::Fault(Ending::Close));
            }
        }
        None
    }

    fn update(&mut self) -> Sequel {
        let flows = [&mut self.upload, &mut self.download];
        let sequel = self.links.update(&self.view, &self.connection, &self.holder, flows);
        let shaped = self.upload.shaped().is_some() || self.download.shaped().is_some();
        if shaped {
            self.stopping.get_or_insert_with(|| {
                let mut stop = self.holder.watch_stop();
                Box::pin(async move { drop(stop.wait_for(|stopping| *stopping).await) })
            });
            self.gone.get_or_insert_with(|| {
                let connection = Arc::clone(&self.connection);
                Box::pin(async move { connection.reset_by_client().await })
            });
        } else {
            (self.stopping, self.gone) = (None, None);
        }
        let edge = self.links.next();
        self.edge = edge.map(|edge| Box::pin(tokio::time::sleep_until(edge.into())));
        sequel
    }

    /// Ends injected waits when squall stops.
    fn poll_stopping(&mut self, cx: &mut Context<'_>) {
        if self
            .stopping
            .as_mut()
            .is_some_and(|stop| stop.as_mut().poll(cx).is_ready())
        {
            self.stopping = None;
            for lane in [self.upload.shaped(), self.download.shaped()].into_iter().flatten() {
                lane.release();
            }
        }
    }

    /// Ends what is left of the connection: a failure looks to the other side as if there were no proxy.
    fn end(&mut self, outcome: &Closing) {
        match outcome {
            Closing::Natural => {}
            Closing::Fault(Ending::Reset(_)) | Closing::Client(_) => {
                self.connection.reset();
                if let Some(server) = &self.server {
                    server.reset();
                }
            }
            Closing::Fault(_) | Closing::Stopped | Closing::Idle => self.connection.close(),
            Closing::Server(_) => {
                self.view.metrics.upstream_errors.inc();
                self.view.guards.failed(&self.view.metrics.site.listener, None);
                self.connection.reset();
            }
        }
    }
}

impl RuleWatch {
    /// Waits for the next view, or for a switch.
    async fn next(mut self) -> Changed {
        // Not biased: neither is lost, since the other is seen next.
        let view = tokio::select! {
            changed = self.views.changed() => {
                changed.ok()?;
                Some(Arc::clone(&self.views.borrow_and_update()))
            }
            changed = self.switches.changed() => {
                changed.ok()?;
                None
            }
        };
        Some((self, view))
    }
}

fn finished(finish: &Finish) -> Closing {
    match finish {
        Finish::Natural | Finish::Clean(_) | Finish::Close => Closing::Fault(Ending::Close),
        Finish::Reset(code) => Closing::Fault(Ending::Reset(*code)),
    }
}
