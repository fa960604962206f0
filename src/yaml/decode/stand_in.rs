//! Stand-ins for required keys that are missing or wrong, so that the rest of their map is decoded and checked too.
//!
//! The type of such a key is unknown here, so one candidate is tried after the other. What is decoded from a stand-in is part of a
//! gap: nothing is reported about it.

use std::collections::HashMap;

use super::access::start_of;
use super::{NodeId, id};
use crate::yaml::report::Span;
use crate::yaml::tree::{Node, Value};

/// The values that are tried: one fits an address and any text, the others a time, a percentage, a size, a number, and what has no
/// required keys of its own.
const CANDIDATES: usize = 7;

fn candidate(number: usize) -> Option<Value> {
    Some(match number {
        0 => Value::String("127.0.0.1:0".into()),
        1 => Value::String("1s".into()),
        2 => Value::String("1%".into()),
        3 => Value::String("1KiB".into()),
        4 => Value::Int(1),
        5 => Value::Map(Vec::new()),
        6 => Value::Seq(Vec::new()),
        CANDIDATES.. => return None,
    })
}

/// The stand-ins of a document, by the map that they are in.
#[derive(Default)]
pub(super) struct StandIns(HashMap<NodeId, Vec<StandIn>>);

struct StandIn {
    field: &'static str,
    number: usize,
    span: Span,
    /// The key and the value. Boxed, since they are known by their address.
    entry: Box<(Node, Node)>,
    /// Whether no candidate fits.
    is_given_up: bool,
}

impl StandIns {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a stand-in for a key that a map lacks. Returns `false` if none can help: the node is not a map, or the key had one already.
    pub(super) fn add(&mut self, map: &Node, field: &'static str) -> bool {
        let all = match map.value {
            Value::Map(_) | Value::Null => self.0.entry(id(map)).or_default(),
            _ => return false,
        };
        let start = start_of(map);
        let span = Span {
            end: start.start,
            ..start
        };
        let (known, first) = (all.iter().any(|one| one.field == field), candidate(0));
        match first.filter(|_| !known) {
            Some(value) => {
                all.push(StandIn {
                    field,
                    number: 0,
                    span,
                    entry: Box::new((Node::implied(field, span), Node::standing(value, span))),
                    is_given_up: false,
                });
                true
            }
            None => false,
        }
    }

    /// Tries the next candidate for the stand-in with this value. Returns `None` if there is no such stand-in. If no candidate is left,
    /// the error is the map that it stands in, which is then the culprit.
    pub(super) fn next(&mut self, value: NodeId) -> Option<Result<(), NodeId>> {
        let is_it = |one: &&mut StandIn| id(&one.entry.1) == value;
        let (map, found) = self
            .0
            .iter_mut()
            .find_map(|(map, all)| Some((*map, all.iter_mut().find(is_it)?)))?;
        found.number += 1;
        match candidate(found.number) {
            Some(next) => {
                found.entry.1 = Node::standing(next, found.span);
                Some(Ok(()))
            }
            None => {
                found.is_given_up = true;
                Some(Err(map))
            }
        }
    }

    /// The entries that stand in a map.
    pub(super) fn of(&self, map: &Node) -> impl Iterator<Item = &(Node, Node)> {
        let all = self.0.get(&id(map)).into_iter().flatten();
        all.filter(|one| !one.is_given_up).map(|one| &*one.entry)
    }

    /// Where they stand in a map, if any do.
    pub(super) fn place(&self, map: &Node) -> Option<Span> {
        self.of(map).next().map(|(key, _)| key.span)
    }
}
