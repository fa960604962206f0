//! Names become addresses: looked up when a request needs them, remembered for some seconds.
//!
//! A name is looked up again after [`TTL`], since a container that starts anew has another address. One request looks up
//! while the others go on with the previous answer. A failed look-up keeps the previous answer for [`STALE`], so a short
//! trouble of the name server doesn't look like one of the upstream; without an earlier answer the failure is remembered
//! for [`FAILURE_TTL`], so that requests don't queue behind look-ups that fail slowly.
//!
//! A name may have several addresses, and not all of them must answer: `localhost` is `::1` and `127.0.0.1`, and many
//! servers listen on one of the two. Connecting tries them in order, each 250 ms after the one before or as soon as that
//! one failed, and remembers the one that worked (RFC 8305, "Happy Eyeballs", sections 5 and 8).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::ext::connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::{Error, ErrorType};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long an answer counts as fresh.
pub(super) const TTL: Duration = Duration::from_secs(5);
/// How long an answer may be used while newer look-ups fail.
pub(super) const STALE: Duration = Duration::from_secs(60);
/// How long a failed look-up is not repeated.
pub(super) const FAILURE_TTL: Duration = Duration::from_secs(1);
/// The pause before the next address is tried beside one that has not answered yet (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// So many addresses of one name are remembered; the rest are ignored.
const ADDRESSES_MAX: usize = 16;

const NO_ADDRESS: &str = "the name has no address";

/// The type of the error when a name has no address.
pub(super) const RESOLVE_FAILED: ErrorType = ErrorType::new("ResolveFailed");

/// The error where `what` leads to no address. Its root cause is what the client is told.
pub(in crate::proxy) fn unresolved(what: &str, reason: impl fmt::Display) -> Box<Error> {
    let cause = format!("can't resolve {what}: {reason}");
    Error::because(RESOLVE_FAILED, "no address", cause).into_up()
}

type Lookup = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// One name and what is known about it.
pub(super) struct Resolver {
    host: String,
    port: u16,
    timeout: Duration,
    lookup: Box<Lookup>,
    answer: ArcSwapOption<Answer>,
    /// The address that answered where the first one did not. It is tried first, for as long as the name has it.
    preferred: ArcSwapOption<SocketAddr>,
    busy: tokio::sync::Mutex<()>,
}

struct Answer {
    /// At least one, or why there is none.
    addresses: Result<Vec<SocketAddr>, String>,
    /// When the addresses were learnt.
    since: Instant,
    /// When to ask again.
    due: Instant,
}

impl Resolver {
    /// Resolves with the operating system, as `getaddrinfo` does: the hosts file, DNS and what else is set up there.
    /// One look-up takes at most `timeout`.
    pub(super) fn new(host: String, port: u16, timeout: Duration) -> Self {
        let lookup = |host: String, port| -> BoxFuture<'static, _> {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        };
        Self::with_lookup(host, port, timeout, Box::new(lookup))
    }

    fn with_lookup(host: String, port: u16, timeout: Duration, lookup: Box<Lookup>) -> Self {
        Self {
            host,
            port,
            timeout,
            lookup,
            answer: ArcSwapOption::empty(),
            preferred: ArcSwapOption::empty(),
            busy: tokio::sync::Mutex::new(()),
        }
    }

    /// The address to connect to first. With a fresh answer this takes no lock and makes no allocation.
    ///
    /// # Errors
    ///
    /// [`RESOLVE_FAILED`] with the name and the reason.
    pub(super) async fn first(&self) -> pingora::Result<SocketAddr> {
        if let Some(answer) = &*self.answer.load()
            && Instant::now() < answer.due
        {
            return self.pick(answer);
        }
        let answer = self.refresh().await;
        self.pick(&answer)
    }

    /// The address `first`, then the others.
    fn all(&self, first: SocketAddr) -> Vec<SocketAddr> {
        let mut addresses = vec![first];
        if let Some(answer) = &*self.answer.load()
            && let Ok(known) = &answer.addresses
        {
            addresses.extend(known.iter().filter(|address| **address != first));
        }
        addresses
    }

    fn pick(&self, answer: &Answer) -> pingora::Result<SocketAddr> {
        let known = answer
            .addresses
            .as_deref()
            .map_err(|reason| unresolved(&self.host, reason))?;
        let preferred = self.preferred.load();
        let preferred = preferred.as_deref().filter(|address| known.contains(address));
        let first = preferred.or(known.first()).copied();
        first.ok_or_else(|| unresolved(&self.host, NO_ADDRESS))
    }

    async fn refresh(&self) -> Arc<Answer> {
        let previous = self.answer.load_full();
        let usable = previous
            .as_ref()
            .filter(|answer| answer.addresses.is_ok() && answer.since.elapsed() < STALE);
        let _busy = match (self.busy.try_lock(), usable) {
            (Ok(guard), _) => guard,
            (Err(_), Some(answer)) => return Arc::clone(answer),
            (Err(_), None) => self.busy.lock().await,
        };
        // Someone else may have finished between the look at the cache and the lock.
        if let Some(answer) = self.answer.load_full()
            && Instant::now() < answer.due
        {
            return answer;
        }
        let found = self.ask().await;
        let now = Instant::now();
        let due = now + if found.is_ok() { TTL } else { FAILURE_TTL };
        let (addresses, since) = match (found, usable) {
            (Err(_), Some(kept)) => (kept.addresses.clone(), kept.since),
            (found, _) => (found, now),
        };
        let next = Arc::new(Answer { addresses, since, due });
        self.answer.store(Some(Arc::clone(&next)));
        next
    }

    async fn ask(&self) -> Result<Vec<SocketAddr>, String> {
        let lookup = (self.lookup)(self.host.clone(), self.port);
        let found = match tokio::time::timeout(self.timeout, lookup).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(lookup_reason(&error)),
            Err(_) => return Err("the look-up timed out".to_owned()),
        };
        let mut addresses: Vec<SocketAddr> = Vec::with_capacity(found.len().min(ADDRESSES_MAX));
        for address in found {
            if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(NO_ADDRESS.to_owned());
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({}:{})", self.host, self.port)
    }
}

/// The system's message without tokio's prefix: "Name or service not known".
fn lookup_reason(error: &io::Error) -> String {
    error.to_string().replace("failed to lookup address information: ", "")
}

/// Connects to the addresses of a name, for Pingora's connector, which limits the time of all attempts together.
#[async_trait]
impl L4Connect for Resolver {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<L4Stream> {
        let first = *address
            .as_inet()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a name has IP addresses only"))?;
        let (used, stream) = race(self.all(first)).await?;
        if used != first {
            self.preferred.store(Some(Arc::new(used)));
        }
        Ok(stream.into())
    }
}

/// The first connection that stands. If none does, the error of the attempt that failed last.
async fn race(addresses: Vec<SocketAddr>) -> pingora::Result<(SocketAddr, TcpStream)> {
    let attempt = |address| async move { Ok((address, connect(&address, None).await?)) };
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    running.extend(waiting.next().map(attempt));
    let mut last_error = Error::new(RESOLVE_FAILED);
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            result = running.next() => match result {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => {
                    last_error = error;
                    running.extend(waiting.next().map(attempt));
                }
                None => return Err(last_error),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if more => running.extend(waiting.next().map(attempt)),
        }
    }
}

#[cfg(test)]
mod tests;
