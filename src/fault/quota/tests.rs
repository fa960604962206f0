use super::*;
use crate::fault::place::testing::context;
use crate::yaml::testing;

fn quota(requests: u32, punish: Option<u64>) -> Quota {
    let punish = punish.map_or_else(String::new, |seconds| format!(", punish: {seconds}s"));
    let spec: QuotaSpec = testing::read(&format!("{{requests: {requests}, per: 60s, key: client{punish}}}")).unwrap();
    let two = Context {
        keys: NonZeroUsize::new(2).unwrap(),
        rule: "burst",
        ..context()
    };
    spec.compile(&two).unwrap()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn fills_up_and_opens_again() {
    let quota = quota(2, None);
    assert_eq!(
        quota.take(1, at(0)),
        Verdict {
            passes: true,
            remaining: 1,
            reset: at(60)
        }
    );
    assert_eq!(
        quota.take(1, at(10)),
        Verdict {
            passes: true,
            remaining: 0,
            reset: at(50)
        }
    );
    assert_eq!(
        quota.take(1, at(20)),
        Verdict {
            passes: false,
            remaining: 0,
            reset: at(40)
        }
    );
    assert!(quota.take(2, at(20)).passes, "another key has its own window");
    assert!(quota.take(1, at(60)).passes);
}

#[test]
fn punishes_within_bounds() {
    let quota = quota(1, Some(30));
    assert!(quota.take(1, at(0)).passes);
    assert_eq!(quota.take(1, at(1)).reset, at(89));
    for _ in 0..1000 {
        quota.take(1, at(1));
    }
    assert_eq!(quota.take(1, at(1)).reset, at(599));
}

#[test]
fn headers_follow_the_draft() {
    let quota = quota(100, None);
    let headers = quota.headers(Verdict {
        passes: true,
        remaining: 99,
        reset: Duration::from_millis(41_200),
    });
    let get = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .unwrap()
            .1
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(get("ratelimit-policy"), "\"burst\";q=100;w=60");
    assert_eq!(get("ratelimit"), "\"burst\";r=99;t=42");
    assert_eq!(get("x-ratelimit-reset"), "42");
}
