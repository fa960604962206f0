//! Collects the pieces of a body, up to a limit of its own and within the bound on all bodies.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::bodies::{Budget, Charge, Full};

/// Pieces below this many bytes are joined: the overhead of a piece would exceed its content.
const SMALL: usize = 1 << 10;

/// Collects pieces until they exceed a limit in bytes, or there is no more room for bodies.
#[derive(Debug)]
pub struct Collector {
    pieces: Vec<Bytes>,
    /// Small pieces that follow `pieces`, joined.
    tail: BytesMut,
    length: usize,
    limit: usize,
    /// For the pieces, and from the start for twice the announced length: joining them needs as much again.
    charge: Charge,
}

/// Why a body was not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncollected {
    /// It exceeds its limit.
    TooLarge,
    /// The bodies in memory take as much as they may.
    Full,
    /// It broke off, or was malformed.
    Broken,
}

impl Uncollected {
    /// Why a fault is skipped for it: one of [`crate::metrics::SKIP_REASONS`].
    pub fn reason(self) -> &'static str {
        match self {
            Uncollected::TooLarge => "body too large",
            Uncollected::Full => Full::REASON,
            Uncollected::Broken => "body broke off",
        }
    }
}

impl Collector {
    /// Collects at most `limit` bytes, plus the piece that exceeds the limit. Takes the memory for an announced length at once,
    /// so that of many large bodies at the same time those that came first are collected, rather than none.
    ///
    /// # Errors
    /// The body is known not to fit.
    pub fn new(limit: usize, announced: Option<u64>, budget: &Budget) -> Result<Collector, Uncollected> {
        let announced = match announced.map_or(Ok(0), usize::try_from) {
            Ok(length) if length <= limit => length,
            _ => return Err(Uncollected::TooLarge),
        };
        let charge = budget.take(announced.saturating_mul(2));
        Ok(Collector {
            pieces: Vec::new(),
            tail: BytesMut::new(),
            length: 0,
            limit,
            charge: charge.map_err(|Full| Uncollected::Full)?,
        })
    }

    /// Adds a piece, in any case.
    ///
    /// # Errors
    /// The body is not to be collected on.
    pub fn push(&mut self, piece: Bytes) -> Result<(), Uncollected> {
        self.length = self.length.saturating_add(piece.len());
        let charged = self.charge.grow_to(self.length);
        if piece.len() < SMALL {
            self.tail.extend_from_slice(&piece);
        } else {
            self.settle_tail();
            self.pieces.push(piece);
        }
        if self.length > self.limit {
            return Err(Uncollected::TooLarge);
        }
        charged.map_err(|Full| Uncollected::Full)
    }

    /// The pieces, in order.
    pub fn into_pieces(mut self) -> Vec<Bytes> {
        self.settle_tail();
        let mut charge = self.charge;
        let pieces = self.pieces.into_iter();
        pieces.map(|piece| charge.split(piece.len()).attach(piece)).collect()
    }

    /// The whole body as one piece, copied if it consists of several.
    ///
    /// # Errors
    /// There is no room for the copy.
    pub fn into_whole(mut self) -> Result<Bytes, Collector> {
        self.settle_tail();
        let whole = if let [piece] = self.pieces.as_slice() {
            piece.clone()
        } else {
            if self.charge.grow_to(self.length.saturating_mul(2)).is_err() {
                return Err(self);
            }
            let mut whole = BytesMut::with_capacity(self.length);
            self.pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            whole.freeze()
        };
        Ok(self.charge.split(self.length).attach(whole))
    }

    fn settle_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }
}

/// The whole body, if it has at most `limit` bytes. Trailers are dropped.
///
/// # Errors
/// See [`Uncollected`].
pub async fn collect(
    mut body: impl Body<Data = Bytes> + Unpin,
    limit: usize,
    budget: &Budget,
) -> Result<Bytes, Uncollected> {
    let mut collector = Collector::new(limit, body.size_hint().exact(), budget)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Uncollected::Broken)?;
        if let Ok(data) = frame.into_data() {
            collector.push(data)?;
        }
    }
    collector.into_whole().map_err(|_| Uncollected::Full)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::Full as WholeBody;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::bodies::Bodies;

    proptest! {
        #[test]
        fn nothing_is_lost(
            pieces: Vec<Vec<u8>>,
            limit in 0usize..200,
            most in 0usize..400,
            announced: bool,
            whole: bool,
        ) {
            let all = pieces.concat();
            let bodies = Arc::new(Bodies::default());
            let length = announced.then_some(all.len() as u64);
            let collector = Collector::new(limit, length, &Budget::new(&bodies, most));
            let room = if announced { 2 * all.len() } else { all.len() };
            let fits = all.len() <= limit && room <= most;
            prop_assert!(collector.is_ok() || announced && !fits);
            let Ok(mut collector) = collector else { return Ok(()) };
            let mut pushed = Ok(());
            for piece in pieces {
                pushed = pushed.and(collector.push(piece.into()));
            }
            prop_assert_eq!(pushed.is_ok(), fits);
            let collected = match collector.into_whole() {
                Ok(body) if whole => vec![body],
                Ok(body) => vec![body.slice(..all.len() / 2), body.slice(all.len() / 2..)],
                Err(collector) => collector.into_pieces(),
            };
            prop_assert_eq!(collected.concat(), &all[..]);
            prop_assert!(bodies.bytes() == all.len() || !fits);
            drop(collected);
            prop_assert_eq!(bodies.bytes(), 0);
        }
    }

    #[test]
    fn a_copy_that_does_not_fit_leaves_the_pieces() {
        let bodies = Arc::new(Bodies::default());
        let budget = Budget::new(&bodies, 3 * SMALL);
        let mut collector = Collector::new(usize::MAX, None, &budget).unwrap();
        for _ in 0..2 {
            collector.push(vec![7; SMALL].into()).unwrap();
        }
        let pieces = collector.into_whole().unwrap_err().into_pieces();
        assert_eq!(pieces, [vec![7; SMALL], vec![7; SMALL]]);
        assert_eq!(bodies.bytes(), 2 * SMALL);
    }

    #[tokio::test]
    async fn whole_bodies_are_read_within_both_bounds() {
        let bodies = Arc::new(Bodies::default());
        let budget = Budget::new(&bodies, 9);
        let read = |text: &'static str, limit| collect(WholeBody::from(text), limit, &budget);
        let held = read("1234", 4).await.unwrap();
        assert_eq!(read("12345", 4).await, Err(Uncollected::TooLarge));
        assert_eq!(read("123", 4).await, Err(Uncollected::Full));
        drop(held);
        assert_eq!(read("123", 4).await.unwrap(), "123");
    }
}
