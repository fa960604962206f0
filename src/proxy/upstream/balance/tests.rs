use super::*;

fn limits(failures: u32, ejected_max: usize) -> Option<Limits> {
    Some(Limits {
        failures,
        duration: Duration::from_secs(30),
        ejected_max,
    })
}

fn out(balancer: &Balancer, now: Instant) -> usize {
    balancer
        .ejection
        .as_ref()
        .map_or(0, |ejection| balancer.ejected(ejection.at(now)))
}

/// Whether this failure ejects the endpoint.
fn fails(balancer: &Balancer, index: usize, now: Instant) -> bool {
    let before = out(balancer, now);
    balancer.failed(index, now);
    out(balancer, now) > before
}

/// How often each endpoint is chosen in `requests` requests that end at once.
fn shares(balancer: &Balancer, len: usize, requests: usize, now: Instant) -> Vec<usize> {
    let mut counts = vec![0; len];
    for _ in 0..requests {
        let index = balancer.select(now);
        counts[index] += 1;
        balancer.release(index);
    }
    counts
}

#[test]
fn round_robin_takes_turns() {
    let now = Instant::now();
    let balancer = Balancer::new(Balance::RoundRobin, 3, None, now);
    let order: Vec<_> = (0..6).map(|_| balancer.select(now)).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn random_spreads_evenly() {
    let now = Instant::now();
    let balancer = Balancer::new(Balance::Random, 4, None, now);
    // 40,000 draws of a quarter: a standard deviation of 87, so 500 is beyond all chance.
    for share in shares(&balancer, 4, 40_000, now) {
        assert!((9_500..10_500).contains(&share), "{share}");
    }
}

#[test]
fn least_requests_takes_the_idle_one() {
    let now = Instant::now();
    let balancer = Balancer::new(Balance::LeastRequests, 3, None, now);
    let mut first: Vec<_> = (0..3).map(|_| balancer.select(now)).collect();
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2]);
    balancer.release(1);
    assert_eq!(balancer.select(now), 1);
    balancer.release(2);
    balancer.release(2 - 2);
    let mut next = [balancer.select(now), balancer.select(now)];
    next.sort_unstable();
    assert_eq!(next, [0, 2]);
    for index in 0..3 {
        balancer.release(index);
    }
    assert_eq!(shares(&balancer, 3, 300, now), [100, 100, 100]);
}

#[test]
fn a_failing_endpoint_leaves_and_returns() {
    let now = Instant::now();
    let balancer = Balancer::new(Balance::RoundRobin, 3, limits(3, 1), now);
    assert!(!fails(&balancer, 1, now));
    assert!(!fails(&balancer, 1, now));
    balancer.succeeded(1);
    assert!(!fails(&balancer, 1, now));
    assert!(!fails(&balancer, 1, now));
    assert!(fails(&balancer, 1, now));
    assert_eq!(out(&balancer, now), 1);
    assert_eq!(shares(&balancer, 3, 600, now), [300, 0, 300]);
    // Late failures of an endpoint that is out change nothing.
    for _ in 0..10 {
        assert!(!fails(&balancer, 1, now + Duration::from_secs(29)));
    }
    let back = now + Duration::from_secs(30);
    assert_eq!(out(&balancer, back), 0);
    assert_eq!(shares(&balancer, 3, 600, back), [200, 200, 200]);
}

#[test]
fn no_more_than_the_limit_are_out() {
    let now = Instant::now();
    let balancer = Balancer::new(Balance::LeastRequests, 4, limits(1, 2), now);
    assert!(fails(&balancer, 0, now));
    assert!(fails(&balancer, 3, now));
    assert!(!fails(&balancer, 2, now));
    assert_eq!(shares(&balancer, 4, 100, now), [0, 50, 50, 0]);
}

#[test]
fn if_all_are_out_all_are_used() {
    let now = Instant::now();
    let balancer = Balancer::new(Balance::RoundRobin, 2, limits(1, 2), now);
    assert!(fails(&balancer, 0, now));
    assert!(fails(&balancer, 1, now));
    assert_eq!(shares(&balancer, 2, 100, now), [50, 50]);
}

#[test]
fn nothing_is_lost_between_threads() {
    let now = Instant::now();
    let balancer = Balancer::new(Balance::LeastRequests, 3, limits(2, 1), now);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let balancer = &balancer;
            scope.spawn(move || {
                for round in 0..5_000_usize {
                    let index = balancer.select(now);
                    if (round + thread) % 3 == 0 {
                        balancer.failed(index, now);
                    }
                    balancer.release(index);
                }
            });
        }
    });
    let left: usize = balancer
        .endpoints
        .iter()
        .map(|state| state.in_flight.load(Ordering::Relaxed))
        .sum();
    assert_eq!(left, 0);
    assert!(out(&balancer, now) <= 1);
}
