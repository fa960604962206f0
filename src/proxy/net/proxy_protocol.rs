//! The PROXY protocol, version 1 and 2 ("The PROXY protocol", HAProxy): the addresses of a connection, sent before its bytes by a
//! proxy in front.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::ReadBuf;

use super::socket::Socket;

/// How a header of version 1 begins, and the most bytes that it has (section 2.1). One of version 2 says how long it is, at most
/// 64 KiB.
const V1_PREFIX: &[u8] = b"PROXY ";
const V1_BYTES: usize = 107;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The source and the destination of a connection, as the client of the first proxy sees it.
pub(crate) type Ends = (SocketAddr, SocketAddr);

impl ProxyProtocol {
    /// The header that tells the ends of a connection; `None` where it has no such addresses, as on a unix socket.
    pub(crate) fn header(self, ends: Option<Ends>) -> Vec<u8> {
        let ends = ends.map(|(source, destination)| same_family(source, destination));
        match (self, ends) {
            (ProxyProtocol::V1, ends) => {
                let addresses = ends.map_or(v1::Addresses::Unknown, v1::Addresses::from);
                addresses.to_string().into_bytes()
            }
            (ProxyProtocol::V2, Some(ends)) => {
                let header = v2::Version::Two | v2::Command::Proxy;
                // Fails only for more payload than fits, and there is none.
                v2::Builder::with_addresses(header, v2::Protocol::Stream, ends)
                    .build()
                    .unwrap_or_default()
            }
            (ProxyProtocol::V2, None) => v2::Builder::new(v2::Version::Two | v2::Command::Local, 0)
                .build()
                .unwrap_or_default(),
        }
    }
}

/// Addresses of one family: IPv4 as it is, or both as IPv6 (section 2.1 knows no mixture).
fn same_family(source: SocketAddr, destination: SocketAddr) -> Ends {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    };
    match (canonical(source), canonical(destination)) {
        (source @ SocketAddr::V4(_), destination @ SocketAddr::V4(_)) => (source, destination),
        (source, destination) => (mapped(source), mapped(destination)),
    }
}

/// Waits for the header of a connection and returns the ends that it tells; `None` if it tells none (UNKNOWN, LOCAL, or a unix
/// socket), which means those of the connection itself. Has no time limit.
///
/// # Errors
/// The socket's, `UnexpectedEof`, or `InvalidData` if the connection does not begin with a header.
pub(crate) async fn read(socket: &Socket) -> io::Result<Option<Ends>> {
    let mut all = Vec::new();
    loop {
        let mut piece = [0_u8; 512];
        let mut buf = ReadBuf::new(&mut piece);
        std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf)).await?;
        if buf.filled().is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(buf.filled());
        if let Some((length, ends)) = parse(&all)? {
            socket.unread(all.get(length..).unwrap_or_default());
            return Ok(ends);
        }
    }
}

/// Parses a header. Returns its length and what it tells, or `None` if more bytes are needed.
fn parse(bytes: &[u8]) -> io::Result<Option<(usize, Option<Ends>)>> {
    let wrong = |what: Cow<'static, str>| io::Error::new(io::ErrorKind::InvalidData, what);
    // A line that is not complete can look like a wrong one.
    let begins = |prefix: &[u8]| prefix.iter().zip(bytes).all(|(one, other)| one == other);
    let is_cut = begins(V1_PREFIX) && !bytes.windows(2).any(|two| two == b"\r\n");
    if is_cut && bytes.len() < V1_BYTES {
        return Ok(None);
    }
    let parsed = HeaderResult::parse(bytes);
    if parsed.is_incomplete() {
        return match parsed {
            HeaderResult::V2(_) => Ok(None),
            HeaderResult::V1(_) => Err(wrong("the line of the PROXY protocol is too long".into())),
        };
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => Ok(Some((header.header.len(), ends_v1(header.addresses)))),
        HeaderResult::V2(Ok(header)) => {
            let told = header.command == v2::Command::Proxy;
            Ok(Some((
                header.as_bytes().len(),
                ends_v2(header.addresses).filter(|_| told),
            )))
        }
        HeaderResult::V1(Err(error)) => Err(wrong(format!("not the PROXY protocol: {error}").into())),
        HeaderResult::V2(Err(error)) => Err(wrong(format!("not the PROXY protocol: {error}").into())),
    }
}

fn ends_v1(addresses: v1::Addresses) -> Option<Ends> {
    match addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ends) => Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        )),
        v1::Addresses::Tcp6(ends) => Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        )),
    }
}

fn ends_v2(addresses: v2::Addresses) -> Option<Ends> {
    match addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(ends) => Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        )),
        v2::Addresses::IPv6(ends) => Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        (source.parse().unwrap(), destination.parse().unwrap())
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        let v4 = ends("10.0.0.1:1234", "10.0.0.2:5432");
        let v6 = ends("[2001:db8::1]:1234", "[2001:db8::2]:5432");
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            for told in [Some(v4), Some(v6), None] {
                let mut bytes = version.header(told);
                let length = bytes.len();
                for cut in 1..length {
                    assert!(parse(&bytes[..cut]).unwrap().is_none(), "{version:?} {told:?} {cut}");
                }
                bytes.extend_from_slice(b"SELECT 1\r\n");
                assert_eq!(parse(&bytes).unwrap(), Some((length, told)));
            }
        }
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        let v1 = |ends| String::from_utf8(ProxyProtocol::V1.header(ends)).unwrap();
        assert_eq!(
            v1(Some(ends("10.0.0.1:1234", "[::ffff:10.0.0.2]:80"))),
            "PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n"
        );
        assert_eq!(
            v1(Some(ends("10.0.0.1:1234", "[::1]:80"))),
            "PROXY TCP6 ::ffff:10.0.0.1 ::1 1234 80\r\n"
        );
        assert_eq!(v1(None), "PROXY UNKNOWN\r\n");
        let v2 = ProxyProtocol::V2.header(Some(ends("10.0.0.1:258", "10.0.0.2:80")));
        assert_eq!(
            v2,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x01\x02\0\x50"
        );
        assert_eq!(ProxyProtocol::V2.header(None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01",
            b"PROXY TCP4 10.0.0.1 nonsense 1 2\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 99999\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        ] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(parse(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat()).is_err());
    }
}
