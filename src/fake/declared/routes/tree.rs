//! Any YAML, with the place of every value: texts in it may be templates.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use super::template::{Compiler, Failure, Scope, Template};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::report::Span;

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// Nothing, a truth value or a number.
    Plain(Value),
    /// A text, which may be a template.
    Text(String),
    /// A list.
    List(Vec<Spanned<Tree>>),
    /// A map.
    Map(Named<Spanned<Tree>>),
}

impl Tree {
    /// The value as it stands, with its templates as text.
    pub(super) fn as_written(&self) -> Value {
        match self {
            Tree::Plain(value) => value.clone(),
            Tree::Text(text) => Value::from(text.as_str()),
            Tree::List(items) => items.iter().map(|item| item.as_written()).collect(),
            Tree::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(name, value)| (name.value.clone(), value.as_written()))
                    .collect(),
            ),
        }
    }
}

/// A value with its templates compiled.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// No template is in it.
    Fixed(Value),
    /// A text in which templates stand.
    Text(Template),
    /// A single expression, which keeps its type.
    Expression(Template),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Compiles the templates in a value.
    pub(super) fn compile(tree: &Tree, span: Span, compiler: &mut Compiler<'_>) -> Node {
        match tree {
            Tree::Plain(value) => Node::Fixed(value.clone()),
            Tree::Text(text) => compiler.value(text, span),
            Tree::List(items) => {
                let nodes = items.iter().map(|item| Node::compile(&item.value, item.span, compiler));
                Node::List(nodes.collect()).settled()
            }
            Tree::Map(entries) => {
                let nodes = entries.iter().map(|(name, value)| {
                    compiler.check_key(&name.value, name.span);
                    (name.value.clone(), Node::compile(&value.value, value.span, compiler))
                });
                Node::Map(nodes.collect()).settled()
            }
        }
    }

    /// Compiles the templates in a JSON value.
    pub(super) fn of_json(value: &Value, span: Span, compiler: &mut Compiler<'_>) -> Node {
        match value {
            Value::String(text) => compiler.value(text, span),
            Value::Array(items) => {
                let nodes = items.iter().map(|item| Node::of_json(item, span, compiler));
                Node::List(nodes.collect()).settled()
            }
            Value::Object(members) => {
                let nodes = members
                    .iter()
                    .map(|(name, value)| (name.clone(), Node::of_json(value, span, compiler)));
                Node::Map(nodes.collect()).settled()
            }
            plain => Node::Fixed(plain.clone()),
        }
    }

    /// The value for a request.
    pub(super) fn value(&self, scope: &Scope<'_>) -> Result<Value, Failure> {
        match self {
            Node::Fixed(value) => Ok(value.clone()),
            Node::Text(template) => scope.text(template).map(Value::from),
            Node::Expression(template) => scope.value(template),
            Node::List(nodes) => nodes.iter().map(|node| node.value(scope)).collect(),
            Node::Map(nodes) => {
                let entries = nodes.iter().map(|(name, node)| Ok((name.clone(), node.value(scope)?)));
                entries.collect::<Result<_, _>>().map(Value::Object)
            }
        }
    }

    /// Makes one value of a node that has no template in it.
    fn settled(self) -> Node {
        fn fixed(node: &Node) -> Option<Value> {
            match node {
                Node::Fixed(value) => Some(value.clone()),
                _ => None,
            }
        }
        let settled = match &self {
            Node::List(nodes) => nodes.iter().map(fixed).collect::<Option<Vec<_>>>().map(Value::Array),
            Node::Map(nodes) => nodes
                .iter()
                .map(|(name, node)| Some((name.clone(), fixed(node)?)))
                .collect::<Option<serde_json::Map<_, _>>>()
                .map(Value::Object),
            _ => None,
        };
        settled.map_or(self, Node::Fixed)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E: Error>(self) -> Result<Tree, E> {
                Ok(Tree::Plain(Value::Null))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Plain(value.into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Tree, E> {
                Ok(Tree::Plain(number.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Tree, E> {
                Ok(Tree::Plain(number.into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
                match serde_json::Number::from_f64(number) {
                    Some(number) => Ok(Tree::Plain(number.into())),
                    None => Err(E::custom("JSON can't represent this number")),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Tree, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(Tree::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Tree, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(entries)).map(Tree::Map)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Plain(value) => value.serialize(serializer),
            Tree::Text(text) => serializer.serialize_str(text),
            Tree::List(items) => items.serialize(serializer),
            Tree::Map(entries) => entries.serialize(serializer),
        }
    }
}

impl JsonSchema for Tree {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}
