//! Notes requests in the journal.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Request;
use crate::journal::entry::{Entry, Kind};
use crate::journal::kept::KeptHead;
use crate::proxy::client::{Client, Connection};
use crate::proxy::exchange::view::View;
use crate::proxy::execute::Execution;

/// The entry of a request that is over. `status` is the status sent, `total` the time from the request head to the end of the
/// response.
pub(super) fn entry(client: &Client, request: &mut Request, status: u16, total: Duration) -> Entry {
    let head = client.head();
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let record = request.execution.as_ref().map(Execution::record);
    let now = SystemTime::now();
    Entry {
        kind: Kind::Request,
        started: request.started,
        time: now.checked_sub(total).unwrap_or(now),
        listener: Arc::clone(&request.view.name),
        upstream: Arc::clone(&request.route().upstream),
        listener_space: request.view.space.clone(),
        client: request.address,
        head: KeptHead::new(&head.method, target, authority, &head.headers),
        protocols: Box::default(),
        status,
        injected: record.map(|record| record.notes()).unwrap_or_default(),
        skipped: record.map(|record| record.skipped()).unwrap_or_default(),
        missed: std::mem::take(&mut request.missed),
        unmatched: std::mem::take(&mut request.unmatched),
        waited: record.map(|record| record.time()).unwrap_or_default(),
        natural: request.natural,
        total,
        bytes: [client.bytes_read(), client.bytes_sent()],
        gone: request.gone,
        error: request.error.take(),
    }
}

/// The entry of a request whose head was refused with `status`.
pub(super) fn refused(view: &View, connection: &Connection, status: u16, reason: &str) -> Entry {
    Entry {
        kind: Kind::Refused,
        started: std::time::Instant::now(),
        time: SystemTime::now(),
        listener: Arc::clone(&view.name),
        upstream: Arc::clone(&view.own.upstream),
        listener_space: view.space.clone(),
        client: connection.client(),
        head: KeptHead::default(),
        protocols: Box::default(),
        status,
        injected: Vec::new(),
        skipped: Vec::new(),
        missed: Vec::new(),
        unmatched: Vec::new(),
        waited: Duration::ZERO,
        natural: None,
        total: Duration::ZERO,
        bytes: [0, 0],
        gone: false,
        error: Some(reason.to_owned()),
    }
}
