use super::*;
use crate::rule::spec::WhenSpec;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn windows_open_close_and_repeat() {
    let schedule = Schedule {
        start: seconds(30),
        duration: Some(seconds(10)),
        repeat: Some(seconds(60)),
    };
    for (at, open) in [
        (0, false),
        (29, false),
        (30, true),
        (39, true),
        (40, false),
        (89, false),
        (90, true),
        (100, false),
    ] {
        assert_eq!(schedule.is_open(seconds(at)), open, "at {at}");
    }
    let once = Schedule {
        start: seconds(0),
        duration: None,
        repeat: None,
    };
    assert!(once.is_open(seconds(1_000_000)));
}

#[test]
fn conditions_that_never_hold_are_errors() {
    let error = |yaml: &str| {
        let spec: WhenSpec = crate::yaml::testing::read(yaml).unwrap();
        When::compile(Some(&spec)).unwrap_err().join("; ")
    };
    assert!(error("{schedule: {duration: 0s}}").contains("never be open"));
    assert!(error("{schedule: {duration: 10s, repeat: 5s}}").contains("overlap"));
    assert!(error("{schedule: {repeat: 5s}}").contains("needs `duration`"));
    assert!(error("{schedule: {start: 1m}, limits: {expires: 30s}}").contains("expires before"));
    assert!(error("{attempts: 2}").contains("has its own key"));
}

#[test]
fn edges_are_where_windows_open_and_close() {
    let when = |yaml: &str| {
        let spec: WhenSpec = crate::yaml::testing::read(yaml).unwrap();
        When::compile(Some(&spec)).unwrap()
    };
    let edges = |yaml: &str| {
        let when = when(yaml);
        let (mut at, mut edges) = (Duration::ZERO, Vec::new());
        while let Some(edge) = when.next_edge(at).filter(|_| edges.len() < 5) {
            let before = when.open(at).is_ok();
            at += edge;
            assert!(
                when.open(at - Duration::from_nanos(1)).is_ok() == before,
                "{yaml} {at:?}"
            );
            assert!(when.open(at).is_ok() != before, "{yaml} {at:?}");
            edges.push(at.as_secs());
        }
        edges
    };
    assert_eq!(edges("{percentage: 50}"), [0; 0]);
    assert_eq!(edges("{schedule: {start: 30s}}"), [30]);
    assert_eq!(edges("{schedule: {start: 30s, duration: 10s}}"), [30, 40]);
    assert_eq!(
        edges("{schedule: {duration: 10s, repeat: 60s}}"),
        [10, 60, 70, 120, 130]
    );
    assert_eq!(edges("{schedule: {duration: 10s}, limits: {expires: 4s}}"), [4]);
}
