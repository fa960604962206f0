use super::*;
use std::io::ErrorKind;

use pingora::tls::{ClientTlsStream, TlsConnector};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use squall::proxy::listen::accept::Entrance;
use squall::proxy::tls::{Pair, ServerTls, crypto_provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Authority = CertifiedIssuer<'static, KeyPair>;
type Tls = ClientTlsStream<tokio::net::TcpStream>;

struct Party {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    tls: ServerTls,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Somebody with a certificate of `ca`; as a server, with mutual TLS, one that lets in only others like that.
fn party(ca: &Authority, mutual: bool) -> Party {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, ca)
        .unwrap();
    let ca_file = write("ca.pem", ca.pem());
    let pair = Pair {
        certificate: write("web.pem", made.pem()),
        key: write("web.key", key.serialize_pem()),
    };
    let tls = ServerTls::load(&[pair], mutual.then_some(&*ca_file)).unwrap();
    Party {
        certificate: made.into(),
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        tls,
    }
}

fn client_config(ca: &Authority, as_who: Option<&Party>, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match as_who {
        Some(party) => builder
            .with_client_auth_cert(vec![party.certificate.clone()], party.key.clone_key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

async fn dial(address: SocketAddr, config: ClientConfig) -> std::io::Result<Tls> {
    let tcp = tokio::net::TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), tcp)
        .await
}

/// Asks for something with a body; the whole response.
async fn ask(stream: &mut Tls, path: &str) -> std::io::Result<String> {
    stream.write_all(get(path).as_bytes()).await?;
    let mut all = Vec::new();
    let mut some = [0; 1024];
    while !all.windows(4).any(|four| four == b"\r\n\r\n") || all.ends_with(b"\r\n\r\n") {
        match stream.read(&mut some).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => all.extend_from_slice(&some[..count]),
        }
    }
    Ok(String::from_utf8(all).unwrap())
}

fn start_tls(tls: &ServerTls) -> (SocketAddr, Listener, Seen) {
    let mut options = options();
    options.entrance.tls = Some(tls.clone());
    start_with(&options, App::default())
}

#[tokio::test]
async fn both_protocols_by_alpn() {
    let ca = authority();
    let server = party(&ca, false);
    let (address, listener, _) = start_tls(&server.tls);
    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = dial(address, client_config(&ca, None, alpn)).await.unwrap();
        ask(&mut stream, "/hello").await.unwrap();
        let who = ask(&mut stream, "/who").await.unwrap();
        assert!(who.ends_with("\r\n\r\nweb 127.0.0.1"), "{who}");
    }
    let stream = dial(address, client_config(&ca, None, &["h2", "http/1.1"]))
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(super::http2::fetch_over(stream, "/who").await, "web 127.0.0.1");
    listener.stop_accepting();
    tokio::time::timeout(Duration::from_secs(3), listener.drained())
        .await
        .unwrap();
}

#[tokio::test]
async fn mutual_tls_refuses_strangers() {
    let ca = authority();
    let server = party(&ca, true);
    let (address, _listener, _) = start_tls(&server.tls);
    let mut known = dial(address, client_config(&ca, Some(&server), &[])).await.unwrap();
    ask(&mut known, "/hello").await.unwrap();
    let stranger = party(&authority(), false);
    for who in [None, Some(&stranger)] {
        // TLS 1.3 clients learn of it when they read.
        let refused = match dial(address, client_config(&ca, who, &[])).await {
            Ok(mut stream) => ask(&mut stream, "/hello").await.unwrap_err(),
            Err(error) => error,
        };
        assert!(refused.to_string().contains("alert"), "{refused}");
    }
}

#[tokio::test]
async fn a_reset_comes_without_a_close_notify() {
    let ca = authority();
    let server = party(&ca, false);
    let (address, _listener, _) = start_tls(&server.tls);
    for (path, expect) in [
        ("/reset", ErrorKind::ConnectionReset),
        ("/close", ErrorKind::UnexpectedEof),
    ] {
        let mut stream = dial(address, client_config(&ca, None, &[])).await.unwrap();
        stream.write_all(get(path).as_bytes()).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), expect, "{path}");
    }
}

#[tokio::test]
async fn an_error_response_outlives_an_unread_body() {
    let ca = authority();
    let server = party(&ca, false);
    let (address, _listener, _) = start_tls(&server.tls);
    let mut stream = dial(address, client_config(&ca, None, &[])).await.unwrap();
    let head = "POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; 20_000_000]).await.unwrap();
    stream.flush().await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(
        all.starts_with("HTTP/1.1 503") && all.to_lowercase().contains("connection: close"),
        "{all}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_and_idle_ones_get_a_close_notify_at_the_stop() {
    let ca = authority();
    let server = party(&ca, false);
    let (address, listener, seen) = start_tls(&server.tls);
    let mut stream = dial(address, client_config(&ca, None, &[])).await.unwrap();
    ask(&mut stream, "/hello").await.unwrap();
    let mut leaver = dial(address, client_config(&ca, None, &[])).await.unwrap();
    leaver.write_all(get("/wait").as_bytes()).await.unwrap();
    seen.until(Seen::waiting, 1, Duration::from_secs(1)).await;
    drop(leaver);
    seen.until_gone(1).await;
    listener.stop_accepting();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    tokio::time::timeout(Duration::from_secs(2), listener.drained())
        .await
        .unwrap();
}

#[tokio::test]
async fn certificates_can_be_replaced() {
    let (old, new) = (authority(), authority());
    let (server, successor) = (party(&old, false), party(&new, false));
    let (address, listener, _) = start_tls(&server.tls);
    let mut stream = dial(address, client_config(&old, None, &[])).await.unwrap();
    ask(&mut stream, "/hello").await.unwrap();
    let (squall, _) = app("web", App::default());
    let entrance = Entrance {
        tls: Some(successor.tls),
        ..Entrance::default()
    };
    listener.replace(Service::Http(squall), entrance);
    ask(&mut stream, "/hello").await.unwrap();
    assert!(dial(address, client_config(&old, None, &[])).await.is_err());
    dial(address, client_config(&new, None, &[])).await.unwrap();
}

#[tokio::test]
async fn a_handshake_has_a_limit_and_ends_at_the_stop() {
    let ca = authority();
    let mut options = options();
    options.entrance.tls = Some(party(&ca, false).tls);
    options.entrance.timeouts.handshake = Duration::from_millis(200);
    let (address, _listener, _) = start_with(&options, App::default());
    let started = Instant::now();
    client(move || assert_eq!(connect(address).read(&mut [0]).unwrap(), 0)).await;
    assert!(started.elapsed() >= Duration::from_millis(200));

    options.entrance.timeouts.handshake = Duration::from_secs(10);
    let (address, listener, _) = start_with(&options, App::default());
    let silent = tokio::spawn(client(move || connect(address).read(&mut [0]).unwrap()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    listener.stop_accepting();
    assert_eq!(silent.await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_owes_its_preface_ends_at_the_stop() {
    let ca = authority();
    let server = party(&ca, false);
    let (address, listener, _) = start_tls(&server.tls);
    let _silent = dial(address, client_config(&ca, None, &["h2"])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    listener.stop_accepting();
    tokio::time::timeout(Duration::from_secs(3), listener.drained())
        .await
        .unwrap();
}
