//! From a scenario as typed to one that can be played: its timeline and thresholds, with every mistake at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::curve::{Curve, Property};
use super::spec::sentence::Order;
use super::spec::{Ends, HeldSpec, HoldSpec, RampSpec, Range, ScenarioSpec, StairsSpec, StepLong, StepSpec, SwingSpec};
use super::threshold::{BoundSpec, Threshold};
use super::timeline::{Change, Segment, Timeline};
use super::{Mention, Scenario};
use crate::rule::spec::RuleSpec;
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::forms::OneOrMany;
use crate::yaml::report::{Diagnostic, Span};
use crate::yaml::units::{ByteRate, Percentage, Time};

/// The most parts of a timeline, counting those that `repeat` adds.
const MOST_SEGMENTS: usize = 10_000;
/// The longest scenario: 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// How long `steady` is observed before anything is injected, by default.
const BEFORE: Duration = Duration::from_secs(10);
/// The key of `expect` that is no threshold.
const RECOVERED: &str = "recovered within";

/// Compiles a scenario. Mistakes are added to `diagnostics`; the scenario is of use only if none was.
pub(super) fn compile(spec: ScenarioSpec, diagnostics: &mut Vec<Diagnostic>) -> Scenario {
    let mut compiler = Compiler {
        diagnostics,
        segments: Vec::new(),
        puts: Vec::new(),
        mentions: Vec::new(),
        is_full: false,
    };
    let end = compiler.steps(&spec.steps, Duration::ZERO);
    let end = compiler.bounded(spec.steps.span, end);
    let duration = match &spec.duration {
        Some(duration) => compiler.bounded(duration.span, duration.get()),
        None => end,
    };
    if spec.steps.value.is_empty() {
        compiler.error(spec.steps.span, "`steps` is empty: a scenario needs at least one step");
    } else if duration.is_zero() {
        let place = spec.duration.as_ref().map_or(spec.steps.span, |duration| duration.span);
        let mistake = Diagnostic::error(
            place,
            "the scenario takes no time, so its steps would be reverted at once",
        );
        compiler
            .diagnostics
            .push(mistake.help("give `duration: 1m`, or steps that last: `enable outage for 1m`"));
    }
    let steady = compiler.thresholds(&spec.steady);
    let (expect, recovered_within) = compiler.expectations(&spec.expect);
    let before = match (&spec.before, steady.is_empty()) {
        (Some(before), _) => compiler.bounded(before.span, before.get()),
        (None, false) => BEFORE,
        (None, true) => Duration::ZERO,
    };
    if !steady.is_empty() && before.is_zero() {
        let place = spec.before.as_ref().map(|before| before.span);
        let message = "`steady` can't be checked in no time: give `before` at least some seconds";
        compiler.diagnostics.push(Diagnostic::error(place, message));
    }
    let stop_when = compiler.thresholds(&spec.stop_when);
    if spec.scenario.value.trim().is_empty() {
        compiler.error(spec.scenario.span, "the scenario's name is empty");
    }
    Scenario {
        name: spec.scenario.value,
        seed: spec.seed,
        before,
        steady,
        stop_when,
        expect,
        recovered_within,
        timeline: Timeline::new(compiler.segments, duration),
        puts: compiler.puts,
        mentions: compiler.mentions,
        text: Arc::default(),
        sources: Arc::default(),
    }
}

struct Compiler<'a> {
    diagnostics: &'a mut Vec<Diagnostic>,
    segments: Vec<Segment>,
    puts: Vec<RuleSpec>,
    mentions: Vec<Mention>,
    is_full: bool,
}

/// The only action of a step.
enum Action<'a> {
    Order(Spanned<Order>),
    Put(&'a Spanned<Box<RuleSpec>>),
    Repeat(u32, &'a [Spanned<StepSpec>]),
    Parallel(&'a [Spanned<StepSpec>]),
}

impl Compiler<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    fn bounded(&mut self, span: Span, time: Duration) -> Duration {
        if time > LONGEST {
            self.error(span, "a scenario can take at most 30d");
        }
        time.min(LONGEST)
    }

    /// Adds a list of steps that begins at a moment. Returns when its last step ends.
    fn steps(&mut self, steps: &[Spanned<StepSpec>], begin: Duration) -> Duration {
        let (mut last, mut end) = (begin, begin);
        for step in steps {
            let from = step.0.at.as_ref().map_or(last, |at| begin.saturating_add(at.get()));
            last = self.step(step, from);
            end = end.max(last);
        }
        end
    }

    /// Adds a step that begins at a moment. Returns when it ends.
    fn step(&mut self, step: &Spanned<StepSpec>, from: Duration) -> Duration {
        let from = from.min(LONGEST.saturating_mul(2));
        let long = &step.value.0;
        let lasting = long.lasting.as_ref().map(|lasting| lasting.get());
        let Some(action) = self.action(step) else {
            return from;
        };
        match action {
            Action::Order(order) => self.order(&order, from, lasting.or(said(long)), long),
            Action::Put(put) => {
                let name = put.value.name.clone();
                if put.value.enabled {
                    self.mentions.push(Mention::enables(name.clone()));
                }
                self.puts.push((*put.value).clone());
                let change = Change::Put(self.puts.len() - 1);
                let text = format!("put {}", quoted(&name.value));
                self.segment(step.span, from, lasting, &name.value, change, text);
                from.saturating_add(lasting.unwrap_or_default())
            }
            Action::Repeat(times, steps) => {
                let mut at = from;
                for _ in 0..times {
                    let end = self.steps(steps, at);
                    if end == at && times > 1 {
                        self.error(step.span, "the repeated steps take no time: add `hold 10s`, or `for`");
                        break;
                    }
                    at = end;
                    if self.is_full || at > LONGEST {
                        break;
                    }
                }
                at
            }
            Action::Parallel(steps) => {
                let ends = steps.iter().map(|one| {
                    let at = one.0.at.as_ref().map(|at| at.get()).unwrap_or_default();
                    self.step(one, from.saturating_add(at))
                });
                ends.max().unwrap_or(from)
            }
        }
    }

    fn order(
        &mut self,
        order: &Spanned<Order>,
        from: Duration,
        lasting: Option<Duration>,
        step: &StepLong,
    ) -> Duration {
        let span = order.span;
        let named = |name: &String| Spanned::new(name.clone(), span);
        match &order.value {
            Order::Switch { rules, on } => {
                for rule in rules {
                    self.mentions.push(if *on {
                        Mention::enables(named(rule))
                    } else {
                        Mention::of(named(rule))
                    });
                    let text = format!("{} {}", if *on { "enable" } else { "disable" }, quoted(rule));
                    self.segment(span, from, lasting, rule, Change::Switch(*on), text);
                }
                from.saturating_add(lasting.unwrap_or_default())
            }
            Order::Revert(rules) => {
                for rule in rules {
                    self.mentions.push(Mention::of(named(rule)));
                    self.segment(
                        span,
                        from,
                        None,
                        rule,
                        Change::Revert,
                        format!("revert {}", quoted(rule)),
                    );
                }
                from
            }
            Order::Shape { rule, property, curve } => {
                if let Some(mistake) = never_moves(curve) {
                    self.error(span, mistake);
                }
                self.mentions.push(Mention::shapes(named(rule), *property));
                let text = match &step.sentence {
                    Some(sentence) => sentence.to_string(),
                    None => describe(rule, *property, curve),
                };
                self.segment(span, from, lasting, rule, Change::Shape(*property, curve.clone()), text);
                let length = curve.length().unwrap_or_default();
                from.saturating_add(lasting.unwrap_or(length))
            }
            Order::Pause(time) => from.saturating_add(*time),
        }
    }

    fn segment(
        &mut self,
        span: Span,
        from: Duration,
        lasting: Option<Duration>,
        rule: &str,
        change: Change,
        text: String,
    ) {
        if self.segments.len() < MOST_SEGMENTS {
            self.segments.push(Segment {
                from,
                until: lasting.map(|lasting| from.saturating_add(lasting)),
                rule: rule.into(),
                change,
                text: text.into(),
            });
        } else if !std::mem::replace(&mut self.is_full, true) {
            self.error(
                span,
                format!("a scenario can have at most {MOST_SEGMENTS} steps, counting repeated ones"),
            );
        }
    }

    /// The action of a step, which must be the only one.
    fn action<'s>(&mut self, step: &'s Spanned<StepSpec>) -> Option<Action<'s>> {
        let (span, long) = (step.span, &step.value.0);
        let switch = |on| {
            move |rules: &OneOrMany<String>| Order::Switch {
                rules: rules.0.clone(),
                on,
            }
        };
        let mut found: Vec<(&str, Option<Action<'s>>)> = Vec::new();
        let at = |order| Some(Action::Order(Spanned::new(order, span)));
        if let Some(sentence) = &long.sentence {
            found.push((
                "do",
                Some(Action::Order(Spanned::new(sentence.order.clone(), sentence.span))),
            ));
            if let (Some(_), Some(lasting)) = (sentence.lasting, &long.lasting) {
                self.error(lasting.span, "`for` is given twice: in the sentence and as a key");
            }
        }
        if let Some(rules) = &long.enable {
            found.push(("enable", at(switch(true)(rules))));
        }
        if let Some(rules) = &long.disable {
            found.push(("disable", at(switch(false)(rules))));
        }
        if let Some(rules) = &long.revert {
            found.push(("revert", at(Order::Revert(rules.0.clone()))));
        }
        if let Some(ramp) = &long.ramp {
            found.push(("ramp", self.shape(ramp.span, &ramp.rule, ramp.curves())));
        }
        if let Some(stairs) = &long.step {
            found.push(("step", self.shape(stairs.span, &stairs.rule, stairs.curves())));
        }
        if let Some(swing) = &long.wave {
            found.push(("wave", self.shape(swing.span, &swing.rule, swing.curves())));
        }
        if let Some(hold) = &long.hold {
            let action = match &hold.value {
                HoldSpec::Time(time) => at(Order::Pause(time.get())),
                HoldSpec::Value(held) => self.shape(hold.span, &held.rule, held.curves()),
            };
            found.push(("hold", action));
        }
        if let Some(put) = &long.put {
            found.push(("put", Some(Action::Put(put))));
        }
        if let Some(repeat) = &long.repeat {
            found.push(("repeat", Some(Action::Repeat(repeat.times.get(), &repeat.steps.value))));
        }
        if let Some(parallel) = &long.parallel {
            found.push(("parallel", Some(Action::Parallel(&parallel.value))));
        }
        let lasts = !matches!(
            found.first(),
            Some((_, Some(Action::Repeat(..) | Action::Parallel(_)))) | Some(("revert", _))
        );
        if let (false, Some(lasting), Some((name, _))) = (lasts, &long.lasting, found.first()) {
            self.error(lasting.span, format!("`{name}` takes no `for`"));
        }
        if found.len() == 1 {
            return found.pop()?.1;
        }
        let names: Vec<String> = found.iter().map(|(name, _)| format!("`{name}`")).collect();
        let mistake = if names.is_empty() {
            Diagnostic::error(span, "the step does nothing")
        } else {
            Diagnostic::error(span, format!("the step has more than one action: {}", names.join(", ")))
        };
        self.diagnostics.push(mistake.help(
            "a step is a sentence such as `enable outage`, or has one of enable, disable, revert, ramp, step, wave, hold, \
             put, repeat, parallel",
        ));
        None
    }

    /// An order to change the only number that is given.
    fn shape<'s>(&mut self, span: Span, rule: &Spanned<String>, curves: Vec<(Property, Curve)>) -> Option<Action<'s>> {
        let count = curves.len();
        let mut curves = curves.into_iter();
        match (curves.next(), count) {
            (Some((property, curve)), 1) => {
                let order = Order::Shape {
                    rule: rule.value.clone(),
                    property,
                    curve,
                };
                // Mistakes about the rule are shown at its name.
                Some(Action::Order(Spanned::new(order, rule.span)))
            }
            _ => {
                self.error(span, "give exactly one number: delay, percentage or bandwidth");
                None
            }
        }
    }

    fn thresholds(&mut self, bounds: &Named<Spanned<BoundSpec>>) -> Vec<Threshold> {
        bounds
            .iter()
            .filter_map(|(name, bound)| {
                let threshold = Threshold::new(&name.value, bound);
                threshold.map_err(|mistake| self.error(name.span, mistake)).ok()
            })
            .collect()
    }

    /// The expectations, and the time to recover in.
    fn expectations(&mut self, lists: &OneOrMany<Named<Spanned<String>>>) -> (Vec<Threshold>, Option<Duration>) {
        let (mut expect, mut recovered) = (Vec::new(), None);
        for (name, value) in lists.0.iter().flat_map(Named::iter) {
            if name.value == RECOVERED {
                match value.parse::<Time>() {
                    Ok(time) => recovered = Some(self.bounded(value.span, time.get())),
                    Err(error) => self.error(value.span, error.to_string()),
                }
                continue;
            }
            let bound = value.parse::<BoundSpec>();
            match bound.and_then(|bound| Threshold::new(&name.value, &bound)) {
                Ok(threshold) => expect.push(threshold),
                Err(mistake) => {
                    let help = format!("or expect `{RECOVERED}: 30s`");
                    self.diagnostics.push(Diagnostic::error(name.span, mistake).help(help));
                }
            }
        }
        (expect, recovered)
    }
}

/// The time that a step's sentence says it lasts.
fn said(step: &StepLong) -> Option<Duration> {
    step.sentence.as_ref().and_then(|sentence| sentence.lasting)
}

/// What is wrong with a curve that can't move.
fn never_moves(curve: &Curve) -> Option<&'static str> {
    match curve {
        Curve::Ramp { over, .. } if over.is_zero() => Some("`over` must be longer than 0s"),
        Curve::Steps { every, .. } if every.is_zero() => Some("`every` must be longer than 0s"),
        Curve::Steps { values, .. } if values.is_empty() => Some("`step` needs at least one value"),
        Curve::Wave { period, .. } if period.is_zero() => Some("`every` must be longer than 0s"),
        Curve::Wave { min, max, .. } if min > max => Some("the lowest value of the wave is above its highest"),
        _ => None,
    }
}

/// A rule's name as a sentence has it.
fn quoted(name: &str) -> String {
    if name.contains(char::is_whitespace) {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    }
}

/// A change of a number as a sentence.
fn describe(rule: &str, property: Property, curve: &Curve) -> String {
    let (rule, write) = (quoted(rule), |value: &f64| property.write(*value));
    let time = |time: &Duration| Time::saturating(*time).to_string();
    match curve {
        Curve::Ramp { from, to, over } => {
            format!(
                "ramp {property} of {rule} from {} to {} over {}",
                write(from),
                write(to),
                time(over)
            )
        }
        Curve::Steps { values, every } => {
            let values: Vec<String> = values.iter().map(write).collect();
            format!(
                "step {property} of {rule} through {} every {}",
                values.join(", "),
                time(every)
            )
        }
        Curve::Wave { min, max, period, .. } => {
            format!(
                "wave {property} of {rule} between {} and {} every {}",
                write(min),
                write(max),
                time(period)
            )
        }
        Curve::Hold(value) => format!("hold {property} of {rule} at {}", write(value)),
    }
}

/// What is given of the three numbers, each made into a curve.
fn given<T, U, V>(
    delay: Option<&T>,
    percentage: Option<&U>,
    bandwidth: Option<&V>,
    curves: (impl Fn(&T) -> Curve, impl Fn(&U) -> Curve, impl Fn(&V) -> Curve),
) -> Vec<(Property, Curve)> {
    let given = [
        (Property::Delay, delay.map(curves.0)),
        (Property::Percentage, percentage.map(curves.1)),
        (Property::Bandwidth, bandwidth.map(curves.2)),
    ];
    given
        .into_iter()
        .filter_map(|(property, curve)| Some((property, curve?)))
        .collect()
}

impl RampSpec {
    fn curves(&self) -> Vec<(Property, Curve)> {
        let over = self.over.get();
        let ramp = |from, to| Curve::Ramp { from, to, over };
        given(
            self.delay.as_ref(),
            self.percentage.as_ref(),
            self.bandwidth.as_ref(),
            (
                |ends: &Ends<Time>| ramp(Property::of_time(ends.from), Property::of_time(ends.to)),
                |ends: &Ends<Percentage>| ramp(Property::of_percentage(ends.from), Property::of_percentage(ends.to)),
                |ends: &Ends<ByteRate>| ramp(Property::of_rate(ends.from), Property::of_rate(ends.to)),
            ),
        )
    }
}

impl StairsSpec {
    fn curves(&self) -> Vec<(Property, Curve)> {
        let every = self.every.get();
        let steps = |values: Vec<f64>| Curve::Steps { values, every };
        given(
            self.delay.as_ref(),
            self.percentage.as_ref(),
            self.bandwidth.as_ref(),
            (
                |values: &Vec<Time>| steps(values.iter().copied().map(Property::of_time).collect()),
                |values: &Vec<Percentage>| steps(values.iter().copied().map(Property::of_percentage).collect()),
                |values: &Vec<ByteRate>| steps(values.iter().copied().map(Property::of_rate).collect()),
            ),
        )
    }
}

impl SwingSpec {
    fn curves(&self) -> Vec<(Property, Curve)> {
        use crate::fault::distribution::wave::WaveShape;
        let (shape, period) = (self.shape.unwrap_or(WaveShape::Sine), self.every.get());
        let wave = |min, max| Curve::Wave {
            shape,
            min,
            max,
            period,
        };
        given(
            self.delay.as_ref(),
            self.percentage.as_ref(),
            self.bandwidth.as_ref(),
            (
                |range: &Range<Time>| wave(Property::of_time(range.min), Property::of_time(range.max)),
                |range: &Range<Percentage>| {
                    wave(Property::of_percentage(range.min), Property::of_percentage(range.max))
                },
                |range: &Range<ByteRate>| wave(Property::of_rate(range.min), Property::of_rate(range.max)),
            ),
        )
    }
}

impl HeldSpec {
    fn curves(&self) -> Vec<(Property, Curve)> {
        given(
            self.delay.as_ref(),
            self.percentage.as_ref(),
            self.bandwidth.as_ref(),
            (
                |value: &Time| Curve::Hold(Property::of_time(*value)),
                |value: &Percentage| Curve::Hold(Property::of_percentage(*value)),
                |value: &ByteRate| Curve::Hold(Property::of_rate(*value)),
            ),
        )
    }
}

/// The rules that a scenario brings along, by name.
pub(super) fn names_of(puts: &[RuleSpec]) -> BTreeMap<&str, &RuleSpec> {
    puts.iter().map(|put| (put.name.value.as_str(), put)).collect()
}
