//! Both sides of an exchange while the request body moves: used to wait for the response head, to collect the response
//! body, and to move it.

use std::pin::Pin;
use std::task::{Context, Poll};

use pingora::Error;
use tokio::sync::watch;

use super::Stop;
use super::pump::{Broken, Pump, Waits};
use crate::proxy::client::Client;
use crate::proxy::execute::hold::Holder;
use crate::proxy::upstream::Session;
use crate::shape::Finish;

/// A client and an upstream, and the pump of the request body between them.
pub(super) struct Sides<'a> {
    pub(super) client: &'a mut Client,
    pub(super) session: &'a mut Session,
    pub(super) upload: &'a mut Pump,
    signals: Signals,
    /// The error with which the upstream stopped reading the request body.
    pub(super) refused: Option<Box<Error>>,
}

/// Resolves with the next signal. SignalWatch only if bytes are shaped: only shaping makes squall itself wait.
type Signals = Option<Pin<Box<dyn Future<Output = Signal> + Send>>>;

/// What changes the waits of shaped bytes from outside.
enum Signal {
    /// squall stops: all waits end.
    Stop,
    /// A switch has changed, so that rules may be off: what they hold is let go.
    Switched(SignalWatch),
}

/// What is watched for signals.
struct SignalWatch {
    stop: watch::Receiver<bool>,
    switches: watch::Receiver<u64>,
}

impl SignalWatch {
    async fn next(mut self) -> Signal {
        // Biased: once squall stops, switches no longer matter.
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stopping| *stopping) => return Signal::Stop,
            // Fails only without switches, which the holder keeps.
            _ = self.switches.changed() => {}
        }
        Signal::Switched(self)
    }
}

impl<'a> Sides<'a> {
    /// `download` is the response's pump, once there is one.
    pub(super) fn new(
        holder: &Holder,
        client: &'a mut Client,
        session: &'a mut Session,
        upload: &'a mut Pump,
        download: Option<&Pump>,
    ) -> Sides<'a> {
        let shaped = upload.is_shaped() || download.is_some_and(Pump::is_shaped);
        let signals = shaped.then(|| {
            let watched = SignalWatch {
                stop: holder.watch_stop(),
                switches: holder.switches().watch(),
            };
            Box::pin(watched.next()) as _
        });
        Sides {
            client,
            session,
            upload,
            signals,
            refused: None,
        }
    }

    /// Ends the waits of both directions when squall stops, and those of rules that were switched off.
    pub(super) fn poll_signals(&mut self, cx: &mut Context<'_>, mut download: Option<&mut Pump>) {
        while let Some(Poll::Ready(signal)) = self.signals.as_mut().map(|next| next.as_mut().poll(cx)) {
            let download = download.as_deref_mut();
            match signal {
                Signal::Stop => {
                    self.signals = None;
                    [Some(&mut *self.upload), download]
                        .into_iter()
                        .flatten()
                        .for_each(Pump::release);
                }
                Signal::Switched(watched) => {
                    self.signals = Some(Box::pin(watched.next()));
                    [Some(&mut *self.upload), download]
                        .into_iter()
                        .flatten()
                        .for_each(Pump::let_go);
                }
            }
        }
    }

    /// Moves the request body as far as possible. A write error is only kept: the upstream may have responded before it
    /// stopped reading, and then its response counts.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        if self.upload.is_over() {
            return Ok(());
        }
        match self.upload.poll(cx, self.client, self.session) {
            Poll::Ready(Ok(Finish::Natural | Finish::Clean(_))) | Poll::Pending => Ok(()),
            Poll::Ready(Ok(finish)) => Err(Stop::Finish(finish)),
            Poll::Ready(Err(Broken::Source(error))) => Err(error.into()),
            Poll::Ready(Err(Broken::Sink(error))) => {
                self.upload.give_up();
                self.refused = Some(error);
                Ok(())
            }
        }
    }

    /// Whether the client has disconnected.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        // While the pump reads the client's body, it notices the disconnect itself.
        self.upload.waits() != Waits::Source && self.client.poll_gone(cx).is_ready()
    }
}
