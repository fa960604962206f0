//! Values with a short form: a scalar in place of a map of options, or a single item in place of a list.

use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// A plain value, as YAML resolves it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Anything else.
    Str(&'a str),
}

impl Scalar<'_> {
    /// The text of a number or a string; `None` for a boolean and for null.
    pub fn text(self) -> Option<String> {
        match self {
            Scalar::Int(number) => Some(number.to_string()),
            Scalar::Float(number) => Some(number.to_string()),
            Scalar::Str(text) => Some(text.to_owned()),
            Scalar::Null | Scalar::Bool(_) => None,
        }
    }
}

/// A type whose YAML is a scalar (the short form) or a map (the long form).
pub trait ShortForm: Sized {
    /// The map form: a plain struct.
    type Long: DeserializeOwned;

    /// What is valid, for error messages: `a status such as 503, or a map of options`.
    const EXPECTING: &'static str;

    /// Whether a number or a boolean is taken as the text in the file: `1.0`, not `1`.
    const TEXT: bool = false;

    /// Reads the short form. `None` if this kind of scalar is not a short form.
    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>>;

    /// Reads the long form.
    fn from_long(long: Self::Long) -> Result<Self, String>;
}

/// Deserializes `T` from either form.
pub fn deserialize<'de, D: Deserializer<'de>, T: ShortForm>(deserializer: D) -> Result<T, D::Error> {
    if T::TEXT {
        deserializer.deserialize_str(FormVisitor(PhantomData))
    } else {
        deserializer.deserialize_any(FormVisitor(PhantomData))
    }
}

struct FormVisitor<T>(PhantomData<T>);

impl<T: ShortForm> FormVisitor<T> {
    fn scalar<E: Error>(self, scalar: Scalar<'_>) -> Result<T, E> {
        match T::from_scalar(scalar) {
            Some(result) => result.map_err(E::custom),
            None => Err(E::invalid_type(unexpected(scalar), &self)),
        }
    }
}

fn unexpected(scalar: Scalar<'_>) -> Unexpected<'_> {
    match scalar {
        Scalar::Null => Unexpected::Unit,
        Scalar::Bool(b) => Unexpected::Bool(b),
        Scalar::Int(n) => Unexpected::Signed(n),
        Scalar::Float(n) => Unexpected::Float(n),
        Scalar::Str(s) => Unexpected::Str(s),
    }
}

impl<'de, T: ShortForm> Visitor<'de> for FormVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTING)
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        self.scalar(Scalar::Null)
    }

    fn visit_none<E: Error>(self) -> Result<T, E> {
        self.scalar(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<T, E> {
        self.scalar(Scalar::Bool(b))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<T, E> {
        self.scalar(Scalar::Int(n))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<T, E> {
        self.scalar(Scalar::Int(i64::try_from(n).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<T, E> {
        self.scalar(Scalar::Float(n))
    }

    fn visit_str<E: Error>(self, s: &str) -> Result<T, E> {
        self.scalar(Scalar::Str(s))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let long = T::Long::deserialize(MapAccessDeserializer::new(map))?;
        T::from_long(long).map_err(A::Error::custom)
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                if items.is_empty() {
                    return Err(A::Error::custom(
                        "the list is empty: give at least one value, or leave out the key",
                    ));
                }
                Ok(OneOrMany(items))
            }

            fn visit_str<E: Error>(self, s: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![T::deserialize(s.into_deserializer())?]))
            }

            fn visit_i64<E: Error>(self, n: i64) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![T::deserialize(n.into_deserializer())?]))
            }

            fn visit_u64<E: Error>(self, n: u64) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![T::deserialize(n.into_deserializer())?]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(OneOrMany(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
            }
        }

        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        schemars::json_schema!({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})
    }
}

/// The schema of a type with a short form: either of the two.
pub fn either_schema<Long: JsonSchema>(generator: &mut SchemaGenerator, short: Schema) -> Schema {
    let long = generator.subschema_for::<Long>();
    schemars::json_schema!({"anyOf": [short, long]})
}

/// The schema of a string with `${VAR}`, which is valid in place of any scalar.
pub fn variable_schema() -> Schema {
    schemars::json_schema!({"type": "string", "pattern": "\\$\\{"})
}

/// Implements serde and the schema for a type that is written as a string, by its `FromStr` and `Display`.
macro_rules! string_form {
    ($type:ty, $name:literal, $expecting:literal, $pattern:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl serde::de::Visitor<'_> for TextVisitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern, "description": $expecting})
            }
        }
    };
}

/// Implements serde and the schema for a [`ShortForm`] that wraps its long form. It is always serialized in the long form.
macro_rules! short_form {
    ($type:ty, $long:ty, $name:literal, $short:tt) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::yaml::forms::deserialize(deserializer)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::yaml::forms::either_schema::<$long>(generator, schemars::json_schema!($short))
            }
        }
    };
}
pub(crate) use {short_form, string_form};
