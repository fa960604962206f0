//! Both sides of an exchange while the request body moves: used to wait for the response head, to collect the response
//! body, and to move it.

use std::pin::Pin;
use std::task::{Context, Poll};

use pingora::Error;

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
    stopping: Stopping,
    /// The error with which the upstream stopped reading the request body.
    pub(super) refused: Option<Box<Error>>,
}

/// Resolves when squall stops. Watched only if bytes are shaped: only shaping makes squall itself wait.
type Stopping = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

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
        let stopping = shaped.then(|| {
            let mut stop = holder.watch_stop();
            Box::pin(async move { drop(stop.wait_for(|stopping| *stopping).await) }) as _
        });
        Sides {
            client,
            session,
            upload,
            stopping,
            refused: None,
        }
    }

    /// Returns true once, when squall stops. Also ends the waits of the request body.
    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let stops = self
            .stopping
            .as_mut()
            .is_some_and(|stop| stop.as_mut().poll(cx).is_ready());
        if stops {
            self.stopping = None;
            self.upload.release();
        }
        stops
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
