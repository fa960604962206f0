//! A TCP connection that speaks HTTP/1 by hand, on either side.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::message::{Ending, Fields, Interim, Request, Response};
use super::within;

/// A connection, with what was read from it and not yet used.
#[derive(Debug)]
pub(crate) struct Wire {
    reader: Reader,
    writer: OwnedWriteHalf,
}

/// The receiving side of a [`Wire`].
#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects to an address.
    pub(crate) async fn connect(address: SocketAddr) -> Wire {
        Wire::new(within(TcpStream::connect(address)).await.expect("a connection"))
    }

    /// A connection that is open already.
    pub(crate) fn new(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).expect("no delay");
        let (half, writer) = stream.into_split();
        let buffer = Vec::new();
        Wire {
            reader: Reader { half, buffer },
            writer,
        }
    }

    /// Both directions, each for itself.
    pub(crate) fn split(&mut self) -> (&mut Reader, &mut OwnedWriteHalf) {
        (&mut self.reader, &mut self.writer)
    }

    /// The receiving side.
    pub(crate) fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// Sends bytes.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.writer.write_all(bytes.as_ref()))
            .await
            .expect("the peer takes it");
    }

    /// Sends bytes that the peer may refuse by leaving. Whether it took them.
    pub(crate) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within(self.writer.write_all(bytes.as_ref())).await.is_ok()
    }

    /// Sends a FIN, and stays to read.
    pub(crate) async fn finish(&mut self) {
        within(self.writer.shutdown()).await.expect("the peer is there");
    }

    /// Sends an RST.
    pub(crate) fn reset(self) {
        self.reader.half.as_ref().set_zero_linger().expect("a socket");
        // Dropped otherwise, it would send a FIN first.
        self.writer.forget();
    }

    /// Reads a head; see [`Reader::head`].
    pub(crate) async fn head(&mut self) -> String {
        self.reader.head().await.expect("a head")
    }

    /// Reads exactly so many bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let (bytes, ending) = self.reader.take(length).await;
        assert_eq!(ending, Ending::Whole, "{:?}", String::from_utf8_lossy(&bytes));
        bytes
    }

    /// Reads to the end of the connection: what came before it, and how it came.
    pub(crate) async fn end(&mut self) -> (Vec<u8>, Ending) {
        self.reader.end().await
    }

    /// Reads the response to a request of this method.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        self.reader.response(method).await
    }

    /// Sends a request and reads its response meanwhile.
    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        let bytes = request.wire();
        // Whether all of it was taken shows in the answer: an upstream may answer early and leave.
        let (_, response) = tokio::join!(
            within(self.writer.write_all(&bytes)),
            self.reader.response(&request.method)
        );
        response
    }
}

impl Reader {
    /// Reads more. `Err`: there is no more.
    async fn fill(&mut self) -> Result<(), Ending> {
        match within(self.half.read_buf(&mut self.buffer)).await {
            Ok(0) => Err(Ending::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(Ending::Reset),
        }
    }

    /// What was read and not used.
    fn used(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Reads up to and with the first place where these bytes are.
    async fn until(&mut self, wanted: &[u8]) -> Result<String, Ending> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..]
                .windows(wanted.len())
                .position(|window| window == wanted);
            if let Some(at) = found {
                let bytes = self.used(from + at + wanted.len());
                return Ok(String::from_utf8(bytes).expect("text"));
            }
            from = self.buffer.len().saturating_sub(wanted.len() - 1);
            self.fill().await?;
        }
    }

    /// Reads a head, with the empty line behind it. `Err`: the connection ended before.
    pub(crate) async fn head(&mut self) -> Result<String, Ending> {
        self.until(b"\r\n\r\n").await
    }

    /// Reads so many bytes, or what comes before the connection ends.
    pub(crate) async fn take(&mut self, length: usize) -> (Vec<u8>, Ending) {
        while self.buffer.len() < length {
            if let Err(ending) = self.fill().await {
                return (std::mem::take(&mut self.buffer), ending);
            }
        }
        (self.used(length), Ending::Whole)
    }

    /// Reads whatever there is, at least a byte. Empty: the connection has ended.
    pub(crate) async fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            let _the_end_shows = self.fill().await;
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads to the end of the connection.
    pub(crate) async fn end(&mut self) -> (Vec<u8>, Ending) {
        loop {
            if let Err(ending) = self.fill().await {
                return (std::mem::take(&mut self.buffer), ending);
            }
        }
    }

    /// Reads a body that has the framing of these fields; without any it has none (a request) or ends with the
    /// connection (a response).
    pub(crate) async fn body(&mut self, fields: &Fields, response: bool) -> (Vec<u8>, Fields, Ending) {
        if let Some(coding) = fields.get("transfer-encoding") {
            assert_eq!(coding, "chunked");
            let mut body = Vec::new();
            let (trailers, ending) = self.chunks(&mut body).await;
            return (body, trailers, ending);
        }
        if let Some(length) = fields.get("content-length") {
            let (body, ending) = self.take(length.parse().expect("a length")).await;
            return (body, Fields::default(), ending);
        }
        if !response {
            return (Vec::new(), Fields::default(), Ending::Whole);
        }
        let (body, ending) = self.end().await;
        let ending = if ending == Ending::Closed {
            Ending::Whole
        } else {
            ending
        };
        (body, Fields::default(), ending)
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> (Fields, Ending) {
        loop {
            match self.chunk(body).await {
                Ok(None) => {}
                Ok(Some(trailers)) => return (trailers, Ending::Whole),
                Err(ending) => {
                    self.buffer.clear();
                    return (Fields::default(), ending);
                }
            }
        }
    }

    /// Reads one chunk. The last one gives the trailers.
    async fn chunk(&mut self, body: &mut Vec<u8>) -> Result<Option<Fields>, Ending> {
        let line = self.until(b"\r\n").await?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("`{line}` is not a chunk's size"));
        if size > 0 {
            let (bytes, ending) = self.take(size).await;
            body.extend_from_slice(&bytes);
            if ending != Ending::Whole {
                return Err(ending);
            }
            assert_eq!(self.until(b"\r\n").await?, "\r\n", "behind a chunk");
            return Ok(None);
        }
        let mut trailers = String::new();
        loop {
            match self.until(b"\r\n").await?.as_str() {
                "\r\n" => return Ok(Some(Fields::parse(&trailers))),
                line => trailers.push_str(line),
            }
        }
    }

    /// Reads the response to a request of this method, interim ones included.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        let mut interim = Vec::new();
        loop {
            let raw = match self.head().await {
                Ok(raw) => raw,
                Err(ending) => {
                    return Response {
                        interim,
                        ..Response::none(ending)
                    };
                }
            };
            let (status, fields) = parse(&raw);
            if (100..200).contains(&status) && status != 101 {
                interim.push(Interim { status, fields });
                continue;
            }
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let (body, trailers, ending) = if bodiless {
                (Vec::new(), Fields::default(), Ending::Whole)
            } else {
                self.body(&fields, true).await
            };
            return Response {
                interim,
                status,
                raw,
                fields,
                body,
                trailers,
                ending,
                head_only: false,
            };
        }
    }
}

/// The status and the fields of a response's head.
pub(crate) fn parse(head: &str) -> (u16, Fields) {
    let (first, lines) = head.split_once("\r\n").expect("lines");
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("`{first}` is not a status line"));
    (status, Fields::parse(lines))
}
