//! Each distribution against its textbook distribution function, with draws through the real hash.

use proptest::prelude::*;

use super::correlation::Correlation;
use super::percentiles::Percentile;
use super::*;
use crate::draw::{KeyHash, Purpose, Seed};

const DRAWS: u64 = 20_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Delays in milliseconds, rising.
fn draws(distribution: &Distribution) -> Vec<f64> {
    let rule = Seed(42).rule("ks");
    let draw = |ordinal| {
        let unit = rule.draw(KeyHash::ordinal(ordinal)).unit(Purpose::Delay, 0);
        distribution.quantile(unit).as_secs_f64() * 1e3
    };
    let mut delays: Vec<f64> = (0..DRAWS).map(draw).collect();
    delays.sort_unstable_by(f64::total_cmp);
    delays
}

/// The Kolmogorov–Smirnov statistic: the greatest distance between the observed and the stated distribution function.
fn distance(rising: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let count = rising.len() as f64;
    let distance_at = |(index, x): (usize, &f64)| {
        let (stated, below) = (cdf(*x), index as f64 / count);
        (stated - below).abs().max((stated - below - 1.0 / count).abs())
    };
    rising.iter().enumerate().map(distance_at).fold(0.0, f64::max)
}

/// Passes at the 1 % level. The draws are deterministic, so this can't flake.
fn assert_fits(distribution: &Distribution, cdf: impl Fn(f64) -> f64) {
    let found = distance(&draws(distribution), cdf);
    assert!(found < 1.63 / (DRAWS as f64).sqrt(), "{distribution:?}: D = {found}");
}

#[test]
fn fixed_is_exact() {
    let fixed = Distribution::fixed(ms(200));
    assert!(draws(&fixed).iter().all(|delay| *delay == 200.0));
    assert_eq!(
        Distribution::fixed(Duration::from_nanos(1_234_567_891))
            .quantile(0.3)
            .as_nanos(),
        1_234_567_891
    );
}

#[test]
fn uniform_fits() {
    assert_fits(&Distribution::uniform(ms(50), ms(100)).unwrap(), |x| (x - 50.0) / 50.0);
    assert!(
        draws(&Distribution::uniform(ms(5), ms(5)).unwrap())
            .iter()
            .all(|delay| *delay == 5.0)
    );
}

#[test]
fn normal_fits_down_to_the_truncation() {
    let phi = standard_normal_cdf;
    for (mean, deviation) in [(100, 10), (30, 10)] {
        let normal = Distribution::normal(ms(mean), ms(deviation)).unwrap();
        let (mean, deviation) = (mean as f64, deviation as f64);
        let negative = phi(-mean / deviation);
        assert_fits(&normal, |x| (phi((x - mean) / deviation) - negative) / (1.0 - negative));
    }
    let touching = Distribution::normal(ms(30), ms(10)).unwrap();
    assert_eq!(
        touching.quantile(0.0).as_micros(),
        0,
        "nothing is cut but the negative part"
    );
    assert_eq!(Distribution::normal(ms(7), ms(0)).unwrap().quantile(0.9), ms(7));
}

#[test]
fn lognormal_fits_in_both_forms() {
    let cdf = |sigma: f64| move |x: f64| standard_normal_cdf((x / 120.0).ln() / sigma);
    assert_fits(&Distribution::lognormal(ms(120), 0.8).unwrap(), cdf(0.8));
    let by_p99 = Distribution::lognormal_p99(ms(120), ms(2_000)).unwrap();
    assert_fits(&by_p99, cdf((2_000.0_f64 / 120.0).ln() / 2.326_347_874));
    assert!((by_p99.quantile(0.99).as_secs_f64() - 2.0).abs() < 1e-8);
    assert_eq!(by_p99.quantile(0.5), ms(120));
}

#[test]
fn exponential_fits() {
    assert_fits(&Distribution::exponential(ms(100)).unwrap(), |x| {
        1.0 - (-x / 100.0).exp()
    });
}

#[test]
fn pareto_fits() {
    for shape in [0.5, 1.0, 1.5, 3.0] {
        let pareto = Distribution::pareto(ms(10), shape).unwrap();
        let hour = 3_600_000.0;
        let cdf = |x: f64| if x < hour { 1.0 - (10.0 / x).powf(shape) } else { 1.0 };
        // The heap at the bound counts as one step; its lower end is where the tail was cut.
        let delays: Vec<f64> = draws(&pareto).into_iter().filter(|delay| *delay < hour).collect();
        let cut = 1.0 - delays.len() as f64 / DRAWS as f64;
        assert!((cut - (10.0_f64 / hour).powf(shape)).abs() < 0.002);
        let kept = cdf(hour - 1.0);
        assert!(distance(&delays, |x| (cdf(x) / kept).min(1.0)) < 1.63 / (DRAWS as f64).sqrt());
    }
}

#[test]
fn percentile_tables_meet_what_they_state() {
    let stated = [("p10", 20), ("p50", 80), ("p90", 300), ("p99", 2_000)];
    let entry = |(name, millis): (&str, u64)| (name.parse::<Percentile>().unwrap(), ms(millis));
    let table = PercentileTable::new(&stated.map(entry)).unwrap();
    let delays = draws(&Distribution::percentiles(table));
    for (percentile, time) in stated.map(entry) {
        let found = delays[(percentile.share() * delays.len() as f64) as usize];
        let time = time.as_secs_f64() * 1e3;
        assert!((found / time - 1.0).abs() < 0.02, "{percentile}: {found} for {time}");
    }
    assert!(delays[0] >= 10.0 && delays[delays.len() - 1] <= 2_000.0);
}

#[test]
fn percentile_tables_fit_between_what_they_state() {
    let entries = [("min", 10), ("p50", 80), ("max", 640)].map(|(name, time)| (name.parse().unwrap(), ms(time)));
    let table = PercentileTable::new(&entries).unwrap();
    // Log-uniform from 10 to 80 and again from 80 to 640: both have the same ratio, so it is one straight line.
    assert_fits(&Distribution::percentiles(table), |x| (x / 10.0).ln() / 64.0_f64.ln());
}

#[test]
fn samples_come_as_often_as_they_were_observed() {
    let observed = [7, 7, 7, 10, 20, 20, 30, 500, 500, 1_000];
    let samples = Samples::new(&observed.map(ms)).unwrap();
    let delays = draws(&Distribution::samples(Arc::new(samples)));
    for value in observed {
        let share = |values: &mut dyn Iterator<Item = f64>, count: usize| {
            values.filter(|delay| *delay <= value as f64).count() as f64 / count as f64
        };
        let stated = share(&mut observed.iter().map(|delay| *delay as f64), observed.len());
        let found = share(&mut delays.iter().copied(), delays.len());
        assert!(
            (found - stated).abs() < 1.63 / (DRAWS as f64).sqrt(),
            "{value}: {found} for {stated}"
        );
    }
    assert!(delays.iter().all(|delay| observed.contains(&(*delay as u64))));
}

#[test]
fn correlated_draws_keep_the_distribution() {
    let exponential = Distribution::exponential(ms(100)).unwrap();
    for (ppm, thinning) in [(500_000, 12_u64), (800_000, 35), (950_000, 150)] {
        let (correlation, rule) = (Correlation::new(ppm).unwrap(), Seed(42).rule("ks"));
        let draw = |n| {
            exponential
                .quantile(correlation.unit(rule, n * thinning, 0))
                .as_secs_f64()
                * 1e3
        };
        let mut delays: Vec<f64> = (0..5_000).map(draw).collect();
        delays.sort_unstable_by(f64::total_cmp);
        let found = distance(&delays, |x| 1.0 - (-x / 100.0).exp());
        assert!(found < 1.63 / 5_000.0_f64.sqrt(), "{ppm}: D = {found}");
    }
}

#[test]
fn nothing_is_longer_than_the_cap_or_shorter_than_drawn() {
    let capped = Distribution::pareto(ms(10), 0.1).unwrap().capped(ms(250));
    let delays = draws(&capped);
    assert_eq!(delays[delays.len() - 1], 250.0);
    assert_eq!(capped.longest(), ms(250));
    let unit = Distribution::uniform(Duration::ZERO, Duration::from_nanos(10)).unwrap();
    assert_eq!(unit.quantile(0.31), Duration::from_nanos(4), "rounded up");
}

#[test]
fn impossible_parameters_are_refused() {
    let text = |result: Result<Distribution, String>| result.unwrap_err();
    assert_eq!(
        text(Distribution::uniform(ms(100), ms(50))),
        "the first time of uniform, 100ms, is longer than the second, 50ms: give the shorter one first: [50ms, 100ms]"
    );
    assert_eq!(
        text(Distribution::normal(ms(90), ms(50))),
        "normal with mean 90ms and deviation 50ms would be negative for 3.6% of the draws; the deviation can be at most \
         a third of the mean, 30ms; lognormal is never negative"
    );
    assert_eq!(
        text(Distribution::lognormal_p99(ms(10), ms(10))),
        "the p99 of lognormal, 10ms, must be above its median, 10ms"
    );
    assert_eq!(
        text(Distribution::lognormal_p99(ms(0), ms(10))),
        "the median of lognormal must be above 0s"
    );
    assert_eq!(
        text(Distribution::lognormal(ms(10), -1.0)),
        "the sigma of lognormal must be a number above 0, not -1"
    );
    assert_eq!(
        text(Distribution::lognormal(ms(10), f64::NAN)),
        "the sigma of lognormal must be a number above 0, not NaN"
    );
    assert_eq!(
        text(Distribution::exponential(ms(0))),
        "the mean of exponential must be above 0s"
    );
    assert_eq!(
        text(Distribution::pareto(ms(0), 1.0)),
        "the scale of pareto must be above 0s"
    );
    assert_eq!(
        text(Distribution::pareto(ms(1), 0.0)),
        "the shape of pareto must be a number above 0, not 0"
    );
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..10_u64).prop_map(Duration::from_nanos),
        any::<u64>().prop_map(Duration::from_nanos),
    ]
}

fn any_distribution() -> impl Strategy<Value = Distribution> {
    let number = || any::<f64>();
    let percentile = (0..=1_000_000_u32).prop_map(|ppm| format!("p{}", f64::from(ppm) / 1e4).parse().unwrap());
    let times = || (any_time(), any_time());
    let table = proptest::collection::vec((percentile, any_time()), 0..6);
    let samples = proptest::collection::vec(any_time(), 0..6);
    prop_oneof![
        any_time().prop_map(|time| Ok(Distribution::fixed(time))),
        times().prop_map(|(low, high)| Distribution::uniform(low, high)),
        times().prop_map(|(mean, deviation)| Distribution::normal(mean, deviation)),
        times().prop_map(|(median, p99)| Distribution::lognormal_p99(median, p99)),
        (any_time(), number()).prop_map(|(median, sigma)| Distribution::lognormal(median, sigma)),
        any_time().prop_map(Distribution::exponential),
        (any_time(), number()).prop_map(|(scale, shape)| Distribution::pareto(scale, shape)),
        table.prop_map(|table| PercentileTable::new(&table).map(Distribution::percentiles)),
        samples.prop_map(|values| Samples::new(&values).map(|samples| Distribution::samples(Arc::new(samples)))),
    ]
    .prop_filter_map("refused", |result: Result<Distribution, String>| result.ok())
}

proptest! {
    #[test]
    fn quantiles_are_sane_for_all_parameters(
        distribution in any_distribution(),
        longest in any_time(),
        mut us in proptest::collection::vec(prop_oneof![any::<f64>(), 0.0..1.0_f64], 2..8),
    ) {
        let distribution = distribution.capped(longest);
        us.retain(|u| !u.is_nan());
        us.sort_unstable_by(f64::total_cmp);
        let delays: Vec<f64> = us.iter().map(|u| distribution.quantile_nanos(*u)).collect();
        prop_assert!(delays.iter().all(|delay| delay.is_finite() && *delay >= 0.0));
        prop_assert!(delays.windows(2).all(|pair| pair[0] <= pair[1] * (1.0 + 1e-12)), "{delays:?}");
        prop_assert!(us.iter().all(|u| distribution.quantile(*u) <= longest));
        prop_assert!(distribution.quantile(f64::NAN) <= longest);
    }
}
