//! Reads request bodies ahead, for rules that match them.
//!
//! What was read goes back to the client's side, so everything behind it finds the body as it came: pieces, then trailers, then
//! whatever is still to be read.

use bytes::Bytes;
use pingora::Result;

use super::whole::{read, tell_to_continue};
use super::{Request, Squall, head_of};
use crate::content::{Content, Unanswered};
use crate::fault::rewrite::content_length;
use crate::limits::aside;
use crate::limits::bodies::{Full, parsed_size};
use crate::limits::collector::{Collector, Uncollected};
use crate::proxy::client::Client;
use crate::rule::body::too_long;
use crate::rule::switch::Switches;

/// Bodies of at least this many bytes are parsed off the threads that carry traffic.
const LARGE: usize = 128 << 10;

impl Squall {
    /// Reads the body of a request, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// The client disconnected, or sent an invalid body.
    pub(super) async fn read_ahead(&self, client: &mut Client, request: &mut Request, limit: usize) -> Result<Content> {
        let body = self.whole_body(client, request, limit).await?;
        let content = match body {
            Ok(body) => self.parsed(client, request, body, limit).await,
            Err(reason) => Content::unknown(reason),
        };
        request.unread = content.bytes().err();
        Ok(content)
    }

    /// The body as it came, or why it was not read to its end.
    async fn whole_body(
        &self,
        client: &mut Client,
        request: &mut Request,
        limit: usize,
    ) -> Result<Result<Bytes, Unanswered>> {
        if client.is_body_done() {
            return Ok(Ok(Bytes::new()));
        }
        if head_of(client.head(), request.address).is_grpc() {
            // The two sides of a call may wait for each other's messages.
            return Ok(Err("is a gRPC stream, which is not read ahead".into()));
        }
        let length = content_length(&client.head().headers);
        let collector = match Collector::new(limit, length, &self.budget(&request.view)) {
            Ok(collector) => collector,
            Err(reason) => return Ok(Err(reason_of(reason.reason(), limit))),
        };
        if client.expects_continue() {
            request.continued = true;
            tell_to_continue(client).await?;
        }
        let read = read(client, collector, stopped(self.holder.switches())).await?;
        let (pieces, whole) = match read.whole {
            Ok(whole) => (vec![whole.clone()], Ok(whole)),
            Err(reason) => (read.pieces, Err(reason_of(reason, limit))),
        };
        client.put_back(pieces, read.trailers);
        Ok(whole)
    }

    /// Decodes a body, and parses it if that takes long. Its memory counts meanwhile.
    async fn parsed(&self, client: &Client, request: &Request, body: Bytes, limit: usize) -> Content {
        let Ok(charge) = self.budget(&request.view).take(parsed_size(&body)) else {
            return Content::unknown(reason_of(Full::REASON, limit));
        };
        let headers = client.head().headers.clone();
        if body.len() < LARGE {
            return Content::new(&headers, body, limit);
        }
        let parse = move || {
            let _charge = charge;
            let content = Content::new(&headers, body, limit);
            // Kept, whatever comes of it.
            let _parsed = content.json().is_ok();
            content
        };
        let parsed = aside::run(parse).await;
        parsed.unwrap_or_else(|_| Content::unknown("could not be parsed"))
    }
}

/// Resolves when squall is stopped, and no rule is decided any more.
async fn stopped(switches: &Switches) {
    let mut changes = switches.watch();
    // Fails only without switches, which the caller keeps.
    let _ = changes.wait_for(|_| !switches.is_armed()).await;
}

/// A reason of skipped faults, as a sentence about a body.
fn reason_of(reason: &'static str, limit: usize) -> Unanswered {
    match reason {
        reason if reason == Uncollected::TooLarge.reason() => too_long(limit).into(),
        "body too slow" => "took longer than 10s to arrive".into(),
        "switched off" => "was not read to its end: squall was stopped".into(),
        _ => format!("was not read to its end: {reason}").into(),
    }
}
