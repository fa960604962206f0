//! The timeline: what is to be in force at each moment. Pure arithmetic, without a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::curve::{Curve, Property};

/// A part of a timeline, from one moment to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// When it begins, counted from the scenario's beginning.
    pub from: Duration,
    /// When it ends, and all is as before it; `None` for the end of the scenario.
    pub until: Option<Duration>,
    /// The rule that it changes.
    pub rule: Arc<str>,
    /// What it changes of the rule.
    pub change: Change,
    /// The step in words, for reports.
    pub text: Arc<str>,
}

/// A change of one rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The rule is switched on or off.
    Switch(bool),
    /// A number of the rule follows a curve.
    Shape(Property, Curve),
    /// The rule exists, as the scenario has it under this index.
    Put(usize),
    /// Everything that the scenario did to the rule before is undone.
    Revert,
}

/// What a segment changes, of which the last one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Switch,
    Put,
    Shape(Property),
}

/// What is to be in force of one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// Whether it is switched on; `None`: as configured.
    pub on: Option<bool>,
    /// Its numbers, where they differ from its configuration.
    pub values: BTreeMap<Property, f64>,
    /// The scenario's own rule of this name, by index, if it is to exist.
    pub put: Option<usize>,
}

/// All segments, in the order in which they begin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    segments: Vec<Segment>,
    duration: Duration,
}

impl Timeline {
    /// A timeline of these segments, which ends after `duration`. Of two that begin together, the later in the list wins.
    pub fn new(mut segments: Vec<Segment>, duration: Duration) -> Timeline {
        segments.sort_by_key(|segment| segment.from);
        Timeline { segments, duration }
    }

    /// When the timeline ends.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// All segments, in the order in which they begin.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segments that are in force at a time, by index: for each thing that can change, the last one that has begun.
    pub fn in_force(&self, time: Duration) -> Vec<usize> {
        let mut winners: BTreeMap<(&str, Kind), usize> = BTreeMap::new();
        for (index, segment) in self.begun(time) {
            let rule = &*segment.rule;
            let kind = match &segment.change {
                Change::Revert => {
                    winners.retain(|(of, _), _| *of != rule);
                    continue;
                }
                Change::Switch(_) => Kind::Switch,
                Change::Put(_) => Kind::Put,
                Change::Shape(property, _) => Kind::Shape(*property),
            };
            winners.insert((rule, kind), index);
        }
        winners.into_values().collect()
    }

    /// What is to be in force at a time, by rule. Rules that are to be as configured are left out.
    pub fn at(&self, time: Duration) -> BTreeMap<Arc<str>, Wanted> {
        let mut wanted: BTreeMap<Arc<str>, Wanted> = BTreeMap::new();
        let segments = self
            .in_force(time)
            .into_iter()
            .filter_map(|index| self.segments.get(index));
        for segment in segments {
            let rule = wanted.entry(Arc::clone(&segment.rule)).or_default();
            match &segment.change {
                Change::Switch(on) => rule.on = Some(*on),
                Change::Put(index) => rule.put = Some(*index),
                Change::Shape(property, curve) => {
                    rule.values
                        .insert(*property, curve.at(time.saturating_sub(segment.from)));
                }
                Change::Revert => {}
            }
        }
        wanted
    }

    /// The segments that have begun at a time and not ended, with their index.
    fn begun(&self, time: Duration) -> impl Iterator<Item = (usize, &Segment)> {
        let begun = self.segments.iter().enumerate();
        let begun = begun.take_while(move |(_, segment)| segment.from <= time);
        begun.filter(move |(_, segment)| segment.holds_at(time))
    }

    /// When something changes next after a time, other than by a smooth curve; `None` if nothing does.
    pub fn next_after(&self, time: Duration) -> Option<Duration> {
        let segments = self.segments.iter().flat_map(|segment| segment.next_after(time));
        segments.chain([self.duration]).filter(|next| *next > time).min()
    }

    /// Whether a smooth curve is moving at a time, so that it must be followed closely.
    pub fn is_moving(&self, time: Duration) -> bool {
        self.begun(time).any(|(_, segment)| match &segment.change {
            Change::Shape(_, curve) if curve.is_smooth() => {
                let since = time.saturating_sub(segment.from);
                curve.length().is_none_or(|length| since < length)
            }
            _ => false,
        })
    }
}

impl Segment {
    /// Whether the segment has begun and not ended.
    pub fn holds_at(&self, time: Duration) -> bool {
        self.from <= time && self.until.is_none_or(|until| time < until)
    }

    /// The moments after a time at which the segment begins, ends, or jumps to its next value.
    fn next_after(&self, time: Duration) -> impl Iterator<Item = Duration> + use<> {
        let since = time.saturating_sub(self.from);
        let jump = match &self.change {
            Change::Shape(_, Curve::Steps { every, .. }) if !every.is_zero() => Some(*every),
            Change::Shape(_, curve @ Curve::Wave { period, .. }) if !curve.is_smooth() => Some(*period / 2),
            _ => None,
        };
        let length = match &self.change {
            Change::Shape(_, curve) => curve.length(),
            _ => None,
        };
        let jumps = self.holds_at(time) && length.is_none_or(|length| since < length);
        let jump = jump.filter(|every| !every.is_zero() && jumps).map(|every| {
            let done = u32::try_from(since.as_nanos() / every.as_nanos()).unwrap_or(u32::MAX);
            self.from.saturating_add(every.saturating_mul(done.saturating_add(1)))
        });
        // A ramp's end is a moment too: there its last value is sent exactly.
        let end = length.map(|length| self.from.saturating_add(length));
        [Some(self.from), self.until, jump, end].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(from: u64, until: Option<u64>, change: Change) -> Segment {
        Segment {
            from: Duration::from_secs(from),
            until: until.map(Duration::from_secs),
            rule: "r".into(),
            change,
            text: "".into(),
        }
    }

    fn at(timeline: &Timeline, second: u64) -> Option<Wanted> {
        timeline.at(Duration::from_secs(second)).remove("r")
    }

    #[test]
    fn what_ends_leaves_what_was_before_it() {
        let segments = vec![
            segment(1, None, Change::Switch(true)),
            segment(3, Some(5), Change::Switch(false)),
            segment(8, None, Change::Revert),
        ];
        let timeline = Timeline::new(segments, Duration::from_secs(10));
        let on: Vec<Option<bool>> = (0..10)
            .map(|second| at(&timeline, second).and_then(|wanted| wanted.on))
            .collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(on, [None, yes, yes, no, no, yes, yes, yes, None, None]);
    }

    #[test]
    fn moments_are_found() {
        let steps = Curve::Steps {
            values: vec![1.0, 2.0],
            every: Duration::from_secs(2),
        };
        let ramp = Curve::Ramp {
            from: 0.0,
            to: 1.0,
            over: Duration::from_secs(3),
        };
        let timeline = Timeline::new(
            vec![
                segment(1, None, Change::Shape(Property::Delay, steps)),
                segment(10, None, Change::Shape(Property::Percentage, ramp)),
            ],
            Duration::from_secs(20),
        );
        let mut moments = Vec::new();
        let mut time = Duration::ZERO;
        while let Some(next) = timeline.next_after(time) {
            moments.push(next.as_secs());
            time = next;
            if moments.len() > 20 {
                break;
            }
        }
        assert_eq!(moments, [1, 3, 5, 10, 13, 20]);
        assert!(!timeline.is_moving(Duration::from_secs(4)));
        assert!(timeline.is_moving(Duration::from_secs(12)));
        assert!(!timeline.is_moving(Duration::from_secs(13)));
    }

    proptest! {
        #[test]
        fn nothing_changes_between_two_moments(
            parts in prop::collection::vec((0..50_u64, prop::option::of(0..50_u64), 0..3_u8), 0..8), time in 0..60_u64,
        ) {
            let segments = parts
                .into_iter()
                .map(|(from, lasting, kind)| {
                    let change = match kind {
                        0 => Change::Switch(true),
                        1 => Change::Revert,
                        _ => Change::Shape(Property::Percentage, Curve::Hold(5.0)),
                    };
                    segment(from, lasting.map(|lasting| from + lasting), change)
                })
                .collect();
            let timeline = Timeline::new(segments, Duration::from_secs(60));
            let time = Duration::from_secs(time);
            let next = timeline.next_after(time).unwrap_or(time + Duration::from_secs(1));
            let just_before = next - Duration::from_nanos(1);
            prop_assert_eq!(timeline.at(time), timeline.at(just_before));
        }
    }
}
