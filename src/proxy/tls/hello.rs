//! Reads what rules match out of a ClientHello, and puts the bytes back for the handshake.

use std::io;

use rustls::server::Acceptor;
use tokio::io::ReadBuf;

use crate::proxy::net::socket::Socket;

/// The most bytes of a ClientHello. Longer ones are left to the handshake, which refuses them.
const MAX_BYTES: usize = 64 << 10;

/// What a client says in its ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The server name that it asks for, in lower case (SNI, RFC 6066, section 3).
    pub(crate) name: Option<String>,
    /// The protocols that it offers (ALPN, RFC 7301, section 3.1).
    pub(crate) protocols: Vec<String>,
}

/// Waits for the ClientHello. The bytes read are put back. Has no time limit.
///
/// Anything but a ClientHello counts as one that says nothing; the handshake then reports what is wrong.
///
/// # Errors
/// The socket's, or `UnexpectedEof` if the client disconnects before the ClientHello is complete.
pub(crate) async fn client_hello(socket: &Socket) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut all = Vec::new();
    let hello = loop {
        let mut piece = [0_u8; 4096];
        let mut buf = ReadBuf::new(&mut piece);
        std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf)).await?;
        let piece = buf.filled();
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(piece);
        if let Some(hello) = feed(&mut acceptor, piece) {
            break hello;
        }
        if all.len() > MAX_BYTES {
            break Hello::default();
        }
    };
    socket.unread(&all);
    Ok(hello)
}

/// Feeds bytes to the acceptor. Returns `None` if it needs more.
fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Option<Hello> {
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Some(Hello::default());
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let protocols = hello.alpn().into_iter().flatten();
                return Some(Hello {
                    name: hello.server_name().map(str::to_ascii_lowercase),
                    protocols: protocols
                        .map(|name| String::from_utf8_lossy(name).into_owned())
                        .collect(),
                });
            }
            Err(_) => return Some(Hello::default()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::tls::crypto_provider;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::Arc;

    /// What a client says first that asks for `name`.
    fn hello(name: &'static str) -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(crypto_provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"postgresql".to_vec()];
        let name = ServerName::try_from(name).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn fed(pieces: &[&[u8]]) -> Option<Hello> {
        let mut acceptor = Acceptor::default();
        pieces.iter().find_map(|piece| feed(&mut acceptor, piece))
    }

    #[test]
    fn names_are_found_however_they_come() {
        let says = |name: Option<&str>| Hello {
            name: name.map(str::to_owned),
            protocols: vec!["h2".to_owned(), "postgresql".to_owned()],
        };
        let hello_shop = Some(says(Some("shop.test")));
        let bytes = hello("Shop.Test");
        assert_eq!(fed(&[&bytes]), hello_shop);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(fed(&single), hello_shop);
        assert_eq!(fed(&[&bytes[..bytes.len() - 1]]), None);
        assert_eq!(fed(&[&hello("127.0.0.1")]), Some(says(None)));
        assert_eq!(fed(&[b"GET / HTTP/1.1\r\n\r\n"]), Some(Hello::default()));
    }

    #[tokio::test]
    async fn the_client_hello_is_read_again() {
        use tokio::io::AsyncWriteExt;
        let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
        let socket = Socket::from(server);
        let bytes = hello("shop.test");
        client.write_all(&bytes).await.unwrap();
        client.write_all(b"more").await.unwrap();
        assert_eq!(client_hello(&socket).await.unwrap().name.as_deref(), Some("shop.test"));
        drop(client);
        let mut again = Vec::new();
        loop {
            let mut piece = [0_u8; 100];
            let mut buf = ReadBuf::new(&mut piece);
            std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf)).await.unwrap();
            if buf.filled().is_empty() {
                break;
            }
            again.extend_from_slice(buf.filled());
        }
        assert_eq!(again, [&bytes[..], b"more"].concat());
        let error = client_hello(&socket).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
