//! A bounded ring of entries, the oldest first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::entry::Entry;

/// The most entries that are copied under the lock at once, so that a query never holds up traffic for long.
const CHUNK: usize = 1000;

const SECOND: Duration = Duration::from_secs(1);

/// The most that a ring keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The number of entries.
    pub requests: usize,
    /// Their size in memory, in bytes.
    pub bytes: usize,
}

/// An entry with its number, which grows over the whole process.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The number, from 1.
    pub id: u64,
    /// What is known about the request.
    pub entry: Arc<Entry>,
}

/// The entries of one space.
#[derive(Debug, Default)]
pub(super) struct Ring(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Each with its size in bytes, so that dropping one does not need to look at it.
    entries: VecDeque<(Numbered, usize)>,
    bytes: usize,
    /// How many were dropped since the ring was cleared, and over the whole time.
    dropped: u64,
    dropped_ever: u64,
    /// The number of the last one that was dropped, or 0.
    last_dropped: u64,
    /// When the second began in which [`Ring::admits`] counts, and how many it has let in.
    second: Option<(Instant, usize)>,
}

/// What a ring has, as of one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) entries: Vec<Numbered>,
    /// How many were dropped since the ring was cleared.
    pub(super) dropped: u64,
    /// Whether entries that were asked for were dropped.
    pub(super) incomplete: bool,
}

impl Ring {
    /// Adds an entry, which gets the next number of `numbers`. Drops the oldest ones beyond the bounds.
    pub(super) fn push(&self, entry: Arc<Entry>, numbers: &AtomicU64, bounds: Bounds) {
        let size = entry.size();
        let mut kept = self.0.lock();
        // Relaxed: the read-modify-write makes numbers unique, and the lock keeps them in order within the ring.
        let id = numbers.fetch_add(1, Ordering::Relaxed) + 1;
        kept.bytes += size;
        kept.entries.push_back((Numbered { id, entry }, size));
        let dropped = kept.shrink(bounds);
        drop(kept);
        // After the lock was released: freeing memory takes longer than everything above.
        drop(dropped);
    }

    /// Whether one more of at most `most` in a second has room at `now`. If not, it counts as dropped.
    pub(super) fn admits(&self, now: Instant, most: usize, numbers: &AtomicU64) -> bool {
        let mut kept = self.0.lock();
        let (began, count) = match kept.second {
            Some((began, count)) if now.saturating_duration_since(began) < SECOND => (began, count),
            _ => (now, 0),
        };
        let admits = count < most;
        if admits {
            kept.second = Some((began, count + 1));
        } else {
            kept.dropped += 1;
            kept.dropped_ever += 1;
            kept.last_dropped = numbers.fetch_add(1, Ordering::Relaxed) + 1;
        }
        admits
    }

    /// Drops what is beyond new bounds.
    pub(super) fn shrink(&self, bounds: Bounds) {
        while self.0.lock().shrink(bounds).is_some() {}
    }

    /// The entries with a number above `after`, oldest first.
    pub(super) fn read(&self, after: u64) -> Reading {
        let mut reading = Reading::default();
        let mut last = after;
        loop {
            let kept = self.0.lock();
            let from = kept.entries.partition_point(|(one, _)| one.id <= last);
            let before = reading.entries.len();
            reading
                .entries
                .extend(kept.entries.range(from..).take(CHUNK).map(|(one, _)| one.clone()));
            reading.dropped = kept.dropped;
            // Also those that were dropped since the chunk before was read.
            reading.incomplete |= kept.last_dropped > last;
            drop(kept);
            match reading.entries.last() {
                Some(one) if reading.entries.len() - before == CHUNK => last = one.id,
                _ => return reading,
            }
        }
    }

    /// The entry with this number.
    pub(super) fn find(&self, id: u64) -> Option<Numbered> {
        let kept = self.0.lock();
        let at = kept.entries.partition_point(|(one, _)| one.id < id);
        let found = kept.entries.get(at).map(|(one, _)| one.clone());
        found.filter(|one| one.id == id)
    }

    /// Removes all entries, which do not count as dropped.
    pub(super) fn clear(&self) {
        let mut kept = self.0.lock();
        let emptied = std::mem::take(&mut *kept);
        kept.dropped_ever = emptied.dropped_ever;
        drop(kept);
        drop(emptied);
    }

    /// How many entries were dropped over the whole time.
    pub(super) fn dropped_ever(&self) -> u64 {
        self.0.lock().dropped_ever
    }
}

impl Kept {
    /// Takes out the oldest entries beyond the bounds: one, or as many as are needed while the last of them is returned.
    fn shrink(&mut self, bounds: Bounds) -> Option<Arc<Entry>> {
        let mut last = None;
        while self.entries.len() > bounds.requests || self.bytes > bounds.bytes {
            let (oldest, size) = self.entries.pop_front()?;
            self.bytes -= size;
            self.dropped += 1;
            self.dropped_ever += 1;
            self.last_dropped = self.last_dropped.max(oldest.id);
            last = Some(oldest.entry);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::entry::testing::entry_of_size;

    #[test]
    fn what_is_not_admitted_counts_as_dropped() {
        let (ring, numbers, now) = (Ring::default(), AtomicU64::new(0), Instant::now());
        let admits = |millis| ring.admits(now + Duration::from_millis(millis), 2, &numbers);
        assert_eq!(
            [0, 1, 2, 999, 1000, 1001, 1002].map(admits),
            [true, true, false, false, true, true, false]
        );
        let reading = ring.read(0);
        assert!((reading.dropped, reading.incomplete, ring.dropped_ever()) == (3, true, 3));
        let after = ring.read(numbers.load(Ordering::Relaxed));
        assert!(!after.incomplete, "nothing was dropped behind it");
    }

    /// What is done to a ring.
    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Bounds(Bounds),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let bounds = (1usize..20, 2_000usize..20_000).prop_map(|(requests, bytes)| Bounds { requests, bytes });
        prop_oneof![
            8 => (0usize..3_000).prop_map(Step::Push),
            1 => bounds.prop_map(Step::Bounds),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn a_ring_keeps_the_newest_within_its_bounds(steps in proptest::collection::vec(step(), 0..100)) {
            let (ring, numbers) = (Ring::default(), AtomicU64::new(0));
            let mut bounds = Bounds { requests: 10, bytes: 10_000 };
            // Every entry since the last clear, with its size.
            let mut all: Vec<(u64, usize)> = Vec::new();
            let mut dropped = 0;
            for step in steps {
                match step {
                    Step::Push(size) => {
                        let entry = Arc::new(entry_of_size(size));
                        let size = entry.size();
                        ring.push(entry, &numbers, bounds);
                        all.push((numbers.load(Ordering::Relaxed), size));
                    }
                    Step::Bounds(new) => {
                        bounds = new;
                        ring.shrink(bounds);
                    }
                    Step::Clear => {
                        ring.clear();
                        all.clear();
                        dropped = 0;
                    }
                }
                let reading = ring.read(0);
                let ids: Vec<u64> = reading.entries.iter().map(|one| one.id).collect();
                dropped = dropped.max((all.len() - ids.len()) as u64);
                let newest: Vec<u64> = all[all.len() - ids.len()..].iter().map(|(id, _)| *id).collect();
                prop_assert_eq!(&ids, &newest, "the newest, in order");
                prop_assert!(ids.len() <= bounds.requests);
                let bytes: usize = reading.entries.iter().map(|one| one.entry.size()).sum();
                prop_assert!(bytes <= bounds.bytes, "{} bytes", bytes);
                prop_assert_eq!(bytes, ring.0.lock().bytes);
                prop_assert_eq!(reading.dropped, (all.len() - ids.len()) as u64);
                prop_assert_eq!(reading.incomplete, reading.dropped > 0);
                if let [first, ..] = ids[..] {
                    prop_assert!(!ring.read(first).incomplete, "what is after the first was not dropped");
                    prop_assert_eq!(ring.read(first).entries.len(), ids.len() - 1);
                }
            }
            prop_assert!(ring.dropped_ever() >= dropped);
        }
    }

    #[test]
    fn many_entries_are_read_in_chunks_without_loss() {
        let (ring, numbers) = (Ring::default(), AtomicU64::new(0));
        let bounds = Bounds {
            requests: 10_000,
            bytes: 100 << 20,
        };
        for _ in 0..(2 * CHUNK + 1) {
            ring.push(Arc::new(entry_of_size(0)), &numbers, bounds);
        }
        let reading = ring.read(1);
        assert_eq!(reading.entries.len(), 2 * CHUNK);
        assert!(reading.entries.windows(2).all(|two| two[0].id + 1 == two[1].id));
    }
}
