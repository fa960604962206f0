//! Copies of a request, which the fault `duplicate` sends to the upstream before the request itself.

use std::net::IpAddr;

use axum::Router;
use bytes::Bytes;
use pingora::Result;

use super::pump::Pump;
use super::whole::Outgoing;
use super::{Request, Stop, ask, gone};
use crate::fake::Mount;
use crate::limits::bodies::Budget;
use crate::proxy::body::{Part, Source};
use crate::proxy::client::Client;
use crate::proxy::upstream::{Connector, Destination, Fake, Session};

/// Where sessions with the upstream are opened.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// An axum router, for a client with this address that uses TLS or not; how paths are changed on their way to it, if its
    /// links are to be changed back; and the bound on the bodies that the router reads.
    Fake(&'a Router, (Option<IpAddr>, bool), Option<&'a Mount>, &'a Budget),
    /// A server.
    Real(&'a Connector, &'a Destination),
}

impl Origin<'_> {
    /// Opens a session. `fresh`: over a connection that has served no request.
    pub(super) async fn open(self, fresh: bool) -> Result<Session> {
        match self {
            Origin::Fake(router, client, mount, budget) => {
                Ok(Session::fake(Fake::new(router, client, mount.cloned(), budget.clone())))
            }
            Origin::Real(connector, destination) => connector.session(destination, fresh).await,
        }
    }
}

/// Sends the copies, each over a fresh connection: an upstream that closes an idle connection would otherwise miss one.
/// Their responses are read to the end, at most for `bounds.longest`, and discarded.
pub(super) async fn send_all(
    client: &mut Client,
    request: &Request,
    outgoing: &mut Outgoing,
    origin: Origin<'_>,
) -> Result<(), Stop> {
    let (Some(execution), Some(head)) = (&request.execution, &outgoing.head) else {
        return Ok(());
    };
    let body = outgoing.whole();
    for at in std::mem::take(&mut outgoing.copies) {
        let mut sent = false;
        let copy = [at];
        let host = ask::host(client.head(), request.picked.as_ref());
        let exchange = async {
            let mut session = origin.open(true).await?;
            session.ask(head, host.as_ref(), !body.is_empty(), false)?;
            exchange(&mut session, body.clone(), &mut sent).await
        };
        // Biased: a copy that has completed counts, even if the client disconnects at the same moment.
        tokio::select! {
            biased;
            done = tokio::time::timeout(request.view.bounds.longest, exchange) => match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the first copy of a duplicated request failed"),
                Err(_) => tracing::debug!("the first copy of a duplicated request timed out"),
            },
            () = gone(client) => return Err(Stop::gone()),
            // The request itself does not wait for its copy any longer.
            () = execution.record().let_go(&copy) => {}
        }
        if sent {
            execution.record().done(at)
        } else {
            execution.record().skip(at, "not sent")
        }
    }
    Ok(())
}

async fn exchange(session: &mut Session, body: Bytes, sent: &mut bool) -> Result<()> {
    let mut upload = Pump::whole(body, None);
    std::future::poll_fn(|cx| upload.poll(cx, &mut Nothing, session).map_ok(drop))
        .await
        .map_err(|broken| broken.into_error())?;
    *sent = true;
    loop {
        let head = std::future::poll_fn(|cx| session.poll_head(cx)).await?;
        if !ask::is_interim(head.status) {
            break;
        }
    }
    while session.part().await?.is_some() {}
    Ok(())
}

/// An empty source, for a pump that has the whole body in memory.
struct Nothing;

impl Source for Nothing {
    fn poll_part(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<Option<Part>>> {
        std::task::Poll::Ready(Ok(None))
    }
}
