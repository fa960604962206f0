//! The messages of a gRPC call as they come: frames of five bytes and the message (gRPC over HTTP/2, "Length-Prefixed-Message").

use std::io::Read as _;

use axum::body::Body;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use http_body_util::BodyExt as _;
use prost::Message;

use crate::grpc::{GrpcCode, GrpcStatus};
use crate::limits::bodies::{Budget, Charge, Full};

/// The longest message, in bytes, compressed or not. It is what gRPC's libraries accept by default.
pub(super) const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// The bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The encodings of messages that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// None.
    Identity,
    /// Messages that say so are compressed.
    Gzip,
}

/// The messages that a client sends.
pub(super) struct Messages {
    body: Body,
    encoding: Encoding,
    buffer: BytesMut,
    budget: Budget,
    /// For the buffer.
    charge: Charge,
}

impl Messages {
    /// Reads them from a request's body. What is held of them counts against `budget`.
    pub(super) fn new(body: Body, encoding: Encoding, budget: Budget) -> Messages {
        Messages {
            body,
            encoding,
            buffer: BytesMut::new(),
            charge: budget.charge(),
            budget,
        }
    }

    /// The next message; `None` after the last one.
    ///
    /// # Errors
    /// The client has left, a message is too long or malformed, or it does not fit in memory.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, GrpcStatus> {
        loop {
            if let Some(message) = self.split()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        let length = self.buffer.len() + data.len();
                        self.charge.grow_to(length).map_err(|Full| no_room())?;
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => return Err(GrpcStatus::new(GrpcCode::CANCELLED, "the request broke off")),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(GrpcStatus::new(GrpcCode::INTERNAL, "the last message is incomplete")),
            }
        }
    }

    /// The only message.
    ///
    /// # Errors
    /// There is none, or another one; see also [`Messages::next`].
    pub(super) async fn only(&mut self) -> Result<Bytes, GrpcStatus> {
        let Some(message) = self.next().await? else {
            return Err(GrpcStatus::new(
                GrpcCode::INTERNAL,
                "the call needs a message, and got none",
            ));
        };
        match self.next().await? {
            None => Ok(message),
            Some(_) => Err(GrpcStatus::new(
                GrpcCode::INTERNAL,
                "the call takes one message, and got more",
            )),
        }
    }

    /// The next message, if all of it is there.
    fn split(&mut self) -> Result<Option<Bytes>, GrpcStatus> {
        let Some(mut prefix) = self.buffer.get(..PREFIX) else {
            return Ok(None);
        };
        let (flag, length) = (prefix.get_u8(), prefix.get_u32());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MESSAGE_LIMIT {
            return Err(too_long());
        }
        if self.buffer.len() - PREFIX < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let message = self.buffer.split_to(length).freeze();
        // No longer held, once it was dealt with.
        let message = self.charge.split(PREFIX + length).attach(message);
        match (flag, self.encoding) {
            (0, _) => Ok(Some(message)),
            (1, Encoding::Gzip) => self.unzip(&message).map(Some),
            (1, Encoding::Identity) => Err(GrpcStatus::new(
                GrpcCode::INTERNAL,
                "the message is compressed, and the call has no grpc-encoding",
            )),
            _ => Err(GrpcStatus::new(GrpcCode::INTERNAL, "the message has an unknown flag")),
        }
    }

    fn unzip(&self, message: &[u8]) -> Result<Bytes, GrpcStatus> {
        let mut whole = Vec::new();
        let limit = MESSAGE_LIMIT as u64 + 1;
        let read = GzDecoder::new(message).take(limit).read_to_end(&mut whole);
        read.map_err(|_| GrpcStatus::new(GrpcCode::INTERNAL, "the message is not valid gzip"))?;
        if whole.len() > MESSAGE_LIMIT {
            return Err(too_long());
        }
        let charge = self.budget.take(whole.len()).map_err(|Full| no_room())?;
        Ok(charge.attach(whole.into()))
    }
}

fn too_long() -> GrpcStatus {
    GrpcStatus::new(GrpcCode::RESOURCE_EXHAUSTED, "the message is longer than 4 MiB")
}

fn no_room() -> GrpcStatus {
    let text = "squall holds as many bodies as `bounds.bodies` allows: try again";
    GrpcStatus::new(GrpcCode::RESOURCE_EXHAUSTED, text)
}

/// Reads a message.
///
/// # Errors
/// It is not valid protobuf.
pub(super) fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, GrpcStatus> {
    let malformed = |error| GrpcStatus::new(GrpcCode::INTERNAL, &format!("the message is not valid: {error}"));
    M::decode(bytes).map_err(malformed)
}

/// A message with its prefix, as it is sent.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    // Messages are at most as long as those that are read, and a few bytes.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write as _;
    use std::sync::Arc;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::stream::iter;

    use super::*;
    use crate::limits::bodies::Bodies;

    fn messages(bytes: &[u8], piece: usize, encoding: Encoding) -> Messages {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(Bytes::copy_from_slice)
            .map(Ok::<_, Infallible>)
            .collect();
        Messages::new(Body::from_stream(iter(pieces)), encoding, Budget::default())
    }

    fn zipped(message: &[u8]) -> Vec<u8> {
        let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
        zip.write_all(message).unwrap();
        let zip = zip.finish().unwrap();
        [&[1], u32::try_from(zip.len()).unwrap().to_be_bytes().as_slice(), &zip].concat()
    }

    #[tokio::test]
    async fn messages_are_read_however_they_are_cut() {
        let bytes = [framed(b"one"), framed(b""), framed(&[7; 300]), zipped(b"zip").into()].concat();
        for piece in [1, 2, 7, 1000] {
            let mut messages = messages(&bytes, piece, Encoding::Gzip);
            for expected in [b"one".as_slice(), b"", &[7; 300], b"zip"] {
                assert_eq!(messages.next().await.unwrap().unwrap(), expected);
            }
            assert_eq!(messages.next().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn what_is_malformed_has_a_status() {
        let status = async |bytes: &[u8]| {
            let error = messages(bytes, 1000, Encoding::Identity).only().await.unwrap_err();
            error.code
        };
        assert_eq!(status(b"").await, GrpcCode::INTERNAL);
        assert_eq!(status(b"\0\0\0\0\x05abc").await, GrpcCode::INTERNAL);
        assert_eq!(status(b"\0\0").await, GrpcCode::INTERNAL);
        assert_eq!(status(b"\x02\0\0\0\0").await, GrpcCode::INTERNAL);
        assert_eq!(status(&zipped(b"x")).await, GrpcCode::INTERNAL);
        assert_eq!(status(b"\0\xff\xff\xff\xff").await, GrpcCode::RESOURCE_EXHAUSTED);
        assert_eq!(status(&[framed(b"a"), framed(b"b")].concat()).await, GrpcCode::INTERNAL);
        let bomb = zipped(&vec![0; MESSAGE_LIMIT + 1]);
        let error = messages(&bomb, 1000, Encoding::Gzip).next().await.unwrap_err();
        assert_eq!(error.code, GrpcCode::RESOURCE_EXHAUSTED);
        let broken = messages(b"\x01\0\0\0\x03abc", 1000, Encoding::Gzip).next().await;
        assert_eq!(broken.unwrap_err().code, GrpcCode::INTERNAL);
    }

    #[tokio::test]
    async fn what_is_held_is_counted() {
        let bodies = Arc::new(Bodies::default());
        let body = || Body::from([framed(&[1; 20]), framed(&[2; 20])].concat());
        let mut messages = Messages::new(body(), Encoding::Identity, Budget::new(&bodies, 100));
        let first = messages.next().await.unwrap();
        assert_eq!(bodies.bytes(), 50);
        drop(first);
        assert_eq!(bodies.bytes(), 25);
        drop(messages);
        assert_eq!(bodies.bytes(), 0);
        let mut messages = Messages::new(body(), Encoding::Identity, Budget::new(&bodies, 30));
        assert_eq!(messages.next().await.unwrap_err().code, GrpcCode::RESOURCE_EXHAUSTED);
    }
}
