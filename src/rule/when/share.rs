//! The share of the matching requests that a rule hits, in a few words: for tables.

use super::{Limits, When};
use crate::yaml::units::{Percentage, Time};

impl When {
    /// The share in words, and what else it depends on: `25%`, `1 in 3`, `50% of 1 in 3, on schedule, at most 10/s`.
    pub fn share(&self) -> String {
        let percentage = Percentage::from_ppm(self.ppm);
        let mut words = vec![match self.every.filter(|every| *every > 1) {
            Some(every) if percentage == Percentage::ALL => format!("1 in {every}"),
            Some(every) => format!("{percentage} of 1 in {every}"),
            None => percentage.to_string(),
        }];
        words.extend(self.attempts.map(|attempts| format!("first {attempts} per key")));
        words.extend(self.requested.then(|| "if requested".to_owned()));
        words.extend(self.schedule.map(|_| "on schedule".to_owned()));
        words.extend(self.limits.words());
        words.join(", ")
    }
}

impl Limits {
    fn words(&self) -> impl Iterator<Item = String> {
        [
            self.share
                .map(|share| format!("at most {}", Percentage::from_ppm(share))),
            self.rate.map(|rate| format!("at most {rate}")),
            self.active.map(|active| format!("at most {active} at once")),
            self.total.map(|total| format!("at most {total} in all")),
            self.expires.map(|expires| format!("for {}", Time::saturating(expires))),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::spec::WhenSpec;

    #[track_caller]
    fn check(yaml: &str, expect: &str) {
        let spec: WhenSpec = crate::yaml::testing::read(yaml).unwrap();
        assert_eq!(When::compile(Some(&spec)).unwrap().share(), expect);
    }

    #[test]
    fn whatever_narrows_the_share_is_named() {
        assert_eq!(When::compile(None).unwrap().share(), "100%");
        check("{percentage: 0.5%}", "0.5%");
        check("{every: 1}", "100%");
        check("{every: 3}", "1 in 3");
        check("{every: 3, percentage: 50%}", "50% of 1 in 3");
        check("{attempts: 2, key: client}", "100%, first 2 per key");
        check("{percentage: 20%, requested: true}", "20%, if requested");
        check(
            "{schedule: {start: 1m, duration: 10s}, limits: {expires: 10m}}",
            "100%, on schedule, for 10m",
        );
        check(
            "{limits: {share: 5%, rate: 10/s, active: 3, total: 100}}",
            "100%, at most 5%, at most 10/s, at most 3 at once, at most 100 in all",
        );
    }
}
