//! HTTP/1 as nobody may write it: a response whose head or framing is broken on purpose.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header;
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::record::Record;
use crate::shape::Garble;

/// How a response is broken: what can't be done by changing its head or its body.
#[derive(Debug)]
pub(super) struct Spoil {
    /// Where it is counted.
    pub(super) record: Arc<Record>,
    /// The actions of the plan with what each does.
    pub(super) acts: Vec<(usize, Garble)>,
}

impl Spoil {
    fn has(&self, garble: Garble) -> bool {
        self.acts.iter().any(|(_, act)| *act == garble)
    }

    /// Counts what is about to show: in the head or in the body.
    fn show(&self, in_body: bool) {
        for (action, act) in &self.acts {
            if (*act == Garble::Chunk) == in_body {
                self.record.done(*action);
            }
        }
    }
}

/// Writes one response to an HTTP/1 connection that is of no use afterwards.
pub(super) struct Writer {
    stream: Stream,
    spoil: Spoil,
    chunked: bool,
    /// The chunk after the first is the broken one.
    chunks: u64,
    /// It has been written.
    broken: bool,
}

impl Writer {
    /// A writer for what is left of a connection.
    pub(super) fn new(stream: Stream, spoil: Spoil) -> Writer {
        Writer {
            stream,
            spoil,
            chunked: false,
            chunks: 0,
            broken: false,
        }
    }

    /// Writes the head.
    ///
    /// # Errors
    /// The connection's.
    pub(super) async fn head(&mut self, head: &mut ResponseHeader) -> io::Result<()> {
        self.spoil.show(false);
        // A constant is a valid value.
        let _ = head.insert_header(header::CONNECTION, "close");
        self.chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        let mut wire = BytesMut::with_capacity(1024);
        match self.spoil.has(Garble::StatusLine) {
            // No version, no number: nothing that RFC 9112, section 4 knows as a status line.
            true => wire.put_slice(b"HTTP-1.1 OK"),
            false => {
                wire.put_slice(b"HTTP/1.1 ");
                wire.put_slice(head.status.as_str().as_bytes());
                wire.put_u8(b' ');
                wire.put_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
            }
        }
        wire.put_slice(b"\r\n");
        if self.spoil.has(Garble::Header) {
            // A name with a space in it and no colon after it (RFC 9112, section 5.1). First, so that none is missed.
            wire.put_slice(b"no field at all\x00\r\n");
        }
        head.header_to_h1_wire(&mut wire);
        wire.put_slice(b"\r\n");
        self.write(&wire).await
    }

    /// Writes a piece of the body; false when nothing may follow it.
    ///
    /// # Errors
    /// The connection's.
    pub(super) async fn body(&mut self, piece: &Bytes) -> io::Result<bool> {
        if !self.chunked {
            self.write(piece).await?;
            return Ok(true);
        }
        if self.breaks_here() {
            self.break_chunk().await?;
            return Ok(false);
        }
        self.chunks += 1;
        let mut chunk = BytesMut::with_capacity(piece.len() + 16);
        chunk.put_slice(format!("{:X}\r\n", piece.len()).as_bytes());
        chunk.put_slice(piece);
        chunk.put_slice(b"\r\n");
        self.write(&chunk).await?;
        Ok(true)
    }

    /// Ends the body, and the connection.
    ///
    /// # Errors
    /// The connection's.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        if self.chunked {
            match self.spoil.has(Garble::Chunk) {
                true if self.broken => {}
                true => self.break_chunk().await?,
                false => self.write(b"0\r\n\r\n").await?,
            }
        }
        self.stream.shutdown().await
    }

    /// Waits until the client has left. Whatever it still sends is thrown away. Cancel-safe.
    pub(super) async fn client_gone(&mut self) {
        let mut waste = [0; 4096];
        while self.stream.read(&mut waste).await.is_ok_and(|count| count > 0) {}
    }

    fn breaks_here(&self) -> bool {
        self.chunks == 1 && self.spoil.has(Garble::Chunk)
    }

    /// A chunk's size that is no hexadecimal number (RFC 9112, section 7.1).
    async fn break_chunk(&mut self) -> io::Result<()> {
        self.spoil.show(true);
        self.broken = true;
        self.write(b"no-size\r\nsquall\r\n").await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
