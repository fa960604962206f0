//! Deserializes a delay in short and long form, with errors that say what would be valid.
//!
//! The visitors here replace serde's `untagged` and `flatten`, which would report every mistake as "data did not match any
//! variant".

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_with::skip_serializing_none;

use super::parts::WaveList;
use super::spec::{
    DelaySpec, DistributionSpec, ExponentialSpec, LognormalSpec, NormalSpec, ParetoSpec, PercentilesSpec, SamplesSpec,
};
use crate::fault::before::{Before, Mode};
use crate::shape::Direction;
use crate::yaml::units::{Share, Time};

/// The long form: exactly one distribution, with options.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [
    {"required": ["fixed"]}, {"required": ["uniform"]}, {"required": ["normal"]}, {"required": ["lognormal"]},
    {"required": ["exponential"]}, {"required": ["pareto"]}, {"required": ["percentiles"]}, {"required": ["samples"]},
    {"required": ["wave"]},
]))]
pub(super) struct DelayFields {
    /// The same delay every time.
    fixed: Option<Time>,
    /// Every delay between the two is equally likely.
    uniform: Option<[Time; 2]>,
    normal: Option<NormalSpec>,
    lognormal: Option<LognormalSpec>,
    exponential: Option<ExponentialSpec>,
    pareto: Option<ParetoSpec>,
    percentiles: Option<PercentilesSpec>,
    samples: Option<SamplesSpec>,
    wave: Option<WaveList>,
    /// Longer delays are cut to this.
    max: Option<Time>,
    /// How much each delay resembles the one before it, 0 to 95 %: bursts. Only with the default key.
    correlation: Option<Share>,
    /// What the delay holds up; the request by default, and each chunk of a TCP connection.
    before: Option<Before>,
    /// Whose body, messages or end wait, with `before: body`, `before: message` and `before: end`; the response's by default.
    direction: Option<Direction>,
    /// How the delay combines with the natural time.
    mode: Option<Mode>,
}

impl TryFrom<DelayFields> for DelaySpec {
    type Error = String;

    fn try_from(fields: DelayFields) -> Result<Self, String> {
        let candidates = [
            ("fixed", fields.fixed.map(DistributionSpec::Fixed)),
            ("uniform", fields.uniform.map(DistributionSpec::Uniform)),
            ("normal", fields.normal.map(DistributionSpec::Normal)),
            ("lognormal", fields.lognormal.map(DistributionSpec::Lognormal)),
            ("exponential", fields.exponential.map(DistributionSpec::Exponential)),
            ("pareto", fields.pareto.map(DistributionSpec::Pareto)),
            ("percentiles", fields.percentiles.map(DistributionSpec::Percentiles)),
            ("samples", fields.samples.map(DistributionSpec::Samples)),
            ("wave", fields.wave.map(|waves| DistributionSpec::Wave(waves.0))),
        ];
        let all = candidates.each_ref().map(|(name, _)| *name).join(", ");
        let mut given = candidates.into_iter().filter_map(|(name, spec)| Some((name, spec?)));
        let (Some((name, distribution)), second) = (given.next(), given.next()) else {
            return Err(format!(
                "the distribution is missing: give one of {all}, or the short form `delay: 200ms`"
            ));
        };
        if let Some((other, _)) = second {
            return Err(format!(
                "`{name}` can't be combined with `{other}`: give one distribution; two delays in the list add up"
            ));
        }
        Ok(Self {
            distribution,
            max: fields.max,
            correlation: fields.correlation,
            before: fields.before,
            direction: fields.direction,
            mode: fields.mode.unwrap_or_default(),
        })
    }
}

impl From<DelaySpec> for DelayFields {
    fn from(spec: DelaySpec) -> Self {
        let mut fields = Self {
            max: spec.max,
            correlation: spec.correlation,
            before: spec.before,
            direction: spec.direction,
            mode: (spec.mode != Mode::Add).then_some(spec.mode),
            ..Self::default()
        };
        match spec.distribution {
            DistributionSpec::Fixed(time) => fields.fixed = Some(time),
            DistributionSpec::Uniform(times) => fields.uniform = Some(times),
            DistributionSpec::Normal(normal) => fields.normal = Some(normal),
            DistributionSpec::Lognormal(lognormal) => fields.lognormal = Some(lognormal),
            DistributionSpec::Exponential(exponential) => fields.exponential = Some(exponential),
            DistributionSpec::Pareto(pareto) => fields.pareto = Some(pareto),
            DistributionSpec::Percentiles(table) => fields.percentiles = Some(table),
            DistributionSpec::Samples(samples) => fields.samples = Some(samples),
            DistributionSpec::Wave(waves) => fields.wave = Some(WaveList(waves)),
        }
        fields
    }
}

impl<'de> Deserialize<'de> for DelaySpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = deserializer.deserialize_any(ShortOrLong {
            expecting: "a time such as 200ms, or a distribution such as {uniform: [50ms, 100ms]}",
            short: |text| {
                let fixed = text.parse::<Time>().map_err(|error| error.to_string())?;
                Ok(DelayFields {
                    fixed: Some(fixed),
                    ..DelayFields::default()
                })
            },
            long: PhantomData,
        })?;
        Self::try_from(fields).map_err(D::Error::custom)
    }
}

impl JsonSchema for DelaySpec {
    fn schema_name() -> Cow<'static, str> {
        "Delay".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (generator.subschema_for::<Time>(), DelayFields::json_schema(generator));
        json_schema!({"description": "How long to wait: a time, or a distribution with options.", "anyOf": [short, long]})
    }
}

/// Visits text for the short form, or a map for the long form.
pub(super) struct ShortOrLong<T> {
    pub(super) expecting: &'static str,
    pub(super) short: fn(&str) -> Result<T, String>,
    pub(super) long: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ShortOrLong<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.short)(text).map_err(E::custom)
    }

    // A bare number is passed on as text, so that the short form reports the missing unit.
    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
