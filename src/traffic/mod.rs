//! What clients saw in the last seconds: numbers of requests and errors, and how long they took, naturally and by injected waits.
//!
//! Each second has a slot, and slots are used in turn, so memory is bounded and no task has to run. Recording a request is a few
//! relaxed additions.

pub mod measure;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::measure::Measure;
use crate::histogram::{BUCKETS, Histogram, bucket_of};

/// The number of slots: the seconds that are looked back at, the current one, and a few in which late writers do no harm.
const SLOTS: u64 = 16;

/// The most seconds that [`Traffic::seconds`] looks back at.
pub const MOST_SECONDS: u64 = 10;

/// A finished request, as a client saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The time from sending it to the upstream until the head of the response, if there was one.
    pub natural: Option<Duration>,
    /// The time of its injected waits.
    pub injected: Duration,
    /// The time from its head to the end of its response.
    pub total: Duration,
    /// What went wrong with it.
    pub error: Option<Wrong>,
    /// The number of faults that were injected.
    pub faults: usize,
}

/// What went wrong with a request: a status from 500 on, no response, or a response that broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The upstream failed by itself.
    Natural,
    /// An injected fault did it.
    Injected,
}

/// Counts requests by the second.
#[derive(Debug)]
pub struct Traffic {
    started: Instant,
    totals: Counts,
    /// For whoever measures a longer time.
    measure: Arc<Measure>,
    slots: Box<[Slot]>,
    /// Held while a slot is cleared for another second.
    clearing: Mutex<()>,
}

/// Numbers of requests, errors and faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Requests that have ended.
    pub requests: u64,
    /// Requests with a natural error.
    pub errors_natural: u64,
    /// Requests with an injected error.
    pub errors_injected: u64,
    /// Faults that were injected.
    pub faults: u64,
}

/// What was seen in a number of seconds.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// The requests that ended in them.
    pub numbers: Numbers,
    /// Natural times of requests that reached an upstream.
    pub natural: Histogram,
    /// Injected waits of requests that had any.
    pub injected: Histogram,
    /// Total times of all requests.
    pub total: Histogram,
}

#[derive(Debug)]
struct Slot {
    /// The second since the start that it counts, from 1; 0 for none.
    second: AtomicU64,
    counts: Counts,
    natural: Times,
    injected: Times,
    total: Times,
}

/// Relaxed everywhere: the counts are only reported, and guard no other memory.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    errors_natural: AtomicU64,
    errors_injected: AtomicU64,
    faults: AtomicU64,
}

#[derive(Debug)]
struct Times(Box<[AtomicU32]>);

impl Traffic {
    /// Counts from now on.
    pub fn new(now: Instant) -> Traffic {
        Traffic {
            started: now,
            totals: Counts::default(),
            measure: Arc::default(),
            slots: (0..SLOTS).map(|_| Slot::new()).collect(),
            clearing: Mutex::default(),
        }
    }

    /// Counts a request that has ended now.
    pub fn record(&self, now: Instant, seen: &Seen) {
        self.totals.add(seen);
        self.measure.see(seen);
        if let Some(slot) = self.slot(self.second(now)) {
            slot.counts.add(seen);
            slot.total.add(seen.total);
            if let Some(natural) = seen.natural {
                slot.natural.add(natural);
            }
            if seen.injected > Duration::ZERO {
                slot.injected.add(seen.injected);
            }
        }
    }

    /// What a scenario measures with: everything from its beginning to its end.
    pub fn measure(&self) -> &Arc<Measure> {
        &self.measure
    }

    /// The numbers since the start.
    pub fn totals(&self) -> Numbers {
        self.totals.read()
    }

    /// What was seen in the last complete seconds, at most 10.
    pub fn seconds(&self, now: Instant, count: u64) -> Recent {
        let current = self.second(now);
        let wanted = current.saturating_sub(count.min(MOST_SECONDS))..current;
        let mut recent = Recent::default();
        for slot in &self.slots {
            if wanted.contains(&slot.second.load(Ordering::Acquire)) {
                slot.add_to(&mut recent);
            }
        }
        recent
    }

    /// The time until the current second is complete.
    pub fn until_next(&self, now: Instant) -> Duration {
        let into = now.saturating_duration_since(self.started).subsec_nanos();
        Duration::from_secs(1).saturating_sub(Duration::from_nanos(into.into()))
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() + 1
    }

    /// The slot of a second; `None` if it is used for a later one already.
    fn slot(&self, second: u64) -> Option<&Slot> {
        let slot = self.slots.get(usize::try_from(second % SLOTS).ok()?)?;
        // Acquire, with the release of the thread that cleared it: its zeros come before what is added here.
        if slot.second.load(Ordering::Acquire) < second {
            let _clearing = self.clearing.lock();
            if slot.second.load(Ordering::Acquire) < second {
                slot.clear();
                slot.second.store(second, Ordering::Release);
            }
        }
        (slot.second.load(Ordering::Acquire) == second).then_some(slot)
    }
}

impl Slot {
    fn new() -> Slot {
        Slot {
            second: AtomicU64::new(0),
            counts: Counts::default(),
            natural: Times::new(),
            injected: Times::new(),
            total: Times::new(),
        }
    }

    fn clear(&self) {
        self.counts.clear();
        for times in [&self.natural, &self.injected, &self.total] {
            times.clear();
        }
    }

    fn add_to(&self, recent: &mut Recent) {
        let (own, sum) = (self.counts.read(), &mut recent.numbers);
        sum.requests += own.requests;
        sum.errors_natural += own.errors_natural;
        sum.errors_injected += own.errors_injected;
        sum.faults += own.faults;
        self.natural.add_to(&mut recent.natural);
        self.injected.add_to(&mut recent.injected);
        self.total.add_to(&mut recent.total);
    }
}

impl Counts {
    fn add(&self, seen: &Seen) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match seen.error {
            Some(Wrong::Natural) => _ = self.errors_natural.fetch_add(1, Ordering::Relaxed),
            Some(Wrong::Injected) => _ = self.errors_injected.fetch_add(1, Ordering::Relaxed),
            None => {}
        }
        if seen.faults > 0 {
            self.faults.fetch_add(seen.faults as u64, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Numbers {
        Numbers {
            requests: self.requests.load(Ordering::Relaxed),
            errors_natural: self.errors_natural.load(Ordering::Relaxed),
            errors_injected: self.errors_injected.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
        }
    }

    fn clear(&self) {
        for count in [
            &self.requests,
            &self.errors_natural,
            &self.errors_injected,
            &self.faults,
        ] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

impl Times {
    fn new() -> Times {
        Times((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }

    fn add(&self, time: Duration) {
        if let Some(count) = self.0.get(bucket_of(time)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn clear(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }

    fn add_to(&self, histogram: &mut Histogram) {
        for (bucket, count) in self.0.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                histogram.record_in(bucket, count);
            }
        }
    }
}

#[cfg(test)]
mod tests;
