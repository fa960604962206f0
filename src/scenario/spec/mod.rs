//! A scenario as typed. Each step is a sentence, or a map with one action.

pub mod sentence;

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

pub use self::sentence::SentenceSpec;
use super::threshold::BoundSpec;
use crate::fault::distribution::wave::WaveShape;
use crate::rule::spec::RuleSpec;
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::forms::OneOrMany;
use crate::yaml::tree::{Node, Value};
use crate::yaml::units::{ByteRate, Percentage, Time};

/// The key of a step that holds its sentence, where the step has more than that.
const SENTENCE: &str = "do";

/// A timeline of changes to rules, and what is expected of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "squall scenario", extend("patternProperties" = {"^x-": true}))]
pub struct ScenarioSpec {
    /// The scenario's name, for reports.
    pub scenario: Spanned<String>,
    /// The seed that squall must run with, so that the same traffic gets the same faults. Absent: any.
    pub seed: Option<Spanned<u64>>,
    /// What holds while nothing is injected: thresholds on what clients see. Checked before anything is injected, and again
    /// after reverting.
    #[serde(default)]
    pub steady: Named<Spanned<BoundSpec>>,
    /// How long `steady` is observed before anything is injected. Absent: 10s, and 0s without `steady`.
    pub before: Option<Spanned<Time>>,
    /// How long the scenario takes. Absent: until its last step ends.
    pub duration: Option<Spanned<Time>>,
    /// What is changed, and when.
    pub steps: Spanned<Vec<Spanned<StepSpec>>>,
    /// Thresholds that end the scenario when one of them comes true for the last 5 seconds: `errors: "> 50%"`.
    #[serde(default)]
    pub stop_when: Named<Spanned<BoundSpec>>,
    /// What must hold: thresholds on what clients saw while the steps ran, and `recovered within: 30s`.
    #[serde(default)]
    #[schemars(extend("default" = serde_json::Map::new()))]
    pub expect: OneOrMany<Named<Spanned<String>>>,
}

/// A step: when, and one action.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepLong {
    /// When it begins, counted from the beginning of the list that it is in. Absent: when the step before it ends.
    pub at: Option<Spanned<Time>>,
    /// How long it lasts; then everything is as it was before the step. Absent: until the scenario ends.
    #[serde(rename = "for")]
    pub lasting: Option<Spanned<Time>>,
    /// A sentence, such as `enable outage`.
    #[serde(rename = "do")]
    pub sentence: Option<Spanned<SentenceSpec>>,
    /// Rules to switch on.
    pub enable: Option<Spanned<OneOrMany<String>>>,
    /// Rules to switch off.
    pub disable: Option<Spanned<OneOrMany<String>>>,
    /// Rules to put back as they were before the scenario.
    pub revert: Option<Spanned<OneOrMany<String>>>,
    /// A number of a rule that goes from one value to another in a straight line.
    pub ramp: Option<Spanned<RampSpec>>,
    /// A number of a rule that takes one value after the other.
    pub step: Option<Spanned<StairsSpec>>,
    /// A number of a rule that goes up and down.
    pub wave: Option<Spanned<SwingSpec>>,
    /// A time in which nothing changes, or a number of a rule that is held at a value.
    pub hold: Option<Spanned<HoldSpec>>,
    /// A rule that exists during the scenario only.
    pub put: Option<Spanned<Box<RuleSpec>>>,
    /// Steps that are repeated.
    pub repeat: Option<Spanned<RepeatSpec>>,
    /// Steps that begin at the same time.
    pub parallel: Option<Spanned<Vec<Spanned<StepSpec>>>>,
}

/// A step in any of its forms: see [`unfold`].
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct StepSpec(pub StepLong);

impl JsonSchema for StepSpec {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<StepLong>();
        json_schema!({"anyOf": [
            {"type": "string", "description": "A sentence: enable outage for 30s"},
            {
                "type": "object",
                "description": "When, and a sentence or an action: at 30s: enable outage",
                "patternProperties": {"^at ": {"anyOf": [{"type": "string"}, long]}},
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            },
            long,
        ]})
    }
}

/// The two ends of a change.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ends<T> {
    /// The first value.
    pub from: T,
    /// The last value.
    pub to: T,
}

/// A number that goes from one value to another in a straight line. Exactly one number is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RampSpec {
    /// The rule's name.
    pub rule: Spanned<String>,
    /// The delay at both ends.
    pub delay: Option<Ends<Time>>,
    /// The percentage at both ends.
    pub percentage: Option<Ends<Percentage>>,
    /// The bandwidth at both ends.
    pub bandwidth: Option<Ends<ByteRate>>,
    /// How long it takes.
    pub over: Spanned<Time>,
}

/// A number that takes one value after the other. Exactly one number is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StairsSpec {
    /// The rule's name.
    pub rule: Spanned<String>,
    /// The delays.
    pub delay: Option<Vec<Time>>,
    /// The percentages.
    pub percentage: Option<Vec<Percentage>>,
    /// The bandwidths.
    pub bandwidth: Option<Vec<ByteRate>>,
    /// How long each value holds.
    pub every: Spanned<Time>,
}

/// The lowest and the highest value of a wave.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range<T> {
    /// The lowest value.
    pub min: T,
    /// The highest value.
    pub max: T,
}

/// A number that goes up and down. Exactly one number is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwingSpec {
    /// The rule's name.
    pub rule: Spanned<String>,
    /// The lowest and the highest delay.
    pub delay: Option<Range<Time>>,
    /// The lowest and the highest percentage.
    pub percentage: Option<Range<Percentage>>,
    /// The lowest and the highest bandwidth.
    pub bandwidth: Option<Range<ByteRate>>,
    /// The time after which it repeats.
    pub every: Spanned<Time>,
    /// The waveform. Absent: sine.
    pub shape: Option<WaveShape>,
}

/// A time in which nothing changes, such as `30s`; or a number that is held at a value.
#[derive(Debug, Clone)]
pub enum HoldSpec {
    /// Nothing changes for this long.
    Time(Time),
    /// A number is held at a value.
    Value(HeldSpec),
}

/// A number that is held at a value. Exactly one number is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldSpec {
    /// The rule's name.
    pub rule: Spanned<String>,
    /// The delay.
    pub delay: Option<Time>,
    /// The percentage.
    pub percentage: Option<Percentage>,
    /// The bandwidth.
    pub bandwidth: Option<ByteRate>,
}

impl crate::yaml::forms::ShortForm for HoldSpec {
    type Long = HeldSpec;
    const TEXT: bool = true;
    const EXPECTING: &'static str = "a duration such as 30s, or a map with `rule` and a number";

    fn from_scalar(scalar: crate::yaml::forms::Scalar<'_>) -> Option<Result<Self, String>> {
        let time = scalar.text()?.parse();
        Some(
            time.map(HoldSpec::Time)
                .map_err(|error: crate::yaml::units::UnitError| error.to_string()),
        )
    }

    fn from_long(long: HeldSpec) -> Result<Self, String> {
        Ok(HoldSpec::Value(long))
    }
}

impl<'de> Deserialize<'de> for HoldSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::yaml::forms::deserialize(deserializer)
    }
}

impl JsonSchema for HoldSpec {
    fn schema_name() -> Cow<'static, str> {
        "Hold".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = generator.subschema_for::<Time>();
        let long = generator.subschema_for::<HeldSpec>();
        json_schema!({"anyOf": [time, long]})
    }
}

/// Steps that are repeated.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepeatSpec {
    /// How many times, from 1.
    pub times: Spanned<NonZeroU32>,
    /// The steps of each round.
    pub steps: Spanned<Vec<Spanned<StepSpec>>>,
}

/// Rewrites the short forms of steps to their long form, before they are decoded, so that errors have their positions:
/// `enable outage` becomes `{do: enable outage}`, and `{at 30s: X}` becomes `{at: 30s, do: X}`, or X with `at: 30s` if X is a
/// map.
pub fn unfold(document: &mut Node) {
    if let Some(steps) = get_mut(document, "steps") {
        unfold_steps(steps);
    }
}

fn unfold_steps(steps: &mut Node) {
    let Value::Seq(steps) = &mut steps.value else {
        return;
    };
    for step in steps {
        unfold_step(step);
        if let Some(parallel) = get_mut(step, "parallel") {
            unfold_steps(parallel);
        }
        if let Some(repeat) = get_mut(step, "repeat") {
            unfold(repeat);
        }
    }
}

fn unfold_step(step: &mut Node) {
    let span = step.span;
    match &mut step.value {
        Value::String(_) => {
            let sentence = std::mem::replace(step, Node::empty_map(span));
            step.value = Value::Map(vec![(Node::implied(SENTENCE, span), sentence)]);
        }
        Value::Map(entries) => {
            let Some((place, time)) = entries.iter().enumerate().find_map(|(place, (key, _))| {
                let time: Arc<str> = key.text()?.strip_prefix("at ")?.trim().into();
                Some((place, time))
            }) else {
                return;
            };
            let (key, value) = entries.remove(place);
            let at = (Node::implied("at", key.span), Node::implied(&time, key.span));
            match value.value {
                Value::Map(inner) => entries.extend(inner),
                _ => entries.push((Node::implied(SENTENCE, value.span), value)),
            }
            entries.insert(0, at);
        }
        _ => {}
    }
}

fn get_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Map(entries) => entries
            .iter_mut()
            .find(|(name, _)| name.text() == Some(key))
            .map(|(_, value)| value),
        _ => None,
    }
}
