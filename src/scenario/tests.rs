use super::*;
use crate::scenario::timeline::Change;

fn load(yaml: &str) -> Result<Scenario, Report> {
    Scenario::load("scenario.yaml", yaml.as_bytes().to_vec())
}

fn errors(yaml: &str) -> String {
    load(yaml).unwrap_err().to_string()
}

fn rules(json: Value) -> Vec<RuleNow> {
    let rules = json.as_array().unwrap().iter();
    rules
        .map(|spec| RuleNow {
            name: spec["name"].as_str().unwrap().into(),
            enabled: spec["enabled"] != false,
            spec: spec.clone(),
        })
        .collect()
}

/// The segments as `from-until change`, in seconds.
fn segments(yaml: &str) -> Vec<String> {
    let scenario = load(yaml).unwrap_or_else(|report| panic!("{report}"));
    let segments = scenario.timeline.segments().iter();
    let mut lines: Vec<String> = segments
        .map(|segment| {
            let until = segment.until.map(|until| until.as_secs_f64().to_string());
            let from = segment.from.as_secs_f64();
            format!("{from}-{} {}", until.unwrap_or_default(), segment.text)
        })
        .collect();
    lines.push(format!("end {}", scenario.timeline.duration().as_secs_f64()));
    lines
}

#[test]
fn steps_are_sentences_or_maps() {
    let found = segments(
        "
scenario: black friday
duration: 10m
steps:
  - at 30s: enable outage
  - at: 1m
    ramp: {rule: slow db, delay: {from: 50ms, to: 2s}, over: 5m}
  - at 1m: ramp delay of \"slow db\" from 50ms to 2s over 5m
  - at: 2m
    step: {rule: outage, percentage: [1%, 5%, 20%], every: 30s}
  - at 3m: {wave: {rule: slow db, delay: {min: 0, max: 1s}, every: 10s, shape: square}, for: 1m}
  - at: 3m
    put: {name: extra, faults: [{abort: 503}]}
  - hold: 10s
  - disable outage, extra for 5s
expect: {p99: \"< 3s\", errors: \"< 1%\", recovered within: 30s}
",
    );
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn steps_without_a_time_follow_each_other() {
    let found = segments(
        "
scenario: x
steps:
  - enable a for 10s
  - hold 5s
  - repeat:
      times: 2
      steps:
        - enable a for 2s
        - at 10s: disable b for 1s
  - parallel:
      - enable a for 4s
      - at 1s: enable b for 5s
  - revert a
  - enable b
  - hold 1s
",
    );
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn the_words_of_the_issue_are_valid() {
    let scenario = load(
        "
scenario: as asked for
steps:
  - at 30s: enable outage
  - ramp delay of \"slow db\" from 50ms to 2s over 5m
expect: {p99: \"< 3s\", errors: \"< 1%\", recovered within: 30s}
",
    )
    .unwrap();
    assert_eq!(scenario.timeline.duration(), Duration::from_secs(330));
    assert_eq!(scenario.recovered_within, Some(Duration::from_secs(30)));
    assert_eq!(scenario.expect.len(), 2);
    assert!(
        scenario
            .timeline
            .segments()
            .iter()
            .any(|one| matches!(one.change, Change::Shape(..)))
    );
}

#[test]
fn expectations_may_be_a_list() {
    let scenario = load("scenario: x\nsteps: [hold 1s]\nexpect:\n  - p99: < 3s\n  - recovered within: 30s\n").unwrap();
    assert_eq!(scenario.expect[0].to_string(), "p99 < 3s");
    assert_eq!(scenario.recovered_within, Some(Duration::from_secs(30)));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let report = errors(
        "
scenario: x
sed: 7
steady: {p98: < 1s}
steps:
  - at 30: enable outage
  - enabel outage
  - repeat: {times: 0, steps: [hold 1s]}
  - put: {name: extra, faults: [{abrot: 503}]}
",
    );
    insta::assert_snapshot!(report);
}

#[test]
fn mistakes_of_sense_are_reported_at_once_too() {
    let report = errors(
        "
scenario: x
steady: {p98: < 1s}
before: 0
steps:
  - at 1m: {ramp: {rule: db, delay: {from: 50ms, to: 2s}, percentage: {from: 1%, to: 2%}, over: 1m}}
  - {at: 1m, enable: a, disable: [b, c]}
  - for: 1m
  - {do: enable a for 1s, for: 2s}
  - {revert: a, for: 2s}
  - ramp delay of x from 1s to 2s over 0s
  - wave percentage of x between 5% and 1% every 1m
stop_when: {errors: < 1s}
expect: {p99: 3s, recovered within: soon}
",
    );
    insta::assert_snapshot!(report);
}

#[test]
fn scenarios_that_do_nothing_are_refused() {
    insta::assert_snapshot!(
        [
            errors("scenario: x\nsteps: []\n"),
            errors("scenario: ''\nsteps: [enable a]\n"),
            errors("scenario: x\nsteps: [hold 31d]\n"),
            errors("scenario: x\nsteps: [{repeat: {times: 3, steps: [enable a]}}]\n"),
            errors("scenario: x\nsteps: [{repeat: {times: 20000, steps: [enable a for 1ms]}}]\n"),
        ]
        .join("\n")
    );
}

#[test]
fn what_squall_lacks_is_reported_before_anything_begins() {
    let scenario = load(
        "
scenario: x
seed: 8
steps:
  - enable outge
  - ramp delay of outage from 1s to 2s over 1m
  - ramp delay of \"slow db\" from 1s to 2s over 1m
  - step percentage of extra through 1% every 1s
  - put: {name: extra, faults: [{abort: 503}]}
",
    )
    .unwrap();
    let rules = rules(serde_json::json!([
        {"name": "outage", "faults": [{"abort": 503}]},
        {"name": "slow db", "enabled": false, "faults": [{"delay": "1s"}]},
    ]));
    let refused = vec![(0, "unknown listener `wbe`".to_owned())];
    insta::assert_snapshot!(scenario.check(&rules, 7, refused).unwrap_err());
    let names: Vec<String> = scenario.touched().iter().map(|name| name.to_string()).collect();
    assert_eq!(names, ["extra", "outage", "outge", "slow db"]);
}

#[test]
fn variables_of_the_environment_are_not_read() {
    let scenario = load("scenario: ${HOME}\nsteps: [hold 1s]\n").unwrap();
    assert_eq!(scenario.name, "${HOME}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_scenario_or_a_report(text in "(scenario: x\n)?(steps:\n)?(- (at 1s: )?\\PC{0,20}\n){0,4}") {
        let _ = load(&text);
    }
}

#[test]
fn anchors_are_kept_in_keys_that_begin_with_x() {
    let found = segments(
        "
x-slow: &slow {delay: 1s}
scenario: anchors
steps:
  - put: {name: slow, faults: [*slow]}
    for: 1m
",
    );
    assert_eq!(found, ["0-60 put slow", "end 60"]);
}

#[test]
fn words_of_other_tools_in_a_rule_get_the_line_to_write() {
    let found = errors(
        "
scenario: words
steps:
  - at 30s:
      put: {name: slow, probability: 0.5, faults: [{latency: 300}]}
  - repeat: {times: 2, steps: [{put: {name: slow, faults: [{delay: {percentage: 10}}]}}]}
",
    );
    insta::assert_snapshot!(found);
}
