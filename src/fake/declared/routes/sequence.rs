//! What a route remembers: how often it was asked, where its sequences are, and what state a thing is in.
//!
//! All of it is bounded: of 10,000 keys each sequence, state or counter, the ones that were not used for longest are
//! forgotten.

use std::num::NonZeroUsize;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::draw::remembered::Remembered;

/// How many keys each sequence, state and set of counters remembers.
const KEYS: NonZeroUsize = match NonZeroUsize::new(10_000) {
    Some(keys) => keys,
    None => NonZeroUsize::MIN,
};

fn remembered<V>() -> Remembered<V> {
    Remembered::new(KEYS)
}

/// Counts by name.
#[derive(Debug)]
pub(super) struct Counters(Remembered<u64>);

impl Default for Counters {
    fn default() -> Self {
        Self(remembered())
    }
}

impl Counters {
    /// The next number of a name, from 1.
    pub(super) fn next(&self, name: &str) -> u64 {
        self.0.change(
            xxh3_64(name.as_bytes()),
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )
    }
}

/// What follows the end of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    RepeatLast,
    Cycle,
    Stop,
}

/// A place in a sequence for each key.
#[derive(Debug)]
pub(super) struct Places {
    /// For each step, the number of requests after which it is over.
    ends: Vec<u64>,
    end: End,
    asked: Remembered<u64>,
}

impl Places {
    /// A sequence whose steps are each given a number of times.
    pub(super) fn new(times: impl IntoIterator<Item = u64>, end: End) -> Self {
        let ends = times.into_iter().scan(0_u64, |sum, times| {
            *sum = sum.saturating_add(times);
            Some(*sum)
        });
        Self {
            ends: ends.collect(),
            end,
            asked: remembered(),
        }
    }

    /// The step that is due for a key, which is now given once more; `None` beyond the end.
    pub(super) fn next(&self, key: &str) -> Option<usize> {
        let total = self.ends.last().copied().unwrap_or(0);
        let asked = self.asked.change(
            xxh3_64(key.as_bytes()),
            || 0,
            |asked| {
                let now = *asked;
                *asked = now.saturating_add(1);
                now
            },
        );
        let position = match self.end {
            End::RepeatLast => asked.min(total.saturating_sub(1)),
            End::Cycle => asked.checked_rem(total)?,
            End::Stop => asked,
        };
        self.ends.iter().position(|end| position < *end)
    }
}

/// A state that routes share, for each key.
#[derive(Debug)]
pub(super) struct States {
    initial: Arc<str>,
    now: Remembered<Arc<str>>,
}

impl States {
    pub(super) fn new(initial: &str) -> Self {
        Self {
            initial: initial.into(),
            now: remembered(),
        }
    }

    /// If the state is one of `wanted` (any, if there is none), makes `becomes` of it, and gives what it was. No other
    /// request comes between.
    pub(super) fn pass(&self, key: &str, wanted: &[String], becomes: Option<&Arc<str>>) -> Option<Arc<str>> {
        self.now.change(
            xxh3_64(key.as_bytes()),
            || Arc::clone(&self.initial),
            |now| {
                let before = Arc::clone(now);
                if !wanted.is_empty() && !wanted.iter().any(|wanted| **wanted == *before) {
                    return None;
                }
                if let Some(becomes) = becomes {
                    *now = Arc::clone(becomes);
                }
                Some(before)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_run_for_each_key_and_end_as_asked() {
        let places = Places::new([2, 1], End::RepeatLast);
        let steps: Vec<_> = (0..5).map(|_| places.next("a")).collect();
        assert_eq!(steps, [Some(0), Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!(places.next("b"), Some(0));
        let places = Places::new([1, 1], End::Cycle);
        let steps: Vec<_> = (0..3).map(|_| places.next("")).collect();
        assert_eq!(steps, [Some(0), Some(1), Some(0)]);
        let places = Places::new([1], End::Stop);
        assert_eq!([places.next(""), places.next("")], [Some(0), None]);
    }

    #[test]
    fn states_change_only_for_those_who_found_the_right_one() {
        let states = States::new("created");
        let paid: Arc<str> = "paid".into();
        let created = ["created".to_owned()];
        assert_eq!(states.pass("1", &created, Some(&paid)).as_deref(), Some("created"));
        assert_eq!(states.pass("1", &created, Some(&paid)), None);
        assert_eq!(states.pass("1", &[], None).as_deref(), Some("paid"));
        assert_eq!(states.pass("2", &[], None).as_deref(), Some("created"));
    }
}
