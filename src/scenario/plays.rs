//! The scenarios that one squall plays: one at a time, and the last ones with their reports.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Scenario;
use super::report::{Sample, ScenarioReport};
use super::run::{Control, Progress, State, play, restore};
use super::steer::Steer;
use crate::events::Events;
use crate::traffic::measure::Measure;
use crate::yaml::report::Report;

/// How many scenarios that have ended are kept, with their reports.
const MOST_PAST: usize = 20;

/// The scenarios of one squall.
#[derive(Debug, Default)]
pub struct Plays(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last_id: u64,
    current: Option<Arc<Play>>,
    /// Those that have ended, the oldest first.
    past: VecDeque<Arc<Play>>,
}

/// A scenario that is played, or was.
#[derive(Debug)]
pub struct Play {
    /// Its number, from 1.
    pub id: u64,
    /// The scenario's name, as typed.
    pub name: String,
    control: watch::Sender<Control>,
    progress: watch::Sender<Progress>,
    report: OnceLock<Arc<ScenarioReport>>,
}

/// Why a scenario is not played.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// It does not fit the configuration in force, or a rule that it brings along is not valid.
    #[error("{0}")]
    Bad(Report),
    /// Another one is being played.
    #[error("the scenario `{0}` is being played: wait for its end, or abort it")]
    Busy(Arc<Play>),
}

impl std::fmt::Display for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// What a play needs from squall.
#[derive(Debug)]
pub struct Stage<S> {
    /// Changes the rules of squall.
    pub steer: Arc<S>,
    /// Measures what clients see.
    pub measure: Arc<Measure>,
    /// Tells others how far it is.
    pub events: Arc<Events>,
}

impl Plays {
    /// Starts a scenario, unless another one is being played. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`NotStarted`]. Nothing was changed then.
    pub async fn start<S: Steer>(
        self: &Arc<Self>,
        scenario: Scenario,
        stage: Stage<S>,
    ) -> Result<Arc<Play>, NotStarted> {
        if let Some(current) = self.current() {
            return Err(NotStarted::Busy(current));
        }
        let mut refused = Vec::new();
        for (index, put) in scenario.puts.iter().enumerate() {
            let rule = serde_json::to_value(put).unwrap_or_default();
            if let Err(mistake) = stage.steer.try_put(&rule).await {
                refused.push((index, mistake));
            }
        }
        let check = scenario.check(&stage.steer.rules(), stage.steer.seed(), refused);
        check.map_err(NotStarted::Bad)?;
        let play = self.enter(&scenario)?;
        let (plays, begun) = (Arc::clone(self), Arc::clone(&play));
        tokio::spawn(async move { plays.carry_out(begun, scenario, stage).await });
        Ok(play)
    }

    /// Takes the only place.
    fn enter(&self, scenario: &Scenario) -> Result<Arc<Play>, NotStarted> {
        let mut known = self.0.lock();
        if let Some(current) = &known.current {
            return Err(NotStarted::Busy(Arc::clone(current)));
        }
        known.last_id += 1;
        let play = Arc::new(Play {
            id: known.last_id,
            name: scenario.name.clone(),
            control: watch::Sender::new(Control::Go),
            progress: watch::Sender::new(Progress {
                state: State::Baseline,
                at: 0.0,
                of: scenario.timeline.duration().as_secs_f64(),
                in_force: Vec::new(),
                seen: Sample::default(),
            }),
            report: OnceLock::new(),
        });
        known.current = Some(Arc::clone(&play));
        Ok(play)
    }

    /// Plays a scenario in a task of its own, so that everything is put back even if it breaks down.
    async fn carry_out<S: Steer>(&self, current: Arc<Play>, scenario: Scenario, stage: Stage<S>) {
        let Stage { steer, measure, events } = stage;
        tracing::info!(id = current.id, scenario = current.name, "a scenario begins");
        let names = scenario.touched();
        let saved = Arc::new(steer.save(&names));
        let recorder = measure.begin();
        let playing = {
            let (current, events) = (Arc::clone(&current), Arc::clone(&events));
            let (steer, saved, recorder) = (Arc::clone(&steer), Arc::clone(&saved), Arc::clone(&recorder));
            async move {
                let control = current.control.subscribe();
                let tell = |progress: Progress| {
                    // Told once there is a report.
                    if progress.state != State::Done {
                        current.progress.send_replace(progress);
                        events.tell("scenario", || current.to_json());
                    }
                };
                play(&scenario, &*steer, &saved, &recorder, control, tell).await
            }
        };
        match tokio::spawn(playing).await {
            Ok(report) => {
                tracing::info!(
                    id = current.id,
                    scenario = current.name,
                    verdict = %report.verdict,
                    reason = report.reason,
                    "a scenario has ended"
                );
                let _only_once = current.report.set(Arc::new(report));
            }
            Err(error) => {
                let restored = restore(&*steer, &names, &saved).await;
                tracing::error!(scenario = current.name, ?restored, "a scenario broke down: {error}");
            }
        }
        measure.end(&recorder);
        self.leave(&current);
        current.progress.send_modify(|progress| progress.state = State::Done);
        events.tell("scenario", || current.to_json());
    }

    fn leave(&self, ended: &Arc<Play>) {
        let mut known = self.0.lock();
        known.current = None;
        known.past.push_back(Arc::clone(ended));
        while known.past.len() > MOST_PAST {
            known.past.pop_front();
        }
    }

    /// The scenario that is being played.
    pub fn current(&self) -> Option<Arc<Play>> {
        self.0.lock().current.clone()
    }

    /// A scenario by its number, if it is still known.
    pub fn get(&self, id: u64) -> Option<Arc<Play>> {
        self.all().into_iter().find(|play| play.id == id)
    }

    /// The last scenarios that have ended, the oldest first, and the one that is being played.
    pub fn all(&self) -> Vec<Arc<Play>> {
        let known = self.0.lock();
        known.past.iter().chain(&known.current).cloned().collect()
    }
}

impl Play {
    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        self.progress.borrow().state == State::Done
    }

    /// The report, once it has ended; `None` also if it broke down.
    pub fn report(&self) -> Option<Arc<ScenarioReport>> {
        self.report.get().cloned()
    }

    /// Lets the clock of the scenario stand still, or go on. Returns false if it has ended or is going to.
    pub fn pause(&self, pause: bool) -> bool {
        let control = if pause { Control::Pause } else { Control::Go };
        self.order(control)
    }

    /// Ends it, and reverts. Returns false if it has ended or is going to.
    pub fn abort(&self, reason: impl Into<String>) -> bool {
        self.order(Control::Abort(reason.into()))
    }

    fn order(&self, control: Control) -> bool {
        if self.is_done() {
            return false;
        }
        // An order to end is final: what comes after it is refused.
        self.control.send_if_modified(|current| {
            let is_final = matches!(current, Control::Abort(_));
            if !is_final {
                *current = control;
            }
            !is_final
        })
    }

    /// How far it is, now and whenever that changes.
    pub fn follow(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The scenario and how far it is, as JSON.
    pub fn to_json(&self) -> Value {
        let progress = self.progress.borrow().clone();
        let report = self.report.get();
        let verdict = report.map(|report| report.verdict);
        let reason = report.and_then(|report| report.reason.clone());
        json!({
            "id": self.id,
            "scenario": self.name,
            "state": progress.state,
            "at_seconds": progress.at,
            "of_seconds": progress.of,
            "in_force": progress.in_force,
            "seen": progress.seen,
            "verdict": verdict,
            "reason": reason,
        })
    }
}
