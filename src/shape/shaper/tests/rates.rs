//! Rates, with timers that come late as real ones do.

use super::*;

const KIB: u64 = 1024;
const SECONDS: u64 = 5;

fn run(rate: u64, chunk: usize) -> Ran {
    let total = usize::try_from(rate * SECONDS).unwrap();
    let body = Bytes::from(vec![b'x'; total]);
    let chunks = (0..total)
        .step_by(chunk)
        .map(|at| body.slice(at..total.min(at + chunk)));
    let setting = Setting {
        late: vec![1000, 1300, 2000, 1700],
        ..Setting::new(STREAM, vec![pace(rate)])
    };
    setting.run_all(chunks.collect())
}

#[test]
fn the_rate_over_five_seconds_is_the_stated_one() {
    for rate in [KIB, 20 * KIB, 500 * KIB, 10 * KIB * KIB] {
        for chunk in [1400, 16384, 65536] {
            let ran = run(rate, chunk);
            let seconds = ran.sent.last().unwrap().0.as_secs_f64();
            let measured = ran.bytes().len() as f64 / seconds / rate as f64;
            assert!((0.99..1.01).contains(&measured), "{rate} in {chunk}: {measured}");
            assert_eq!(ran.took_effect, [0]);
        }
    }
}

#[test]
fn no_gap_is_long() {
    for rate in [20 * KIB, 500 * KIB, 10 * KIB * KIB] {
        let ran = run(rate, 16384);
        let gaps = ran.sent.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let longest = gaps.max().unwrap();
        assert!(longest < Duration::from_millis(50), "{rate}: {longest:?}");
    }
}

#[test]
fn a_byte_a_second_is_a_rate() {
    let ran = Setting::new(STREAM, vec![pace(1)]).run(&[b"abc"]);
    assert_eq!(ran.millis(), [(0, 1), (1000, 1), (2000, 1)]);
}

#[test]
fn unlimited_is_a_rate() {
    let ran = Setting::new(STREAM, vec![pace(u64::MAX)]).run(&[&[0; 70_000], &[1; 70_000]]);
    assert_eq!(ran.millis(), [(0, 70_000), (0, 70_000)]);
}

#[test]
fn the_tightest_rate_counts() {
    let ran = Setting::new(STREAM, vec![pace(1000), pace(10_000), pace(2000)]).run(&[&[0; 3000]]);
    assert_eq!(ran.sent.last().unwrap().0, Duration::from_millis(2975));
    assert_eq!(ran.took_effect, [0, 1, 2]);
}

#[test]
fn streams_share_a_bucket_in_turn() {
    let bucket = Arc::new(Bucket::new(NonZeroU64::new(1000).unwrap()));
    let shaper = || Shaper::new(&STREAM, vec![(0, pace(1000))], 65536, |_, _| Arc::clone(&bucket));
    let (mut both, mut left) = ([shaper(), shaper()], [0; 2]);
    let begin = Instant::now();
    for one in &mut both {
        one.push(vec![0; 5000].into());
    }
    for milli in 0..2000 {
        for (one, left) in both.iter_mut().zip(&mut left) {
            if let Step::Send(piece) = one.step(begin + Duration::from_millis(milli)) {
                *left += piece.len();
            }
        }
    }
    assert_eq!(left, [1000, 1000]);
}

#[test]
fn a_released_stream_waits_no_more() {
    let acts = vec![
        pace(1),
        Act::Delay(Duration::from_secs(9)),
        cut(After::Bytes(3), Finish::Close),
    ];
    let mut shaper = Shaper::new(&STREAM, acts.into_iter().enumerate().collect(), 9, |_, pace| {
        Arc::new(Bucket::new(pace.rate))
    });
    let now = Instant::now();
    shaper.push("abcdef".into());
    assert!(matches!(shaper.step(now), Step::Wait(_)));
    shaper.release();
    assert!(matches!(shaper.step(now), Step::Send(piece) if piece == "abc"));
    assert!(matches!(shaper.step(now), Step::End(Finish::Close)));
    assert_eq!(shaper.room(), 0);
}
