//! What clients see of requests over a longer time: counts, errors and times, while somebody measures.
//!
//! Nobody measuring is the usual case, and costs one load. Memory is bounded: a [`Recorder`] keeps at most [`MOST_SLOTS`] slots of
//! time, and doubles their length when they are full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Seen, Wrong};
use crate::histogram::Histogram;

/// The most slots of time that a recorder keeps.
pub const MOST_SLOTS: usize = 300;
/// The length of a slot as long as there are few.
const SHORTEST_SLOT: Duration = Duration::from_secs(1);

/// Counts and times of the requests of some span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of finished requests.
    pub requests: u64,
    /// Requests that any fault was injected into.
    pub faulty: u64,
    /// Requests that failed by themselves.
    pub errors_natural: u64,
    /// Requests that an injected fault made fail.
    pub errors_injected: u64,
    /// From each request's head to the end of its response.
    pub total: Histogram,
    /// How long the upstream took to respond.
    pub natural: Histogram,
    /// Injected waits of those requests that had any.
    pub injected: Histogram,
}

impl Tally {
    /// Counts a finished request.
    pub fn see(&mut self, seen: &Seen) {
        self.requests += 1;
        self.faulty += u64::from(seen.faults > 0);
        self.errors_natural += u64::from(seen.error == Some(Wrong::Natural));
        self.errors_injected += u64::from(seen.error == Some(Wrong::Injected));
        self.total.record(seen.total);
        if let Some(natural) = seen.natural {
            self.natural.record(natural);
        }
        if !seen.injected.is_zero() {
            self.injected.record(seen.injected);
        }
    }

    /// Adds the counts of another tally to these.
    pub fn merge(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.faulty += other.faulty;
        self.errors_natural += other.errors_natural;
        self.errors_injected += other.errors_injected;
        self.total.merge(&other.total);
        self.natural.merge(&other.natural);
        self.injected.merge(&other.injected);
    }

    /// The number of failed requests, whatever the cause.
    pub fn errors(&self) -> u64 {
        self.errors_natural + self.errors_injected
    }
}

/// Where finished requests are reported to; records them while somebody measures.
#[derive(Debug, Default)]
pub struct Measure {
    /// Whether somebody measures.
    is_on: AtomicBool,
    recorder: ArcSwapOption<Recorder>,
}

impl Measure {
    /// Reports a finished request.
    pub fn see(&self, seen: &Seen) {
        // Relaxed: the recorder has an order of its own.
        if self.is_on.load(Ordering::Relaxed)
            && let Some(recorder) = &*self.recorder.load()
        {
            recorder.see(seen);
        }
    }

    /// Begins to measure, in place of whoever measured before.
    pub fn begin(&self) -> Arc<Recorder> {
        let recorder = Arc::new(Recorder::new(Instant::now()));
        self.recorder.store(Some(Arc::clone(&recorder)));
        self.is_on.store(true, Ordering::Relaxed);
        recorder
    }

    /// Ends a measurement, unless another one has begun since.
    pub fn end(&self, recorder: &Arc<Recorder>) {
        let current = self.recorder.load();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, recorder)) {
            self.recorder.compare_and_swap(&current, None);
        }
    }
}

/// Records finished requests: by slots of time, by phases, and since the last look.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    recorded: Mutex<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    width: Duration,
    slots: Vec<Tally>,
    phase: Tally,
    recent: Tally,
}

/// The tallies of consecutive slots of time of the same length.
#[derive(Debug, Clone)]
pub struct Slots {
    /// The length of each slot.
    pub width: Duration,
    /// The tallies, from the beginning of the measurement on.
    pub tallies: Vec<Tally>,
}

impl Recorder {
    /// A recorder whose first slot begins at `now`.
    pub fn new(now: Instant) -> Recorder {
        Recorder {
            began: now,
            recorded: Mutex::new(Recorded {
                width: SHORTEST_SLOT,
                slots: Vec::new(),
                phase: Tally::default(),
                recent: Tally::default(),
            }),
        }
    }

    /// The time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Counts a request that has finished now.
    pub fn see(&self, seen: &Seen) {
        let at = self.elapsed();
        let mut recorded = self.recorded.lock();
        recorded.slot(at).see(seen);
        recorded.phase.see(seen);
        recorded.recent.see(seen);
    }

    /// The requests since the last call of this or since the beginning, whichever is later.
    pub fn take_phase(&self) -> Tally {
        std::mem::take(&mut self.recorded.lock().phase)
    }

    /// The requests of this phase so far.
    pub fn phase(&self) -> Tally {
        self.recorded.lock().phase.clone()
    }

    /// The requests since the last call of this, independent of phases.
    pub fn take_recent(&self) -> Tally {
        std::mem::take(&mut self.recorded.lock().recent)
    }

    /// All slots so far.
    pub fn slots(&self) -> Slots {
        let recorded = self.recorded.lock();
        Slots {
            width: recorded.width,
            tallies: recorded.slots.clone(),
        }
    }
}

impl Recorded {
    /// The slot of a time since the beginning.
    fn slot(&mut self, at: Duration) -> &mut Tally {
        while at.div_duration_f64(self.width) >= MOST_SLOTS as f64 {
            self.halve();
        }
        // Below the bound, so the cast keeps the number.
        let index = (at.div_duration_f64(self.width) as usize).min(MOST_SLOTS - 1);
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Tally::default);
        }
        #[expect(clippy::indexing_slicing, reason = "grown to hold it just above")]
        &mut self.slots[index]
    }

    /// Merges each two slots, which then are twice as long.
    fn halve(&mut self) {
        self.width = self.width.saturating_mul(2);
        let slots = std::mem::take(&mut self.slots);
        for pair in slots.chunks(2) {
            let mut merged = Tally::default();
            for tally in pair {
                merged.merge(tally);
            }
            self.slots.push(merged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(millis: u64) -> Seen {
        Seen {
            total: Duration::from_millis(millis),
            ..Seen::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slots_are_bounded_and_lose_no_request() {
        let recorder = Recorder::new(Instant::now());
        for second in 0..2_000_u64 {
            recorder.see(&seen(second));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let slots = recorder.slots();
        assert_eq!(slots.width, Duration::from_secs(8));
        assert_eq!(slots.tallies.len(), 250);
        assert_eq!(slots.tallies.iter().map(|tally| tally.requests).sum::<u64>(), 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_does_not_grow_memory() {
        let recorder = Recorder::new(Instant::now());
        recorder.see(&seen(1));
        tokio::time::advance(Duration::from_secs(86_400 * 365)).await;
        recorder.see(&seen(1));
        assert!(recorder.slots().tallies.len() <= MOST_SLOTS);
    }

    #[tokio::test]
    async fn only_a_measurement_that_runs_sees_requests() {
        let measure = Measure::default();
        measure.see(&seen(0));
        let first = measure.begin();
        measure.see(&seen(1));
        let second = measure.begin();
        measure.end(&first);
        measure.see(&seen(2));
        assert_eq!((first.take_phase().requests, second.phase().requests), (1, 1));
        measure.end(&second);
        measure.see(&seen(0));
        assert_eq!(second.phase().requests, 1);
    }
}
