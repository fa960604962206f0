//! HTTP/1.x on one connection: request after request, until either side has enough.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;

use super::connection::Connection;

/// Serves requests until the connection is over.
///
/// `idle` bounds, in whole seconds rounded up, each read of a request's head: the wait for its first byte and every
/// later pause. Pipelined requests are answered in their order (RFC 9112, section 9.3.2).
pub(super) async fn serve<A: HttpServerApp>(
    app: &Arc<A>,
    stream: Stream,
    connection: &Connection,
    idle: Duration,
    stop: &ShutdownWatch,
) {
    let seconds = idle.as_secs() + u64::from(idle.subsec_nanos() > 0);
    // 0 would mean no limit to Pingora.
    let keepalive = Some(seconds.max(1));
    let mut session = ServerSession::new_http1(stream);
    session.set_keepalive(keepalive);
    session.set_keepalive_reuses_remaining(app.server_options().and_then(|options| options.keepalive_request_limit));
    session.set_pipelining_enabled(true);
    while let Some(reused) = app
        .process_new_http(session, stop)
        .await
        .or_else(|| connection.take_kept())
    {
        let (mut stream, settings) = reused.consume();
        if !connection.await_request() {
            let _ended_already = stream.shutdown().await;
            return;
        }
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
        // Pingora lets a connection idle for ever once a request was answered on it.
        session.set_keepalive(keepalive);
    }
}
