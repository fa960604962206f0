use super::*;
use crate::traffic::{Seen, Wrong};

fn threshold(name: &str, bound: &str) -> Result<Threshold, String> {
    Threshold::new(name, &bound.parse()?)
}

fn tally() -> Tally {
    let mut tally = Tally::default();
    for millis in 1..=100 {
        tally.see(&Seen {
            total: Duration::from_millis(millis),
            error: (millis > 98).then_some(Wrong::Natural),
            ..Seen::default()
        });
    }
    tally
}

#[test]
fn thresholds_judge_what_was_seen() {
    let judge = |name, bound| threshold(name, bound).unwrap().judge(&tally()).held;
    assert_eq!(judge("p99", "< 102ms"), Some(true));
    assert_eq!(judge("p99", "<90ms"), Some(false));
    assert_eq!(judge("errors", "< 2%"), Some(false));
    assert_eq!(judge("errors", "<= 2%"), Some(true));
    assert_eq!(judge("injected errors", "< 1%"), Some(true));
    assert_eq!(judge("requests", ">= 100"), Some(true));
    assert_eq!(judge("natural p50", "< 1s"), None, "no request has a natural time");
    assert_eq!(threshold("errors", "< 1%").unwrap().judge(&Tally::default()).held, None);
}

#[test]
fn mistakes_say_what_is_valid() {
    let error = |name, bound| threshold(name, bound).unwrap_err();
    assert!(error("p98", "< 1s").contains("use p50, p75"));
    assert!(error("erors", "< 1%").contains("did you mean `errors`?"));
    assert!(error("p99", "3s").contains("\"< 3s\""));
    assert!(error("p99", "< 3").contains("needs a unit"));
    assert!(error("errors", "< 3s").contains("not a valid percentage"));
    assert!(error("requests", "> many").contains("not a number of requests"));
}

#[test]
fn measured_values_are_written_shortly() {
    let write = |name: &str, value| name.parse::<Metric>().unwrap().write(value);
    assert_eq!(write("p99", 1.234_567), "1.23s");
    assert_eq!(write("p99", 0.000_12), "120us");
    assert_eq!(write("errors", 12.345_67), "12.34%");
    assert_eq!(write("errors", 0.012_3), "0.0123%");
    assert_eq!(threshold("p99", "<3s").unwrap().to_string(), "p99 < 3s");
}
