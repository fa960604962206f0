//! Deserializes the parts of a delay that serde can't derive; see `fields`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_with::skip_serializing_none;

use super::fields::ShortOrLong;
use super::spec::{PercentilesSpec, SamplesSpec, WaveSpec};
use crate::fault::distribution::percentiles::Percentile;
use crate::fault::distribution::samples::{Column, SampleUnit};
use crate::yaml::units::Time;

/// The long form of samples.
#[skip_serializing_none]
#[derive(Serialize, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SamplesFields {
    /// The file, relative to the configuration file: plain text with one value per line, or CSV.
    file: String,
    /// The column that holds the delays, by its name or its number from 1; optional if there is only one.
    column: Option<Column>,
    /// The unit of bare numbers.
    #[serde(default)]
    unit: SampleUnit,
    /// The column that holds how often each delay was seen, by its name or its number from 1.
    weights: Option<Column>,
}

impl<'de> Deserialize<'de> for SamplesSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = deserializer.deserialize_any(ShortOrLong {
            expecting: "a file such as latencies.csv, or {file: latencies.csv, column: latency, unit: ms}",
            short: |file| {
                Ok(SamplesFields {
                    file: file.to_owned(),
                    column: None,
                    unit: SampleUnit::default(),
                    weights: None,
                })
            },
            long: PhantomData,
        })?;
        if fields.file.is_empty() {
            return Err(D::Error::custom("the samples file has no name"));
        }
        let SamplesFields {
            file,
            column,
            unit,
            weights,
        } = fields;
        Ok(Self {
            file,
            column,
            unit,
            weights,
        })
    }
}

impl Serialize for SamplesSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            file,
            column,
            unit,
            weights,
        } = self.clone();
        SamplesFields {
            file,
            column,
            unit,
            weights,
        }
        .serialize(serializer)
    }
}

impl JsonSchema for SamplesSpec {
    fn schema_name() -> Cow<'static, str> {
        "Samples".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (
            generator.subschema_for::<String>(),
            SamplesFields::json_schema(generator),
        );
        json_schema!({"description": "A file of observed delays.", "anyOf": [short, long]})
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl Visitor<'_> for NameOrNumber {
            type Value = Column;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, or its number from 1")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Column, E> {
                Ok(Column::Name(name.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Column, E> {
                match usize::try_from(number) {
                    Ok(number @ 1..) => Ok(Column::Number(number)),
                    _ => Err(E::custom("columns are numbered from 1")),
                }
            }
        }
        deserializer.deserialize_any(NameOrNumber)
    }
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Number(number) => serializer.serialize_u64(*number as u64),
        }
    }
}

impl JsonSchema for Column {
    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "minimum": 1})
    }
}

impl<'de> Deserialize<'de> for PercentilesSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = PercentilesSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("percentiles with times, such as {p50: 80ms, p99: 2s}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PercentilesSpec, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry::<Percentile, Time>()? {
                    entries.push(entry);
                }
                Ok(PercentilesSpec(entries))
            }
        }
        deserializer.deserialize_map(Table)
    }
}

impl Serialize for PercentilesSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(percentile, time)| (percentile.to_string(), time)))
    }
}

impl JsonSchema for PercentilesSpec {
    fn schema_name() -> Cow<'static, str> {
        "Percentiles".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Percentiles with their times: p50, p99.9, min, max…; at least two, rising.",
            "type": "object",
            "patternProperties": {"^(p[0-9]+(\\.[0-9]+)?|min|max)$": generator.subschema_for::<Time>()},
            "additionalProperties": false,
            "minProperties": 2,
        })
    }
}

impl<'de> Deserialize<'de> for Percentile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PercentileVisitor;
        impl Visitor<'_> for PercentileVisitor {
            type Value = Percentile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentile such as p50, p99.9, min or max")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Percentile, E> {
                name.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(PercentileVisitor)
    }
}

/// The most waves in a sum: each costs a few operations per request.
const MAX_WAVES: usize = 16;

/// One wave, or a list of waves that are added up.
#[derive(Debug, Clone)]
pub(super) struct WaveList(pub(super) Vec<WaveSpec>);

impl<'de> Deserialize<'de> for WaveList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = WaveList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a wave such as {shape: sine, period: 1m, max: 500ms}, or a list of waves")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WaveList, A::Error> {
                Ok(WaveList(vec![WaveSpec::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<WaveList, A::Error> {
                let waves = Vec::<WaveSpec>::deserialize(SeqAccessDeserializer::new(seq))?;
                match waves.len() {
                    1..=MAX_WAVES => Ok(WaveList(waves)),
                    count => Err(A::Error::custom(format!(
                        "a list must have 1 to {MAX_WAVES} waves, not {count}"
                    ))),
                }
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl Serialize for WaveList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [wave] => wave.serialize(serializer),
            waves => waves.serialize(serializer),
        }
    }
}

impl JsonSchema for WaveList {
    fn schema_name() -> Cow<'static, str> {
        "Waves".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let wave = generator.subschema_for::<WaveSpec>();
        json_schema!({"anyOf": [wave, {"type": "array", "items": wave, "minItems": 1, "maxItems": MAX_WAVES}]})
    }
}
