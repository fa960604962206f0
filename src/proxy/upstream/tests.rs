//! Real servers behind the connector, and the mistakes of a configuration.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::proxy::body::{Sink, Source};
use crate::proxy::upstream::spec::UpstreamSpec;
use crate::yaml::decode::decode;
use crate::yaml::report::{Sources, Span};
use crate::yaml::tree;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn read(yaml: &str) -> (Sources, Option<UpstreamSpec>) {
    let (mut sources, mut problems) = (Sources::default(), Vec::new());
    let source = sources.add("squall.yaml", yaml, "/");
    let node = tree::parse(&sources, source, Some(&|_| None), &mut problems).unwrap();
    (sources, decode(&node, &mut problems))
}

fn build_in(yaml: &str, base_dir: &Path) -> Result<Upstream, Vec<String>> {
    let spec = read(yaml).1.unwrap();
    Upstream::build("shop", Span::NOWHERE, &spec, base_dir, Instant::now())
        .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
}

fn build(yaml: &str) -> Upstream {
    build_in(yaml, Path::new("/")).unwrap()
}

/// Asks the next endpoint something: the status of its answer.
async fn request(connector: &Connector, upstream: &Upstream) -> Result<u16, Failure> {
    let picked = upstream.select(Instant::now()).unwrap();
    let status = exchange(connector, &picked).await;
    status.map_err(|error| describe_error(&error, "shop", Some(picked.label())))
}

async fn exchange(connector: &Connector, picked: &Picked) -> pingora::Result<u16> {
    let destination = picked.destination().await?;
    let mut session = connector.session(&destination, false).await?;
    let head = RequestHeader::build("GET", b"/", None).unwrap();
    let client = HeaderValue::from_static("client.test");
    session.ask(&head, Some(picked.host().unwrap_or(&client)), false, false)?;
    std::future::poll_fn(|cx| session.poll_end(cx, None)).await?;
    let head = std::future::poll_fn(|cx| session.poll_head(cx)).await?;
    while session.part().await?.is_some() {}
    session.release(connector);
    Ok(head.status.as_u16())
}

/// What the server has read of each connection.
type Seen = Arc<Mutex<Vec<String>>>;

/// Answers every request on one connection with 200.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: Seen) {
    let connection = seen.lock().len();
    seen.lock().push(String::new());
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        seen.lock()[connection].push_str(&String::from_utf8_lossy(&buffer[..read]).to_lowercase());
        if stream.write_all(OK).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn http_server() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&log)));
        }
    });
    (address, seen)
}

/// An authority with a server's and a client's certificate, as files in a folder.
struct Authority {
    folder: tempfile::TempDir,
    root: CertificateDer<'static>,
    server: (CertificateDer<'static>, Vec<u8>),
    /// The number of handshakes that resumed a session.
    resumed: Arc<AtomicUsize>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let root = parameters.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::from_params(&parameters, &key);
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        let sign = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let key = rcgen::KeyPair::generate().unwrap();
            let signed = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer);
            (signed.unwrap(), key)
        };
        let (server, server_key) = sign(&["shop.internal", "127.0.0.1"]);
        let (client, client_key) = sign(&["client.internal"]);
        write("ca.pem", root.pem());
        write("client.pem", client.pem());
        write("client.key", client_key.serialize_pem());
        Self {
            folder,
            root: root.der().clone(),
            server: (server.der().clone(), server_key.serialize_der()),
            resumed: Arc::default(),
        }
    }

    /// A server that asks for a client certificate if `mutual`, and logs the SNI, ALPN and number of client certificates
    /// of each connection.
    async fn serve(&self, mutual: bool, alpn: &[&str]) -> (SocketAddr, Seen) {
        pingora::tls::install_default_crypto_provider();
        let builder = rustls::ServerConfig::builder();
        let builder = if mutual {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.root.clone()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.server.clone();
        let key = PrivateKeyDer::try_from(key).unwrap();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = pingora::tls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let resumed = Arc::clone(&self.resumed);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let session = stream.get_ref().1;
                let alpn = session.alpn_protocol().map(String::from_utf8_lossy);
                if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                    resumed.fetch_add(1, Ordering::Relaxed);
                }
                let certificates = session.peer_certificates().map_or(0, <[_]>::len);
                log.lock()
                    .push(format!("{:?} {alpn:?} {certificates}", session.server_name()));
                if session.alpn_protocol() == Some(b"h2") {
                    tokio::spawn(answer_h2(stream));
                } else {
                    tokio::spawn(answer(stream, Arc::default()));
                }
            }
        });
        (address, seen)
    }

    async fn get(&self, yaml: &str) -> Result<u16, Failure> {
        let upstream = build_in(yaml, self.folder.path()).unwrap();
        request(&Connector::default(), &upstream).await
    }

    async fn get_tls(&self, address: SocketAddr, tls: &str) -> Result<u16, Failure> {
        self.get(&format!("{{url: 'https://{address}', tls: {{{tls}}}}}")).await
    }
}

async fn answer_h2(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().status(200).body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(b"ok"), true).unwrap();
    }
}

#[test]
fn the_system_has_authorities_or_says_why_not() {
    // Whatever this machine has, Pingora's connector must not be made where this fails.
    if check_system_authorities().is_ok() {
        drop(Connector::default());
    }
}

#[tokio::test]
async fn plain_http_reuses_its_connection_and_keeps_the_host() {
    let (address, seen) = http_server().await;
    let upstream = build(&format!("url: http://{address}"));
    let connector = Connector::default();
    for _ in 0..2 {
        assert_eq!(request(&connector, &upstream).await.unwrap(), 200);
    }
    let seen = seen.lock();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].matches("host: client.test\r\n").count(), 2, "{seen:?}");
}

#[tokio::test]
async fn connections_of_other_configurations_and_single_use_ones_are_not_reused() {
    let (address, seen) = http_server().await;
    let connector = Connector::default();
    let plain = format!("url: http://{address}");
    let slower = format!("{{url: 'http://{address}', timeouts: {{read: 9s}}}}");
    let single = format!("{{url: 'http://{address}', timeouts: {{idle: 0}}}}");
    assert_eq!(build(&plain).fingerprint(), build(&plain).fingerprint());
    for (yaml, connections) in [
        (&plain, 1),
        (&slower, 2),
        (&plain, 2),
        (&single, 3),
        (&single, 4),
        (&plain, 4),
    ] {
        assert_eq!(request(&connector, &build(yaml)).await.unwrap(), 200);
        assert_eq!(seen.lock().len(), connections, "{yaml}");
    }
}

#[tokio::test]
async fn names_are_resolved() {
    let (address, seen) = http_server().await;
    // The server listens on 127.0.0.1 only, and localhost may be ::1 first.
    let upstream = build(&format!(
        "{{url: 'http://localhost:{}', host: upstream}}",
        address.port()
    ));
    let connector = Connector::default();
    for _ in 0..3 {
        assert_eq!(request(&connector, &upstream).await.unwrap(), 200);
    }
    let host = format!("host: localhost:{}\r\n", address.port());
    // The first connection may be kept under the address that was tried first.
    assert!(seen.lock().len() < 3 && seen.lock()[0].contains(&host), "{seen:?}");

    // Not every system's resolver knows the names below localhost.
    for name in ["a.localhost", "B.LocalHost", "localhost."] {
        let upstream = build(&format!("url: 'http://{name}:{}'", address.port()));
        assert_eq!(request(&connector, &upstream).await.unwrap(), 200, "{name}");
    }

    let upstream = build("url: http://no-such-name.invalid");
    let failure = request(&connector, &upstream).await.unwrap_err();
    assert_eq!(failure.status, 502);
    let start = "squall: upstream shop: can't resolve no-such-name.invalid: ";
    assert!(failure.text.starts_with(start), "{}", failure.text);
}

#[tokio::test]
async fn unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("app.sock")).unwrap();
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&log)));
        }
    });
    let upstream = build_in("url: unix:app.sock", folder.path()).unwrap();
    let connector = Connector::default();
    for _ in 0..2 {
        assert_eq!(request(&connector, &upstream).await.unwrap(), 200);
    }
    assert_eq!(seen.lock().len(), 1);

    let upstream = build_in("url: unix:absent.sock", folder.path()).unwrap();
    let failure = request(&connector, &upstream).await.unwrap_err();
    assert_eq!(failure.status, 502);
    assert!(failure.text.contains("can't connect: No such file"), "{}", failure.text);
}

#[tokio::test]
async fn h2c() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *count.lock() += 1;
            tokio::spawn(answer_h2(stream));
        }
    });
    let connector = Connector::default();
    let shared = format!("{{url: 'http://{address}', protocol: h2c}}");
    let single = format!("{{url: 'http://{address}', protocol: h2c, timeouts: {{idle: 0}}}}");
    for (yaml, expect) in [(&shared, 1), (&shared, 1), (&single, 2), (&single, 3)] {
        assert_eq!(request(&connector, &build(yaml)).await.unwrap(), 200);
        assert_eq!(*connections.lock(), expect, "{yaml}");
    }
}

#[tokio::test]
async fn the_own_authority_is_accepted_and_the_name_sent() {
    let authority = Authority::new();
    let (address, seen) = authority.serve(false, &[]).await;
    let get = |tls| authority.get_tls(address, tls);
    assert_eq!(get("ca: ca.pem, sni: shop.internal").await.unwrap(), 200);
    // The certificate has the address too, so no name is needed; an address is never sent as SNI (RFC 6066 section 3).
    assert_eq!(get("ca: ca.pem").await.unwrap(), 200);
    assert_eq!(
        seen.lock().as_slice(),
        ["Some(\"shop.internal\") None 0", "None None 0"]
    );

    let failure = get("ca: ca.pem, sni: other.internal").await.unwrap_err();
    assert_eq!(failure.status, 502);
    let text = "TLS: its certificate is for shop.internal, 127.0.0.1, not for other.internal;";
    assert!(failure.text.contains(text), "{}", failure.text);
}

#[tokio::test]
async fn an_unknown_authority_is_refused_unless_nothing_is_verified() {
    let authority = Authority::new();
    let (address, _) = authority.serve(false, &[]).await;
    let failure = authority.get_tls(address, "sni: shop.internal").await.unwrap_err();
    assert_eq!(failure.status, 502);
    let text = "squall: upstream shop: TLS: its certificate was not issued by a trusted authority";
    assert!(failure.text.starts_with(text), "{}", failure.text);
    for tls in [
        "verify: false",
        "verify: false, sni: other.internal",
        "verify: false, ca: ca.pem",
    ] {
        assert_eq!(authority.get_tls(address, tls).await.unwrap(), 200, "{tls}");
    }
}

/// What `openssl req -x509` makes for development: a CA's certificate, self-signed, which the server itself presents. curl,
/// Python and Node accept it as `ca`; its names and dates count all the same.
#[tokio::test]
async fn a_self_signed_certificate_is_its_own_authority() {
    let now = rcgen::date_time_ymd(2020, 1, 1);
    for (is_ca, until, own, text) in [
        (true, None, true, None),
        (false, None, true, None),
        (true, None, false, Some("was not issued by a trusted authority")),
        (true, Some(now), true, Some("has expired")),
    ] {
        let mut parameters = rcgen::CertificateParams::new(vec!["shop.internal".to_owned()]).unwrap();
        if is_ca {
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        parameters.not_after = until.unwrap_or(parameters.not_after);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let mut authority = Authority::new();
        authority.server = (certificate.der().clone(), key.serialize_der());
        if own {
            std::fs::write(authority.folder.path().join("ca.pem"), certificate.pem()).unwrap();
        }
        let (address, _) = authority.serve(false, &[]).await;
        let seen = authority.get_tls(address, "ca: ca.pem, sni: shop.internal").await;
        match text {
            None => assert_eq!(seen.unwrap(), 200),
            // A CA's certificate in place of a server's is an error of its own.
            Some(text) => {
                let failure = seen.unwrap_err();
                let refused = failure.text.contains(text) || !own && failure.text.contains("is not one of a server");
                assert!(refused, "{}", failure.text);
            }
        }
        if own {
            let failure = authority.get_tls(address, "ca: ca.pem, sni: other.internal").await;
            let failure = failure.unwrap_err().text;
            assert!(
                text.is_some() || failure.contains("is for shop.internal, not for other.internal"),
                "{failure}"
            );
        }
    }
}

#[tokio::test]
async fn sessions_are_resumed_with_an_authority_of_ones_own() {
    let authority = Authority::new();
    let (address, _) = authority.serve(false, &[]).await;
    let yaml = format!("{{url: 'https://{address}', tls: {{ca: ca.pem}}, timeouts: {{idle: 0}}}}");
    let upstream = build_in(&yaml, authority.folder.path()).unwrap();
    for _ in 0..2 {
        assert_eq!(request(&Connector::default(), &upstream).await.unwrap(), 200);
    }
    assert_eq!(authority.resumed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn servers_that_do_not_speak_tls_are_named_as_such() {
    let authority = Authority::new();
    for (answer, text) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "it sent something that is not TLS",
        ),
        (b"", "it closed the connection in the handshake"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "it refused the handshake (alert 40)"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "it does not know the name"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _hello = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        let failure = authority.get_tls(address, "ca: ca.pem").await.unwrap_err();
        assert_eq!(failure.status, 502);
        assert!(failure.text.contains(text), "{}", failure.text);
    }
}

#[tokio::test]
async fn the_client_certificate_is_shown() {
    let authority = Authority::new();
    let (address, seen) = authority.serve(true, &[]).await;
    let tls = "ca: ca.pem, certificate: client.pem, key: client.key";
    assert_eq!(authority.get_tls(address, tls).await.unwrap(), 200);
    assert_eq!(seen.lock().as_slice(), ["None None 1"]);
    let failure = authority.get_tls(address, "ca: ca.pem").await.unwrap_err();
    assert_eq!(failure.status, 502, "{}", failure.text);
    assert!(
        failure.text.contains("it requires a client certificate"),
        "{}",
        failure.text
    );
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let authority = Authority::new();
    let cases = [
        ("h2", &["h2", "http/1.1"][..], "h2"),
        ("auto", &["h2", "http/1.1"], "h2"),
        ("auto", &["http/1.1"], "http/1.1"),
        ("http1", &["h2", "http/1.1"], "http/1.1"),
    ];
    for (protocol, offered, chosen) in cases {
        let (address, seen) = authority.serve(false, offered).await;
        let yaml = format!("{{url: 'https://{address}', protocol: {protocol}, tls: {{ca: ca.pem}}}}");
        assert_eq!(authority.get(&yaml).await.unwrap(), 200, "{protocol} {offered:?}");
        assert_eq!(seen.lock().as_slice(), [format!("None Some(\"{chosen}\") 0")]);
    }
}

#[tokio::test]
async fn natural_failures() {
    let connector = Connector::default();
    // Bound, so that nobody else gets the port, and not listening.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = bound.local_addr().unwrap();
    let failure = request(&connector, &build(&format!("url: http://{closed}")))
        .await
        .unwrap_err();
    assert_eq!(failure.status, 502);
    assert_eq!(
        failure.text,
        format!("squall: upstream shop: connection refused ({closed})\n")
    );

    // Accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let slow = build(&format!("{{url: 'http://{address}', timeouts: {{read: 50ms}}}}"));
    let failure = request(&connector, &slow).await.unwrap_err();
    assert_eq!(failure.status, 504, "{}", failure.text);
    let slow = build(&format!("{{url: 'https://{address}', timeouts: {{connect: 50ms}}}}"));
    let failure = request(&connector, &slow).await.unwrap_err();
    assert_eq!(failure.status, 504, "{}", failure.text);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"garbage\r\n\r\n").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.read_u8().await.unwrap() != b'\n' {}
        drop(stream);
    });
    let upstream = build(&format!("url: http://{address}"));
    let failure = request(&connector, &upstream).await.unwrap_err();
    assert_eq!(failure.status, 502, "{}", failure.text);
    let failure = request(&connector, &upstream).await.unwrap_err();
    assert_eq!(failure.status, 502, "{}", failure.text);
    assert!(failure.text.contains("connection"), "{}", failure.text);
}

#[test]
fn failures_eject_and_chosen_statuses_count() {
    let upstream = build(
        "{endpoints: ['http://127.0.0.1:1', 'http://127.0.0.1:2'], ejection: {failures: 2, statuses: [503], duration: 9s}}",
    );
    let now = Instant::now();
    // The labels of the next two selections.
    let turns = |now| {
        let mut labels = [(); 2].map(|()| upstream.select(now).unwrap().label().to_owned());
        labels.sort();
        labels
    };
    let (first, second) = ("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned());
    let both = [first.clone(), second.clone()];
    assert_eq!(turns(now), both);
    let turn = || {
        let mut picked = [(); 2].map(|()| upstream.select(now).unwrap()).into_iter();
        picked.find(|one| one.label() == first).unwrap()
    };
    let reset = Error::new_up(ErrorType::ReadError);

    let mut picked = turn();
    picked.answered(503, now);
    // The connection breaks after that: still one failure of one request.
    picked.failed(&reset, now);
    assert_eq!(turns(now), both);
    turn().answered(500, now);
    turn().failed(&reset, now);
    // Neither is the endpoint's fault.
    turn().failed(&Error::new_down(ErrorType::ReadError), now);
    turn().failed(&Error::new_up(ErrorType::InternalError), now);
    assert_eq!(turns(now), both);
    turn().answered(503, now);
    assert_eq!(turns(now), [second.clone(), second]);
    assert_eq!(turns(now + Duration::from_secs(9)), both);
}

#[test]
fn responses_that_break_off_are_failures_in_a_row() {
    let upstream = build("{endpoints: ['http://h:1', 'http://h:2'], ejection: {failures: 2, duration: 9s}}");
    let now = Instant::now();
    let reset = Error::new_up(ErrorType::ReadError);
    // Each response begins well, which says nothing about its body.
    for _ in 0..2 {
        let mut broken = upstream.select(now).unwrap();
        assert_eq!(broken.label(), "h:1");
        broken.answered(200, now);
        broken.failed(&reset, now);
        let mut whole = upstream.select(now).unwrap();
        whole.answered(200, now);
    }
    let labels = [(); 3].map(|()| upstream.select(now).unwrap().label().to_owned());
    assert_eq!(labels, ["h:2", "h:2", "h:2"]);
}

#[test]
fn requests_under_way_end_with_their_guard() {
    let upstream = build("{endpoints: ['http://h:1', 'http://h:2'], balance: least-requests}");
    let now = Instant::now();
    let first = upstream.select(now).unwrap();
    let second = upstream.select(now).unwrap();
    assert_ne!(first.label(), second.label());
    let label = second.label().to_owned();
    drop(second);
    assert_eq!(upstream.select(now).unwrap().label(), label);
}

#[test]
fn fakes_and_tcp_servers_have_no_endpoint() {
    for yaml in [
        "fake: test-api",
        "fake: {name: test-api, store: 'file:todo.db', seed: 7}",
        "address: 127.0.0.1:5432",
    ] {
        assert!(build(yaml).select(Instant::now()).is_none(), "{yaml}");
    }
}

#[test]
fn the_host_header() {
    #[track_caller]
    fn check(yaml: &str, expected: Option<&str>) {
        let picked = build(yaml).select(Instant::now()).unwrap();
        assert_eq!(picked.host().map(|host| host.to_str().unwrap()), expected, "{yaml}");
    }
    check("url: http://10.0.0.9:81", None);
    check("{url: 'http://10.0.0.9:81', host: upstream}", Some("10.0.0.9:81"));
    check(
        "{url: 'http://10.0.0.9:81', host: shop.example.com}",
        Some("shop.example.com"),
    );
    check("url: https://shop.internal", Some("shop.internal"));
    check("{url: 'https://shop.internal', host: preserve}", None);
    check(
        "{url: 'https://10.0.0.5:8443', tls: {sni: shop.internal}}",
        Some("shop.internal:8443"),
    );
    check("{url: 'unix:/run/app.sock', host: app}", Some("app"));
}

#[test]
fn mistakes() {
    #[track_caller]
    fn check(yaml: &str, parts: &[&str]) {
        let problems = build_in(yaml, Path::new("/nowhere")).unwrap_err();
        assert_eq!(problems.len(), parts.len(), "{yaml}: {problems:#?}");
        for (problem, part) in problems.iter().zip(parts) {
            assert!(problem.contains(part), "{yaml}: {problem}");
        }
    }
    check("{}", &["has no target"]);
    check(
        "{url: 'http://h', fake: echo}",
        &["`url` can't be combined with `fake`"],
    );
    check("url: http://h/api?x", &["can't have a query"]);
    check("endpoints: ['http://h/a', 'http://i/b']", &["the same path"]);
    check("endpoints: []", &["is empty"]);
    check(
        "endpoints: ['http://a', 'https://b']",
        &["can't be combined with others"],
    );
    check(
        "endpoints: ['http://a:0', 'h2c://b']",
        &["not a valid port", "not a valid scheme"],
    );
    check("{url: 'http://h', balance: random}", &["`balance` needs several"]);
    check("{url: 'http://h', ejection: {}}", &["`ejection` needs several"]);
    check("{url: 'https://h', protocol: h2c}", &["without TLS"]);
    check("{url: 'http://h', protocol: h2}", &["use `h2c`"]);
    check("{url: 'unix:/s', protocol: auto}", &["needs TLS"]);
    check("{url: 'http://h', tls: {verify: false}}", &["needs an https://"]);
    check("{url: 'https://h', tls: {certificate: c.pem}}", &["needs its `key`"]);
    check("{url: 'https://h', tls: {key: c.key}}", &["needs its `certificate`"]);
    check(
        "{url: 'https://h', tls: {ca: ca.pem, certificate: c.pem, key: c.key, sni: 'a b'}}",
        &[
            "/nowhere/ca.pem: there is no such file",
            "/nowhere/c.pem: there is no such file",
            "`a b` is not a valid certificate name",
        ],
    );
    check("{url: 'http://h', host: 'a b'}", &["is not a valid host"]);
    check("{url: 'unix:/s', host: upstream}", &["has no host name"]);
    check("{url: 'http://h', timeouts: {connect: 0}}", &["connect: 0"]);
    check(
        "{fake: echo, host: h, timeouts: {}}",
        &["`host` has no effect", "`timeouts` has no effect"],
    );
    check(
        "{address: 'h:1', tls: {sni: 'a b'}}",
        &["is not a valid certificate name"],
    );
    check("{address: 'unix:/s', tls: {}}", &["set `tls: {sni: NAME}`"]);
    check("{address: 'h:1', host: h}", &["`host` has no effect"]);
    check(
        "{address: 'h:1', timeouts: {connect: 0, read: 5s}}",
        &["`read` has no effect", "connect: 0"],
    );
    check("{fake: echo, tls: {}}", &["`tls` has no effect"]);
    check("address: h", &["needs a port"]);
    let endpoints = "endpoints: ['http://a', 'http://b']";
    check(
        &format!("{{{endpoints}, ejection: {{max: 10%}}}}"),
        &["10% of 2 endpoints is less than one"],
    );
    check(
        &format!("{{{endpoints}, ejection: {{failures: 0, duration: 0, statuses: [200]}}}}"),
        &["at least 1", "has no effect", "200 is not a valid failure status"],
    );
    // One mistake doesn't hide another.
    check(
        "{url: 'ftp://h', host: 'a b', timeouts: {connect: 0}}",
        &["not a valid scheme", "not a valid host", "connect: 0"],
    );
}

#[test]
fn mistakes_have_their_places() {
    let yaml = "endpoints: ['http://a', 'http://b/c']\nejection: {statuses: [503, 200]}\ntimeouts: {connect: 0s}\n";
    let (sources, spec) = read(yaml);
    let problems = Upstream::build("shop", Span::NOWHERE, &spec.unwrap(), Path::new("/"), Instant::now()).unwrap_err();
    let mut places: Vec<_> = problems.iter().map(|one| one.span.unwrap()).collect();
    places.sort_unstable();
    let texts: Vec<_> = places
        .iter()
        .map(|span| &sources.text(span.source)[span.start..span.end])
        .collect();
    assert_eq!(texts, ["'http://b/c'", "200", "0s"]);
}

#[test]
fn the_schema_knows_the_keys() {
    let schema = serde_json::to_value(schemars::schema_for!(UpstreamSpec)).unwrap();
    let keys = schema["properties"].as_object().unwrap();
    assert_eq!(keys.len(), 14);
    assert_eq!(schema["additionalProperties"], false);
    assert!(keys.values().all(|key| key.get("description").is_some()), "{schema:#}");
    assert!(read("{url: 'http://h', balence: random}").1.is_none());
    assert!(read("fake: {name: echo, stor: x}").1.is_none());
}
