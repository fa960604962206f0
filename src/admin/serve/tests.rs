use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::admin::bind;
use crate::admin::tests::server;
use crate::proxy::net::address::AddressSpec;

async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn serves_on_tcp_and_tells_the_real_address() {
    let (address, task, _folder) = serving().await;
    let answer = get(&mut TcpStream::connect(address).await.unwrap(), "/api/v1/status").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(&address.to_string()), "{answer}");
    task.abort();
}

#[tokio::test]
async fn serves_on_a_unix_socket_and_removes_it() {
    let (folder, server) = server("");
    let path = folder.path().join("admin.sock");
    let bound = bind(&AddressSpec::Unix(path.clone())).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(serve_until(bound, server, async { drop(stopped.await) }));
    let answer = get(&mut UnixStream::connect(&path).await.unwrap(), "/healthz").await;
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    stop.send(()).unwrap();
    task.await.unwrap();
    assert!(!path.exists());
}

/// As many callers as there are places, each of which sends `bytes` and no more.
async fn crowd(address: std::net::SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut callers = Vec::new();
    for _ in 0..count {
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(bytes).await.unwrap();
        callers.push(caller);
    }
    callers
}

#[tokio::test]
async fn callers_that_ask_nothing_keep_no_place() {
    let (address, task, _folder) = serving().await;
    for bytes in [
        &b""[..],
        b"GET /healthz HT",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        let _crowd = crowd(address, MAX_CONNECTIONS + 50, bytes).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = timeout(Duration::from_secs(2), get(&mut stream, "/healthz")).await;
        assert!(answer.unwrap().ends_with("ok\n"));
    }
    task.abort();
}

#[tokio::test]
async fn callers_that_are_answered_keep_their_places() {
    let (address, task, _folder) = serving().await;
    // Answered once its body has arrived.
    let head = b"POST /api/v1/explain HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 5\r\n\r\n";
    let mut crowd = crowd(address, MAX_CONNECTIONS, head).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let waiting = tokio::spawn(async move { get(&mut stream, "/healthz").await });
    sleep(3 * MIN_WAIT).await;
    assert!(!waiting.is_finished());
    let mut first = crowd.remove(0);
    first.write_all(b"{bad}").await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert!(answer.ends_with("ok\n"));
    task.abort();
}

/// Time jumps whenever nothing happens.
#[tokio::test(start_paused = true)]
async fn an_event_stream_grows_older_than_other_connections() {
    let (address, task, _folder) = serving().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"GET /api/v1/events?kinds=rule HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let began = Instant::now();
    let mut read = Vec::new();
    while began.elapsed() < LIFETIME + 5 * LAST_ANSWER {
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "ended after {:?}",
            began.elapsed()
        );
    }
    let text = String::from_utf8_lossy(&read);
    assert!(
        text.contains("event: hello") && text.contains("\r\n:\n\n\r\n"),
        "{text}"
    );
    task.abort();
}

/// Otherwise those who read nothing could take the places of all streams for ever.
#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_ends() {
    let caller = Arc::new(Caller::default());
    let answered = caller.is_answered();
    assert!(!caller.reads_stream(), "an ordinary response");
    answered.0.streams();
    sleep(STREAM_SILENCE / 2).await;
    assert!(caller.reads_stream());
    sleep(STREAM_SILENCE / 2).await;
    assert!(!caller.reads_stream(), "nothing was handed over");
    answered.0.streams();
    drop(answered);
    assert!(!caller.reads_stream(), "it has ended");
}

async fn serving() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>, tempfile::TempDir) {
    let bound = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let AddressSpec::Tcp(address) = *bound.address() else {
        panic!("asked for TCP")
    };
    let (folder, server) = server("");
    (address, tokio::spawn(serve(bound, server)), folder)
}
