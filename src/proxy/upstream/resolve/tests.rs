use std::sync::atomic::{AtomicUsize, Ordering};

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
async fn one_request_looks_up_while_the_others_go_on() {
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
    resolver.connect(&PeerAddress::Inet(dead)).await.unwrap();
    assert_eq!(resolver.first().await.unwrap(), alive);
}

#[tokio::test]
async fn no_address_answers() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_, resolver) = resolver(Ok(vec![dead]));
    resolver.first().await.unwrap();
    let error = resolver.connect(&PeerAddress::Inet(dead)).await.unwrap_err();
    assert_eq!(error.etype(), &ErrorType::ConnectRefused);
}

#[tokio::test]
async fn localhost() {
    let resolver = Resolver::new("localhost".to_owned(), 80, TIMEOUT);
    assert!(resolver.first().await.unwrap().ip().is_loopback());
    let resolver = Resolver::new("no-such-name.invalid".to_owned(), 80, TIMEOUT);
    assert_eq!(resolver.first().await.unwrap_err().etype(), &RESOLVE_FAILED);
}
