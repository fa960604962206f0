use super::*;

fn seen(millis: u64) -> Seen {
    Seen {
        natural: Some(Duration::from_millis(millis)),
        total: Duration::from_millis(millis),
        ..Seen::default()
    }
}

#[test]
fn each_second_is_counted_by_itself_and_forgotten() {
    let start = Instant::now();
    let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
    let traffic = Traffic::new(start);
    for n in 0..100_u32 {
        traffic.record(at(f64::from(n)), &seen(5));
        traffic.record(at(f64::from(n) + 0.9), &seen(50));
    }
    assert_eq!(traffic.totals().requests, 200);
    assert_eq!(traffic.seconds(at(99.95), 1).numbers.requests, 2, "the second before");
    let ten = traffic.seconds(at(100.0), 10);
    assert_eq!(
        (ten.numbers.requests, ten.total.count(), ten.injected.count()),
        (20, 20, 0)
    );
    let slowest = ten.natural.quantile(1.0).unwrap().as_secs_f64();
    assert!((0.049..0.051).contains(&slowest), "{slowest}");
    assert_eq!(traffic.seconds(at(105.0), 10).numbers.requests, 10);
    assert_eq!(traffic.seconds(at(1e6), 10).numbers.requests, 0);
    assert_eq!(traffic.seconds(at(100.0), 1000).numbers.requests, 20, "at most ten");
}

#[test]
fn errors_and_faults_are_counted_by_origin() {
    let start = Instant::now();
    let traffic = Traffic::new(start);
    for (error, faults) in [
        (None, 0),
        (Some(Wrong::Natural), 0),
        (Some(Wrong::Injected), 2),
        (None, 1),
    ] {
        let injected = Duration::from_millis(faults as u64);
        traffic.record(
            start,
            &Seen {
                error,
                faults,
                injected,
                ..seen(1)
            },
        );
    }
    let expected = Numbers {
        requests: 4,
        errors_natural: 1,
        errors_injected: 1,
        faults: 3,
    };
    assert_eq!(traffic.totals(), expected);
    let recent = traffic.seconds(start + Duration::from_secs(1), 1);
    assert_eq!((recent.numbers, recent.injected.count()), (expected, 2));
}

#[test]
fn nothing_is_lost_between_threads() {
    let start = Instant::now();
    let traffic = Traffic::new(start);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..9_000_u64 {
                    traffic.record(start + Duration::from_millis(n), &seen(n % 100));
                }
            });
        }
    });
    let recent = traffic.seconds(start + Duration::from_secs(9), 10);
    assert_eq!((recent.numbers.requests, recent.total.count()), (36_000, 36_000));
}

#[test]
fn the_end_of_a_second_is_known() {
    let start = Instant::now();
    let traffic = Traffic::new(start);
    let until = traffic.until_next(start + Duration::from_millis(2_300));
    assert_eq!(until, Duration::from_millis(700));
}

/// What a request pays. Printed with `--nocapture`; a generous bound, since test builds are slow.
#[test]
fn recording_is_cheap() {
    let start = Instant::now();
    let traffic = Traffic::new(start);
    for n in 0..200_000_u64 {
        traffic.record(start, &seen(n % 500));
    }
    let each = start.elapsed() / 200_000;
    println!("{each:?} for each request");
    assert!(each < Duration::from_micros(10), "{each:?}");
}
