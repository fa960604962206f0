//! Judges what was measured: expectations, the steady state, and the verdict.

use std::time::Duration;

use super::End;
use crate::scenario::report::{Expectation, Phase, Verdict};
use crate::scenario::threshold::{Comparison, Threshold};
use crate::traffic::measure::Tally;
use crate::yaml::units::Time;

/// Judges thresholds by the requests of a part of the scenario.
pub(super) fn all(thresholds: &[Threshold], tally: &Tally, when: Phase) -> Vec<Expectation> {
    let judge = |threshold: &Threshold| {
        let judgement = threshold.judge(tally);
        Expectation {
            name: threshold.name.clone(),
            when,
            wanted: threshold.wanted(),
            measured: judgement.measured.map(|value| threshold.metric.write(value)),
            held: judgement.held,
            margin: judgement.measured.and_then(|value| margin(threshold, value)),
        }
    };
    thresholds.iter().map(judge).collect()
}

/// How far a value is from its threshold, as a share of the threshold; negative if it does not hold.
fn margin(threshold: &Threshold, value: f64) -> Option<f64> {
    let left = match threshold.comparison {
        Comparison::Below | Comparison::AtMost => threshold.value - value,
        Comparison::Above | Comparison::AtLeast => value - threshold.value,
    };
    (threshold.value != 0.0).then(|| (left / threshold.value * 1e4).round() / 1e4)
}

/// Whether the steps may begin, by the steady state before them.
pub(super) fn baseline(steady: &[Expectation]) -> Result<(), End> {
    if let Some(broken) = steady.iter().find(|one| one.held == Some(false)) {
        let measured = broken.measured.as_deref().unwrap_or("unknown");
        return Err(End::Aborted(format!(
            "the steady state did not hold before anything was injected: {} was {measured}, not {}",
            broken.name, broken.wanted
        )));
    }
    match steady.iter().find(|one| one.held.is_none()) {
        Some(unknown) => Err(End::Unknown(format!(
            "the steady state could not be checked before anything was injected: no request says anything about `{}`",
            unknown.name
        ))),
        None => Ok(()),
    }
}

/// The first condition to stop that has come true, in words.
pub(super) fn stop(conditions: &[Threshold], tally: &Tally) -> Option<String> {
    conditions.iter().find_map(|condition| {
        let judgement = condition.judge(tally);
        let measured = condition.metric.write(judgement.measured?);
        (judgement.held == Some(true)).then(|| format!("halted by `stop_when`: {condition} came true with {measured}"))
    })
}

/// Whether the steady state holds in a window; without one, whether no request failed.
pub(super) fn is_steady(steady: &[Threshold], tally: &Tally) -> bool {
    let holds = steady.iter().all(|threshold| threshold.judge(tally).held == Some(true));
    tally.requests > 0 && holds && (!steady.is_empty() || tally.errors() == 0)
}

/// The expectation of a recovery. `took` is when the observation ended, and whether the steady state held then; `None` if
/// there was no request.
pub(super) fn recovered(limit: Duration, took: Option<(Duration, bool)>) -> Expectation {
    let write = |time: Duration| {
        let tenths = Duration::from_millis(u64::try_from(time.as_millis() / 100 * 100).unwrap_or(u64::MAX));
        Time::saturating(tenths).to_string()
    };
    let (held, measured) = match took {
        Some((time, true)) => (Some(true), Some(write(time))),
        Some((time, false)) => (Some(false), Some(format!("not within {}", write(time)))),
        None => (None, None),
    };
    let spare = took.filter(|(_, holds)| *holds && !limit.is_zero());
    Expectation {
        name: "recovered within".into(),
        when: Phase::After,
        wanted: Time::saturating(limit).to_string(),
        measured,
        held,
        margin: spare.map(|(time, _)| ((1.0 - time.div_duration_f64(limit)) * 1e4).round() / 1e4),
    }
}

/// How the scenario ended, and why.
pub(super) fn verdict(
    end: End,
    reverted: &Result<(), String>,
    expectations: &[Expectation],
    steady: &[Expectation],
) -> (Verdict, Option<String>) {
    if let Err(error) = reverted {
        return (
            Verdict::Failed,
            Some(format!("not everything could be put back: {error}")),
        );
    }
    match end {
        End::Aborted(reason) => return (Verdict::Aborted, Some(reason)),
        End::Unknown(reason) => return (Verdict::Inconclusive, Some(reason)),
        End::Failed(reason) => return (Verdict::Failed, Some(reason)),
        End::Finished => {}
    }
    let after = steady.iter().filter(|one| one.when == Phase::After);
    let expected: Vec<&Expectation> = expectations.iter().chain(after).collect();
    let those = |held: Option<bool>| {
        let names = expected.iter().filter(|one| one.held == held);
        let names: Vec<String> = names
            .map(|one| format!("{} {} ({})", one.name, one.wanted, one.when))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(failed) = those(Some(false)) {
        return (Verdict::Failed, Some(format!("did not hold: {failed}")));
    }
    match those(None) {
        Some(unknown) => (Verdict::Inconclusive, Some(format!("no requests to check: {unknown}"))),
        None => (Verdict::Passed, None),
    }
}
