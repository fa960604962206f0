//! Listeners and connections, tried from outside: real sockets on loopback, a tiny Pingora application behind them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod coming_and_going;
mod http1;
mod http2;
mod tls;
mod unix;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use squall::proxy::accept::{Bind, Listener, ListenerOptions, bind};
use squall::proxy::connection::Connection;
use squall::proxy::gone;

/// How soon a client's leaving must show. It takes a millisecond or so, on a machine that is not busy.
const SOON: Duration = Duration::from_secs(1);

/// Answers by path; counts what its requests went through.
#[derive(Default)]
struct App {
    upstream: Option<SocketAddr>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    waiting: AtomicUsize,
    gone: AtomicUsize,
    logged: AtomicUsize,
}

/// Waits until a count has a value.
async fn until(count: &AtomicUsize, wanted: usize, limit: Duration) {
    let deadline = Instant::now() + limit;
    while count.load(Ordering::SeqCst) != wanted {
        assert!(
            Instant::now() < deadline,
            "{} instead of {wanted}",
            count.load(Ordering::SeqCst)
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn answer(session: &mut Session, body: impl Into<Bytes>) -> pingora::Result<()> {
    let body = body.into();
    let mut header = ResponseHeader::build(200, Some(1))?;
    header.insert_header("content-length", body.len())?;
    gone::close_if_stopping(session);
    session.write_response_header(Box::new(header), false).await?;
    session.write_response_body(Some(body), true).await
}

impl App {
    async fn wait(&self, session: &mut Session) -> pingora::Result<()> {
        self.seen.waiting.fetch_add(1, Ordering::SeqCst);
        tokio::select! {
            () = gone::client_gone(session) => {
                self.seen.gone.fetch_add(1, Ordering::SeqCst);
                Err(gone::silence())
            }
            () = tokio::time::sleep(Duration::from_secs(20)) => Ok(()),
        }
    }
}

async fn whole_body(session: &mut Session) -> pingora::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = session.read_request_body().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[async_trait]
impl ProxyHttp for App {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        let connection = Arc::clone(Connection::of(session).expect("a connection"));
        let path = session.req_header().uri.path().to_owned();
        match path.as_str() {
            "/hello" => answer(session, "hello").await?,
            "/who" => {
                assert_eq!(
                    connection.peer(),
                    session.client_addr().and_then(|addr| addr.as_inet()).copied()
                );
                assert_eq!(
                    connection.local_addr(),
                    session.server_addr().and_then(|addr| addr.as_inet()).copied()
                );
                let (name, client) = (connection.listener().name().clone(), connection.client());
                answer(
                    session,
                    format!("{name} {client:?} {} {}", connection.tls(), connection.http2()),
                )
                .await?;
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                answer(session, "slow").await?;
            }
            "/wait" => self.wait(session).await?,
            "/wait-after-body" => {
                whole_body(session).await?;
                self.wait(session).await?;
            }
            "/echo" => {
                let body = whole_body(session).await?;
                answer(session, body).await?;
            }
            "/refuse" => session.respond_error(503).await?,
            "/reset" => gone::reset_stream_or_connection(session, h2::Reason::ENHANCE_YOUR_CALM),
            "/close" => gone::close_without_reply(session),
            "/close-by-error" => {
                gone::close_without_reply(session);
                return Err(gone::silence());
            }
            "/panic" => panic!("asked for"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.unwrap(), false, String::new())))
    }

    async fn response_filter(&self, session: &mut Session, _: &mut ResponseHeader, (): &mut ()) -> pingora::Result<()> {
        match session.req_header().uri.path() {
            "/reset-response" => gone::reset_stream_or_connection(session, h2::Reason::CANCEL),
            "/close-response" => gone::close_without_reply(session),
            "/wait-response" => return self.wait(session).await,
            _ => return Ok(()),
        }
        Err(gone::silence())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &pingora::Error, (): &mut ()) -> FailToProxy {
        let error_code = if gone::is_silent(error) { 0 } else { 502 };
        if error_code > 0 {
            let _ = session.respond_error(error_code).await;
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, _: &mut Session, _: Option<&pingora::Error>, (): &mut ()) {
        self.seen.logged.fetch_add(1, Ordering::SeqCst);
    }
}

fn app(app: App) -> (Arc<HttpProxy<App>>, Arc<Seen>) {
    let seen = Arc::clone(&app.seen);
    (Arc::new(http_proxy(&Arc::new(ServerConf::default()), app)), seen)
}

fn options() -> ListenerOptions {
    ListenerOptions::new("web", Bind::Tcp("127.0.0.1:0".parse().unwrap()))
}

/// A plaintext listener with the application behind it.
fn start() -> (SocketAddr, Listener, Arc<Seen>) {
    start_with(&options(), App::default())
}

fn start_with(options: &ListenerOptions, with: App) -> (SocketAddr, Listener, Arc<Seen>) {
    let (proxy, seen) = app(with);
    let bound = bind(options).unwrap();
    let Bind::Tcp(address) = *bound.local_addr() else {
        unreachable!("a TCP port was asked for")
    };
    (address, bound.serve(proxy).unwrap(), seen)
}

/// Answers each connection by the same bytes, with a pause after every piece.
fn start_upstream(pieces: &'static [&'static str], pause: Duration) -> App {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = Some(listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _head = stream.read(&mut [0; 4096]).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(pause);
            }
        }
    });
    App {
        upstream,
        ..App::default()
    }
}

/// Runs blocking client code beside the server.
async fn client<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    tokio::time::timeout(Duration::from_secs(15), tokio::task::spawn_blocking(run))
        .await
        .expect("in time")
        .unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// Reads one response with a content-length; its head (in lower case) and its body.
fn read_response(stream: &mut impl Read) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .expect("a length")
        .split("\r\n")
        .next()
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn ask(stream: &mut (impl Read + Write), path: &str) -> (String, String) {
    stream.write_all(get(path).as_bytes()).unwrap();
    read_response(stream)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}
