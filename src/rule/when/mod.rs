//! Which of the matching requests are hit: the compiled form of [`WhenSpec`].

mod share;

use std::fmt;
use std::time::Duration;

use crate::draw::Draw;
use crate::draw::key::Key;
use crate::rule::rate::HitRate;
use crate::rule::spec::{LimitsSpec, ScheduleSpec, WhenSpec};
use crate::yaml::units::{Percentage, Time};

/// The conditions of a rule that are not about the request's head.
#[derive(Debug, Clone, Default)]
pub struct When {
    /// The percentage that is hit, in parts per million.
    pub ppm: u32,
    /// What a draw depends on.
    pub key: Key,
    /// Only the first N requests of each key.
    pub attempts: Option<u32>,
    /// Only every Nth matching request.
    pub every: Option<u64>,
    /// The time window in which the rule acts.
    pub schedule: Option<Schedule>,
    /// Limits on how much the rule affects.
    pub limits: Limits,
    /// Only requests that ask for the fault are hit.
    pub requested: bool,
}

/// A time window since the rule was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    start: Duration,
    duration: Option<Duration>,
    repeat: Option<Duration>,
}

/// Limits on how much a rule affects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most requests under the rule's faults at the same time.
    pub active: Option<u32>,
    /// The most requests hit in total.
    pub total: Option<u64>,
    /// The largest share of the matching requests, in parts per million.
    pub share: Option<u32>,
    /// The most hits in a time.
    pub rate: Option<HitRate>,
    /// How long after loading the rule stops.
    pub expires: Option<Duration>,
}

/// Why a matching request is not hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The rule is `enabled: false`.
    Disabled,
    /// An earlier rule ended the request.
    Ended,
    /// The request does not ask for the fault.
    NotRequested,
    /// `limits.expires` has passed.
    Expired,
    /// Outside the schedule's window.
    OutOfSchedule {
        /// The time since the rule was loaded.
        at: Duration,
    },
    /// The request is not an Nth one.
    Every {
        /// The request's number.
        ordinal: u64,
        /// The rule's `every`.
        every: u64,
    },
    /// The draw is not below the percentage.
    Percentage {
        /// The draw, in parts per million.
        drawn: u32,
        /// The percentage, in parts per million.
        ppm: u32,
    },
    /// The key has used up its attempts.
    Attempts {
        /// The number of this attempt of its key, from 1.
        attempt: u32,
        /// The rule's `attempts`.
        attempts: u32,
    },
    /// The outcome of `choose` that was drawn has no faults.
    Untouched,
    /// One of the rule's own limits is reached.
    Limit(Exceeded),
    /// One of the top-level limits, on all rules together, is reached.
    Overall(Exceeded),
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// `limits.active` requests are under faults.
    Active,
    /// `limits.total` requests have been hit.
    Total,
    /// One more hit would exceed `limits.share`.
    Share,
    /// One more hit now would exceed `limits.rate`.
    Rate,
    /// The time of `limits.expires` has passed.
    Expired,
}

impl Limits {
    /// Checks that one more hit is allowed, after `hits` hits among `asked` requests: `limits.total` and `limits.share`.
    pub(super) fn allow(&self, hits: u64, asked: u64) -> Result<(), Exceeded> {
        if self.total.is_some_and(|total| hits >= total) {
            return Err(Exceeded::Total);
        }
        let over = |share: u32| (u128::from(hits) + 1) * 1_000_000 > u128::from(asked) * u128::from(share);
        match self.share {
            Some(share) if over(share) => Err(Exceeded::Share),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Exceeded::Active => "limits.active is reached",
            Exceeded::Total => "limits.total is reached",
            Exceeded::Share => "limits.share would be exceeded",
            Exceeded::Rate => "limits.rate is reached",
            Exceeded::Expired => "limits.expires has passed",
        })
    }
}

impl When {
    /// Compiles a `when`.
    ///
    /// # Errors
    /// Sentences that say why the rule can never fire, or which keys don't fit together.
    pub fn compile(spec: Option<&WhenSpec>) -> Result<When, Vec<String>> {
        let Some(spec) = spec else {
            return Ok(When {
                ppm: Percentage::ALL.ppm(),
                ..When::default()
            });
        };
        let limits = spec
            .limits
            .as_ref()
            .map(|limits| Limits::from(&limits.value))
            .unwrap_or_default();
        let schedule = spec
            .schedule
            .as_ref()
            .map(|schedule| Schedule::compile(&schedule.value));
        let mut mistakes = Vec::new();
        let schedule = schedule.and_then(|schedule| schedule.map_err(|mistake| mistakes.push(mistake)).ok());
        if let (Some(schedule), Some(expires)) = (&schedule, limits.expires)
            && schedule.start >= expires
        {
            mistakes.push("the rule can never fire: it expires before its schedule starts".to_owned());
        } else if limits.expires.is_some_and(|expires| expires.is_zero()) {
            mistakes.push("the rule can never fire: it expires at once".to_owned());
        }
        let key = Key::new(spec.key.as_ref().map(|key| key.value.clone()).unwrap_or_default());
        if spec.attempts.is_some() && key.is_ordinal() {
            mistakes.push(
                "`attempts` counts the requests of each key, but by default every request has its own key: add `key: \
                header:NAME`, `key: client`, …, or use `limits: {total: N}` to hit the first N requests"
                    .to_owned(),
            );
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(When {
            ppm: spec.percentage.unwrap_or(Percentage::ALL).ppm(),
            key,
            attempts: spec.attempts.as_ref().map(|attempts| attempts.value.get()),
            every: spec.every.map(std::num::NonZeroU64::get),
            schedule,
            limits,
            requested: spec.requested,
        })
    }

    /// Whether every matching request is hit, forever.
    pub fn is_always(&self) -> bool {
        self.ppm == Percentage::ALL.ppm()
            && self.attempts.is_none()
            && self.every.is_none()
            && self.schedule.is_none()
            && self.limits == Limits::default()
            && !self.requested
    }

    /// Checks the conditions on time: `limits.expires` and `schedule`.
    pub fn open(&self, since: Duration) -> Result<(), Reason> {
        if self.limits.expires.is_some_and(|expires| since >= expires) {
            return Err(Reason::Expired);
        }
        match self.schedule {
            Some(schedule) if !schedule.is_open(since) => Err(Reason::OutOfSchedule { at: since }),
            _ => Ok(()),
        }
    }

    /// The time from `since` until the rule next opens or closes; `None` if it stays as it is.
    pub fn next_edge(&self, since: Duration) -> Option<Duration> {
        let schedule = self.schedule.and_then(|schedule| schedule.next_edge(since));
        match self.limits.expires.map(|expires| expires.saturating_sub(since)) {
            Some(Duration::ZERO) => None,
            expires => [expires, schedule].into_iter().flatten().min(),
        }
    }

    /// Checks the condition on the request's number: `every`.
    pub fn every(&self, ordinal: u64) -> Result<(), Reason> {
        match self.every {
            Some(every) if !ordinal.is_multiple_of(every) => Err(Reason::Every { ordinal, every }),
            _ => Ok(()),
        }
    }

    /// Checks the condition on the draw: `percentage`.
    pub fn drawn(&self, draw: Draw) -> Result<(), Reason> {
        if draw.fires(self.ppm) {
            Ok(())
        } else {
            Err(Reason::Percentage {
                drawn: draw.percentage_ppm(),
                ppm: self.ppm,
            })
        }
    }
}

impl Schedule {
    fn compile(spec: &ScheduleSpec) -> Result<Schedule, String> {
        let schedule = Schedule {
            start: spec.start.map(Time::get).unwrap_or_default(),
            duration: spec.duration.map(Time::get),
            repeat: spec.repeat.map(Time::get),
        };
        if schedule.duration.is_some_and(|duration| duration.is_zero()) {
            return Err("the schedule can never be open: its `duration` is 0s".into());
        }
        match (schedule.duration, schedule.repeat) {
            (None, Some(_)) => Err("`repeat` needs `duration`, the time that each window stays open".into()),
            (Some(duration), Some(repeat)) if repeat < duration => Err(format!(
                "the windows overlap: `repeat` ({}) is shorter than `duration` ({})",
                Time::saturating(repeat),
                Time::saturating(duration)
            )),
            _ => Ok(schedule),
        }
    }

    /// Whether the window is open at a time after loading.
    pub fn is_open(&self, since: Duration) -> bool {
        let inside = self.inside(since);
        inside.is_some_and(|inside| self.duration.is_none_or(|duration| inside < duration))
    }

    /// The time within the current repetition; `None` before the start.
    fn inside(&self, since: Duration) -> Option<Duration> {
        let inside = since.checked_sub(self.start)?;
        Some(match self.repeat {
            Some(repeat) => Duration::from_nanos_u128(inside.as_nanos() % repeat.as_nanos().max(1)),
            None => inside,
        })
    }

    fn next_edge(&self, since: Duration) -> Option<Duration> {
        let Some(inside) = self.inside(since) else {
            return self.start.checked_sub(since);
        };
        match self.duration?.checked_sub(inside) {
            Some(left) if !left.is_zero() => Some(left),
            _ => self.repeat?.checked_sub(inside),
        }
    }
}

impl From<&LimitsSpec> for Limits {
    fn from(spec: &LimitsSpec) -> Self {
        Limits {
            active: spec.active.map(std::num::NonZeroU32::get),
            total: spec.total.map(std::num::NonZeroU64::get),
            share: spec.share.map(Percentage::ppm),
            rate: spec.rate,
            expires: spec.expires.map(Time::get),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Disabled => f.write_str("the rule is disabled"),
            Reason::Ended => f.write_str("an earlier rule ends the request"),
            Reason::NotRequested => f.write_str(
                "requested: no valid x-envoy-fault header asks for a fault of this rule; a gRPC status counts in a gRPC \
                call only",
            ),
            Reason::Expired => f.write_str("limits.expires: the rule has expired"),
            Reason::OutOfSchedule { at } => write!(f, "schedule: closed at {}", Time::saturating(*at)),
            Reason::Every { ordinal, every } => write!(f, "every {every}: this is request {ordinal}"),
            Reason::Percentage { drawn, ppm } => {
                write!(f, "percentage {}: drew {}", Percentage::from_ppm(*ppm), percent(*drawn))
            }
            Reason::Attempts { attempt, attempts } => {
                write!(f, "attempts {attempts}: this is attempt {attempt} of its key")
            }
            Reason::Untouched => f.write_str("the outcome that was drawn has no faults"),
            Reason::Limit(exceeded) => exceeded.fmt(f),
            Reason::Overall(exceeded) => write!(f, "the limits of all rules: {exceeded}"),
        }
    }
}

/// Parts per million as a percentage, with four decimals.
pub fn percent(ppm: u32) -> String {
    format!("{}.{:04}%", ppm / 10_000, ppm % 10_000)
}

/// Parts per million as a fraction of one, with six decimals.
pub fn percent_fraction(ppm: u32) -> String {
    format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)
}

#[cfg(test)]
mod tests;
