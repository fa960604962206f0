use super::*;

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
        When::compile(Some(&spec)).unwrap_err()
    };
    assert!(error("{schedule: {duration: 0s}}").contains("never be open"));
    assert!(error("{schedule: {duration: 10s, repeat: 5s}}").contains("overlap"));
    assert!(error("{schedule: {repeat: 5s}}").contains("needs `duration`"));
    assert!(error("{schedule: {start: 1m}, limits: {expires: 30s}}").contains("expires before"));
    assert!(error("{attempts: 2}").contains("has its own key"));
}
