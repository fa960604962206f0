//! Plays a scenario: observes, changes, reverts, and observes again. The clock is tokio's.

mod apply;
mod judge;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::apply::Hand;
use super::Scenario;
use super::report::{Expectation, Phase, Sample, ScenarioReport, Seconds, VERSION, Verdict, Windows};
use super::steer::Steer;
use crate::traffic::measure::{Recorder, Tally};

/// How often the number of a rule follows its curve.
const TICK: Duration = Duration::from_millis(20);
/// How often orders aside, everything else is looked at: the stop switch, guards, `stop_when`.
const LOOK: Duration = Duration::from_millis(100);
/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);
/// The windows after reverting, in one of which the steady state must hold.
const WINDOW: Duration = Duration::from_secs(1);
/// How long the steady state is waited for after reverting, by default.
const RECOVERY: Duration = Duration::from_secs(10);
/// What `stop_when` looks at: this many parts of [`PART`].
const PARTS: usize = 10;
/// The parts that `stop_when` looks at.
const PART: Duration = Duration::from_millis(500);
/// The least number of requests that `stop_when` judges.
const FEWEST: u64 = 20;
/// How often reverting is tried again if it fails, and the pause before that.
const RETRIES: (u32, Duration) = (5, Duration::from_millis(200));

/// What the runner is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// To go on.
    Go,
    /// To let the scenario's clock stand still; what is in force stays.
    Pause,
    /// To end now, for this reason, and to revert.
    Abort(String),
}

/// What a scenario is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Observes before anything is injected.
    Baseline,
    /// Changes rules as the steps say.
    Running,
    /// Stands still; what is in force stays.
    Paused,
    /// Puts everything back.
    Reverting,
    /// Observes after reverting.
    Recovery,
    /// Has ended, and has a report.
    Done,
}

/// How far a scenario is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub state: State,
    /// The scenario's clock, in seconds since its steps began; pauses don't count.
    pub at: f64,
    /// How long its steps take, in seconds.
    pub of: f64,
    /// The steps that are in force, in words.
    pub in_force: Vec<String>,
    /// What clients saw in this part of the scenario so far.
    pub seen: Sample,
}

/// How the steps ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// All of them were played.
    Finished,
    /// Somebody ended it, or the steady state did not hold before.
    Aborted(String),
    /// The steady state could not be checked before.
    Unknown(String),
    /// It could not go on, or was halted.
    Failed(String),
}

/// Plays a scenario that was checked, to its end. Everything that it changes is put back as `saved` has it.
pub async fn play<S: Steer>(
    scenario: &Scenario,
    steer: &S,
    saved: &S::Saved,
    recorder: &Recorder,
    control: watch::Receiver<Control>,
    tell: impl Fn(Progress) + Send,
) -> ScenarioReport {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let config_hash = steer.config_hash();
    let mut run = Run {
        scenario,
        steer,
        recorder,
        control,
        tell,
        told: None,
        state: State::Baseline,
        played: Duration::ZERO,
        recent: VecDeque::new(),
        looked: Instant::now(),
    };
    let before = run.observe().await;
    let before_seconds = recorder.elapsed();
    let before_tally = recorder.take_phase();
    let mut steady = judge::all(&scenario.steady, &before_tally, Phase::Before);
    let end = before.and_then(|()| judge::baseline(&steady));

    let names = scenario.touched();
    let mut hand = Hand::new(scenario, steer, saved, Instant::now());
    let end = match end {
        Ok(()) => run.steps(&mut hand, &names).await,
        Err(end) => end,
    };
    let during_seconds = recorder.elapsed().saturating_sub(before_seconds);
    let during_tally = recorder.take_phase();
    run.enter(State::Reverting);
    let reverted = hand.revert().await;
    let (injected, curves) = hand.finish();

    let mut expectations = judge::all(&scenario.expect, &during_tally, Phase::During);
    // Requests that were held when everything was put back are none of the recovery's.
    recorder.take_recent();
    if !matches!(end, End::Aborted(_) | End::Unknown(_)) && reverted.is_ok() {
        let (recovery, after) = run.recovery().await;
        steady.extend(judge::all(&scenario.steady, &during_tally, Phase::During));
        steady.extend(after);
        expectations.extend(recovery);
    }
    let after_tally = recorder.take_phase();
    let after_seconds = recorder.elapsed().saturating_sub(before_seconds + during_seconds);
    let seconds = Seconds {
        before: before_seconds.as_secs_f64(),
        during: during_seconds.as_secs_f64(),
        after: after_seconds.as_secs_f64(),
    };
    let (verdict, reason) = judge::verdict(end, &reverted, &expectations, &steady);
    run.enter(State::Done);
    ScenarioReport {
        report: VERSION,
        scenario: scenario.name.clone(),
        verdict,
        reason,
        reverted: reverted.is_ok(),
        squall: env!("CARGO_PKG_VERSION").to_owned(),
        seed: steer.seed(),
        config_hash,
        command: format!("squall scenario run {}", scenario.file()),
        started: started.as_secs_f64(),
        seconds,
        expectations,
        steady,
        injected,
        curves,
        windows: Windows {
            before: Sample::of(&before_tally, -seconds.before, seconds.before),
            during: Sample::of(&during_tally, 0.0, seconds.during),
            after: Sample::of(&after_tally, seconds.during, seconds.after),
        },
        series: Sample::series(&recorder.slots(), seconds.before, recorder.elapsed().as_secs_f64()),
        yaml: scenario.text.to_string(),
    }
}

struct Run<'a, S, T> {
    scenario: &'a Scenario,
    steer: &'a S,
    recorder: &'a Recorder,
    control: watch::Receiver<Control>,
    tell: T,
    told: Option<Instant>,
    state: State,
    /// The scenario's clock.
    played: Duration,
    /// What clients saw in the last parts of time, for `stop_when`.
    recent: VecDeque<Tally>,
    looked: Instant,
}

impl<S: Steer, T: Fn(Progress)> Run<'_, S, T> {
    /// Observes before anything is injected.
    async fn observe(&mut self) -> Result<(), End> {
        self.enter(State::Baseline);
        let end = Instant::now() + self.scenario.before;
        loop {
            if let Control::Abort(reason) = &*self.control.borrow() {
                return Err(End::Aborted(reason.clone()));
            }
            // Nothing may be injected while everything is stopped.
            if let Some(reason) = self.steer.halted() {
                return Err(End::Failed(format!("squall injects nothing now: {reason}")));
            }
            if Instant::now() >= end {
                return Ok(());
            }
            self.rest((Instant::now() + LOOK).min(end)).await;
        }
    }

    /// Plays the steps. Returns how they ended, and leaves everything in force as it then is.
    async fn steps(&mut self, hand: &mut Hand<'_, S>, names: &[Arc<str>]) -> End {
        if let Err(error) = self.steer.reset(names).await {
            return End::Failed(format!("can't reset the counters of the rules: {error}"));
        }
        let timeline = &self.scenario.timeline;
        let mut last = Instant::now();
        self.looked = last;
        self.recorder.take_recent();
        self.enter(State::Running);
        loop {
            let order = self.control.borrow().clone();
            let now = Instant::now();
            match order {
                Control::Abort(reason) => return End::Aborted(reason),
                Control::Pause => self.state_is(State::Paused),
                Control::Go => {
                    if self.state == State::Running {
                        self.played += now - last;
                    }
                    self.state_is(State::Running);
                }
            }
            last = now;
            if let Some(reason) = self.halted() {
                return End::Failed(reason);
            }
            if self.played >= timeline.duration() {
                return End::Finished;
            }
            if let Err(reason) = hand.follow(self.played, TICK / 2).await {
                return End::Failed(reason);
            }
            let paused = self.state == State::Paused;
            let pause = if !paused && timeline.is_moving(self.played) {
                TICK
            } else {
                LOOK
            };
            let next = timeline.next_after(self.played).filter(|_| !paused);
            let until_next = next.map_or(LOOK, |next| next - self.played);
            // From `now`, so that what the changes took is not lost.
            self.rest(now + pause.min(until_next).max(Duration::from_millis(1)))
                .await;
        }
    }

    /// Why the scenario must not go on, if so: the stop switch, a guard, or one of its own conditions.
    fn halted(&mut self) -> Option<String> {
        if let Some(reason) = self.steer.halted() {
            return Some(format!("halted: {reason}"));
        }
        if self.looked.elapsed() >= PART {
            self.looked = Instant::now();
            self.recent.truncate(PARTS - 1);
            self.recent.push_front(self.recorder.take_recent());
            let mut tally = Tally::default();
            self.recent.iter().for_each(|part| tally.merge(part));
            if tally.requests >= FEWEST {
                return judge::stop(&self.scenario.stop_when, &tally);
            }
        }
        None
    }

    /// Waits until the steady state holds again, as long as that may take. Returns what was expected of that, and the steady
    /// state as it was last.
    async fn recovery(&mut self) -> (Option<Expectation>, Vec<Expectation>) {
        let (steady, expected) = (&self.scenario.steady, self.scenario.recovered_within);
        if steady.is_empty() && expected.is_none() {
            return (None, Vec::new());
        }
        self.enter(State::Recovery);
        let limit = expected.unwrap_or(RECOVERY);
        let began = Instant::now();
        let mut last = Vec::new();
        let mut any = false;
        loop {
            let window = (Instant::now() + WINDOW).min(began + limit);
            while Instant::now() < window {
                self.rest(window.min(Instant::now() + LOOK)).await;
            }
            let tally = self.recorder.take_recent();
            let took = began.elapsed();
            any |= tally.requests > 0;
            let holds = judge::is_steady(steady, &tally);
            if tally.requests > 0 {
                last = judge::all(steady, &tally, Phase::After);
            }
            let is_over = took >= limit || matches!(*self.control.borrow(), Control::Abort(_));
            if holds || is_over {
                if last.is_empty() {
                    last = judge::all(steady, &tally, Phase::After);
                }
                let took = (holds || any).then_some((took, holds));
                return (expected.map(|limit| judge::recovered(limit, took)), last);
            }
        }
    }

    /// Sleeps until a moment, or until there is an order; tells progress when that is due.
    async fn rest(&mut self, until: Instant) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.tell_progress();
        }
        tokio::select! {
            () = sleep_until(until) => {}
            changed = self.control.changed() => {
                if changed.is_err() {
                    // Nobody can give orders any more.
                    sleep_until(until).await;
                }
            }
        }
    }

    fn state_is(&mut self, state: State) {
        if self.state != state {
            self.enter(state);
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.tell_progress();
    }

    fn tell_progress(&mut self) {
        self.told = Some(Instant::now());
        let timeline = &self.scenario.timeline;
        let segments = match self.state {
            State::Running | State::Paused => timeline.in_force(self.played),
            _ => Vec::new(),
        };
        let segments = segments.into_iter().filter_map(|index| timeline.segments().get(index));
        (self.tell)(Progress {
            state: self.state,
            at: self.played.as_secs_f64(),
            of: timeline.duration().as_secs_f64(),
            in_force: segments.map(|segment| segment.text.to_string()).collect(),
            seen: Sample::of(&self.recorder.phase(), 0.0, 0.0),
        });
    }
}

/// Puts rules back, and tries again if that fails.
pub(super) async fn restore<S: Steer>(steer: &S, names: &[Arc<str>], saved: &S::Saved) -> Result<(), String> {
    let (retries, pause) = RETRIES;
    let mut result = steer.restore(names, saved).await;
    for _ in 0..retries {
        if result.is_ok() {
            break;
        }
        tokio::time::sleep(pause).await;
        result = steer.restore(names, saved).await;
    }
    result
}

impl Verdict {
    /// Whether the expectations held.
    pub fn is_pass(self) -> bool {
        self == Verdict::Passed
    }
}

#[cfg(test)]
mod tests;
