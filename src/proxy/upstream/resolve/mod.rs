//! Resolves names to addresses on demand, and caches them for some seconds.
//!
//! A name is looked up again after [`TTL`], since a restarted container has another address. One request does the look-up
//! while the others go on with the cached answer. If a look-up fails, the cached answer is kept for [`STALE`], so that a
//! short failure of the name server doesn't look like one of the upstream. Without a cached answer the failure is cached
//! for [`FAILURE_TTL`], so that requests don't queue behind slow failures.
//!
//! A name may have several addresses of which only some accept connections: `localhost` is `::1` and `127.0.0.1`, and many
//! servers listen on one of them. Connecting tries them in order, each 250 ms after the previous attempt or as soon as
//! that failed, and remembers the address that worked (RFC 8305, "Happy Eyeballs", sections 5 and 8).

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

use super::forward::{Allow, not_allowed};
use crate::proxy::net::address::is_local_name;

/// How long an answer is fresh.
pub(super) const TTL: Duration = Duration::from_secs(5);
/// How long an answer is used while newer look-ups fail.
pub(super) const STALE: Duration = Duration::from_secs(60);
/// How long a failed look-up is cached.
pub(super) const FAILURE_TTL: Duration = Duration::from_secs(1);
/// The pause before the next address is tried in parallel (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The most addresses of one name; the rest are ignored.
const ADDRESSES_MAX: usize = 16;

const NO_ADDRESS: &str = "the name has no address";

/// The error type for a name that can't be resolved.
pub(super) const RESOLVE_FAILED: ErrorType = ErrorType::new("ResolveFailed");

/// The error when `what` leads to no address. Its root cause is the text for the client.
pub(in crate::proxy) fn unresolved(what: &str, reason: impl fmt::Display) -> Box<Error> {
    let cause = format!("can't resolve {what}: {reason}");
    Error::because(RESOLVE_FAILED, "no address", cause).into_up()
}

type Lookup = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// One name and its cached answer.
pub(super) struct Resolver {
    host: String,
    port: u16,
    timeout: Duration,
    /// The addresses that may be connected to; `None`: all.
    allow: Option<Arc<Allow>>,
    lookup: Box<Lookup>,
    answer: ArcSwapOption<Answer>,
    /// The address that accepted a connection when the first one did not. Tried first as long as the name has it.
    preferred: ArcSwapOption<SocketAddr>,
    /// Held during a look-up, across its await, so that one request looks up at a time. Hence tokio's lock.
    busy: tokio::sync::Mutex<()>,
}

struct Answer {
    /// At least one, or why there is none.
    addresses: Result<Vec<SocketAddr>, String>,
    /// When the addresses were looked up.
    since: Instant,
    /// When to look up again.
    due: Instant,
}

impl Resolver {
    /// Resolves by the operating system's `getaddrinfo`, which reads the hosts file and asks DNS. A look-up takes at most
    /// `timeout`.
    pub(super) fn new(host: String, port: u16, timeout: Duration) -> Self {
        let lookup = |host: String, port| -> BoxFuture<'static, _> {
            Box::pin(async move {
                // Not every system's resolver knows the names below `localhost`.
                let is_local = is_local_name(&host.trim_end_matches('.').to_ascii_lowercase());
                let name = if is_local { "localhost" } else { &host };
                Ok(tokio::net::lookup_host((name, port)).await?.collect())
            })
        };
        Self::with_lookup(host, port, timeout, Box::new(lookup))
    }

    fn with_lookup(host: String, port: u16, timeout: Duration, lookup: Box<Lookup>) -> Self {
        Self {
            host,
            port,
            timeout,
            allow: None,
            lookup,
            answer: ArcSwapOption::empty(),
            preferred: ArcSwapOption::empty(),
            busy: tokio::sync::Mutex::new(()),
        }
    }

    /// Leaves out the addresses that may not be connected to.
    pub(super) fn within(self, allow: Option<Arc<Allow>>) -> Self {
        Self { allow, ..self }
    }

    /// Checks an address of the name.
    ///
    /// # Errors
    /// Why it may not be connected to, in words.
    fn check(&self, address: SocketAddr) -> Result<(), String> {
        self.allow
            .as_ref()
            .map_or(Ok(()), |allow| allow.check(&self.host, address))
    }

    /// The address to try first. With a fresh answer this takes no lock and does not allocate.
    ///
    /// # Errors
    ///
    /// [`RESOLVE_FAILED`] with the name and the reason, or an address may not be connected to.
    pub(super) async fn first(&self) -> pingora::Result<SocketAddr> {
        if let Some(answer) = &*self.answer.load()
            && Instant::now() < answer.due
        {
            return self.pick(answer);
        }
        let answer = self.refresh().await;
        self.pick(&answer)
    }

    /// Connects to the addresses of the name. Has no time limit, except for the look-up.
    ///
    /// # Errors
    /// The name can't be resolved, or no address accepts a connection.
    pub(super) async fn connect_first(&self) -> io::Result<TcpStream> {
        let in_words = |error: Box<Error>| match error.root_cause().downcast_ref::<io::Error>() {
            Some(cause) => cause.kind().into(),
            None => io::Error::other(error.root_cause().to_string()),
        };
        let first = self.first().await.map_err(in_words)?;
        self.connect_from(first).await.map_err(in_words)
    }

    async fn connect_from(&self, first: SocketAddr) -> pingora::Result<TcpStream> {
        let (used, stream) = race(self.all(first)).await?;
        if used != first {
            self.preferred.store(Some(Arc::new(used)));
        }
        Ok(stream)
    }

    /// All addresses, beginning with `first`.
    fn all(&self, first: SocketAddr) -> Vec<SocketAddr> {
        let mut addresses = vec![first];
        if let Some(answer) = &*self.answer.load()
            && let Ok(known) = &answer.addresses
        {
            let others = known.iter().filter(|address| **address != first);
            addresses.extend(others.filter(|address| self.check(**address).is_ok()));
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
        let mut refused = None;
        for address in preferred.into_iter().chain(known) {
            match self.check(*address) {
                Ok(()) => return Ok(*address),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        Err(refused.map_or_else(|| unresolved(&self.host, NO_ADDRESS), not_allowed))
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
        // Another request may have finished its look-up before this one got the lock.
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

/// Connects to the addresses of a name. Pingora's connector bounds the time of all attempts together.
#[async_trait]
impl L4Connect for Resolver {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<L4Stream> {
        let first = *address
            .as_inet()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a name has IP addresses only"))?;
        Ok(self.connect_from(first).await?.into())
    }
}

/// Returns the first connection to succeed, or the error of the attempt that failed last.
async fn race(addresses: Vec<SocketAddr>) -> pingora::Result<(SocketAddr, TcpStream)> {
    let attempt = |address| async move { Ok((address, connect(&address, None).await?)) };
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    running.extend(waiting.next().map(attempt));
    let mut last_error = Error::new(RESOLVE_FAILED);
    loop {
        let more = waiting.len() > 0;
        // The sleep begins anew in each turn, so it counts from the last attempt or failure. Losing attempts are dropped.
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
