//! The harness: squall in process, clients and upstreams on plain sockets, and a limit on every wait.

pub(crate) mod client;
pub(crate) mod http2;
pub(crate) mod message;
pub(crate) mod squall;
pub(crate) mod upstream;
pub(crate) mod websocket;
pub(crate) mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;

/// The longest that anything may take. On an idle machine a whole test takes a few milliseconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Awaits a future for at most [`LIMIT`].
///
/// # Panics
/// The limit has passed.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: nothing happened for {LIMIT:?}"),
        }
    }
}

/// An address that refuses connections for as long as the socket lives: it is bound, so that no other test gets the port, and
/// does not listen.
pub(crate) fn closed_port() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    (socket.local_addr().expect("an address"), socket)
}

/// Bytes that differ by position, so that a lost, doubled or reordered piece shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    // A prime, so that no buffer or frame is a multiple of it; repeated, since debug builds are slow at arithmetic.
    const PERIOD: u64 = 65_521;
    let block: Vec<u8> = (0..PERIOD.min(length as u64))
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut bytes = block.repeat(length.div_ceil(block.len().max(1)));
    bytes.truncate(length);
    bytes
}

/// Fails where two bodies differ, without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], wanted: &[u8]) {
    if got != wanted {
        let differs = got.iter().zip(wanted).position(|(one, other)| one != other);
        panic!(
            "{} bytes instead of {}; the first difference is at {differs:?}",
            got.len(),
            wanted.len()
        );
    }
}

/// The HTTP version that one side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2,
}

/// What the client and the upstream speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    /// The client's side.
    pub(crate) down: Protocol,
    /// The upstream's side.
    pub(crate) up: Protocol,
}

/// The cases that [`each!`] knows by name.
pub(crate) mod case {
    use super::{Pair, Protocol};

    pub(crate) fn h1() -> Protocol {
        Protocol::H1
    }

    pub(crate) fn h2() -> Protocol {
        Protocol::H2
    }

    pub(crate) fn h1_to_h1() -> Pair {
        Pair {
            down: Protocol::H1,
            up: Protocol::H1,
        }
    }

    pub(crate) fn h1_to_h2() -> Pair {
        Pair {
            down: Protocol::H1,
            up: Protocol::H2,
        }
    }

    pub(crate) fn h2_to_h1() -> Pair {
        Pair {
            down: Protocol::H2,
            up: Protocol::H1,
        }
    }

    pub(crate) fn h2_to_h2() -> Pair {
        Pair {
            down: Protocol::H2,
            up: Protocol::H2,
        }
    }
}

/// Makes one test of each case for an `async fn` of that name, which takes the case. Attributes go to single cases.
macro_rules! each {
    ($check:ident { $($(#[$attribute:meta])* $case:ident)* }) => {
        mod $check {
            $(
                $(#[$attribute])*
                #[tokio::test]
                async fn $case() {
                    Box::pin(super::$check(crate::support::case::$case())).await;
                }
            )*
        }
    };
    ($check:ident) => {
        each!($check { h1_to_h1 h1_to_h2 h2_to_h1 h2_to_h2 });
    };
}
pub(crate) use each;
