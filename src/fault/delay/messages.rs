//! The delays of the messages of a stream, or of the chunks of a connection.

use std::sync::Arc;
use std::time::Duration;

use super::{Delay, DelayDraw, Source};
use crate::draw::{KeyHash, Purpose, RuleSeed, Seed};
use crate::shape::Waits;

/// How long each message or chunk of one stream waits. Each one's draw derives from the stream's draw and its number. Waves
/// follow the clock instead.
#[derive(Debug, Clone)]
pub struct MessageWaits {
    delay: Arc<Delay>,
    stream: RuleSeed,
    longest: Duration,
    /// The time from the load of the rules to the begin of the stream, for waves.
    since: Duration,
}

impl MessageWaits {
    /// The waits of one request's stream, each at most `longest`. `since` is the time from the load of the rules to the begin
    /// of the stream.
    pub fn new(delay: Arc<Delay>, draw: DelayDraw, longest: Duration, since: Duration) -> MessageWaits {
        let stream = Seed(draw.draw.stream(Purpose::MessageDelay, draw.index)).rule("messages");
        // Only waves depend on the time: everything else must be equal for equal draws.
        let since = match delay.source {
            Source::Waves(_) => since,
            Source::Drawn(_) | Source::Correlated(..) => Duration::ZERO,
        };
        MessageWaits {
            delay,
            stream,
            longest,
            since,
        }
    }
}

impl Waits for MessageWaits {
    fn nth(&self, n: u64, elapsed: Duration) -> Duration {
        let wait = match &self.delay.source {
            Source::Drawn(distribution) => {
                let draw = self.stream.draw(KeyHash::ordinal(n));
                distribution.quantile(draw.unit(Purpose::MessageDelay, 0))
            }
            Source::Correlated(distribution, correlation) => distribution.quantile(correlation.unit(self.stream, n, 0)),
            Source::Waves(waves) => self.delay.at(waves, self.since.saturating_add(elapsed)),
        };
        wait.min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::delay::DelaySpec;
    use crate::fault::distribution::normal::standard_normal_quantile;
    use crate::fault::kind::Spec;
    use crate::fault::place::testing::context;

    fn waits(yaml: &str, ordinal: u64, index: u32) -> MessageWaits {
        let spec: DelaySpec = crate::yaml::testing::read(yaml).unwrap();
        let delay = spec.compile(&context()).unwrap();
        let rule = Seed(42).rule("slow");
        let draw = DelayDraw {
            draw: rule.draw(KeyHash::ordinal(ordinal)),
            rule,
            ordinal,
            index,
        };
        MessageWaits::new(delay, draw, Duration::MAX, Duration::ZERO)
    }

    const UNIFORM: &str = "{uniform: [50ms, 150ms], before: message}";

    #[test]
    fn the_same_seed_gives_the_same_waits_in_every_version() {
        let golden = |yaml: &str| [0, 1, 2].map(|n| waits(yaml, 0, 0).nth(n, Duration::ZERO).as_micros());
        assert_eq!(golden(UNIFORM), [145450, 143233, 114778]);
        assert_eq!(
            golden("{exponential: {mean: 1s}, correlation: 80%, before: message}"),
            [593226, 998987, 1014436]
        );
    }

    #[test]
    fn a_wait_depends_on_the_stream_and_the_number_alone() {
        let once = waits(UNIFORM, 3, 0);
        let forth: Vec<Duration> = (0..100).map(|n| once.nth(n, Duration::ZERO)).collect();
        let back: Vec<Duration> = (0..100)
            .rev()
            .map(|n| waits(UNIFORM, 3, 0).nth(n, Duration::ZERO))
            .collect();
        assert!(forth.iter().eq(back.iter().rev()));
        let differs = |other: MessageWaits| {
            (0..100)
                .filter(|n| other.nth(*n, Duration::ZERO) == once.nth(*n, Duration::ZERO))
                .count()
                < 3
        };
        assert!(differs(waits(UNIFORM, 4, 0)) && differs(waits(UNIFORM, 3, 1)));
    }

    #[test]
    fn waits_have_the_distribution_and_no_memory() {
        let waits = waits(UNIFORM, 0, 0);
        let millis: Vec<f64> = (0..20_000)
            .map(|n| waits.nth(n, Duration::ZERO).as_secs_f64() * 1e3)
            .collect();
        let mean = millis.iter().sum::<f64>() / millis.len() as f64;
        // The deviation is 100 / sqrt(12), that of the mean 0.2: 4 of them.
        assert!((mean - 100.0).abs() < 0.82, "{mean}");
        assert!(millis.iter().all(|wait| (50.0..=150.0).contains(wait)));
        assert!(correlation(&millis).abs() < 0.03, "{}", correlation(&millis));
    }

    #[test]
    fn correlated_messages_resemble_their_neighbours() {
        let waits = waits("{uniform: [50ms, 150ms], correlation: 80%, before: message}", 0, 0);
        let normal: Vec<f64> = (0..5_000)
            .map(|n| standard_normal_quantile((waits.nth(n, Duration::ZERO).as_secs_f64() * 1e3 - 50.0) / 100.0))
            .collect();
        assert!((correlation(&normal) - 0.8).abs() < 0.05, "{}", correlation(&normal));
    }

    #[test]
    fn waves_follow_the_clock() {
        let waits = waits("{wave: {shape: saw, period: 10s, max: 1s}, before: message}", 0, 0);
        let at = |seconds| waits.nth(0, Duration::from_secs(seconds)).as_millis();
        assert_eq!([0, 5, 9, 10].map(at), [0, 500, 900, 0]);
    }

    /// Of each number with the next one.
    fn correlation(numbers: &[f64]) -> f64 {
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
        let shared: f64 = numbers.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        shared / variance
    }
}
