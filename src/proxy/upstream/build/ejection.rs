//! Checks `ejection` of an upstream and computes its limits.

use std::time::Duration;

use super::Builder;
use crate::proxy::upstream::balance::Limits;
use crate::proxy::upstream::spec::EjectionSpec;
use crate::yaml::units::{Percentage, Time};

impl Builder<'_> {
    pub(super) fn limits(&mut self, len: usize) -> Option<Limits> {
        let ejection = self.spec.ejection.as_ref()?;
        self.check_ejection(ejection);
        let share = ejection.max.as_deref().copied();
        let share = share.map_or(Percentage::from_ppm(500_000), |share| share.get());
        let max = u64::from(share.ppm()) * u64::try_from(len).unwrap_or(0) / u64::from(Percentage::ALL.ppm());
        let ejected_max = usize::try_from(max).unwrap_or(usize::MAX);
        if ejected_max == 0 && len > 0 && self.spec.endpoints.is_some() {
            let span = ejection.max.as_ref().map_or(ejection.span, |max| max.span);
            let endpoints = if len == 1 { "endpoint" } else { "endpoints" };
            let message = format!("{share} of {len} {endpoints} is less than one: none would ever be ejected");
            return self.fail(span, message);
        }
        Some(Limits {
            failures: ejection.failures.as_deref().copied().unwrap_or(5),
            duration: ejection.duration.map_or(Duration::from_secs(30), |time| time.get()),
            ejected_max: ejected_max.max(1),
        })
    }

    fn check_ejection(&mut self, spec: &EjectionSpec) {
        if let Some(failures) = spec.failures.as_ref().filter(|one| one.value == 0) {
            self.fail(failures.span, "`failures` must be at least 1")
        }
        if let Some(duration) = spec.duration.as_ref().filter(|one| one.value == Time::ZERO) {
            self.fail(duration.span, "`duration: 0` has no effect: use a time such as 30s")
        }
        for status in spec.statuses.iter().filter(|one| !(400..=599).contains(&one.value)) {
            let message = format!("{status} is not a valid failure status: use 400 to 599");
            self.fail(status.span, message)
        }
    }
}
