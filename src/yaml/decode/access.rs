//! Access to the contents of lists, maps and enums, which adds positions to errors.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::error::{DecodeError, Kind};
use super::{Context, De};
use crate::yaml::report::{Span, did_you_mean};
use crate::yaml::tree::{NOTHING, Node, Value};

type Entry = (Node, Node);

/// The position to report for something missing in a node: its first key, or else its start.
pub(super) fn start_of(node: &Node) -> Span {
    match &node.value {
        Value::Map(entries) => entries.first().map_or(node.span, |(key, _)| key.span),
        _ => node.span,
    }
}

/// The items of a list.
pub(super) struct Items<'a> {
    left: std::slice::Iter<'a, Node>,
    context: &'a Context,
}

impl<'a> Items<'a> {
    pub(super) fn new(nodes: &'a [Node], context: &'a Context) -> Self {
        Self {
            left: nodes.iter(),
            context,
        }
    }

    /// The number of items that the visitor did not read.
    pub(super) fn unread(&self) -> usize {
        self.left
            .as_slice()
            .iter()
            .filter(|node| self.context.admits(node))
            .count()
    }
}

impl<'a> SeqAccess<'a> for &mut Items<'a> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let context = self.context;
        let Some(node) = self.left.find(|node| context.admits(node)) else {
            return Ok(None);
        };
        let item = seed.deserialize(De {
            node,
            context,
            in_list: true,
        });
        item.map(Some).map_err(|error| {
            let place = if error.is_missing() { start_of(node) } else { node.span };
            error.at(place).blame(node)
        })
    }
}

/// The entries of a map.
pub(super) struct Entries<'a> {
    left: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
    context: &'a Context,
    /// The map that they are in.
    map: &'a Node,
    /// How many of its stand-ins were read.
    stand_ins: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn new(nodes: &'a [Entry], context: &'a Context, map: &'a Node) -> Self {
        Self {
            left: nodes.iter(),
            current: None,
            context,
            map,
            stand_ins: 0,
        }
    }

    fn stand_in(&mut self) -> Option<&'a Entry> {
        let next = self.context.stand_ins.of(self.map).nth(self.stand_ins);
        self.stand_ins += 1;
        next
    }

    /// The first key that the visitor did not read.
    pub(super) fn unread(&self) -> Option<&'a Node> {
        self.left
            .as_slice()
            .iter()
            .find(|(_, value)| self.context.admits(value))
            .map(|(key, _)| key)
    }
}

impl<'a> MapAccess<'a> for &mut Entries<'a> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let context = self.context;
        self.current = self
            .left
            .find(|(key, value)| context.admits(value) && context.admits(key))
            .or_else(|| self.stand_in());
        let Some((key, value)) = self.current else {
            return Ok(None);
        };
        let name = seed.deserialize(De {
            node: key,
            context,
            in_list: false,
        });
        name.map(Some).map_err(|error| error.at(key.span).blame(value))
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let Some((key, node)) = self.current else {
            return Err(DecodeError::custom("a value was read before its key"));
        };
        seed.deserialize(De {
            node,
            context: self.context,
            in_list: false,
        })
        .map_err(|error| {
            let place = if error.is_missing() { key.span } else { node.span };
            error.at(place).blame(node)
        })
    }
}

/// The parts of a `Spanned`: source, start, end, value.
pub(super) struct Parts<'a> {
    de: De<'a>,
    next: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(de: De<'a>) -> Self {
        Self { de, next: 0 }
    }
}

impl<'a> SeqAccess<'a> for Parts<'a> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let span = self.de.node.span;
        self.next += 1;
        let number = |number: usize| IntoDeserializer::<DecodeError>::into_deserializer(number);
        match self.next {
            1 => seed.deserialize(IntoDeserializer::<DecodeError>::into_deserializer(span.source.number())),
            2 => seed.deserialize(number(span.start)),
            3 => seed.deserialize(number(span.end)),
            4 => seed.deserialize(self.de),
            _ => return Ok(None),
        }
        .map(Some)
    }
}

/// A variant of an enum: its name and its content.
pub(super) struct Variant<'a> {
    key: &'a Node,
    content: De<'a>,
    enum_name: &'static str,
}

impl<'a> Variant<'a> {
    /// A variant with content: `{name: content}`.
    pub(super) fn new(de: De<'a>, enum_name: &'static str, key: &'a Node, content: &'a Node) -> Self {
        Self {
            key,
            content: De {
                node: content,
                in_list: false,
                ..de
            },
            enum_name,
        }
    }

    /// A variant without content: only the name.
    pub(super) fn bare(de: De<'a>, enum_name: &'static str) -> Self {
        Self::new(de, enum_name, de.node, &NOTHING)
    }

    fn place(&self, error: DecodeError) -> DecodeError {
        let node = self.content.node;
        error.at(if matches!(node.value, Value::Null) {
            self.key.span
        } else {
            node.span
        })
    }
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let name = self.key.text().unwrap_or_default();
        let variant = seed.deserialize(BorrowedStrDeserializer::<DecodeError>::new(name));
        match variant {
            Ok(variant) => Ok((variant, self)),
            Err(error) => Err(error.of_enum(self.enum_name).at(self.key.span)),
        }
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match &self.content.node.value {
            Value::Null => Ok(()),
            Value::Map(entries) if entries.is_empty() => Ok(()),
            _ => {
                let message = format!("`{}` can't have a value", self.key.text().unwrap_or_default());
                Err(self.place(DecodeError::custom(message)))
            }
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(self.content).map_err(|error| {
            if error.is_missing() {
                error.at(self.key.span)
            } else {
                self.place(error)
            }
        })
    }

    fn tuple_variant<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        serde::Deserializer::deserialize_tuple(self.content, length, visitor).map_err(|error| self.place(error))
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        serde::Deserializer::deserialize_struct(self.content, "", fields, visitor).map_err(|error| {
            if error.is_missing() {
                error.at(self.key.span)
            } else {
                self.place(error)
            }
        })
    }
}

/// The error for an enum that is written as a map of several keys.
pub(super) fn two_variants(
    entries: &[Entry],
    enum_name: &'static str,
    variants: &'static [&'static str],
    in_list: bool,
) -> DecodeError {
    let [(first, content), (second, _), ..] = entries else {
        return DecodeError::custom("too many keys");
    };
    let is_known = |key: &Node| key.text().is_some_and(|name| variants.contains(&name));
    let (name, other) = (first.text().unwrap_or_default(), second.text().unwrap_or_default());
    if !is_known(first) {
        return DecodeError::unknown_variant(name, variants)
            .of_enum(enum_name)
            .at(first.span);
    }
    if is_known(second) {
        return one_key_too_many(entries, second, enum_name, in_list);
    }
    let help = match did_you_mean(other, variants.iter().copied()) {
        Some(meant) if in_list => format!("did you mean `{meant}`? It needs its own `- ` item"),
        _ if matches!(content.value, Value::Null) => format!("indent it further if it belongs to `{name}`"),
        _ => format!("move it into `{name}` if it belongs there"),
    };
    let message = format!("unknown key `{other}` beside `{name}`");
    DecodeError::from(Kind::Custom(message)).at(second.span).with_help(help)
}

/// The error for a map that has the key `extra` where only one key is valid.
pub(super) fn one_key_too_many(entries: &[Entry], extra: &Node, what: &str, in_list: bool) -> DecodeError {
    let name = extra.text().unwrap_or_default();
    let what = super::error::spaced(what);
    let (message, help) = if in_list {
        (
            format!("one {what} per list item"),
            format!("start a new `- ` item for `{name}`"),
        )
    } else {
        (
            format!("only one {what} is allowed here"),
            format!("remove `{name}` or the one before it"),
        )
    };
    let error = DecodeError::from(Kind::Custom(message)).at(extra.span).with_help(help);
    match entries.first() {
        Some((first, _)) => error.also(first.span, "the other one is here"),
        None => error,
    }
}
