//! Collects the pieces of a body, up to a limit.

use bytes::{Bytes, BytesMut};

/// Pieces below this many bytes are joined: the overhead of a piece would exceed its content.
const SMALL: usize = 1 << 10;

/// Collects pieces until they exceed a limit in bytes.
#[derive(Debug)]
pub(super) struct Collector {
    pieces: Vec<Bytes>,
    /// Small pieces that follow `pieces`, joined.
    tail: BytesMut,
    length: usize,
    limit: usize,
}

impl Collector {
    /// Collects at most `limit` bytes, plus the piece that exceeds the limit.
    pub(super) fn new(limit: usize) -> Collector {
        Collector {
            pieces: Vec::new(),
            tail: BytesMut::new(),
            length: 0,
            limit,
        }
    }

    /// Adds a piece. Returns whether the total is within the limit.
    #[must_use]
    pub(super) fn push(&mut self, piece: Bytes) -> bool {
        self.length = self.length.saturating_add(piece.len());
        if piece.len() < SMALL {
            self.tail.extend_from_slice(&piece);
        } else {
            self.settle_tail();
            self.pieces.push(piece);
        }
        self.length <= self.limit
    }

    /// The pieces, in order.
    pub(super) fn into_pieces(mut self) -> Vec<Bytes> {
        self.settle_tail();
        self.pieces
    }

    /// The whole body as one piece, copied if it consists of several.
    pub(super) fn whole(&self) -> Bytes {
        if let ([piece], []) = (self.pieces.as_slice(), &*self.tail) {
            return piece.clone();
        }
        let mut whole = BytesMut::with_capacity(self.length);
        for piece in &self.pieces {
            whole.extend_from_slice(piece);
        }
        whole.extend_from_slice(&self.tail);
        whole.freeze()
    }

    fn settle_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_lost(pieces: Vec<Vec<u8>>, limit in 0usize..200) {
            let all = pieces.concat();
            let mut collector = Collector::new(limit);
            let mut fits = true;
            for piece in pieces {
                fits = collector.push(piece.into());
            }
            prop_assert_eq!(fits, all.len() <= limit || all.is_empty());
            prop_assert_eq!(&collector.whole()[..], &all[..]);
            prop_assert_eq!(collector.into_pieces().concat(), all);
        }
    }
}
