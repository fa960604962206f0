//! The verdict about the requests that a question means: a pure function.

use std::time::{Duration, Instant};

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything holds.
    Pass,
    /// Something does not hold.
    Fail,
    /// The journal does not know enough: requests that could count were dropped, or their heads were cut.
    Inconclusive,
}

impl Verdict {
    /// The word for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// A request that the question means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) id: u64,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// Which of the conditions of `order` it matches, as bits.
    pub(super) steps: u32,
}

/// What must hold of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demands {
    pub(super) min: u32,
    pub(super) max: Option<u32>,
    /// How many conditions `order` has.
    pub(super) steps: usize,
    pub(super) least_gap: Option<Duration>,
    pub(super) greatest_gap: Option<Duration>,
}

/// Why the journal may not know all of the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// The journal is off.
    pub(super) off: bool,
    /// Requests were dropped.
    pub(super) dropped: bool,
    /// Requests whose heads were cut don't match, but the rest of their heads might.
    pub(super) cut: bool,
    /// More requests match than are looked at.
    pub(super) many: bool,
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    /// Whether further requests can't change it.
    pub(super) is_final: bool,
}

impl Doubts {
    fn reason(self) -> Option<&'static str> {
        match self {
            Doubts { off: true, .. } => Some("the journal is off: remove `journal: off`"),
            Doubts { many: true, .. } => Some("too many requests match: narrow the question, or use `after`"),
            Doubts { dropped: true, .. } => Some(
                "requests that could count were dropped from the journal: raise its bounds, use a space, or use `after`",
            ),
            Doubts { cut: true, .. } => Some("requests that could count have heads too large to be kept whole"),
            _ => None,
        }
    }
}

/// Judges requests, in the order of their beginnings.
pub(super) fn judge(meant: &[Meant], demands: Demands, doubts: Doubts) -> Judgement {
    let count = meant.len();
    if demands.max.is_some_and(|max| count > max as usize) {
        return failed(format!("{}; expected {}", there_are(count), demands.count()), true);
    }
    let gaps = || meant.windows(2).filter_map(gap);
    if let Some((id, gap)) = gaps().find(|(_, gap)| demands.least_gap.is_some_and(|least| *gap < least)) {
        let least = demands.least_gap.unwrap_or_default();
        let reason = format!("the gap before request {id} is {gap:.1?}; expected at least {least:.1?}");
        // Another request can only make it shorter.
        return failed(reason, true);
    }
    let unless_doubted = |reason: String| match doubts.reason() {
        Some(doubt) => Judgement {
            verdict: Verdict::Inconclusive,
            reason: format!("{reason}, but {doubt}"),
            // What was not known so far stays unknown.
            is_final: doubts.off || demands.max.is_some(),
        },
        None => failed(reason, false),
    };
    if count < demands.min as usize {
        return unless_doubted(format!("{}; expected {}", there_are(count), demands.count()));
    }
    let done = steps_done(meant, demands.steps);
    if done < demands.steps {
        let found = if done == 0 {
            "none of `order`".into()
        } else {
            format!("the first {done} of `order`")
        };
        return unless_doubted(format!(
            "{found} was found in this order; number {} is missing",
            done + 1
        ));
    }
    if let Some((id, gap)) = gaps().find(|(_, gap)| demands.greatest_gap.is_some_and(|most| *gap > most)) {
        let most = demands.greatest_gap.unwrap_or_default();
        let reason = format!("the gap before request {id} is {gap:.1?}; expected at most {most:.1?}");
        return unless_doubted(reason);
    }
    let bounded = demands.max.is_some() || demands.least_gap.is_some() || demands.greatest_gap.is_some();
    match doubts.reason().filter(|_| bounded) {
        Some(doubt) => Judgement {
            verdict: Verdict::Inconclusive,
            reason: format!("{}, but {doubt}", there_are(count)),
            is_final: true,
        },
        None => Judgement {
            verdict: Verdict::Pass,
            reason: there_are(count),
            is_final: !bounded,
        },
    }
}

fn failed(reason: String, is_final: bool) -> Judgement {
    Judgement {
        verdict: Verdict::Fail,
        reason,
        is_final,
    }
}

fn there_are(count: usize) -> String {
    match count {
        1 => "1 request matches".to_owned(),
        count => format!("{count} requests match"),
    }
}

/// The second of two requests, and the time from the end of the first to its beginning; 0 if they overlap.
fn gap(two: &[Meant]) -> Option<(u64, Duration)> {
    let [one, next] = two else { return None };
    Some((next.id, next.began.saturating_duration_since(one.ended)))
}

/// How many conditions of `order` are matched one after another.
fn steps_done(meant: &[Meant], steps: usize) -> usize {
    let mut done = 0;
    for one in meant {
        if done < steps && one.steps >> done & 1 == 1 {
            done += 1;
        }
    }
    done
}

impl Demands {
    fn count(&self) -> String {
        match (self.min, self.max) {
            (min, Some(max)) if min == max => format!("exactly {min}"),
            (0, Some(max)) => format!("at most {max}"),
            (min, Some(max)) => format!("{min} to {max}"),
            (min, None) => format!("at least {min}"),
        }
    }
}

#[cfg(test)]
mod tests;
