//! When an endpoint is left out.

use std::time::Duration;

use super::Builder;
use crate::config::upstream::EjectionSpec;
use crate::proxy::upstream::balance::Limits;
use crate::yaml::report::Diagnostic;
use crate::yaml::units::{Percentage, Time};

impl Builder<'_> {
    /// `Some(None)` without ejection.
    pub(super) fn limits(&mut self, len: usize) -> Option<Option<Limits>> {
        let Some(spec) = &self.spec.ejection else {
            return Some(None);
        };
        let (span, spec) = (spec.span, &spec.value);
        let found = self.problems.len();
        self.check_ejection(spec);
        let share = spec.max.as_ref().map_or(Percentage::from_ppm(500_000), |one| one.value);
        let max = u64::from(share.ppm()) * u64::try_from(len).unwrap_or(0) / u64::from(Percentage::ALL.ppm());
        let ejected_max = usize::try_from(max).unwrap_or(usize::MAX);
        if ejected_max == 0 && len > 0 && self.spec.endpoints.is_some() {
            let span = spec.max.as_ref().map_or(span, |one| one.span);
            let endpoints = if len == 1 { "endpoint" } else { "endpoints" };
            let message = format!("{share} of {len} {endpoints} is less than one, so none would ever be ejected");
            self.problems.push(Diagnostic::error(span, message));
        }
        let seconds = |seconds| Duration::from_secs(seconds);
        (self.problems.len() == found).then(|| {
            Some(Limits {
                failures: spec.failures.as_ref().map_or(5, |one| one.value),
                duration: spec.duration.as_ref().map_or(seconds(30), |one| one.value.get()),
                ejected_max: ejected_max.max(1),
            })
        })
    }

    fn check_ejection(&mut self, spec: &EjectionSpec) {
        if let Some(failures) = spec.failures.as_ref().filter(|one| one.value == 0) {
            self.problems
                .push(Diagnostic::error(failures.span, "`failures` is at least 1"));
        }
        if let Some(duration) = spec.duration.as_ref().filter(|one| one.value == Time::ZERO) {
            let message = "`duration: 0` would eject nothing; write a time such as 30s";
            self.problems.push(Diagnostic::error(duration.span, message));
        }
        for status in &spec.statuses {
            if !(400..=599).contains(&status.value) {
                let message = format!(
                    "{} is not the status of a failure; statuses are 400 to 599",
                    status.value
                );
                self.problems.push(Diagnostic::error(status.span, message));
            }
        }
    }
}
