//! `verify`: whether the requests of the journal are as a test expects: how many, in which order, with which time between them.
//!
//! Only requests that are over count, so a question can wait. It waits without polling, until it passes or can't pass any more.
//! Entries are looked at once each, however long it waits.

mod judge;
pub mod spec;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

pub use self::judge::Verdict;
use self::judge::{Demands, Doubts, Judgement, Meant, judge};
use self::spec::VerifySpec;
use super::filter::Filter;
use super::{Journal, Numbered, Of, ask, near};
use crate::limits::aside;
use crate::rule::matcher::Condition;
use crate::yaml::forms::OneOrMany;
use crate::yaml::report::{Diagnostic, Report};

/// The longest time that a question waits.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long a question waits unless it says otherwise: a client has its response a moment before the request is over here.
const WAIT: Duration = Duration::from_millis(200);

/// How long the journal has to stay as it is before a question passes that one more request would make fail: that moment, and
/// more.
pub const SETTLED: Duration = Duration::from_millis(20);

/// The most requests that a question looks at closely.
const MOST_MEANT: usize = 100_000;

/// The most requests that are kept as evidence.
const MOST_EVIDENCE: usize = 100;

/// The most conditions of `order`.
const MOST_STEPS: usize = 32;

/// A question, ready to be asked.
#[derive(Debug)]
pub struct Question {
    of: Of,
    after: u64,
    filter: Filter,
    order: Vec<Condition>,
    demands: Demands,
    wait: Duration,
}

/// The answer to a question.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether everything that was asked for holds.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// How many requests match.
    pub count: usize,
    /// The first of them, in the order of their beginnings.
    pub evidence: Vec<Numbered>,
    /// If requests are missing: those that almost match, the closest first, each with what does not hold.
    pub near_misses: Vec<(Numbered, Vec<String>)>,
}

/// A question while it is being answered.
#[derive(Debug)]
struct Asking {
    question: Question,
    /// The number of the last entry that was looked at.
    seen: u64,
    meant: Vec<Meant>,
    evidence: Vec<Numbered>,
    doubts: Doubts,
}

impl Question {
    /// Reads a question, in YAML or JSON: see [`VerifySpec`].
    ///
    /// # Errors
    /// Everything that is wrong with it, with its place in the text.
    pub fn read(text: &str) -> Result<Question, Report> {
        ask::read(text, Question::compile)
    }

    /// Asks about the requests of a space; an empty name stands for those in no space.
    ///
    /// # Errors
    /// The question names another one.
    pub fn within(&mut self, space: &str) -> Result<(), String> {
        let asked = Of::named(space);
        if self.of != Of::All && self.of != asked {
            return Err(format!("the question names another `space` than `{space}`"));
        }
        self.of = asked;
        Ok(())
    }

    fn compile(spec: VerifySpec, diagnostics: &mut Vec<Diagnostic>) -> Question {
        let mut error = |span, message: &str| diagnostics.push(Diagnostic::error(span, message));
        let wait = spec.wait.map(|wait| {
            if wait.get() > LONGEST_WAIT {
                error(wait.span, "`wait` can be at most 60s");
            }
            wait.get()
        });
        let gaps = spec.gaps.map(|gaps| {
            let (min, max) = (gaps.value.min.map(|min| min.get()), gaps.value.max.map(|max| max.get()));
            match (min, max) {
                (None, None) => error(gaps.span, "`gaps` needs `min`, `max` or both"),
                (Some(min), Some(max)) if min > max => error(gaps.span, "the `min` of `gaps` is more than its `max`"),
                _ => {}
            }
            (min, max)
        });
        let steps = spec.order.as_ref().map_or(0, |order| order.value.len());
        if let Some(order) = &spec.order {
            match steps {
                0 => error(
                    order.span,
                    "the list is empty: give at least one condition, or leave out the key",
                ),
                1..=MOST_STEPS => {}
                _ => error(order.span, "`order` can have at most 32 conditions"),
            }
        }
        // There is no gap, and nothing to verify, between fewer than two.
        let least = if gaps.is_some() { 2 } else { 1 };
        let (min, max) = spec.count.map_or((least, None), |count| count.value.bounds());
        let (least_gap, greatest_gap) = gaps.unwrap_or_default();
        let mut condition = |spec| ask::condition(spec, diagnostics);
        Question {
            of: spec.space.as_deref().map_or(Of::All, Of::named),
            after: spec.after.unwrap_or(0),
            filter: Filter {
                condition: spec.matches.as_deref().map(&mut condition),
                listener: spec.listener,
                hit: spec.hit,
                rule: spec.rule,
                statuses: spec.status.map(|OneOrMany(all)| all).unwrap_or_default(),
            },
            order: spec
                .order
                .iter()
                .flat_map(|order| &order.value)
                .map(condition)
                .collect(),
            demands: Demands {
                min,
                max,
                steps,
                least_gap,
                greatest_gap,
            },
            wait: wait.unwrap_or(WAIT),
        }
    }

    /// Answers the question: at once if it passes or can't pass any more, or else when its time is over.
    ///
    /// # Errors
    /// squall is stopping.
    pub async fn answer(self, journal: Arc<Journal>) -> Result<Answer, aside::Aborted> {
        let deadline = Instant::now() + self.wait;
        let asking = Asking::new(self);
        // The first look may see a hundred thousand entries; later ones see what is new.
        let (mut asking, journal) = aside::run(move || {
            let mut asking = asking;
            asking.look(&journal);
            (asking, journal)
        })
        .await?;
        let mut judged = asking.judge();
        loop {
            if judged.is_final {
                break;
            }
            if judged.verdict == Verdict::Pass {
                sleep(SETTLED).await;
                asking.look(&journal);
                judged = asking.judge();
                if judged.verdict != Verdict::Fail || judged.is_final {
                    break;
                }
            }
            let settled = journal.until(|| {
                asking.look(&journal);
                let judged = asking.judge();
                (judged.verdict == Verdict::Pass || judged.is_final).then_some(judged)
            });
            match timeout_at(deadline, settled).await {
                Ok(now) => judged = now,
                Err(_) => {
                    judged = asking.judge();
                    break;
                }
            }
        }
        aside::run(move || asking.into_answer(judged, &journal)).await
    }
}

impl Asking {
    fn new(question: Question) -> Asking {
        Asking {
            seen: question.after,
            question,
            meant: Vec::new(),
            evidence: Vec::new(),
            doubts: Doubts::default(),
        }
    }

    /// Looks at the entries that are new.
    fn look(&mut self, journal: &Journal) {
        let page = journal.read(&self.question.of, self.seen);
        self.doubts.off = !journal.is_on();
        self.doubts.dropped |= page.incomplete;
        for one in page.entries {
            self.seen = one.id;
            self.consider(one);
        }
    }

    fn consider(&mut self, one: Numbered) {
        let Question { filter, order, .. } = &self.question;
        if !filter.accepts(&one.entry) {
            self.doubts.cut |= filter.might_accept(&one.entry);
            return;
        }
        if self.meant.len() == MOST_MEANT {
            self.doubts.many = true;
            return;
        }
        let steps = if order.is_empty() {
            0
        } else {
            one.entry.with_head(|head| {
                let matching = (0u32..).zip(order).filter(|(_, condition)| condition.matches(head));
                matching.fold(0, |steps, (at, _)| steps | 1 << at)
            })
        };
        let meant = Meant {
            id: one.id,
            began: one.entry.started,
            ended: one.entry.ended(),
            steps,
        };
        // Entries come in the order of their ends.
        let at = self.meant.partition_point(|other| other.began <= meant.began);
        self.meant.insert(at, meant);
        if self.evidence.len() < MOST_EVIDENCE {
            self.evidence.push(one);
        }
    }

    fn judge(&self) -> Judgement {
        judge(&self.meant, self.question.demands, self.doubts)
    }

    fn into_answer(mut self, judged: Judgement, journal: &Journal) -> Answer {
        self.evidence.sort_by_key(|one| one.entry.started);
        let near_misses = match judged.verdict {
            Verdict::Pass => Vec::new(),
            Verdict::Fail | Verdict::Inconclusive => self.near_misses(journal),
        };
        Answer {
            verdict: judged.verdict,
            reason: judged.reason,
            count: self.meant.len(),
            evidence: self.evidence,
            near_misses,
        }
    }

    /// The requests that almost match, unless enough do.
    fn near_misses(&self, journal: &Journal) -> Vec<(Numbered, Vec<String>)> {
        if self.meant.len() >= self.question.demands.min as usize {
            return Vec::new();
        }
        let page = journal.read(&self.question.of, self.question.after);
        let mut misses: Vec<(Numbered, Vec<String>)> = Vec::new();
        for one in page.entries {
            let failed = self.question.filter.failures(&one.entry);
            if failed.is_empty() {
                continue;
            }
            let at = misses.partition_point(|(_, other)| other.len() <= failed.len());
            if at < near::MOST {
                misses.insert(at, (one, failed));
                misses.truncate(near::MOST);
            }
        }
        misses
    }
}

impl Answer {
    /// The answer as JSON. `shown` makes JSON of an entry.
    ///
    /// # Errors
    /// What `shown` returns.
    pub fn to_json<E>(&self, shown: impl Fn(&Numbered) -> Result<Value, E>) -> Result<Value, E> {
        let evidence: Vec<Value> = self.evidence.iter().map(&shown).collect::<Result<_, E>>()?;
        let near = self.near_misses.iter().map(|(one, failed)| {
            let entry = shown(one)?;
            let of = |key: &str| entry.get(key).cloned().unwrap_or_default();
            Ok(json!({
                "id": one.id, "method": of("method"), "path": of("path"), "status": of("status"), "failed": failed,
            }))
        });
        Ok(json!({
            "verdict": self.verdict.name(),
            "reason": self.reason,
            "count": self.count,
            "evidence": evidence,
            "near_misses": near.collect::<Result<Vec<Value>, E>>()?,
        }))
    }
}

#[cfg(test)]
mod tests;
