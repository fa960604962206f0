//! Reads the server name out of a ClientHello, and puts the bytes back for the handshake.

use std::io;

use rustls::server::Acceptor;
use tokio::io::ReadBuf;

use crate::proxy::net::socket::Socket;

/// The most bytes of a ClientHello. Longer ones are left to the handshake, which refuses them.
const MAX_BYTES: usize = 64 << 10;

/// Waits for the ClientHello and returns its server name, if any (SNI, RFC 6066, section 3), in lower case. The bytes read
/// are put back. Has no time limit.
///
/// Anything but a ClientHello counts as one without a name; the handshake then reports what is wrong.
///
/// # Errors
/// The socket's, or `UnexpectedEof` if the client disconnects before the ClientHello is complete.
pub(crate) async fn server_name(socket: &Socket) -> io::Result<Option<String>> {
    let mut acceptor = Acceptor::default();
    let mut all = Vec::new();
    let name = loop {
        let mut piece = [0_u8; 4096];
        let mut buf = ReadBuf::new(&mut piece);
        std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf)).await?;
        let piece = buf.filled();
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(piece);
        if let Some(name) = feed(&mut acceptor, piece) {
            break name;
        }
        if all.len() > MAX_BYTES {
            break None;
        }
    };
    socket.unread(&all);
    Ok(name)
}

/// Feeds bytes to the acceptor. Returns `None` if it needs more.
fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Option<Option<String>> {
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Some(None);
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                return Some(name);
            }
            Err(_) => return Some(None),
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
        let config = ClientConfig::builder_with_provider(crypto_provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn fed(pieces: &[&[u8]]) -> Option<Option<String>> {
        let mut acceptor = Acceptor::default();
        pieces.iter().find_map(|piece| feed(&mut acceptor, piece))
    }

    #[test]
    fn names_are_found_however_they_come() {
        let name = Some(Some("shop.test".to_owned()));
        let bytes = hello("Shop.Test");
        assert_eq!(fed(&[&bytes]), name);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(fed(&single), name);
        assert_eq!(fed(&[&bytes[..bytes.len() - 1]]), None);
        assert_eq!(fed(&[&hello("127.0.0.1")]), Some(None));
        assert_eq!(fed(&[b"GET / HTTP/1.1\r\n\r\n"]), Some(None));
    }

    #[tokio::test]
    async fn the_client_hello_is_read_again() {
        use tokio::io::AsyncWriteExt;
        let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
        let socket = Socket::from(server);
        let bytes = hello("shop.test");
        client.write_all(&bytes).await.unwrap();
        client.write_all(b"more").await.unwrap();
        assert_eq!(server_name(&socket).await.unwrap().as_deref(), Some("shop.test"));
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
        let error = server_name(&socket).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
