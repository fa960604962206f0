//! A sliding window of counts, in slots. It has no clock: the time is passed in.

use std::time::Duration;

/// The slots that make up a window, besides the one that is being filled.
const SLOTS: u32 = 60;

/// How many of the latest events were bad ones.
#[derive(Debug)]
pub struct Window {
    /// The time that one slot covers.
    slot: Duration,
    slots: Box<[Slot]>,
    /// The number of the slot that is being filled, counted from the beginning of time.
    newest: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    all: u64,
    bad: u64,
}

/// The events of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The number of events.
    pub all: u64,
    /// The number of bad events among them.
    pub bad: u64,
}

impl Window {
    /// A window over this much time, and up to a sixtieth more.
    pub fn new(over: Duration) -> Window {
        Window {
            slot: (over / SLOTS).max(Duration::from_micros(1)),
            slots: (0..=SLOTS).map(|_| Slot::default()).collect(),
            newest: 0,
        }
    }

    /// Counts an event at `at`, a time since any fixed moment. Earlier times than before count as the latest one.
    pub fn add(&mut self, at: Duration, bad: bool) {
        self.move_to(at);
        let newest = self.place(self.newest);
        if let Some(slot) = self.slots.get_mut(newest) {
            slot.all = slot.all.saturating_add(1);
            slot.bad = slot.bad.saturating_add(u64::from(bad));
        }
    }

    /// The events up to `at` that are within the window.
    pub fn counts(&mut self, at: Duration) -> Counts {
        self.move_to(at);
        self.slots.iter().fold(Counts::default(), |sum, slot| Counts {
            all: sum.all.saturating_add(slot.all),
            bad: sum.bad.saturating_add(slot.bad),
        })
    }

    /// Forgets all events, so that the window is empty.
    pub fn clear(&mut self) {
        self.slots.fill(Slot::default());
    }

    /// Empties the slots that have left the window.
    fn move_to(&mut self, at: Duration) {
        let now = u64::try_from(at.as_nanos() / self.slot.as_nanos().max(1)).unwrap_or(u64::MAX);
        let gone = now.saturating_sub(self.newest);
        if gone > u64::from(SLOTS) {
            self.clear();
        } else {
            for number in 1..=gone {
                let place = self.place(self.newest + number);
                if let Some(slot) = self.slots.get_mut(place) {
                    *slot = Slot::default();
                }
            }
        }
        self.newest = self.newest.max(now);
    }

    fn place(&self, number: u64) -> usize {
        usize::try_from(number % (self.slots.len() as u64).max(1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn events_leave_the_window_in_time() {
        let mut window = Window::new(MS(6_000));
        window.add(MS(50), true);
        window.add(MS(3_000), false);
        assert_eq!(window.counts(MS(3_000)), Counts { all: 2, bad: 1 });
        assert_eq!(
            window.counts(MS(6_050)),
            Counts { all: 2, bad: 1 },
            "not before its time"
        );
        assert_eq!(window.counts(MS(6_200)), Counts { all: 1, bad: 0 });
        window.add(MS(1_000), true);
        assert_eq!(
            window.counts(MS(6_200)),
            Counts { all: 2, bad: 1 },
            "late news are news"
        );
        assert_eq!(window.counts(MS(1_000_000)), Counts::default());
        window.add(Duration::MAX, true);
        assert_eq!(window.counts(Duration::MAX).bad, 1);
        window.clear();
        assert_eq!(window.counts(Duration::MAX), Counts::default());
    }

    proptest! {
        /// The counts are those of a naive list, for a window between the asked one and a sixtieth more.
        #[test]
        fn counts_are_those_of_a_list(
            events in prop::collection::vec((0_u64..3_000, any::<bool>()), 0..300),
            over in 1_000_u64..20_000,
        ) {
            let (mut window, mut list, mut now) = (Window::new(MS(over)), Vec::new(), 0);
            for (gap, bad) in events {
                now += gap;
                window.add(MS(now), bad);
                list.push((now, bad));
                let within = |age: u64| {
                    let recent = list.iter().filter(|(at, _)| now - at <= age);
                    recent.fold(Counts::default(), |sum, (_, bad)| Counts {
                        all: sum.all + 1,
                        bad: sum.bad + u64::from(*bad),
                    })
                };
                let counts = window.counts(MS(now));
                let (least, most) = (within(over), within(over + over / 60 + 1));
                prop_assert!(least.all <= counts.all && counts.all <= most.all);
                prop_assert!(least.bad <= counts.bad && counts.bad <= most.bad);
            }
        }
    }
}
