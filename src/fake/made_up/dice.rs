//! Random choices that are a function of the seed.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::draw::{below, unit_open};

/// Independent sequences from one seed.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(in crate::fake) enum Stream {
    Node = 1,
    Users,
    Active,
    Todos,
    Silly,
    Jokes,
    Projects,
    Developers,
    Files,
    Rows,
    Documents,
    Replies,
    Measures,
    /// Far from the others, so that they can grow.
    Templates = 100,
    Httpbin = 200,
}

/// A sequence of numbers that depends on a seed, a stream and an index, and on nothing else.
pub(in crate::fake) struct Dice {
    key: u64,
    thrown: u64,
}

impl Dice {
    pub(in crate::fake) fn new(seed: u64, stream: Stream, index: u64) -> Self {
        let mut name = [0; 16];
        let (first, second) = name.split_at_mut(8);
        first.copy_from_slice(&(stream as u64).to_le_bytes());
        second.copy_from_slice(&index.to_le_bytes());
        Self {
            key: xxh3_64_with_seed(&name, seed),
            thrown: 0,
        }
    }

    pub(in crate::fake) fn throw(&mut self) -> u64 {
        self.thrown += 1;
        xxh3_64_with_seed(&self.thrown.to_le_bytes(), self.key)
    }

    /// A number from 0 up to, and without, `end`.
    pub(in crate::fake) fn below(&mut self, end: usize) -> usize {
        below(self.throw(), end as u64) as usize
    }

    pub(in crate::fake) fn from(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// A number between 0 and 1, without either.
    pub(in crate::fake) fn unit(&mut self) -> f64 {
        unit_open(self.throw())
    }

    pub(in crate::fake) fn pick<T: Copy + Default>(&mut self, list: &[T]) -> T {
        list.get(self.below(list.len())).copied().unwrap_or_default()
    }

    pub(in crate::fake) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
