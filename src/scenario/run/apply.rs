//! Makes squall's rules follow a timeline, and notes what was changed when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::restore;
use crate::scenario::curve::Property;
use crate::scenario::report::{Course, Injection};
use crate::scenario::steer::Steer;
use crate::scenario::timeline::Wanted;
use crate::scenario::{Scenario, patch};

/// A moving number is sent when it differs from the last one by this share.
const SMALLEST: f64 = 0.01;
/// The most points of a curve that a report has.
const MOST_POINTS: usize = 1_000;

/// Pairs of time and value.
type Points = Vec<(f64, f64)>;

/// Changes the rules that a scenario names.
pub(super) struct Hand<'a, S: Steer> {
    scenario: &'a Scenario,
    steer: &'a S,
    saved: &'a S::Saved,
    began: Instant,
    /// What was sent, by rule; rules that are as saved are left out.
    sent: BTreeMap<Arc<str>, Wanted>,
    /// Segments in force, with when they began.
    open: BTreeMap<usize, f64>,
    injected: Vec<Injection>,
    courses: BTreeMap<(Arc<str>, Property), Points>,
}

impl<'a, S: Steer> Hand<'a, S> {
    pub(super) fn new(scenario: &'a Scenario, steer: &'a S, saved: &'a S::Saved, now: Instant) -> Self {
        Hand {
            scenario,
            steer,
            saved,
            began: now,
            sent: BTreeMap::new(),
            open: BTreeMap::new(),
            injected: Vec::new(),
            courses: BTreeMap::new(),
        }
    }

    /// Changes what differs from what is to be in force at a time of the scenario's clock. A moving number is sent as it will
    /// be after `ahead`, in the middle of the time for which it holds.
    ///
    /// # Errors
    /// Why a rule can't be changed, in words.
    pub(super) async fn follow(&mut self, time: Duration, ahead: Duration) -> Result<(), String> {
        let timeline = &self.scenario.timeline;
        let moving = timeline.is_moving(time);
        // Never beyond the next moment, when something else may come into force.
        let next = timeline
            .next_after(time)
            .map(|next| next.saturating_sub(Duration::from_nanos(1)));
        let ahead = next.map_or(time + ahead, |next| next.min(time + ahead));
        let wanted = timeline.at(if moving { ahead } else { time });
        let names: BTreeSet<Arc<str>> = self.sent.keys().chain(wanted.keys()).map(Arc::clone).collect();
        for name in names {
            let wanted = wanted.get(&name).cloned().unwrap_or_default();
            let sent = self.sent.get(&name).cloned().unwrap_or_default();
            if is_close(&sent, &wanted, moving) {
                if sent.put.is_none() && self.sent.contains_key(&name) && self.steer.rule(&name).is_none() {
                    return Err(format!(
                        "the rule `{name}` is gone: was the configuration reloaded without it?"
                    ));
                }
                continue;
            }
            let changed = self.change(&name, sent, &wanted).await;
            changed.map_err(|error| format!("can't change the rule `{name}`: {error}"))?;
        }
        self.note(time);
        Ok(())
    }

    async fn change(&mut self, name: &Arc<str>, mut sent: Wanted, wanted: &Wanted) -> Result<(), String> {
        let steer = self.steer;
        let loses = |sent: &Wanted| sent.values.keys().any(|property| !wanted.values.contains_key(property));
        if (wanted.put.is_none() && loses(&sent))
            || (sent.put.is_some() && sent.put != wanted.put)
            || *wanted == Wanted::default()
        {
            // Noted as changed until it is put back, so that an error here is not the end of trying.
            steer.restore(std::slice::from_ref(name), self.saved).await?;
            self.sent.remove(name);
            sent = Wanted::default();
        }
        if *wanted == Wanted::default() {
            return Ok(());
        }
        // Before anything is sent: what fails half way must be put back too.
        self.sent.entry(Arc::clone(name)).or_default();
        if let Some(put) = wanted.put {
            let rule = self.scenario.puts.get(put);
            let mut rule = rule
                .and_then(|rule| serde_json::to_value(rule).ok())
                .unwrap_or_default();
            let values = values_of(&rule, wanted)?;
            patch::merge(&mut rule, &values);
            if sent.put.is_none() || sent.values != wanted.values {
                steer.put(name, &rule).await?;
            }
        } else if sent.values != wanted.values {
            let rule = steer
                .rule(name)
                .ok_or("it is gone: was the configuration reloaded without it?")?;
            steer.patch(name, values_of(&rule.spec, wanted)?).await?;
        }
        if sent.on != wanted.on {
            steer.switch(name, wanted.on).await?;
        }
        let at = self.began.elapsed().as_secs_f64();
        for (property, value) in &wanted.values {
            if sent.values.get(property) != Some(value) {
                add_point(
                    self.courses.entry((Arc::clone(name), *property)).or_default(),
                    (at, *value),
                );
            }
        }
        self.sent.insert(Arc::clone(name), wanted.clone());
        Ok(())
    }

    /// Notes which steps are in force now.
    fn note(&mut self, time: Duration) {
        let now = self.began.elapsed().as_secs_f64();
        let in_force: BTreeSet<usize> = self.scenario.timeline.in_force(time).into_iter().collect();
        let ended: Vec<usize> = self
            .open
            .keys()
            .copied()
            .filter(|index| !in_force.contains(index))
            .collect();
        for index in ended {
            self.close(index, now);
        }
        for index in in_force {
            self.open.entry(index).or_insert(now);
        }
    }

    fn close(&mut self, index: usize, now: f64) {
        let (Some(from), Some(segment)) = (self.open.remove(&index), self.scenario.timeline.segments().get(index))
        else {
            return;
        };
        self.injected.push(Injection {
            text: segment.text.to_string(),
            rule: segment.rule.to_string(),
            from,
            until: now,
        });
    }

    /// Puts everything back that was changed.
    ///
    /// # Errors
    /// Why that is not possible, in words, after several attempts.
    pub(super) async fn revert(&mut self) -> Result<(), String> {
        let now = self.began.elapsed().as_secs_f64();
        let open: Vec<usize> = self.open.keys().copied().collect();
        for index in open {
            self.close(index, now);
        }
        let names: Vec<Arc<str>> = self.sent.keys().map(Arc::clone).collect();
        if names.is_empty() {
            return Ok(());
        }
        restore(self.steer, &names, self.saved).await?;
        self.sent.clear();
        Ok(())
    }

    /// What was injected when, and the numbers that were set.
    pub(super) fn finish(mut self) -> (Vec<Injection>, Vec<Course>) {
        self.injected.sort_by(|one, other| one.from.total_cmp(&other.from));
        let courses = self.courses.into_iter().map(|((rule, property), points)| Course {
            rule: rule.to_string(),
            property: property.to_string(),
            points,
        });
        (self.injected, courses.collect())
    }
}

/// Whether what was sent is what is wanted; moving numbers may differ a little.
fn is_close(sent: &Wanted, wanted: &Wanted, moving: bool) -> bool {
    let close = |one: f64, other: f64| {
        let allowed = if moving {
            SMALLEST * one.abs().max(other.abs())
        } else {
            0.0
        };
        (one - other).abs() <= allowed
    };
    sent.on == wanted.on
        && sent.put == wanted.put
        && sent.values.len() == wanted.values.len()
        && sent.values.iter().all(|(property, value)| {
            let wanted = wanted.values.get(property);
            wanted.is_some_and(|wanted| close(*value, *wanted))
        })
}

/// All numbers of a rule that are to differ, as one merge patch.
fn values_of(rule: &Value, wanted: &Wanted) -> Result<Value, String> {
    let (mut changed, mut all) = (rule.clone(), Value::Object(Map::new()));
    for (property, value) in &wanted.values {
        let one = patch::set(&changed, *property, *value)?;
        patch::merge(&mut changed, &one);
        patch::merge(&mut all, &one);
    }
    Ok(all)
}

/// Adds a point to a curve, and thins it out when it has too many.
fn add_point(points: &mut Points, point: (f64, f64)) {
    if points.len() >= MOST_POINTS {
        let mut keep = false;
        points.retain(|_| {
            keep = !keep;
            keep
        });
    }
    points.push(point);
}
