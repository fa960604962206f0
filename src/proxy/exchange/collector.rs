//! Pieces of a body, up to a limit.

use bytes::{Bytes, BytesMut};

/// Holds pieces until there are more bytes than the limit.
#[derive(Debug)]
pub(super) struct Collector {
    pieces: Vec<Bytes>,
    length: usize,
    limit: usize,
}

impl Collector {
    /// Holds at most so many bytes, and the piece that goes beyond.
    pub(super) fn new(limit: usize) -> Collector {
        Collector {
            pieces: Vec::new(),
            length: 0,
            limit,
        }
    }

    /// Takes a piece; whether all of them are within the limit.
    #[must_use]
    pub(super) fn push(&mut self, piece: Bytes) -> bool {
        self.length = self.length.saturating_add(piece.len());
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
        self.length <= self.limit
    }

    /// The pieces as they came.
    pub(super) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// All of it in one; copied unless it came so.
    pub(super) fn whole(&self) -> Bytes {
        if let [piece] = self.pieces.as_slice() {
            return piece.clone();
        }
        let mut whole = BytesMut::with_capacity(self.length);
        for piece in &self.pieces {
            whole.extend_from_slice(piece);
        }
        whole.freeze()
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
