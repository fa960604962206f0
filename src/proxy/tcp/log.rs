//! The log of connections: a line at the end of each, and one at its beginning if asked for. Also their entries in the journal.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::links::Links;
use super::view::TcpView;
use crate::journal::entry::{Entry, Kind};
use crate::journal::kept::KeptHead;
use crate::proxy::client::Connection;
use crate::proxy::exchange::log::{TARGET, is_sampled, millis, skipped};

/// How a connection went, for its line.
pub(super) struct Line<'a> {
    pub(super) view: &'a TcpView,
    pub(super) connection: &'a Connection,
    pub(super) links: &'a Links,
    /// Bytes from the client, and to it.
    pub(super) bytes: [u64; 2],
    pub(super) total: Duration,
    /// Whether the client has reset the connection.
    pub(super) gone: bool,
    pub(super) error: Option<String>,
}

/// Writes the line at the beginning.
pub(super) fn opened(view: &TcpView, connection: &Connection, name: Option<&str>) {
    if view.log.access && view.log.opened {
        tracing::info!(
            target: TARGET,
            listener = &*view.metrics.site.listener,
            upstream = &*view.metrics.site.upstream,
            client = connection.client().map(tracing::field::display),
            host = name,
            "connection opened"
        );
    }
}

impl Line<'_> {
    /// The connection's entry in the journal.
    pub(super) fn entry(&self) -> Entry {
        let records = || self.links.records();
        let (began, now) = (Instant::now(), SystemTime::now());
        Entry {
            kind: Kind::Connection,
            started: began.checked_sub(self.total).unwrap_or(began),
            time: now.checked_sub(self.total).unwrap_or(now),
            listener: Arc::clone(&self.view.metrics.site.listener),
            upstream: Arc::clone(&self.view.metrics.site.upstream),
            listener_space: self.view.space.clone(),
            client: self.connection.client(),
            head: KeptHead::of_connection(self.links.name()),
            protocols: self.links.protocols().into(),
            status: 0,
            injected: records().flat_map(|record| record.notes()).collect(),
            skipped: records().flat_map(|record| record.skipped()).collect(),
            missed: Vec::new(),
            unmatched: Vec::new(),
            waited: records().map(|record| record.time()).sum(),
            natural: None,
            total: self.total,
            bytes: self.bytes,
            gone: self.gone,
            error: self.error.clone(),
        }
    }

    /// Writes the line at the end, if the connection is to be logged.
    pub(super) fn write(&self) {
        let log = self.view.log;
        let records = || self.links.records();
        let injected: Vec<(&str, &str)> = records().flat_map(|record| record.faults()).collect();
        let skipped: Vec<String> = records().filter_map(|record| skipped(record)).collect();
        let special = !injected.is_empty() || !skipped.is_empty() || self.error.is_some();
        if !log.access || !(special || is_sampled(log.sample_ppm)) {
            return;
        }
        let hit = !injected.is_empty();
        let (rules, faults): (Vec<&str>, Vec<&str>) = injected.into_iter().unzip();
        let waited: Duration = records().map(|record| record.time()).sum();
        let [bytes_in, bytes_out] = self.bytes;
        tracing::info!(
            target: TARGET,
            listener = &*self.view.metrics.site.listener,
            upstream = &*self.view.metrics.site.upstream,
            client = self.connection.client().map(tracing::field::display),
            host = self.links.name(),
            endpoint = self.view.server.label(),
            rules = hit.then(|| rules.join(", ")),
            faults = hit.then(|| faults.join(", ")),
            skipped = (!skipped.is_empty()).then(|| skipped.join(", ")),
            injected_ms = millis(waited),
            total_ms = millis(self.total),
            bytes_in,
            bytes_out,
            client_gone = self.gone.then_some(true),
            error = self.error.as_deref(),
            "connection closed"
        );
    }
}
