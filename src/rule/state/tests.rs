use super::*;

fn state() -> RuleState {
    RuleState::new(Instant::now(), None)
}

#[test]
fn active_is_a_bound_on_those_inside() {
    let (state, now) = (state(), Instant::now());
    let limits = Limits {
        active: Some(2),
        ..Limits::default()
    };
    assert!(state.admit(&limits, 1, now).is_ok());
    assert!(state.admit(&limits, 2, now).is_ok());
    assert_eq!(state.admit(&limits, 3, now), Err(Reason::Limit(Exceeded::Active)));
    state.leave();
    assert!(state.admit(&limits, 4, now).is_ok());
}

#[test]
fn total_and_share_are_bounds_on_hits() {
    let (state, now) = (state(), Instant::now());
    let limits = Limits {
        share: Some(200_000),
        total: Some(3),
        ..Limits::default()
    };
    let admitted: Vec<u64> = (1..=100)
        .filter(|ordinal| state.admit(&limits, *ordinal, now).is_ok())
        .collect();
    assert_eq!(admitted, [5, 10, 15]);
    assert_eq!(state.active(), 3, "a refusal holds no place");
}

#[test]
fn what_all_rules_share_bounds_each_and_a_refusal_costs_nothing() {
    let (overall, now) = (Arc::<Overall>::default(), Instant::now());
    let (one, other) = (state().within(&overall), state().within(&overall));
    let all = Limits {
        active: Some(1),
        ..Limits::default()
    };
    overall.limit(all, now);
    let rate = Limits {
        rate: "1/h".parse().ok(),
        ..Limits::default()
    };
    assert!(one.admit(&Limits::default(), 1, now).is_ok());
    for ordinal in 1..4 {
        assert_eq!(other.peek(&rate, ordinal, now), Err(Reason::Overall(Exceeded::Active)));
        assert_eq!(other.admit(&rate, ordinal, now), Err(Reason::Overall(Exceeded::Active)));
    }
    assert_eq!((other.hits(), other.active()), (0, 0));
    one.leave();
    assert!(other.admit(&rate, 4, now).is_ok(), "its token was given back");
    other.leave();
    assert_eq!(other.admit(&rate, 5, now), Err(Reason::Limit(Exceeded::Rate)));
    assert_eq!((other.hits(), other.active(), overall.active()), (1, 0, 0));
}
