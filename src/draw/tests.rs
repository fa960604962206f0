use super::*;

fn ordinals(seed: u64, rule: &str, count: u64) -> impl Iterator<Item = Draw> {
    let rule = Seed(seed).rule(rule);
    (0..count).map(move |ordinal| rule.draw(KeyHash::ordinal(ordinal)))
}

/// The sum of (observed - expected)² / expected over equally likely buckets.
fn chi_square(observed: &[u64]) -> f64 {
    let expected = observed.iter().sum::<u64>() as f64 / observed.len() as f64;
    observed
        .iter()
        .map(|&count| (count as f64 - expected).powi(2) / expected)
        .sum()
}

/// The 99.99 % point of chi-square with that many degrees of freedom (Wilson and Hilferty's approximation).
fn chi_square_limit(buckets: usize) -> f64 {
    let degrees = (buckets - 1) as f64;
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + 3.719 * spread.sqrt()).powi(3)
}

#[test]
fn the_same_seed_gives_the_same_draws_in_every_version() {
    let rule = Seed(42).rule("checkout is slow");
    assert_eq!(rule, RuleSeed(0x967e_f675_c6bb_34f5));
    assert_eq!(KeyHash::ordinal(0), KeyHash(0x1c13_b7f7_21fb_1d7b));
    assert_eq!(KeyHash::ordinal(1_000_000), KeyHash(0x6182_48c6_7019_3e8a));
    assert_eq!(
        KeyHash::of("header:idempotency-key", b"a1b2"),
        KeyHash(0x7075_642d_6861_19bc)
    );
    assert_eq!(KeyHash::of("client", b""), KeyHash(0xb5f3_c2e8_5fb5_eda5));
    let draw = rule.draw(KeyHash::ordinal(0));
    assert_eq!(draw.to_string(), "0608ba78320524ee");
    assert_eq!(draw.percentage_ppm(), 353689);
    assert_eq!(draw.choose(100), 50);
    assert_eq!(draw.stream(Purpose::Delay, 0), 0xcc15_e700_02db_328f);
    assert_eq!(draw.stream(Purpose::Delay, 1), 0x922b_defc_8265_2921);
    assert_eq!(draw.stream(Purpose::Correlation, 0), 0xb75e_9d43_4121_ae06);
    let streams = [Purpose::Corrupt, Purpose::Messages, Purpose::MessageDelay].map(|purpose| draw.stream(purpose, 1));
    assert_eq!(
        streams,
        [4053832726108370037, 12551479477877718399, 7705746660530669698]
    );
    assert_eq!(draw.unit(Purpose::Delay, 0), 0.7972092032458534);
    let fired: String = ordinals(42, "checkout is slow", 64)
        .map(|draw| if draw.fires(125_000) { '1' } else { '0' })
        .collect();
    assert_eq!(
        fired,
        "0000000001001000000000000100000000000010000100000000000001100000"
    );
}

#[test]
fn every_input_of_a_draw_changes_it() {
    let key = KeyHash::of("client", b"7");
    let base = Seed(1).rule("a").draw(key);
    assert_ne!(base, Seed(2).rule("a").draw(key));
    assert_ne!(base, Seed(1).rule("b").draw(key));
    assert_ne!(base, Seed(1).rule("a").draw(KeyHash::of("path", b"7")));
    assert_ne!(base, Seed(1).rule("a").draw(KeyHash::of("client", b"8")));
    assert_ne!(base.stream(Purpose::Delay, 0), base.stream(Purpose::Delay, 1));
    assert_ne!(base.stream(Purpose::Delay, 0), base.stream(Purpose::Choose, 0));
}

#[test]
fn the_maps_cover_exactly_their_range() {
    assert_eq!((ppm(0), ppm(u64::MAX)), (0, 999_999));
    assert_eq!(
        (below(u64::MAX, 0), below(u64::MAX, 1), below(u64::MAX, u64::MAX)),
        (0, 0, u64::MAX - 1)
    );
    assert_eq!(unit_open(0), 2.0_f64.powi(-53));
    assert_eq!(unit_open(u64::MAX), 1.0 - 2.0_f64.powi(-53));
    assert!(unit_open(u64::MAX) < 1.0);
}

#[test]
fn zero_never_fires_and_the_whole_always_does() {
    assert!(ordinals(1, "r", 100_000).all(|draw| !draw.fires(0) && draw.fires(PPM_WHOLE) && draw.fires(u32::MAX)));
}

#[test]
fn shares_lie_within_the_binomial_interval() {
    let count = 200_000_u64;
    for threshold in [1_000, 10_000, 125_000, 500_000, 999_900] {
        for (seed, rule) in [(0, "r"), (42, "checkout is slow"), (u64::MAX, "")] {
            let fired = ordinals(seed, rule, count).filter(|draw| draw.fires(threshold)).count() as f64;
            let share = f64::from(threshold) / f64::from(PPM_WHOLE);
            let deviation = (count as f64 * share * (1.0 - share)).sqrt();
            // 3.29 standard deviations on either side are 99.9 %.
            assert!(
                (fired - count as f64 * share).abs() < 3.29 * deviation,
                "{threshold} {rule}: {fired}"
            );
        }
    }
}

#[test]
fn a_higher_share_keeps_the_keys_hit_at_a_lower_one() {
    assert!(ordinals(3, "r", 10_000).all(|draw| !draw.fires(100_000) || draw.fires(200_000)));
}

#[test]
fn draws_fill_all_buckets_evenly() {
    let streams = [
        (Purpose::Percentage, 0),
        (Purpose::Choose, 0),
        (Purpose::Delay, 0),
        (Purpose::Delay, 9),
    ];
    for (purpose, index) in streams {
        let mut buckets = vec![0; 1000];
        ordinals(7, "even", 200_000).for_each(|draw| buckets[below(draw.stream(purpose, index), 1000) as usize] += 1);
        let found = chi_square(&buckets);
        assert!(found < chi_square_limit(1000), "{purpose:?} {index}: {found}");
    }
}

/// Counts pairs in a grid of 16 by 16 and expects no cell to stand out.
fn assert_independent(pairs: impl Iterator<Item = (u64, u64)>) {
    let mut cells = vec![0; 256];
    pairs.for_each(|(a, b)| cells[(below(a, 16) * 16 + below(b, 16)) as usize] += 1);
    let found = chi_square(&cells);
    assert!(found < chi_square_limit(256), "{found}");
}

#[test]
fn rules_ordinals_seeds_and_streams_are_independent() {
    let stream = |draw: Draw| draw.stream(Purpose::Percentage, 0);
    let first = || ordinals(7, "first", 100_000);
    assert_independent(first().map(stream).zip(ordinals(7, "second", 100_000).map(stream)));
    assert_independent(first().map(stream).zip(first().skip(1).map(stream)));
    assert_independent(first().map(stream).zip(ordinals(8, "first", 100_000).map(stream)));
    assert_independent(first().map(|draw| (stream(draw), draw.stream(Purpose::Delay, 0))));
    assert_independent(first().map(|draw| (draw.stream(Purpose::Delay, 0), draw.stream(Purpose::Delay, 1))));
}

#[test]
fn similar_keys_are_independent() {
    let rule = Seed(5).rule("sticky");
    let of = |number: u32| rule.draw(KeyHash::of("header:x-user", format!("user-{number}").as_bytes()));
    let stream = |number| of(number).stream(Purpose::Percentage, 0);
    assert_independent((0..100_000).map(|number| (stream(number), stream(number + 1))));
}
