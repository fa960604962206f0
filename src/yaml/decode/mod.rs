//! Decodes [`Node`]s to types by serde, and reports all errors at once, each with its position.
//!
//! Serde's derived implementations stop at the first error. [`decode`] notes it, leaves out the value that caused it and
//! tries again, until the rest succeeds. Where a required key is then missing, something stands in for it, so that its map need not be
//! left out. Errors that only follow from a left-out value are not reported.
//!
//! Enums are written as a one-key map (`{delay: 200ms}`), or as the bare name if they have no content. An absent value
//! stands for `None`, for an empty list and for an empty map. Where a text is expected, an unquoted number or boolean is
//! taken as written. Serde buffers types behind `#[serde(flatten)]` or `#[serde(untagged)]` without positions: their errors
//! point at the enclosing value, and their [`Spanned`]s are nowhere.

mod access;
mod error;
mod gaps;
mod spanned;
mod stand_in;
pub mod word;

use std::cell::Cell;
use std::collections::HashMap;

use serde::de::{DeserializeOwned, Deserializer, Error as _, Expected, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use self::access::{Entries, Items, Parts, Variant};
use self::error::{DecodeError, Kind};
pub use self::gaps::Gaps;
pub use self::spanned::{Named, Spanned};
use self::stand_in::StandIns;
use self::word::Hints;
use super::report::Diagnostic;
use super::tree::{Node, Value};

/// The most errors of one document; the rest of it is not checked.
pub const MAX_ERRORS: usize = 100;

/// Decodes a document. `None` if it does not fit the type; the errors are added to `diagnostics`. Earlier errors of the
/// document (such as a duplicate key) are ignored here, so check `diagnostics` before you use the value.
pub fn decode<T: DeserializeOwned>(node: &Node, diagnostics: &mut Vec<Diagnostic>) -> Option<T> {
    decode_hinted(node, &|_| None, diagnostics)
}

/// Decodes a document as [`decode`] does. `hints` know what is meant by a word that is unknown at its place.
pub fn decode_hinted<T: DeserializeOwned>(
    node: &Node,
    hints: &Hints<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<T> {
    let (value, gaps) = decode_parts(node, hints, diagnostics);
    value.filter(|_| gaps.is_empty())
}

/// Decodes as much of a document as fits the type, so that the rest of it can be checked, too. What does not fit is an error in
/// `diagnostics` and a gap in the value.
pub fn decode_parts<T: DeserializeOwned>(
    node: &Node,
    hints: &Hints<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<T>, Gaps) {
    let mut context = Context::default();
    let mut found = 0;
    let mut lines: HashMap<(NodeId, String), usize> = HashMap::new();
    // Each attempt leaves out one more value, or changes what stands in for one. The bound is for attempts that report no error.
    for _ in 0..20 * MAX_ERRORS {
        if matches!(node.value, Value::Unusable) {
            break;
        }
        let error = match T::deserialize(De {
            node,
            context: &context,
            in_list: false,
        }) {
            Ok(value) => return (Some(value), context.gaps(node)),
            Err(error) => error.at(access::start_of(node)),
        };
        let culprit = error.culprit();
        if let Some(next) = culprit.and_then(|culprit| context.stand_ins.next(culprit)) {
            let Err(map) = next else { continue };
            // Reported when it was found to be missing.
            let known = context.left_out.insert(map, LeftOut::silently(diagnostics.len()));
            if known.is_some() {
                break;
            }
            continue;
        }
        let suspect = culprit
            .map_or(Some(node), |culprit| find(node, culprit))
            .unwrap_or(node);
        let mut left_out = LeftOut {
            meant: error.suggestion(),
            whole: false,
            unknown: matches!(error.kind(), Kind::UnknownField { .. }),
            diagnostic: diagnostics.len(),
        };
        let missing = match error.kind() {
            Kind::MissingField(field) => Some(*field),
            _ => None,
        };
        if context.explains(&error, suspect) {
            // A consequence of another error.
        } else if let Some((field, unknown)) = context.replaces(&error, suspect) {
            if let Some(diagnostic) = diagnostics.get_mut(unknown) {
                diagnostic.help.push(format!("`{field}` is missing beside it"));
            }
        } else {
            let word = error.span().and_then(|span| word::at(node, span));
            let hint = word.as_ref().and_then(hints);
            if let Some(hint) = &hint {
                (left_out.meant, left_out.whole) = (hint.meant, hint.whole);
            }
            // Several words of one map may stand for one line.
            let line = word
                .zip(hint.as_ref())
                .map(|(word, hint)| (id(word.map), hint.help.clone()));
            if let Some(line) = line
                && let Some(first) = lines.insert(line.clone(), left_out.diagnostic)
            {
                lines.insert(line, first);
                left_out.diagnostic = first;
                if let Some(diagnostic) = diagnostics.get_mut(first) {
                    join(diagnostic, &error);
                }
                match culprit {
                    Some(culprit) if context.left_out.insert(culprit, left_out).is_none() => continue,
                    _ => break,
                }
            }
            found += 1;
            if found > MAX_ERRORS {
                diagnostics.push(Diagnostic::error(
                    None,
                    format!("and more; these are the first {MAX_ERRORS} errors"),
                ));
                break;
            }
            diagnostics.push(error.into_diagnostic(hint));
        }
        if let Some(field) = missing
            && context.stand_ins.add(suspect, field)
        {
            continue;
        }
        match culprit {
            Some(culprit) if context.left_out.insert(culprit, left_out).is_none() => {}
            _ => break,
        }
    }
    (None, Gaps::default())
}

/// Adds an unknown key to the diagnostic of another one of its map, whose help is for both.
fn join(diagnostic: &mut Diagnostic, error: &DecodeError) {
    let Kind::UnknownField { field, .. } = error.kind() else {
        return;
    };
    let others = ["unknown keys ", "unknown key "]
        .iter()
        .find_map(|begin| diagnostic.message.strip_prefix(begin));
    if let Some(others) = others {
        let others = others.replace("` and `", "`, `");
        diagnostic.message = format!("unknown keys {others} and `{}`", error::shortened(field));
    }
}

/// The address of a node, which identifies it as long as the tree lives.
type NodeId = usize;

fn id(node: &Node) -> NodeId {
    std::ptr::from_ref(node).addr()
}

fn find(node: &Node, wanted: NodeId) -> Option<&Node> {
    if id(node) == wanted {
        return Some(node);
    }
    match &node.value {
        Value::Seq(items) => items.iter().find_map(|item| find(item, wanted)),
        Value::Map(entries) => entries.iter().find_map(|(_, value)| find(value, wanted)),
        _ => None,
    }
}

/// The state shared by all attempts.
#[derive(Default)]
struct Context {
    /// The values that are treated as absent.
    left_out: HashMap<NodeId, LeftOut>,
    stand_ins: StandIns,
    met_unusable: Cell<bool>,
}

/// Why a value is treated as absent.
struct LeftOut {
    /// What an unknown key was probably meant to be.
    meant: Option<&'static str>,
    /// Whether the line for it takes the place of the map that it is in.
    whole: bool,
    /// Whether its key is unknown.
    unknown: bool,
    /// The index of its diagnostic, if it has one.
    diagnostic: usize,
}

impl LeftOut {
    /// A value with an error that was reported already.
    fn silently(diagnostic: usize) -> LeftOut {
        LeftOut {
            meant: None,
            whole: false,
            unknown: false,
            diagnostic,
        }
    }
}

impl Context {
    /// Whether a value is not left out.
    fn admits(&self, node: &Node) -> bool {
        if matches!(node.value, Value::Unusable) {
            self.met_unusable.set(true);
            return false;
        }
        !self.left_out.contains_key(&id(node))
    }

    /// The gaps in the value of a document that could be decoded without them.
    fn gaps(&self, node: &Node) -> Gaps {
        if self.left_out.is_empty() && self.stand_ins.is_empty() && !self.met_unusable.get() {
            return Gaps::default();
        }
        let is_gap = |node: &Node| matches!(node.value, Value::Unusable) || self.left_out.contains_key(&id(node));
        Gaps::of(node, &is_gap, &|node| self.stand_ins.place(node))
    }

    /// For a missing key: its name, and the index of the diagnostic about an unknown key in the same map that probably stands in
    /// its place. One mistake is then one diagnostic.
    fn replaces(&self, error: &DecodeError, suspect: &Node) -> Option<(&'static str, usize)> {
        let (Kind::MissingField(field), Value::Map(entries)) = (error.kind(), &suspect.value) else {
            return None;
        };
        let mut left_out = entries.iter().filter_map(|(_, value)| self.left_out.get(&id(value)));
        let unknown = left_out.rfind(|one| one.unknown && one.meant.is_none())?;
        Some((*field, unknown.diagnostic))
    }

    /// Whether an error in `suspect` only follows from what was left out of it.
    fn explains(&self, error: &DecodeError, suspect: &Node) -> bool {
        match error.kind() {
            Kind::UnknownField { .. } => false,
            Kind::MissingField(field) => {
                self.is_replaced(suspect)
                    || self.any_left_out(suspect, &|key, meant| {
                        key.is_some_and(|key| key.text().is_none_or(|text| text == *field)) || meant == Some(field)
                    })
            }
            _ => self.any_left_out(suspect, &|_, _| true),
        }
    }

    /// Whether a line was told that takes the place of a whole map: this one, or that of its only key.
    fn is_replaced(&self, map: &Node) -> bool {
        let Value::Map(entries) = &map.value else { return false };
        let is_whole = |(_, value): &(Node, Node)| self.left_out.get(&id(value)).is_some_and(|one| one.whole);
        let only = match entries.as_slice() {
            [(_, only)] => self.is_replaced(only),
            _ => false,
        };
        only || entries.iter().any(is_whole)
    }

    /// Whether anything that `accept` is true for was left out below `node`. `accept` gets the key and what it was meant
    /// to be.
    fn any_left_out(&self, node: &Node, accept: &dyn Fn(Option<&Node>, Option<&str>) -> bool) -> bool {
        let check = |key: Option<&Node>, value: &Node| {
            let left_out = match self.left_out.get(&id(value)) {
                Some(left_out) => accept(key, left_out.meant),
                None => {
                    [Some(value), key]
                        .into_iter()
                        .flatten()
                        .any(|one| matches!(one.value, Value::Unusable))
                        && accept(key, None)
                }
            };
            left_out || self.any_left_out(value, accept)
        };
        if self.stand_ins.of(node).any(|(key, _)| accept(Some(key), None)) {
            return true;
        }
        match &node.value {
            Value::Seq(items) => items.iter().any(|item| check(None, item)),
            Value::Map(entries) => entries.iter().any(|(key, value)| check(Some(key), value)),
            _ => false,
        }
    }
}

/// A deserializer of one node.
#[derive(Clone, Copy)]
struct De<'a> {
    node: &'a Node,
    context: &'a Context,
    /// Whether the node is an item of a list.
    in_list: bool,
}

impl<'a> De<'a> {
    fn invalid_type(&self, expected: &dyn Expected) -> DecodeError {
        let unexpected = match &self.node.value {
            Value::Null | Value::Unusable => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Int(value) => match u64::try_from(*value) {
                Ok(value) => Unexpected::Unsigned(value),
                Err(_) => Unexpected::Signed(i64::try_from(*value).unwrap_or(i64::MIN)),
            },
            Value::Float(value) => Unexpected::Float(*value),
            Value::String(text) => Unexpected::Str(text),
            Value::Seq(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        };
        DecodeError::invalid_type(unexpected, expected)
    }

    /// The error for a mismatch that says what is valid, where serde would only name the Rust type.
    fn mismatch(&self, expected: &dyn Expected, what: &str, names: &[&str]) -> DecodeError {
        match expected.to_string() {
            words if words.starts_with("struct ") || words.starts_with("enum ") => {
                let listed: Vec<_> = names.iter().take(6).map(|name| format!("`{name}`")).collect();
                let more = if names.len() > listed.len() { "…" } else { "" };
                self.invalid_type(&format!("{what} {}{more}", listed.join(", ")).as_str())
            }
            _ => self.invalid_type(expected),
        }
    }

    fn visit_items<V: Visitor<'a>>(self, nodes: &'a [Node], visitor: V) -> Result<V::Value, DecodeError> {
        let mut items = Items::new(nodes, self.context);
        let value = visitor.visit_seq(&mut items)?;
        match items.unread() {
            0 => Ok(value),
            unread => Err(wrong_length(nodes.len(), nodes.len() - unread)),
        }
    }

    fn visit_entries<V: Visitor<'a>>(self, nodes: &'a [(Node, Node)], visitor: V) -> Result<V::Value, DecodeError> {
        let mut entries = Entries::new(nodes, self.context, self.node);
        let value = visitor.visit_map(&mut entries)?;
        match entries.unread() {
            None => Ok(value),
            Some(key) => Err(access::one_key_too_many(nodes, key, "entry", self.in_list)),
        }
    }
}

fn wrong_length(found: usize, expected: usize) -> DecodeError {
    DecodeError::invalid_length(found, &format!("a list of {expected}").as_str())
}

impl<'de> Deserializer<'de> for De<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null | Value::Unusable => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(i64::try_from(*value).map_err(DecodeError::custom)?),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Seq(items) => self.visit_items(items, visitor),
            Value::Map(entries) => self.visit_entries(entries, visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match (&self.node.value, self.node.text()) {
            (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_), Some(text)) => {
                visitor.visit_borrowed_str(text)
            }
            // For types that accept a text or a map, or a list of texts; other types refuse both.
            (Value::Map(_), _) => self.deserialize_map(visitor),
            (Value::Seq(_), _) => self.deserialize_seq(visitor),
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.text() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(self.invalid_type(&"a name")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Map(entries) if entries.is_empty() => visitor.visit_unit(),
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == spanned::NAME {
            visitor.visit_seq(Parts::new(self))
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Seq(items) => self.visit_items(items, visitor),
            Value::Null => self.visit_items(&[], visitor),
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Seq(items) if items.len() == length => self.visit_items(items, visitor),
            Value::Seq(items) => Err(wrong_length(items.len(), length)),
            _ => Err(self.invalid_type(&format!("a list of {length}").as_str())),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(entries) => self.visit_entries(entries, visitor),
            Value::Null => self.visit_entries(&[], visitor),
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(_) | Value::Null => self.deserialize_map(visitor),
            _ => Err(self.mismatch(&visitor, "a map with keys such as", fields)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                visitor.visit_enum(Variant::bare(self, name))
            }
            Value::Map(entries) => match entries.as_slice() {
                [(key, value)] if self.context.admits(value) => {
                    visitor.visit_enum(Variant::new(self, name, key, value))
                }
                [_, _, ..] => Err(access::two_variants(entries, name, variants, self.in_list)),
                _ => Err(self.mismatch(&visitor, "one of", variants)),
            },
            _ => Err(self.mismatch(&visitor, "one of", variants)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf
    }
}

#[cfg(test)]
mod tests;
