//! Both sides of an exchange while the request's body moves: until the response's head has come, while its body is
//! collected, and while that moves too.

use std::pin::Pin;
use std::task::{Context, Poll};

use pingora::Error;

use super::Stop;
use super::pump::{Broken, Pump, Waits};
use crate::proxy::client::Client;
use crate::proxy::execute::hold::Holder;
use crate::proxy::upstream::Session;
use crate::shape::Finish;

/// A client and an upstream, with the request's body between them.
pub(super) struct Sides<'a> {
    pub(super) client: &'a mut Client,
    pub(super) session: &'a mut Session,
    pub(super) upload: &'a mut Pump,
    stopping: Stopping,
    /// Why the upstream took no more of the body.
    pub(super) refused: Option<Box<Error>>,
}

/// Squall's own stop. Watched where bytes are shaped: nothing else is waited for.
type Stopping = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

impl<'a> Sides<'a> {
    /// `download` is what moves in the other direction, if that is shaped.
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

    /// True once: when squall stops. The request's body waits for nothing any more then.
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

    /// Moves what can be moved of the request's body. An upstream that takes no more of it may still answer, or have
    /// answered before it stopped reading: then the answer counts.
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

    /// Whether the client has stopped waiting for the response.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        // Whoever reads the client's body sees it leave.
        self.upload.waits() != Waits::Source && self.client.poll_gone(cx).is_ready()
    }
}
