//! Names become addresses: looked up when a request needs them, remembered for some seconds.
//!
//! A name is looked up again after [`TTL`], since a container that starts anew has another address. One request looks up
//! while the others go on with the previous answer. A failed look-up keeps the previous answer for [`STALE`], so a short
//! trouble of the name server doesn't look like one of the upstream; without an earlier answer the failure is remembered
//! for [`FAILURE_TTL`], so that requests don't queue behind look-ups that fail slowly.
//!
//! A name may have several addresses, and not all of them must answer: `localhost` is `::1` and `127.0.0.1`, and many
//! servers listen on one of the two. [`Dial`] tries them in order, each 250 ms after the one before or as soon as that
//! one failed, and remembers the one that worked (RFC 8305, "Happy Eyeballs", sections 5 and 8).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pingora::connectors::L4Connect;
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

/// The type of the error when a name has no address.
pub const RESOLVE_FAILED: ErrorType = ErrorType::new("ResolveFailed");

type Lookup = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// One name and what is known about it.
pub(super) struct Resolver {
    host: String,
    port: u16,
    timeout: Duration,
    lookup: Box<Lookup>,
    answer: ArcSwapOption<Answer>,
    busy: tokio::sync::Mutex<()>,
}

struct Answer {
    addresses: Result<Vec<SocketAddr>, String>,
    /// The index of the address to try first.
    preferred: AtomicUsize,
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

    /// `address` answered when another did not, so the next request tries it first.
    fn prefer(&self, address: SocketAddr) {
        if let Some(answer) = &*self.answer.load()
            && let Ok(known) = &answer.addresses
            && let Some(index) = known.iter().position(|one| *one == address)
        {
            answer.preferred.store(index, Ordering::Relaxed);
        }
    }

    fn pick(&self, answer: &Answer) -> pingora::Result<SocketAddr> {
        let reason = match &answer.addresses {
            Ok(known) => {
                let preferred = answer.preferred.load(Ordering::Relaxed);
                match known.get(preferred).or(known.first()) {
                    Some(address) => return Ok(*address),
                    None => "the name has no address",
                }
            }
            Err(reason) => reason.as_str(),
        };
        let context = format!("can't resolve {}: {reason}", self.host);
        let mut error = Error::explain(RESOLVE_FAILED, context);
        error.as_up();
        Err(error)
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
        let next = match (found, usable) {
            (Err(_), Some(kept)) => Answer {
                addresses: kept.addresses.clone(),
                preferred: AtomicUsize::new(kept.preferred.load(Ordering::Relaxed)),
                since: kept.since,
                due: now + FAILURE_TTL,
            },
            (Err(reason), None) => Answer {
                addresses: Err(reason),
                preferred: AtomicUsize::new(0),
                since: now,
                due: now + FAILURE_TTL,
            },
            (Ok(addresses), _) => Answer {
                preferred: AtomicUsize::new(still_preferred(previous.as_deref(), &addresses)),
                addresses: Ok(addresses),
                since: now,
                due: now + TTL,
            },
        };
        let next = Arc::new(next);
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
            return Err("the name has no address".to_owned());
        }
        Ok(addresses)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resolver({}:{})", self.host, self.port)
    }
}

/// An address that took over from the first one goes on being the first to try, if the name still has it.
fn still_preferred(previous: Option<&Answer>, addresses: &[SocketAddr]) -> usize {
    let Some(Answer {
        addresses: Ok(known),
        preferred,
        ..
    }) = previous
    else {
        return 0;
    };
    match preferred.load(Ordering::Relaxed) {
        0 => 0,
        index => known
            .get(index)
            .and_then(|address| addresses.iter().position(|one| one == address))
            .unwrap_or(0),
    }
}

/// The system's message without tokio's prefix: "Name or service not known".
fn lookup_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ")
        .map_or(text.clone(), str::to_owned)
}

/// Connects to the addresses of a name, for Pingora's connector, which limits the time of all attempts together.
#[derive(Debug)]
pub(super) struct Dial(pub(super) Arc<Resolver>);

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<L4Stream> {
        let first = *address
            .as_inet()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a name has IP addresses only"))?;
        let (used, stream) = race(self.0.all(first)).await?;
        if used != first {
            self.0.prefer(used);
        }
        Ok(stream.into())
    }
}

/// The first connection that stands. If none does, the error of the attempt that failed last.
async fn race(addresses: Vec<SocketAddr>) -> pingora::Result<(SocketAddr, TcpStream)> {
    let attempt = |address: SocketAddr| async move {
        TcpStream::connect(address)
            .await
            .map(|stream| (address, stream))
            .map_err(|error| connect_error(address, error))
    };
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    running.extend(waiting.next().map(attempt));
    let mut last_error = Error::explain(RESOLVE_FAILED, "the name has no address");
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

/// The same error types as Pingora gives for an address that it connects to itself.
fn connect_error(address: SocketAddr, error: io::Error) -> Box<Error> {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, format!("connecting to {address}"), error)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// What the next look-up gives, and how many there were.
    struct Zone {
        next: Mutex<Result<Vec<SocketAddr>, &'static str>>,
        asked: AtomicUsize,
    }

    fn resolver(next: Result<Vec<SocketAddr>, &'static str>) -> (Arc<Zone>, Arc<Resolver>) {
        let zone = Arc::new(Zone {
            next: Mutex::new(next),
            asked: AtomicUsize::new(0),
        });
        let source = Arc::clone(&zone);
        let lookup = move |_: String, _| -> BoxFuture<'static, _> {
            let source = Arc::clone(&source);
            Box::pin(async move {
                source.asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                source.next.lock().clone().map_err(io::Error::other)
            })
        };
        let resolver = Resolver::with_lookup("shop".to_owned(), 80, TIMEOUT, Box::new(lookup));
        (zone, Arc::new(resolver))
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_fresh_for_five_seconds() {
        let (zone, resolver) = resolver(Ok(vec![address("10.0.0.1:80")]));
        for _ in 0..3 {
            assert_eq!(resolver.first().await.unwrap(), address("10.0.0.1:80"));
        }
        assert_eq!(zone.asked.load(Ordering::Relaxed), 1);
        *zone.next.lock() = Ok(vec![address("10.0.0.2:80")]);
        tokio::time::advance(TTL).await;
        assert_eq!(resolver.first().await.unwrap(), address("10.0.0.2:80"));
        assert_eq!(zone.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_looks_up_and_the_others_go_on() {
        let (zone, resolver) = resolver(Ok(vec![address("10.0.0.1:80")]));
        let many = || futures_util::future::join_all((0..50).map(|_| resolver.first()));
        assert!(many().await.iter().all(Result::is_ok));
        assert_eq!(zone.asked.load(Ordering::Relaxed), 1);
        *zone.next.lock() = Ok(vec![address("10.0.0.2:80")]);
        tokio::time::advance(TTL).await;
        let answers: Vec<_> = many().await.into_iter().map(Result::unwrap).collect();
        assert_eq!(zone.asked.load(Ordering::Relaxed), 2);
        let old = answers.iter().filter(|one| **one == address("10.0.0.1:80")).count();
        assert_eq!(old, 49);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_shortly_and_answers_outlive_them() {
        let (zone, resolver) = resolver(Err("no such name"));
        let error = resolver.first().await.unwrap_err();
        assert_eq!(error.etype(), &RESOLVE_FAILED);
        assert!(
            error.to_string().contains("can't resolve shop: no such name"),
            "{error}"
        );
        assert!(resolver.first().await.is_err());
        assert_eq!(zone.asked.load(Ordering::Relaxed), 1);

        *zone.next.lock() = Ok(vec![address("10.0.0.1:80")]);
        tokio::time::advance(FAILURE_TTL).await;
        assert!(resolver.first().await.is_ok());

        *zone.next.lock() = Err("no such name");
        tokio::time::advance(TTL).await;
        assert!(resolver.first().await.is_ok());
        tokio::time::advance(STALE).await;
        assert!(resolver.first().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_says_nothing_times_out() {
        let lookup = |_: String, _| -> BoxFuture<'static, _> { Box::pin(std::future::pending()) };
        let resolver = Resolver::with_lookup("shop".to_owned(), 80, TIMEOUT, Box::new(lookup));
        let error = resolver.first().await.unwrap_err();
        assert!(error.to_string().contains("timed out"), "{error}");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_and_remembered() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let (_, resolver) = resolver(Ok(vec![dead, alive]));
        assert_eq!(resolver.first().await.unwrap(), dead);
        let dial = Dial(Arc::clone(&resolver));
        dial.connect(&PeerAddress::Inet(dead)).await.unwrap();
        assert_eq!(resolver.first().await.unwrap(), alive);
    }

    #[tokio::test]
    async fn no_address_answers() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (_, resolver) = resolver(Ok(vec![dead]));
        resolver.first().await.unwrap();
        let dial = Dial(resolver);
        let error = dial.connect(&PeerAddress::Inet(dead)).await.unwrap_err();
        assert_eq!(error.etype(), &ErrorType::ConnectRefused);
    }

    #[tokio::test]
    async fn localhost() {
        let resolver = Resolver::new("localhost".to_owned(), 80, TIMEOUT);
        assert!(resolver.first().await.unwrap().ip().is_loopback());
        let resolver = Resolver::new("no-such-name.invalid".to_owned(), 80, TIMEOUT);
        assert_eq!(resolver.first().await.unwrap_err().etype(), &RESOLVE_FAILED);
    }
}
