use super::*;

const FREE: Demands = Demands {
    min: 1,
    max: None,
    steps: 0,
    least_gap: None,
    greatest_gap: None,
};
const SURE: Doubts = Doubts {
    off: false,
    dropped: false,
    cut: false,
    many: false,
};

/// Requests of 10 ms, with these beginnings in milliseconds, and the steps of `order` that they match.
fn requests(all: &[(u64, u32)]) -> Vec<Meant> {
    let base = Instant::now();
    let meant = |(id, (at, steps)): (u64, &(u64, u32))| Meant {
        id,
        began: base + Duration::from_millis(*at),
        ended: base + Duration::from_millis(*at + 10),
        steps: *steps,
    };
    (1..).zip(all).map(meant).collect()
}

fn check(all: &[(u64, u32)], demands: Demands, doubts: Doubts, verdict: Verdict, reason: &str, is_final: bool) {
    let judged = judge(&requests(all), demands, doubts);
    assert_eq!((judged.verdict, judged.is_final), (verdict, is_final), "{judged:?}");
    assert!(judged.reason.starts_with(reason), "{judged:?}");
}

#[test]
fn counts_are_bounds() {
    use Verdict::{Fail, Inconclusive, Pass};
    let exactly = Demands {
        min: 2,
        max: Some(2),
        ..FREE
    };
    let dropped = Doubts { dropped: true, ..SURE };
    let (one, two, three) = (&[(0, 0)][..], &[(0, 0), (20, 0)][..], &[(0, 0), (20, 0), (40, 0)][..]);
    check(one, exactly, SURE, Fail, "1 request matches; expected exactly 2", false);
    check(two, exactly, SURE, Pass, "2 requests match", false);
    check(three, exactly, SURE, Fail, "3 requests match; expected exactly 2", true);
    check(
        one,
        exactly,
        dropped,
        Inconclusive,
        "1 request matches; expected exactly 2, but",
        true,
    );
    check(
        two,
        exactly,
        dropped,
        Inconclusive,
        "2 requests match, but requests",
        true,
    );
    check(three, exactly, dropped, Fail, "3 requests match", true);
    check(one, FREE, dropped, Pass, "1 request matches", true);
    check(
        &[],
        FREE,
        dropped,
        Inconclusive,
        "0 requests match; expected at least 1, but",
        false,
    );
    check(&[], FREE, SURE, Fail, "0 requests match; expected at least 1", false);
    let none = Demands {
        min: 0,
        max: Some(0),
        ..FREE
    };
    check(&[], none, SURE, Pass, "0 requests match", false);
    check(
        &[],
        none,
        Doubts { cut: true, ..SURE },
        Inconclusive,
        "0 requests match, but requests that could",
        true,
    );
    check(
        &[],
        none,
        Doubts { off: true, ..SURE },
        Inconclusive,
        "0 requests match, but the journal is off",
        true,
    );
    check(one, none, SURE, Fail, "1 request matches; expected exactly 0", true);
}

#[test]
fn gaps_are_between_the_end_of_one_and_the_beginning_of_the_next() {
    use Verdict::{Fail, Pass};
    let millis = |n| Some(Duration::from_millis(n));
    let least = |n| Demands {
        least_gap: millis(n),
        ..FREE
    };
    let most = |n| Demands {
        greatest_gap: millis(n),
        ..FREE
    };
    let all = &[(0, 0), (110, 0), (320, 0)][..];
    check(all, least(100), SURE, Pass, "3 requests match", false);
    check(
        all,
        least(101),
        SURE,
        Fail,
        "the gap before request 2 is 100.0ms; expected at least 101.0ms",
        true,
    );
    check(all, most(200), SURE, Pass, "3 requests match", false);
    check(
        all,
        most(199),
        SURE,
        Fail,
        "the gap before request 3 is 200.0ms; expected at most 199.0ms",
        false,
    );
    check(&[(0, 0), (5, 0)], most(0), SURE, Pass, "2 requests match", false);
}

#[test]
fn order_allows_others_between() {
    use Verdict::{Fail, Pass};
    let two = Demands { steps: 2, ..FREE };
    check(
        &[(0, 0b01), (20, 0), (40, 0b10)],
        two,
        SURE,
        Pass,
        "3 requests match",
        true,
    );
    check(
        &[(0, 0b10), (20, 0b01)],
        two,
        SURE,
        Fail,
        "the first 1 of `order` was found",
        false,
    );
    check(&[(0, 0b11)], two, SURE, Fail, "the first 1 of `order` was found", false);
    check(&[(0, 0b11), (20, 0b11)], two, SURE, Pass, "2 requests match", true);
    check(
        &[(0, 0b10)],
        two,
        SURE,
        Fail,
        "none of `order` was found in this order; number 1 is missing",
        false,
    );
}
