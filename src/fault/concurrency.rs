//! `concurrency: {limit: 8, queue: 100}`: an overloaded server.
//!
//! At most `limit` requests are served at once. Further ones wait in order of arrival, at most `queue` of them, and the rest
//! get an error, gRPC calls a gRPC status. So waits grow with load, as in a server with that many workers. A request holds its place until its
//! response has ended. Each rule has its own limit, over all connections.
//!
//! `before: connection` limits connections instead: further ones are accepted and wait, and the rest are closed. A
//! connection holds its place until it ends.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{FieldValues, ResponseStatus};
use super::before::Before;
use super::context::Context;
use super::effect::{Effect, Ending};
use super::kind::{Effects, Fault, HitRequest, Spec};
use super::reply::{GrpcReply, Reply, RetryAfterSpec, reply_parts};
use super::skip::Skip;
use crate::grpc::GrpcCode;
use crate::yaml::decode::Named;
use crate::yaml::forms::OneOrMany;
use crate::yaml::units::Time;

/// The body of a refusal, and its message for gRPC calls.
const OVERLOADED: &str = "overloaded (injected by squall)\n";

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
    /// Header fields of a refusal: one value, or a list for several fields of that name. Values may be templates.
    pub headers: Option<Named<FieldValues>>,
    /// Fields that a refusal copies from the request, such as `x-request-id`.
    pub echo: Option<OneOrMany<String>>,
    /// The body of a refusal, as text. At most one of `body`, `json`, `file` and `problem`.
    pub body: Option<String>,
    /// The body of a refusal, as JSON.
    pub json: Option<serde_json::Value>,
    /// The body of a refusal, from a file, read when the configuration is loaded.
    pub file: Option<String>,
    /// The body of a refusal, as problem details (RFC 9457) in the media type that the request accepts.
    pub problem: Option<serde_json::Map<String, serde_json::Value>>,
    /// `Retry-After` of a refusal: a time, sent in seconds, or `{date: 5s}`.
    pub retry_after: Option<RetryAfterSpec>,
    /// The status of a refused gRPC call, by name or number. Default: UNAVAILABLE.
    pub grpc: Option<GrpcCode>,
    /// The message of that status.
    pub message: Option<String>,
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
    /// The response if the queue is full or the wait too long, and that to gRPC calls.
    refusal: Reply,
    grpc: GrpcReply,
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
    fn compile(&self, context: &Context<'_>) -> Result<Arc<Station>, String> {
        let before = self
            .before
            .one_of("concurrency", &[Before::Request, Before::Connection])?;
        let parts = self.parts();
        if let Some(part) = parts
            .given()
            .or(self.grpc.map(|_| "grpc"))
            .or(self.status.map(|_| "status"))
            && before == Before::Connection
        {
            return Err(format!(
                "`before: connection` can't be combined with `{part}`: a refused connection is closed"
            ));
        }
        parts.retry_after.map_or(Ok(()), RetryAfterSpec::check_time)?;
        let status = self
            .status
            .map_or(http::StatusCode::SERVICE_UNAVAILABLE, ResponseStatus::get);
        let code = self.grpc.unwrap_or(GrpcCode::UNAVAILABLE);
        let message = self.message.as_deref().unwrap_or(OVERLOADED.trim_end());
        let places = usize::try_from(self.limit.get())
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Ok(Arc::new(Station {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicU32::new(0),
            queue: self.queue,
            timeout: self.timeout.map(Time::get),
            before,
            refusal: parts.reply(status, Some(OVERLOADED), context)?,
            grpc: parts.grpc(code, message, context)?,
        }))
    }
}

reply_parts!(ConcurrencySpec);

impl Station {
    /// How a request ends that gets no place.
    fn refusal(&self, hit: &HitRequest<'_, '_>) -> Result<Ending, Skip> {
        if hit.head.is_grpc() {
            return self.grpc.answer(hit, Vec::new()).map(Ending::Grpc);
        }
        self.refusal
            .answer(hit, None)
            .map(|answer| Ending::Answer(answer, None))
    }

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
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        smallvec![match self.refusal(hit) {
            Ok(refusal) => Effect::Queue {
                station: Arc::clone(self),
                refusal,
            },
            Err(reason) => Effect::Skip(reason),
        }]
    }

    fn doubt(&self) -> Option<String> {
        self.refusal.doubt()
    }

    fn uses_request_body(&self) -> bool {
        self.refusal.uses_body() || self.grpc.uses_body()
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
            headers: None,
            echo: None,
            body: None,
            json: None,
            file: None,
            problem: None,
            retry_after: None,
            grpc: None,
            message: None,
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
