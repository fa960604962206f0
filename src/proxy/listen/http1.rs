//! Serves HTTP/1.x on one connection, request after request, until either side closes it.

use std::sync::Arc;

use super::accept::ListenerTimeouts;
use crate::proxy::client::{Client, ClientHttp1, Connection};
use crate::proxy::exchange::Squall;

/// Serves requests until the connection ends.
///
/// Pipelined requests are served one after the other, in order (RFC 9112, section 9.3.2).
pub(super) async fn serve(
    squall: &Squall,
    http1: ClientHttp1,
    connection: &Arc<Connection>,
    timeouts: &ListenerTimeouts,
) {
    let mut http1 = Box::new(http1);
    loop {
        let head = match http1.request(timeouts.idle, timeouts.header).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(malformed) => {
                http1.refuse(malformed).await;
                return squall.refused(connection, malformed.status, malformed.reason);
            }
        };
        let mut client = Client::http1(head, Arc::clone(connection), http1);
        squall.serve(&mut client).await;
        let Some(same) = client.into_http1() else { return };
        http1 = same;
        if connection.ended() || !http1.finish().await {
            return;
        }
        // A connection with a pipelined request in its buffer is not idle, and must not be closed as such.
        if !http1.has_begun() && !connection.await_request() {
            return;
        }
    }
}
