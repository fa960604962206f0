use std::collections::HashMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::draw::head::Head;
use crate::draw::{KeyHash, Seed};
use crate::fault::context::Context;
use crate::fault::kind::Spec;
use crate::fault::place::testing::context;
use crate::shape::Part;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The value of `delay:` in YAML, with the files that it may name.
fn compile(yaml: &str) -> Result<Arc<Delay>, String> {
    let files = HashMap::from([
        ("/etc/squall/times.txt", "10\n30\n20\n"),
        ("/etc/squall/times.csv", "when,seconds\n1,0.5\n2,7200\n"),
    ]);
    let read = |path: &Path, _: usize| {
        let content = path.to_str().and_then(|path| files.get(path));
        content
            .map(|content| Bytes::from_static(content.as_bytes()))
            .ok_or(io::Error::from(io::ErrorKind::NotFound))
    };
    let spec: DelaySpec = crate::yaml::testing::read(yaml)?;
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(
        serde_json::from_value::<DelaySpec>(written).unwrap(),
        spec,
        "what is written reads back"
    );
    spec.compile(&Context {
        folder: Path::new("/etc/squall"),
        read: &read,
        ..context()
    })
}

/// Every text between spaces must be in the error.
#[track_caller]
fn refused(yaml: &str, expected: &str) {
    let error = compile(yaml).unwrap_err();
    assert!(error.contains(expected), "{yaml}: {error}");
}

fn input(ordinal: u64, index: u32) -> DelayDraw {
    let rule = Seed(42).rule("slow");
    DelayDraw {
        draw: rule.draw(KeyHash::ordinal(ordinal)),
        rule,
        ordinal,
        index,
    }
}

fn sample(delay: &Delay, ordinal: u64) -> Duration {
    delay.sample(input(ordinal, 0), Duration::ZERO)
}

#[test]
fn every_form_is_read_and_described() {
    let forms = [
        ("200ms", "200ms"),
        ("0", "0s"),
        ("{fixed: 1.5s}", "1.5s"),
        ("{uniform: [50ms, 100ms]}", "uniform(50ms to 100ms)"),
        (
            "{normal: {mean: 100ms, deviation: 10ms}}",
            "normal(mean 100ms, deviation 10ms)",
        ),
        (
            "{lognormal: {median: 120ms, p99: 2s}}",
            "lognormal(median 120ms, p99 2s)",
        ),
        (
            "{lognormal: {median: 120ms, sigma: 1}}",
            "lognormal(median 120ms, sigma 1)",
        ),
        ("{exponential: {mean: 1s}}", "exponential(mean 1s)"),
        (
            "{pareto: {scale: 10ms, shape: 1.5}, max: 5s}",
            "pareto(scale 10ms, shape 1.5), at most 5s",
        ),
        (
            "{percentiles: {p50: 80ms, p99.9: 2s, max: 3s}}",
            "percentiles(p50 80ms, p99.9 2s, p100 3s)",
        ),
        ("{samples: times.txt}", "samples(times.txt)"),
        (
            "{samples: {file: times.csv, column: seconds, unit: s}, max: 1s}",
            "samples(times.csv), at most 1s",
        ),
        (
            "{wave: {shape: sine, period: 1m, min: 50ms, max: 500ms}}",
            "wave(sine from 50ms to 500ms every 1m)",
        ),
        (
            "{wave: [{shape: saw, period: 10s, max: 1s}, {shape: square, period: 1h, max: 1s, phase: 30m}]}",
            "wave(saw from 0s to 1s every 10s, square from 0s to 1s every 1h)",
        ),
        (
            "{exponential: {mean: 1s}, correlation: 80%}",
            "exponential(mean 1s), correlation 80%",
        ),
        ("{fixed: 1s, before: response}", "1s, before the response"),
        ("{fixed: 1s, before: body}", "1s, before the body of the response"),
        (
            "{uniform: [50ms, 150ms], before: event, direction: request}",
            "uniform(50ms to 150ms), before each message of the request",
        ),
        (
            "{exponential: {mean: 1s}, correlation: 80%, before: message}",
            "exponential(mean 1s), correlation 80%, before each message of the response",
        ),
        ("{fixed: 1s, before: end}", "1s, before the end of the response"),
        ("{fixed: 1s, mode: floor}", "1s, mode floor"),
        ("{fixed: 1s, mode: total, before: response}", "1s, mode total"),
    ];
    for (yaml, description) in forms {
        assert_eq!(
            compile(yaml).map(|delay| delay.description().to_owned()).as_deref(),
            Ok(description),
            "{yaml}"
        );
    }
}

#[test]
fn the_schema_admits_what_is_read() {
    let schema = schemars::schema_for!(DelaySpec);
    let text = serde_json::to_string(&schema).unwrap();
    for name in [
        "fixed",
        "uniform",
        "lognormal",
        "percentiles",
        "samples",
        "wave",
        "correlation",
        "before",
        "mode",
    ] {
        assert!(text.contains(&format!("\"{name}\"")), "{name}");
    }
    assert!(text.contains("\"body\"") && text.contains("\"event\""));
}

#[test]
fn wrong_forms_say_what_would_be_valid() {
    refused("200", "needs a unit");
    refused("-5ms", "can't be negative");
    refused("fast", "`fast` is not a valid duration");
    refused(
        "[1s]",
        "expected a time such as 200ms, or a distribution such as {uniform: [50ms, 100ms]}",
    );
    refused("", "expected a time such as 200ms");
    refused(
        "{}",
        "the distribution is missing: give one of fixed, uniform, normal, lognormal",
    );
    refused("{max: 1s}", "the distribution is missing");
    refused(
        "{fixed: 1s, exponential: {mean: 1s}}",
        "`fixed` can't be combined with `exponential`",
    );
    refused("{lognorml: {median: 1s}}", "did you mean `lognormal`?");
    refused("{normal: {mean: 1s}}", "missing key `deviation`");
    refused("{normal: {mean: 1s, jitter: 1s}}", "unknown key `jitter`");
    refused("{uniform: [1s]}", "expected a list of 2, found 1");
    refused("{uniform: 1s}", "expected a list of 2");
    refused(
        "{percentiles: {median: 1s}}",
        "`median` is not a valid percentile: use p50, p99.9, min or max",
    );
    refused("{samples: {file: times.txt, unit: weeks}}", "valid names: ns, us, ms");
    refused("{samples: {file: times.csv, column: 0}}", "columns are numbered from 1");
    refused("{samples: ''}", "the samples file has no name");
    refused("{wave: {shape: round, period: 1s, max: 1s}}", "`round`");
    refused("{wave: []}", "1 to 16 waves");
    refused(
        "{fixed: 1s, before: lunch}",
        "valid names: request, response, body, message",
    );
    refused("{fixed: 1s, direction: up}", "`up`");
    refused("{fixed: 1s, mode: minus}", "`minus`");
}

#[test]
fn contradictions_say_what_would_be_valid() {
    refused(
        "{normal: {mean: 100ms, deviation: 50ms}}",
        "the deviation can be at most a third of the mean, 33.333333ms",
    );
    refused("{lognormal: {median: 1s}}", "lognormal needs `p99` or `sigma`");
    refused(
        "{lognormal: {median: 1s, p99: 2s, sigma: 1}}",
        "`p99` can't be combined with `sigma`",
    );
    refused(
        "{percentiles: {p50: 2s, p90: 1s}}",
        "percentiles must rise: p90 (1s) is shorter than p50 (2s)",
    );
    refused("2h", "a delay of 2h is longer than the longest allowed, 1h");
    refused("{wave: {shape: saw, period: 1d, max: 2h}}", "longer than the longest");
    refused("{fixed: 1s, max: 0}", "the max of a delay must be above 0s");
    refused("{fixed: 1s, max: 2h}", "longer than the longest");
    refused(
        "{samples: nothing.csv}",
        "can't read the samples file nothing.csv: entity not found",
    );
    refused(
        "{samples: {file: times.csv, column: seconds, unit: s}}",
        "times.csv, line 3: `7200` is longer than the longest delay",
    );
    refused("{exponential: {mean: 1s}, correlation: 99%}", "use 0% to 95%");
    refused("{fixed: 1s, correlation: 50%}", "can't be combined with a correlation");
    refused(
        "{wave: {shape: saw, period: 1m, max: 1s}, correlation: 50%}",
        "can't be combined with a correlation",
    );
    refused(
        "{fixed: 1s, mode: floor, before: request}",
        "mode floor compares with the time that the upstream took",
    );
    refused("{fixed: 1s, mode: total, before: request}", "use `before: response`");
    refused(
        "{fixed: 1s, mode: floor, before: body}",
        "mode floor makes the response begin later, but before the body it has already begun",
    );
    refused("{fixed: 1s, mode: total, before: message}", "leave out `mode`");
    refused("{fixed: 1s, direction: request}", "`direction` needs `before: body`");
    refused(
        "{fixed: 1s, direction: request, before: response}",
        "`direction` needs `before: body`",
    );
}

#[test]
fn the_phase_follows_the_mode() {
    let phase = |yaml| compile(yaml).unwrap().before();
    assert_eq!(phase("1s"), Before::Request);
    assert_eq!(phase("{fixed: 1s, mode: add}"), Before::Request);
    assert_eq!(phase("{fixed: 1s, before: response}"), Before::Response);
    assert_eq!(phase("{fixed: 1s, before: body}"), Before::Body);
    assert_eq!(phase("{fixed: 1s, before: event}"), Before::Message);
    assert_eq!(phase("{fixed: 1s, mode: floor}"), Before::Response);
    assert_eq!(phase("{fixed: 1s, mode: total}"), Before::Response);
}

/// The effect on a connection.
fn on_a_connection(yaml: &str) -> String {
    let draw = input(0, 0);
    let hit = HitRequest {
        head: &Head::of_connection(None, None),
        draw: draw.draw,
        rule: draw.rule,
        ordinal: 0,
        position: 0,
        since: ms(0),
        counts: true,
    };
    match compile(yaml).unwrap().effect(&hit, Duration::MAX) {
        Effect::Shape(parts) => match &parts[0] {
            Part {
                direction,
                act: Act::DelayChunks(waits),
            } => format!("{direction:?} chunks {:?}", waits.nth(0, ms(250))),
            Part { direction, act } => format!("{direction:?} {act:?}"),
        },
        Effect::Wait { before, time, .. } => format!("{} {time:?}", before.name()),
        Effect::Skip(skip) => format!("skip: {skip}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn on_a_connection_chunks_wait() {
    for (yaml, expect) in [
        ("200ms", "Response chunks 200ms"),
        ("{fixed: 200ms, before: message}", "Response chunks 200ms"),
        (
            "{fixed: 200ms, before: message, direction: request}",
            "Request chunks 200ms",
        ),
        (
            "{wave: {shape: saw, period: 1s, max: 1s}, before: message}",
            "Response chunks 250ms",
        ),
        ("{wave: {shape: saw, period: 1s, max: 1s}}", "Response chunks 250ms"),
        ("{fixed: 200ms, before: request}", "request 200ms"),
        ("{fixed: 200ms, before: response}", "Response Delay(200ms)"),
        (
            "{fixed: 200ms, before: end, direction: request}",
            "Request DelayEnd(200ms)",
        ),
        (
            "{fixed: 200ms, before: body, direction: request}",
            "Request Delay(200ms)",
        ),
        ("{fixed: 200ms, mode: floor}", "skip: not HTTP"),
        ("{fixed: 200ms, mode: total}", "skip: not HTTP"),
        ("{fixed: 200ms, before: connection}", "connection 200ms"),
    ] {
        assert_eq!(on_a_connection(yaml), expect, "{yaml}");
    }
}

#[test]
fn the_mode_counts_what_was_spent() {
    assert_eq!(Mode::Add.wait(ms(100), ms(30)), ms(100));
    assert_eq!(Mode::Floor.wait(ms(100), ms(30)), ms(70));
    assert_eq!(Mode::Total.wait(ms(100), ms(130)), ms(0));
}

#[test]
fn a_delay_is_the_same_for_the_same_draw_and_differs_by_position() {
    let delay = compile("{exponential: {mean: 100ms}}").unwrap();
    assert_eq!(delay.sample(input(7, 0), ms(0)), delay.sample(input(7, 0), ms(999)));
    assert_ne!(delay.sample(input(7, 0), ms(0)), delay.sample(input(7, 1), ms(0)));
    assert_ne!(delay.sample(input(7, 0), ms(0)), delay.sample(input(8, 0), ms(0)));
    assert!(!delay.is_correlated());
}

#[test]
fn the_same_seed_gives_the_same_delays_in_every_version() {
    let golden = |yaml: &str| {
        let delay = compile(yaml).unwrap();
        [0, 1, 2].map(|ordinal| sample(&delay, ordinal).as_micros())
    };
    assert_eq!(golden("{uniform: [50ms, 100ms]}"), [76925, 88461, 56609]);
    assert_eq!(golden("{lognormal: {median: 120ms, p99: 2s}}"), [134886, 292355, 31114]);
    assert_eq!(
        golden("{percentiles: {p50: 80ms, p90: 300ms, p99: 2s}}"),
        [90858, 194741, 50574]
    );
    assert_eq!(golden("{samples: times.txt}"), [20000, 30000, 10000]);
    assert_eq!(
        golden("{exponential: {mean: 1s}, correlation: 80%}"),
        [285761, 437424, 1286888]
    );
}

#[test]
fn a_correlated_delay_follows_its_ordinal_and_keeps_its_cap() {
    let delay = compile("{exponential: {mean: 100ms}, correlation: 90%, max: 150ms}").unwrap();
    assert!(delay.is_correlated());
    let delays: Vec<Duration> = (0..2_000).map(|ordinal| sample(&delay, ordinal)).collect();
    assert_eq!(delays.iter().max(), Some(&ms(150)));
    let steps = delays
        .windows(2)
        .filter(|pair| pair[0].abs_diff(pair[1]) > ms(75))
        .count();
    assert!(steps < 200, "neighbours resemble each other: {steps}");
    assert!(
        !compile("{exponential: {mean: 1s}, correlation: 0%}")
            .unwrap()
            .is_correlated()
    );
}

#[test]
fn waves_follow_the_clock_add_up_and_are_capped() {
    let delay =
        compile("{wave: [{shape: saw, period: 10s, max: 1s}, {shape: square, period: 20s, max: 1s}], max: 1.8s}");
    let delay = delay.unwrap();
    let at = |seconds| delay.sample(input(0, 0), Duration::from_secs(seconds));
    assert_eq!([0, 5, 10, 15, 19, 20].map(at), [0, 500, 1000, 1500, 1800, 0].map(ms));
}

#[test]
fn a_bound_of_the_caller_replaces_the_default() {
    let spec: DelaySpec = crate::yaml::testing::read("2h").unwrap();
    let within = |longest_wait| Context {
        longest_wait,
        ..context()
    };
    let long = spec.compile(&within(Duration::from_secs(3 * 3600)));
    assert_eq!(sample(&long.unwrap(), 0), Duration::from_secs(7200));
    assert!(spec.compile(&within(Duration::from_secs(3600))).is_err());
    let heavy = DelaySpec::from(DistributionSpec::Pareto(ParetoSpec {
        scale: spec_time("1ms"),
        shape: 0.01,
    }));
    let heavy = heavy.compile(&within(ms(5))).unwrap();
    assert!((0..1000).all(|ordinal| sample(&heavy, ordinal) <= ms(5)));
}

fn spec_time(text: &str) -> crate::yaml::units::Time {
    text.parse().unwrap()
}

proptest! {
    #[test]
    fn any_text_gives_a_delay_or_an_error(
        name in "fixed|uniform|normal|lognormal|exponential|pareto|percentiles|samples|wave|max|mode",
        value in "[\\[{]?[a-z0-9:., ]{0,20}[\\]}]?",
        ordinal: u64,
    ) {
        if let Ok(delay) = compile(&format!("{{{name}: {value}}}")) {
            prop_assert!(sample(&delay, ordinal) <= delay.longest());
        }
    }
}
