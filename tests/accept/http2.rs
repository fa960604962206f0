use super::*;
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

type Client = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

fn request(path: &str) -> Request<()> {
    Request::builder()
        .uri(format!("http://x{path}"))
        .method("POST")
        .body(())
        .unwrap()
}

async fn open<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Client {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn dial(address: SocketAddr) -> Client {
    open(tokio::net::TcpStream::connect(address).await.unwrap()).await
}

async fn fetch(sender: &SendRequest<Bytes>, path: &str) -> Result<String, h2::Error> {
    let mut sender = sender.clone().ready().await?;
    let (response, _) = sender.send_request(request(path), true)?;
    let mut body = response.await?.into_body();
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        all.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(all).unwrap())
}

pub(crate) async fn fetch_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, path: &str) -> String {
    let (sender, _task) = open(stream).await;
    fetch(&sender, path).await.unwrap()
}

#[tokio::test]
async fn h2c_by_prior_knowledge() {
    let (address, _listener, _) = start();
    let (sender, _task) = dial(address).await;
    assert_eq!(fetch(&sender, "/who").await.unwrap(), "web 127.0.0.1");
    let many = (0..50).map(|_| fetch(&sender, "/slow"));
    for body in futures_util::future::join_all(many).await {
        assert_eq!(body.unwrap(), "slow");
    }
}

#[tokio::test]
async fn h2c_can_be_switched_off() {
    let mut options = options();
    options.h2c = false;
    let (address, _listener, _) = start_with(&options, App::default());
    let (sender, _task) = dial(address).await;
    assert!(fetch(&sender, "/hello").await.is_err());
    client(move || ask(&mut connect(address), "/hello")).await;
}

#[tokio::test]
async fn a_stream_is_reset_and_its_siblings_live() {
    let (address, _listener, _) = start();
    let (sender, _task) = dial(address).await;
    let sibling = tokio::spawn({
        let sender = sender.clone();
        async move { fetch(&sender, "/slow").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = fetch(&sender, "/reset").await.unwrap_err();
    assert!(
        error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM),
        "{error:?}"
    );
    assert_eq!(sibling.await.unwrap().unwrap(), "slow");
    assert_eq!(fetch(&sender, "/hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn the_same_before_the_response() {
    let upstream = start_upstream(&["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfull"], Duration::ZERO);
    let (address, _listener, _) = start_with(&options(), upstream);
    let (sender, _task) = dial(address).await;
    let error = fetch(&sender, "/reset-response").await.unwrap_err();
    assert!(
        error.is_remote() && error.reason() == Some(h2::Reason::CANCEL),
        "{error:?}"
    );
    assert_eq!(fetch(&sender, "/proxied").await.unwrap(), "full");
    assert!(fetch(&sender, "/close-response").await.is_err());
}

#[tokio::test]
async fn a_close_ends_the_whole_connection() {
    let (address, listener, _) = start();
    let (sender, task) = dial(address).await;
    let sibling = tokio::spawn({
        let sender = sender.clone();
        async move { fetch(&sender, "/wait").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(fetch(&sender, "/close").await.is_err());
    assert!(sibling.await.unwrap().is_err());
    drop(sender);
    let _ended = task.await.unwrap();
    listener.stop_accepting();
    tokio::time::timeout(Duration::from_secs(2), listener.drained())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_or_a_client_that_leaves_is_noticed() {
    let (address, listener, seen) = start();
    let mut expected = 0;
    for (unread, whole) in [(0, false), (0, true), (50_000, false), (50_000, true)] {
        let (sender, task) = dial(address).await;
        let mut sender = sender.ready().await.unwrap();
        let (response, mut body) = sender.send_request(request("/wait"), false).unwrap();
        if unread > 0 {
            body.send_data(vec![0; unread].into(), false).unwrap();
        }
        expected += 1;
        seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(seen.gone(), expected - 1, "too early");
        if whole {
            task.abort();
        } else {
            body.send_reset(h2::Reason::CANCEL);
        }
        seen.until_gone(expected).await;
        drop(response);
    }
    seen.until(Seen::logged, expected, Duration::from_secs(1)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(listener.requests(), 0);
}

#[tokio::test]
async fn stopping_lets_streams_finish_and_takes_no_new_ones() {
    let (address, listener, _) = start();
    let (sender, task) = dial(address).await;
    let (idle_sender, idle_task) = dial(address).await;
    fetch(&idle_sender, "/hello").await.unwrap();
    let slow = tokio::spawn({
        let sender = sender.clone();
        async move { fetch(&sender, "/slow").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((listener.connections(), listener.requests()), (2, 1));
    listener.stop_accepting();
    assert_eq!(slow.await.unwrap().unwrap(), "slow");
    tokio::time::timeout(Duration::from_secs(1), listener.drained())
        .await
        .unwrap();
    assert!(fetch(&sender, "/hello").await.is_err());
    task.await.unwrap().unwrap();
    idle_task.await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_get_goaway() {
    let mut options = options();
    options.entrance.timeouts.idle = Duration::from_millis(300);
    let (address, listener, _) = start_with(&options, App::default());
    let (sender, task) = dial(address).await;
    fetch(&sender, "/slow").await.unwrap();
    tokio::time::timeout(Duration::from_secs(3), task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    listener.stop_accepting();
    listener.drained().await;
}

#[tokio::test]
async fn a_panic_ends_its_own_stream_only() {
    let (address, _listener, _) = start();
    let (sender, _task) = dial(address).await;
    assert!(fetch(&sender, "/panic").await.is_err());
    assert_eq!(fetch(&sender, "/hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn an_abort_spares_nothing() {
    let (address, listener, seen) = start();
    let (sender, _task) = dial(address).await;
    let waiting = tokio::spawn(async move { fetch(&sender, "/wait").await });
    seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
    listener.abort();
    tokio::time::timeout(Duration::from_secs(1), listener.drained())
        .await
        .unwrap();
    assert!(waiting.await.unwrap().is_err());
    seen.until(Seen::active, 0, SOON).await;
    assert_eq!(seen.waiting(), 0);
}

#[tokio::test]
async fn an_error_response_outlives_an_unread_body() {
    let (address, _listener, _) = start();
    let (sender, _task) = dial(address).await;
    for (path, status) in [("/refuse", 503), ("/hello", 200)].repeat(3) {
        let mut sender = sender.clone().ready().await.unwrap();
        let (response, mut body) = sender.send_request(request(path), false).unwrap();
        body.send_data(vec![0; 20_000_000].into(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), status);
    }
    // What was not read takes no room from the others.
    assert_eq!(fetch(&sender, "/hello").await.unwrap(), "hello");
}
