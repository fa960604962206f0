//! Scenarios: timelines of changes to the rules of a running squall, with a report of what clients saw.
//!
//! ```text
//! spec      the YAML as typed; spec/sentence: steps as sentences
//! compile   spec ─> Scenario: its timeline, thresholds, and the rules that it mentions
//! timeline  what is to be in force at each moment; curve: how a number changes. Pure
//! steer     what a scenario may do to squall's rules; live: does it; patch: one number of a rule as typed
//! run       plays a scenario by a Steer, measures, judges, and always reverts
//! plays     the scenarios of one squall: one runs at a time
//! report    what happened: JSON, JUnit XML, HTML
//! ```

mod compile;
pub mod curve;
pub mod live;
pub mod patch;
pub mod plays;
pub mod report;
pub mod run;
pub mod spec;
pub mod steer;
pub mod threshold;
pub mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::curve::Property;
use self::spec::ScenarioSpec;
use self::steer::RuleNow;
use self::threshold::Threshold;
use self::timeline::Timeline;
use crate::peers;
use crate::rule::beside;
use crate::rule::spec::RuleSpec;
use crate::yaml::decode::word::Word;
use crate::yaml::decode::{Spanned, decode_hinted};
use crate::yaml::report::{Diagnostic, Report, Sources, did_you_mean};
use crate::yaml::tree;

/// A scenario that can be played.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name, for reports.
    pub name: String,
    /// The seed that squall must run with; `None` for any.
    pub seed: Option<Spanned<u64>>,
    /// How long the steady state is observed before anything is injected.
    pub before: Duration,
    /// What holds while nothing is injected.
    pub steady: Vec<Threshold>,
    /// What ends the scenario when one of it comes true.
    pub stop_when: Vec<Threshold>,
    /// What must hold while the steps run.
    pub expect: Vec<Threshold>,
    /// How soon after reverting the steady state must hold again; `None` if that is not expected.
    pub recovered_within: Option<Duration>,
    /// What is to be in force when.
    pub timeline: Timeline,
    /// The rules that the scenario brings along.
    pub puts: Vec<RuleSpec>,
    mentions: Vec<Mention>,
    /// The YAML that it was read from.
    pub text: Arc<str>,
    sources: Arc<Sources>,
}

/// A place where a scenario names a rule.
#[derive(Debug, Clone)]
struct Mention {
    rule: Spanned<String>,
    /// The number that is changed, if one is.
    property: Option<Property>,
    enables: bool,
}

impl Mention {
    fn of(rule: Spanned<String>) -> Mention {
        Mention {
            rule,
            property: None,
            enables: false,
        }
    }

    fn enables(rule: Spanned<String>) -> Mention {
        Mention {
            enables: true,
            ..Mention::of(rule)
        }
    }

    fn shapes(rule: Spanned<String>, property: Property) -> Mention {
        Mention {
            property: Some(property),
            ..Mention::of(rule)
        }
    }
}

impl Scenario {
    /// Reads and checks a scenario, apart from what depends on the running configuration. Variables are not replaced in it,
    /// since it may come over the network.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(name: &str, bytes: Vec<u8>) -> Result<Scenario, Report> {
        let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
        let source = tree::add_source(&mut sources, name, bytes, "", &mut diagnostics);
        let spec = source.and_then(|source| {
            let mut document = tree::parse(&sources, source, None, &mut diagnostics)?;
            tree::remove_anchors(&mut document);
            spec::unfold(&mut document);
            let hint = |word: &Word<'_>| peers::of_scenario(word).or_else(|| beside::of_scenario(word));
            decode_hinted::<ScenarioSpec>(&document, &hint, &mut diagnostics)
        });
        let text: Arc<str> = source.map_or("", |source| sources.text(source)).into();
        let scenario = spec.map(|spec| compile::compile(spec, &mut diagnostics));
        let sources = Arc::new(sources);
        match scenario {
            Some(scenario) if diagnostics.is_empty() => Ok(Scenario {
                text,
                sources,
                ..scenario
            }),
            _ => Err(Report::new(diagnostics, sources)),
        }
    }

    /// Checks the scenario against the rules and the seed of a running squall. `refused` are its own rules that squall refuses,
    /// by index, each with what is wrong with it.
    ///
    /// # Errors
    /// Everything that does not fit, at once: rules that are not there, that lack a number, or that stay switched off.
    pub fn check(&self, rules: &[RuleNow], seed: u64, refused: Vec<(usize, String)>) -> Result<(), Report> {
        let mut diagnostics = Vec::new();
        for (index, mistake) in refused {
            let place = self.puts.get(index).map(|put| put.name.span);
            diagnostics.push(Diagnostic::error(place, format!("squall refuses this rule: {mistake}")));
        }
        if let Some(wanted) = self.seed.as_ref().filter(|wanted| wanted.value != seed) {
            let message = format!("squall runs with the seed {seed}, so its faults would be others than with {wanted}");
            let help = format!("start it with `--seed {wanted}`, or leave out `seed`");
            diagnostics.push(Diagnostic::error(wanted.span, message).help(help));
        }
        let mut known: BTreeMap<&str, (bool, Value)> = rules
            .iter()
            .map(|rule| (&*rule.name, (rule.enabled, rule.spec.clone())))
            .collect();
        for (name, put) in compile::names_of(&self.puts) {
            // A rule always has a JSON form.
            known.insert(name, (put.enabled, serde_json::to_value(put).unwrap_or_default()));
        }
        let enabled: BTreeSet<&str> = self
            .mentions
            .iter()
            .filter(|mention| mention.enables)
            .map(|mention| mention.rule.value.as_str())
            .collect();
        for mention in &self.mentions {
            let (name, span) = (mention.rule.value.as_str(), mention.rule.span);
            let Some((is_on, spec)) = known.get(name) else {
                let mistake = Diagnostic::error(span, format!("squall runs without a rule `{name}`"));
                let help = match did_you_mean(name, known.keys().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("its rules: {}", listed(known.keys().copied())),
                };
                diagnostics.push(mistake.help(help));
                continue;
            };
            let Some(property) = mention.property else {
                continue;
            };
            if let Err(mistake) = patch::set(spec, property, 0.0) {
                diagnostics.push(Diagnostic::error(
                    span,
                    format!("can't change the {property} of `{name}`: {mistake}"),
                ));
            }
            if !is_on && !enabled.contains(name) {
                let message = format!("`{name}` is switched off, so its {property} would change nothing");
                let help = format!("add a step before this one: enable \"{name}\"");
                diagnostics.push(Diagnostic::error(span, message).help(help));
            }
        }
        if diagnostics.is_empty() {
            return Ok(());
        }
        Err(Report::new(diagnostics, Arc::clone(&self.sources)))
    }

    /// The name of the file that it was read from.
    pub fn file(&self) -> &str {
        self.sources
            .start()
            .and_then(|start| self.sources.name(start.source))
            .unwrap_or_default()
    }

    /// The names of all rules that the scenario may change.
    pub fn touched(&self) -> Vec<Arc<str>> {
        let names: BTreeSet<Arc<str>> = self
            .timeline
            .segments()
            .iter()
            .map(|segment| Arc::clone(&segment.rule))
            .collect();
        names.into_iter().collect()
    }
}

/// Some names as a list in words.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 10;
    let names: Vec<&str> = names.collect();
    let more = if names.len() > MOST { "…" } else { "" };
    let shown: Vec<&str> = names.into_iter().take(MOST).collect();
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests;
