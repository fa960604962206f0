//! Listeners and connections, tried from outside: real sockets on loopback, a proxy with a fake or a scripted upstream behind
//! them.

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
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use squall::config::load_text;
use squall::config::snapshot::{Inputs, ListenerKind};
use squall::metrics::{Metrics, Series};
use squall::proxy::exchange::Squall;
use squall::proxy::exchange::view::Target;
use squall::proxy::execute::hold::Holder;
use squall::proxy::listen::accept::{Listener, ListenerOptions, Service, bind};
use squall::proxy::net::address::AddressSpec;
use squall::proxy::upstream::Connector;
use squall::traffic::Traffic;

/// How soon a client's leaving must show. It takes a millisecond or so, on a machine that is not busy.
const SOON: Duration = Duration::from_secs(1);

/// The listener, and what happens to the requests of each path, whoever answers them.
const RULES: &str = r#"
listeners: {NAME: {address: "127.0.0.1:0", upstream: app}}
rules:
  - {name: slow, match: {path: /slow}, faults: [delay: 300ms]}
  - {name: wait, match: {path: /wait}, faults: [hang: {limit: 20s}]}
  - {name: refuse, match: {path: /refuse}, faults: [abort: 503]}
  - {name: reset, match: {path: /reset}, faults: [reset: {code: ENHANCE_YOUR_CALM}]}
  - {name: close, match: {path: /close}, faults: [close: {}]}
  - {name: reset-response, match: {path: /reset-response}, faults: [reset: {code: CANCEL, before: response}]}
  - {name: close-response, match: {path: /close-response}, faults: [close: {before: response}]}
  - name: wait-response
    match: {any: [{path: /wait-response}, {path: /wait-after-body}]}
    faults: [delay: {fixed: 20s, before: response}]
upstreams:
  app:
"#;

/// Answers by path. Only the routes that name `body` read it.
const FAKE: &str = r#"
    fake:
      routes:
        - {path: /hello, method: ANY, body: hello}
        - {path: /slow, method: ANY, body: slow}
        - {path: /echo, method: ANY, body: "{{ body }}"}
        - {path: /wait-after-body, method: ANY, body: "{{ body }}"}
        - {path: /who, method: ANY, body: "NAME {{ client | default('nobody') }}"}
"#;

/// What is behind a listener: a fake, or a real upstream at this address.
#[derive(Clone, Copy, Default)]
struct App {
    upstream: Option<SocketAddr>,
}

impl App {
    fn configuration(self, listener: &str) -> String {
        let upstream = match self.upstream {
            None => FAKE.to_owned(),
            // The scripted ones end their connections unannounced, which is not what is tried here: none is kept.
            Some(address) => format!("    {{url: \"http://{address}\", timeouts: {{idle: 0s}}}}\n"),
        };
        (RULES.to_owned() + &upstream).replace("NAME", listener)
    }
}

/// What the requests of one proxy went through, as its metrics page tells.
struct Seen(Arc<Metrics>);

impl Seen {
    /// Requests that are held now.
    fn waiting(&self) -> usize {
        self.sum("squall_requests_held")
    }

    /// Requests that are under some fault now.
    fn active(&self) -> usize {
        self.sum("squall_faults_active")
    }

    /// Requests whose client has left.
    fn gone(&self) -> usize {
        self.sum("squall_clients_gone_total")
    }

    /// Requests that are over.
    fn logged(&self) -> usize {
        self.sum("squall_requests_total")
    }

    /// The sum of a metric's series.
    fn sum(&self, metric: &str) -> usize {
        let page = self.0.page(Series::All);
        let series = page.lines().filter_map(|line| line.strip_prefix(metric));
        series
            .filter(|rest| rest.starts_with([' ', '{']))
            .map(|rest| rest.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum()
    }

    /// Waits until a count has a value.
    async fn until(&self, count: fn(&Self) -> usize, wanted: usize, limit: Duration) {
        let deadline = Instant::now() + limit;
        while count(self) != wanted {
            assert!(Instant::now() < deadline, "{} instead of {wanted}", count(self));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many clients have left, and nothing is held for them any more.
    async fn until_gone(&self, wanted: usize) {
        self.until(Seen::gone, wanted, SOON).await;
        self.until(Seen::active, 0, SOON).await;
        assert_eq!(self.waiting(), 0);
    }
}

/// The proxy for a listener of this name.
fn app(listener: &str, with: App) -> (Arc<Squall>, Seen) {
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs::new(&metrics, Instant::now());
    let mut snapshot =
        load_text("accept", &with.configuration(listener), inputs).unwrap_or_else(|report| panic!("{report}"));
    let ListenerKind::Http(mut view) = snapshot.listeners.remove(0).kind else {
        unreachable!("an http listener was configured")
    };
    if let Some(Target::Fake(fake)) = view.own.target.as_deref() {
        // No configuration makes squall panic, so this is put in behind its back.
        let fake = fake.clone().route("/panic", axum::routing::any(panics));
        let own = &mut Arc::get_mut(&mut view).unwrap().own;
        Arc::get_mut(own).unwrap().target = Some(Arc::new(Target::Fake(fake)));
    }
    metrics.configured(&snapshot.hash, snapshot.seed.0, snapshot.counted());
    let squall = Squall {
        view: Arc::new(ArcSwap::from(view)),
        holder: Holder::new(Arc::clone(&metrics), Arc::default()),
        connector: Arc::new(Connector::default()),
        bodies: Arc::default(),
        events: Arc::default(),
        traffic: Arc::new(Traffic::new(Instant::now())),
        journal: Arc::default(),
    };
    (Arc::new(squall), Seen(metrics))
}

async fn panics() {
    panic!("asked for")
}

fn options() -> ListenerOptions {
    ListenerOptions::new("web", AddressSpec::Tcp("127.0.0.1:0".parse().unwrap()))
}

/// A plaintext listener with the fake behind it.
fn start() -> (SocketAddr, Listener, Seen) {
    start_with(&options(), App::default())
}

fn start_with(options: &ListenerOptions, with: App) -> (SocketAddr, Listener, Seen) {
    let (squall, seen) = app(&options.name, with);
    let bound = bind(options.clone()).unwrap();
    let AddressSpec::Tcp(address) = *bound.local_addr() else {
        unreachable!("a TCP port was asked for")
    };
    (address, bound.serve(Service::Http(squall)), seen)
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
    App { upstream }
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
