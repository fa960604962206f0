//! The output buffer of a connection: bytes that were written and not yet sent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// Pieces up to this many bytes are copied together, so that a head and a small body are sent in one system call.
const SMALL: usize = 2048;

/// The most slices of one vectored write.
const SLICES: usize = 16;

/// A queue of bytes. Large pieces are queued as they are, small ones are copied together.
#[derive(Debug, Default)]
pub(crate) struct Output {
    queue: VecDeque<Bytes>,
    /// Bytes that follow those in `queue`.
    tail: BytesMut,
    queued: usize,
    /// Whether bytes were written to the stream since it was last flushed.
    unflushed: bool,
}

impl Output {
    /// The number of queued bytes.
    pub(crate) fn len(&self) -> usize {
        self.queued
    }

    /// Queues a copy of `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.queued += bytes.len();
    }

    /// Queues `bytes`, without a copy if they are more than [`SMALL`].
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= SMALL {
            return self.put(&bytes);
        }
        self.queued += bytes.len();
        self.settle_tail();
        self.queue.push_back(bytes);
    }

    /// Lets `write` append to the queue directly.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.queued += self.tail.len() - before;
    }

    /// Sends queued bytes and flushes the stream. Ready when everything was sent.
    pub(crate) fn poll_flush<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while self.queued > 0 {
            let sent = ready!(self.poll_write(stream, cx))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.advance(sent);
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + Unpin,
    {
        let stream = Pin::new(stream);
        if self.queue.is_empty() {
            return stream.poll_write(cx, &self.tail);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let all = self.queue.iter().map(|piece| &**piece).chain([&*self.tail]);
        for (slot, piece) in slices.iter_mut().zip(all) {
            *slot = IoSlice::new(piece);
            used += 1;
        }
        stream.poll_write_vectored(cx, slices.get(..used).unwrap_or_default())
    }

    fn advance(&mut self, mut sent: usize) {
        self.queued -= sent;
        while let Some(first) = self.queue.front_mut() {
            if sent < first.len() {
                return first.advance(sent);
            }
            sent -= first.len();
            self.queue.pop_front();
        }
        self.tail.advance(sent);
        if self.tail.is_empty() {
            // Clearing keeps the memory for the next head.
            self.tail.clear();
        }
    }

    fn settle_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::task::Waker;

    use super::*;

    /// A stream that takes this many bytes of each write.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_whatever_the_stream_takes(
            sizes in prop::collection::vec(0_usize..9000, 0..12),
            room in 1_usize..5000,
        ) {
            let mut output = Output::default();
            let mut wanted = Vec::new();
            for (number, size) in sizes.into_iter().enumerate() {
                let piece = vec![number as u8; size];
                wanted.extend_from_slice(&piece);
                match number % 2 {
                    0 => output.put(&piece),
                    _ => output.push(piece.into()),
                }
            }
            prop_assert_eq!(output.len(), wanted.len());
            let mut stream = Narrow(room, Vec::new());
            let mut cx = Context::from_waker(Waker::noop());
            prop_assert!(matches!(output.poll_flush(&mut stream, &mut cx), Poll::Ready(Ok(()))));
            prop_assert_eq!(output.len(), 0);
            prop_assert_eq!(stream.1, wanted);
        }
    }
}
