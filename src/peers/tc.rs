//! The command line of `tc … netem`, as it is, or as the value of a key: `delay 100ms 20ms 25% loss 10%`.

use super::block::{Block, Hit};
use super::{connection, delay};
use crate::yaml::tree::Node;

/// The words of netem that begin a setting.
const SETTINGS: &[&str] = &[
    "delay",
    "loss",
    "corrupt",
    "duplicate",
    "reorder",
    "rate",
    "limit",
    "gap",
    "distribution",
    "latency",
    "jitter",
];

/// The faults of a command line.
pub(super) fn of(text: &str, place: &Node) -> Option<Block> {
    let words: Vec<&str> = text
        .split([' ', ':', '='])
        .filter(|word| !word.is_empty() && *word != "--" && *word != "netem")
        .collect();
    let mut block = Block::default();
    let mut rest = words.as_slice();
    while let [name, after @ ..] = rest {
        let end = after
            .iter()
            .position(|word| SETTINGS.contains(word))
            .unwrap_or(after.len());
        let (values, next) = after.split_at_checked(end)?;
        let values: Vec<&str> = values.iter().copied().filter(|word| *word != "random").collect();
        rest = next;
        let value = Node::implied(&values.join(" "), place.span);
        let alone = Node::implied(values.first().copied().unwrap_or_default(), place.span);
        let hit = match *name {
            "delay" | "latency" => delay::of(&value).map(Hit::from),
            "rate" => connection::bandwidth("rate", &alone).map(Hit::from),
            "loss" | "corrupt" | "duplicate" | "reorder" => {
                connection::packets(name, &alone).map(|(fault, share)| Hit {
                    share,
                    ..Hit::from(fault)
                })
            }
            _ => None,
        };
        block.faults.extend(hit);
    }
    (!block.is_empty()).then_some(block)
}
