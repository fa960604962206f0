//! Compiles a delay from its configuration.

use std::sync::Arc;
use std::time::Duration;

use super::spec::{DelaySpec, DistributionSpec, LognormalSpec, SamplesSpec, WaveSpec};
use super::{Delay, Source};
use crate::fault::before::{Before, Mode};
use crate::fault::context::Context;
use crate::fault::distribution::Distribution;
use crate::fault::distribution::correlation::Correlation;
use crate::fault::distribution::percentiles::PercentileTable;
use crate::fault::distribution::samples::{SampleFormat, Samples, read_samples};
use crate::fault::distribution::wave::Wave;
use crate::fault::kind::Spec;
use crate::files;
use crate::yaml::units::Time;

impl Spec for DelaySpec {
    type Fault = Arc<Delay>;

    fn moment(&self) -> Before {
        self.before.unwrap_or_default()
    }

    /// Checks the delay, and reads its samples file. Delays are capped at the longest wait allowed.
    ///
    /// # Errors
    /// A distribution's parameters are impossible (each constructor of [`Distribution`] says which), a time is beyond the
    /// bound, the samples file can't be read or is wrong, the options contradict each other. The text says what would be
    /// valid.
    fn compile(&self, context: &Context<'_>) -> Result<Arc<Delay>, String> {
        let before = self.phase()?;
        let bound = context.longest_wait;
        self.check_bound(bound)?;
        let longest = self.max.map_or(bound, Time::get);
        let source = match &self.distribution {
            DistributionSpec::Wave(waves) => {
                Source::Waves(waves.iter().map(compile_wave).collect::<Result<_, String>>()?)
            }
            DistributionSpec::Samples(samples) => {
                // With `max`, outliers in the file are capped, so they need no bound.
                let accepted = if self.max.is_some() { Time::MAX.get() } else { bound };
                let samples = compile_samples(samples, context, accepted)?;
                Source::Drawn(Distribution::samples(Arc::new(samples)).capped(longest))
            }
            parametric => Source::Drawn(compile_parametric(parametric)?.capped(longest)),
        };
        Ok(Arc::new(Delay {
            source: self.correlate(source)?,
            longest,
            before,
            plain: self.before.is_none() && self.mode == Mode::Add,
            direction: self.direction.unwrap_or_default(),
            mode: self.mode,
            description: self.describe(),
        }))
    }
}

impl DelaySpec {
    /// Checks that no stated time is longer than `bound`, since each may be drawn.
    fn check_bound(&self, bound: Duration) -> Result<(), String> {
        let bound = Time::try_from(bound).unwrap_or(Time::MAX);
        let stated = self.distribution.stated_times().into_iter().chain(self.max);
        match stated.max() {
            Some(longest) if longest > bound => Err(format!(
                "a delay of {longest} is longer than the longest allowed, {bound}"
            )),
            _ if self.max.is_some_and(|max| max == Time::ZERO) => {
                Err("the max of a delay must be above 0s: to inject nothing, leave out the delay".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn correlate(&self, source: Source) -> Result<Source, String> {
        let Some(correlation) = self.correlation else {
            return Ok(source);
        };
        let correlation_checked = Correlation::new(correlation.ppm())?;
        match (source, &self.distribution) {
            (Source::Drawn(_), DistributionSpec::Fixed(_)) => {
                Err("a fixed delay can't be combined with a correlation: it is always the same".to_owned())
            }
            (Source::Waves(_), _) => {
                Err("a wave can't be combined with a correlation: it follows the clock".to_owned())
            }
            (Source::Drawn(distribution), _) if correlation.ppm() > 0 => {
                Ok(Source::Correlated(distribution, correlation_checked))
            }
            (source, _) => Ok(source),
        }
    }

    fn phase(&self) -> Result<Before, String> {
        let stated = self.before;
        if self.direction.is_some() && !matches!(stated, Some(Before::Body | Before::Message | Before::End)) {
            return Err("`direction` needs `before: body`, `before: message` or `before: end`".to_owned());
        }
        match (self.mode, stated) {
            (Mode::Add, before) => Ok(before.unwrap_or(Before::Request)),
            (mode, Some(Before::Request)) => Err(format!(
                "mode {mode} compares with the time that the upstream took, which is known only before the response: \
                use `before: response`, or leave out `before`"
            )),
            (mode, Some(before @ (Before::Body | Before::Message | Before::End))) => Err(format!(
                "mode {mode} makes the response begin later, but before the {} it has already begun: leave out \
                `mode`, or use `before: response`",
                before.name()
            )),
            (mode, Some(before @ (Before::Connection | Before::Handshake))) => Err(format!(
                "mode {mode} needs a request, but before the {} there is none: leave out `mode`",
                before.name()
            )),
            (_, Some(Before::Response) | None) => Ok(Before::Response),
        }
    }
}

fn compile_parametric(spec: &DistributionSpec) -> Result<Distribution, String> {
    match spec {
        DistributionSpec::Fixed(time) => Ok(Distribution::fixed(time.get())),
        DistributionSpec::Uniform([low, high]) => Distribution::uniform(low.get(), high.get()),
        DistributionSpec::Normal(normal) => Distribution::normal(normal.mean.get(), normal.deviation.get()),
        DistributionSpec::Lognormal(lognormal) => compile_lognormal(lognormal),
        DistributionSpec::Exponential(exponential) => Distribution::exponential(exponential.mean.get()),
        DistributionSpec::Pareto(pareto) => Distribution::pareto(pareto.scale.get(), pareto.shape),
        DistributionSpec::Percentiles(table) => {
            let entries: Vec<_> = table
                .0
                .iter()
                .map(|(percentile, time)| (*percentile, time.get()))
                .collect();
            Ok(Distribution::percentiles(PercentileTable::new(&entries)?))
        }
        DistributionSpec::Samples(_) | DistributionSpec::Wave(_) => {
            Err("this distribution is not made of parameters alone".to_owned())
        }
    }
}

fn compile_lognormal(spec: &LognormalSpec) -> Result<Distribution, String> {
    match (spec.p99, spec.sigma) {
        (Some(p99), None) => Distribution::lognormal_p99(spec.median.get(), p99.get()),
        (None, Some(sigma)) => Distribution::lognormal(spec.median.get(), sigma),
        (None, None) => Err("lognormal needs `p99` or `sigma` as well as its median".to_owned()),
        (Some(_), Some(_)) => Err("in lognormal, `p99` can't be combined with `sigma`".to_owned()),
    }
}

fn compile_wave(spec: &WaveSpec) -> Result<Wave, String> {
    let [period, min, max, phase] = [spec.period, spec.min, spec.max, spec.phase].map(Time::get);
    Wave::new(spec.shape, period, min, max, phase)
}

fn compile_samples(spec: &SamplesSpec, context: &Context<'_>, longest: Duration) -> Result<Samples, String> {
    let file = spec.file.as_str();
    let bytes = (context.read)(&context.folder.join(file), files::MAX_RECORDS_BYTES)
        .map_err(|error| format!("can't read the samples file {file}: {error}"))?;
    let format = SampleFormat {
        column: spec.column.clone(),
        weights: spec.weights.clone(),
        unit: spec.unit,
        longest,
    };
    read_samples(file, &bytes, &format)
}
