//! `concurrency: {limit: 8, queue: 100}`: an overloaded server.
//!
//! At most `limit` requests are served at once. Further ones wait in order of arrival, at most `queue` of them, and the rest
//! get an error. So waits grow with load, as in a server with that many workers. A request holds its place until its
//! response has ended. Each rule has its own limit, over all connections.
//!
//! `before: connection` limits connections instead: further ones are accepted and wait, and the rest are closed. A
//! connection holds its place until it ends.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{self, Answer, ResponseStatus};
use super::before::Before;
use super::context::Context;
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest, Spec};
use crate::yaml::units::Time;

/// `concurrency: {limit: 8, queue: 100}`
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConcurrencySpec {
    /// Requests (or connections) served at once.
    pub limit: NonZeroU32,
    /// Requests that may wait. Default: 0.
    #[serde(default)]
    pub queue: u32,
    /// The longest wait, after which the request is refused. Absent: only `bounds.delay` ends it.
    pub timeout: Option<Time>,
    /// The status of a refusal. Default: 503.
    pub status: Option<ResponseStatus>,
    /// `Retry-After` of a refusal, in seconds, rounded up.
    pub retry_after: Option<Time>,
    /// `request` (default): places are for requests. `connection`: for connections; refusing one is closing it.
    #[serde(default)]
    pub before: Before,
}

/// The overloaded server: its places and its queue.
#[derive(Debug)]
pub struct Station {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
    queue: u32,
    /// The longest wait for a place.
    pub timeout: Option<std::time::Duration>,
    /// When a place is taken.
    pub before: Before,
    /// The response if the queue is full or the wait too long.
    pub refusal: Arc<Answer>,
}

/// The result of entering a station.
#[derive(Debug)]
pub enum Entry {
    /// A place, freed on drop.
    Served(OwnedSemaphorePermit),
    /// A place in the queue.
    Queued(Waiting),
    /// The queue is full.
    Refused,
}

/// A place in the queue, freed on drop.
#[derive(Debug)]
pub struct Waiting(Arc<Station>);

impl Spec for ConcurrencySpec {
    type Fault = Arc<Station>;

    fn moment(&self) -> Before {
        self.before
    }

    /// Builds the station.
    ///
    /// # Errors
    /// A status is given where no response can be sent.
    fn compile(&self, _: &Context<'_>) -> Result<Arc<Station>, String> {
        let before = self
            .before
            .one_of("concurrency", &[Before::Request, Before::Connection])?;
        if before == Before::Connection && (self.status.is_some() || self.retry_after.is_some()) {
            return Err(
                "`before: connection` can't be combined with `status` or `retry_after`: a refused connection is closed"
                    .into(),
            );
        }
        let status = self
            .status
            .map_or(http::StatusCode::SERVICE_UNAVAILABLE, ResponseStatus::get);
        let mut headers = vec![(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain; charset=utf-8"),
        )];
        if let Some(after) = self.retry_after {
            headers.push((http::header::RETRY_AFTER, answer::seconds_up(after.get()).into()));
        }
        let body = Bytes::from_static(b"overloaded (injected by squall)\n");
        let places = usize::try_from(self.limit.get())
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Ok(Arc::new(Station {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicU32::new(0),
            queue: self.queue,
            timeout: self.timeout.map(Time::get),
            before,
            refusal: Arc::new(Answer { status, headers, body }),
        }))
    }
}

impl Station {
    /// Takes a place, or else a place in the queue.
    pub fn enter(self: &Arc<Self>) -> Entry {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Entry::Served(place);
        }
        // Checked and counted in one step, so that no two requests can take the last place. The count guards no other memory.
        let joined = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < self.queue).then(|| n + 1));
        match joined {
            Ok(_) => Entry::Queued(Waiting(Arc::clone(self))),
            Err(_) => Entry::Refused,
        }
    }

    /// Describes the state: `2 places free, 0 of 100 in the queue`.
    pub fn describe(&self) -> String {
        format!(
            "{} slots free, {} of {} in the queue",
            self.places.available_permits(),
            self.waiting(),
            self.queue
        )
    }

    /// The number of waiting requests.
    pub fn waiting(&self) -> u32 {
        // Relaxed: only reported.
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Waiting {
    /// Waits for a place, in order of arrival. The semaphore is never closed, so this is never `None` in practice.
    pub async fn place(self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.places).acquire_owned().await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Fault for Arc<Station> {
    fn effects(&self, _: &HitRequest<'_, '_>) -> Effects {
        smallvec![Effect::Queue(Arc::clone(self))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::context;

    fn station(limit: u32, queue: u32) -> Arc<Station> {
        let spec = ConcurrencySpec {
            limit: NonZeroU32::new(limit).unwrap(),
            queue,
            timeout: None,
            status: None,
            retry_after: None,
            before: Before::Request,
        };
        spec.compile(&context()).unwrap()
    }

    #[tokio::test]
    async fn serves_queues_and_refuses() {
        let station = station(1, 1);
        let Entry::Served(place) = station.enter() else {
            panic!("the first is served")
        };
        let Entry::Queued(waiting) = station.enter() else {
            panic!("the second waits")
        };
        assert!(matches!(station.enter(), Entry::Refused));
        drop(place);
        let place = waiting.place().await;
        assert!(place.is_some());
        assert_eq!(station.waiting(), 0);
        assert!(matches!(station.enter(), Entry::Queued(_)));
    }

    #[test]
    fn client_disconnect_frees_the_queue() {
        let station = station(1, 1);
        let _place = station.enter();
        drop(station.enter());
        assert!(matches!(station.enter(), Entry::Queued(_)));
    }
}
