//! The index over rules: finds those that could match a request without trying each.
//!
//! Each rule is filed under one of its conditions, the one that the fewest rules share. Rules without a usable condition
//! (none at all, or only negative ones) are candidates for every request. The result is a superset: each candidate still
//! has to be matched in full.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use aho_corasick::AhoCorasick;
use http::HeaderName;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::matcher::{Condition, Field};
use super::text::{Text, literals};
use crate::draw::head::Head;

/// Positions of rules, in file order.
pub type Candidates = SmallVec<[u32; 16]>;

/// A map with a fast hash. Its keys come from the configuration alone, so it needs no protection against collisions.
type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// The index over the rules of one listener.
#[derive(Debug, Default)]
pub struct Index {
    always: Vec<u32>,
    path: Texts,
    host: Texts,
    headers: Map<HeaderName, Texts>,
    query: Map<Box<str>, Texts>,
    cookies: Map<Box<str>, Texts>,
    clients: Vec<(u8, Map<IpNet, Vec<u32>>)>,
}

/// A condition that a rule can be filed under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Anchor {
    Text(Subject, Shape),
    Client(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Path,
    Host,
    Header(HeaderName),
    Query(Box<str>),
    Cookie(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Shape {
    Any,
    Exact(Box<str>),
    Prefix(Box<str>),
    /// A literal anywhere in the text.
    Literal(Box<str>),
}

impl Index {
    /// Builds an index over rules, given by their positions and conditions.
    pub fn build<'a>(rules: impl Iterator<Item = (u32, &'a Condition)>) -> Index {
        let options: Vec<(u32, Vec<Vec<Anchor>>)> = rules.map(|(id, condition)| (id, anchors(condition))).collect();
        let mut population: Map<&Anchor, usize> = Map::default();
        for anchor in options.iter().flat_map(|(_, options)| options.iter().flatten()) {
            *population.entry(anchor).or_default() += 1;
        }
        let cost = |option: &Vec<Anchor>| -> usize {
            option
                .iter()
                .map(|anchor| anchor.cost() + population.get(anchor).copied().unwrap_or(1))
                .sum()
        };
        let mut builder = Builder::default();
        for (id, options) in &options {
            match options.iter().min_by_key(|option| cost(option)) {
                None => builder.always.push(*id),
                Some(option) => option.iter().for_each(|anchor| builder.file(*id, anchor)),
            }
        }
        builder.finish()
    }

    /// The positions of the rules that could match, in order and without duplicates.
    pub fn candidates(&self, head: &Head<'_>) -> Candidates {
        let mut found: Candidates = SmallVec::from_slice(&self.always);
        if !self.path.is_empty() {
            self.path.find(head.path(), &mut found);
        }
        if !self.host.is_empty() {
            self.host.find(head.host(), &mut found);
        }
        if !self.headers.is_empty() {
            for (name, value) in head.headers {
                if let Some(texts) = self.headers.get(name) {
                    texts.find(&String::from_utf8_lossy(value.as_bytes()), &mut found);
                }
            }
        }
        if !self.query.is_empty() {
            for (name, value) in head.query() {
                if let Some(texts) = self.query.get(&*name) {
                    texts.find(&value, &mut found);
                }
            }
        }
        if !self.cookies.is_empty() {
            for (name, value) in head.cookies() {
                if let Some(texts) = self.cookies.get(&*name) {
                    texts.find(&value, &mut found);
                }
            }
        }
        if let Some(client) = head.client {
            self.find_client(client, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn find_client(&self, client: IpAddr, found: &mut Candidates) {
        for (length, networks) in &self.clients {
            if let Ok(network) = IpNet::new(client, *length)
                && let Some(ids) = networks.get(&network.trunc())
            {
                found.extend_from_slice(ids);
            }
        }
    }
}

impl Anchor {
    /// The cost of a look-up, in addition to the candidates that it yields.
    fn cost(&self) -> usize {
        match self {
            Anchor::Text(_, Shape::Exact(_)) => 0,
            Anchor::Text(_, Shape::Prefix(prefix)) if prefix.len() > 1 => 1,
            Anchor::Client(network) if network.prefix_len() > 0 => 2,
            Anchor::Text(_, Shape::Literal(_)) => 3,
            _ => 8,
        }
    }
}

/// The ways to file a condition. Whenever the condition holds, so does at least one anchor of each way.
fn anchors(condition: &Condition) -> Vec<Vec<Anchor>> {
    let text = |subject: Subject, text: &Text| {
        let anchor = |shape| vec![Anchor::Text(subject.clone(), shape)];
        shapes(text).into_iter().map(anchor).collect()
    };
    let field = |subject: Subject, field: &Field| match field {
        Field::Present => vec![vec![Anchor::Text(subject, Shape::Any)]],
        Field::Absent => Vec::new(),
        Field::Value(value) => text(subject, &value.value),
    };
    match condition {
        Condition::Path(path) => text(Subject::Path, &path.value),
        Condition::Host(host) => text(Subject::Host, &host.value),
        Condition::Header(name, value) => field(Subject::Header(name.clone()), value),
        Condition::Query(name, value) => field(Subject::Query(name.clone()), value),
        Condition::Cookie(name, value) => field(Subject::Cookie(name.clone()), value),
        Condition::Client(networks) => vec![networks.iter().copied().map(Anchor::Client).collect()],
        Condition::All(all) => all.iter().flat_map(anchors).collect(),
        Condition::Any(any) => any_anchors(any).into_iter().collect(),
        Condition::Method(_)
        | Condition::Port(_)
        | Condition::Alpn(_)
        | Condition::Grpc
        | Condition::Body(_)
        | Condition::Upstream(_)
        | Condition::Not(_) => Vec::new(),
    }
}

/// The anchors for an `any`: every branch must be filed, each in its cheapest way. `None` if a branch can't be filed.
fn any_anchors(any: &[Condition]) -> Option<Vec<Anchor>> {
    let mut together = Vec::new();
    for branch in any {
        let cheapest = anchors(branch)
            .into_iter()
            .min_by_key(|option| option.iter().map(Anchor::cost).sum::<usize>())?;
        together.extend(cheapest);
    }
    Some(together)
}

/// The shapes that every matching text has; each alone suffices to file the pattern.
fn shapes(text: &Text) -> Vec<Shape> {
    match text {
        Text::Exact(text) => vec![Shape::Exact(text.clone())],
        Text::Prefix(text) => vec![Shape::Prefix(text.clone())],
        Text::Suffix(text) | Text::Contains(text) if !text.is_empty() => vec![Shape::Literal(text.clone())],
        Text::Suffix(_) | Text::Contains(_) => vec![Shape::Any],
        Text::Glob(glob) => shapes_of(glob.literals()),
        Text::Regex(pattern) => shapes_of(literals(pattern.as_str())),
    }
}

fn shapes_of((prefix, literals): (Option<String>, Vec<String>)) -> Vec<Shape> {
    let prefix = prefix.map(|prefix| Shape::Prefix(prefix.into()));
    let literals = literals.into_iter().map(|literal| Shape::Literal(literal.into()));
    prefix.into_iter().chain(literals).chain([Shape::Any]).collect()
}

#[derive(Default)]
struct Builder {
    always: Vec<u32>,
    texts: Map<Subject, TextsBuilder>,
    clients: Map<u8, Map<IpNet, Vec<u32>>>,
}

#[derive(Default)]
struct TextsBuilder {
    any: Vec<u32>,
    exact: Map<Box<str>, Vec<u32>>,
    prefixes: Map<Box<str>, Vec<u32>>,
    literals: Map<Box<str>, Vec<u32>>,
}

impl Builder {
    fn file(&mut self, id: u32, anchor: &Anchor) {
        match anchor {
            Anchor::Client(network) => {
                self.clients
                    .entry(network.prefix_len())
                    .or_default()
                    .entry(*network)
                    .or_default()
                    .push(id);
            }
            Anchor::Text(subject, shape) => {
                let texts = self.texts.entry(subject.clone()).or_default();
                match shape.clone() {
                    Shape::Any => texts.any.push(id),
                    Shape::Exact(text) => texts.exact.entry(text).or_default().push(id),
                    Shape::Prefix(text) => texts.prefixes.entry(text).or_default().push(id),
                    Shape::Literal(text) => texts.literals.entry(text).or_default().push(id),
                }
            }
        }
    }

    fn finish(self) -> Index {
        let mut index = Index {
            always: self.always,
            ..Index::default()
        };
        for (subject, texts) in self.texts {
            let texts = texts.finish();
            match subject {
                Subject::Path => index.path = texts,
                Subject::Host => index.host = texts,
                Subject::Header(name) => drop(index.headers.insert(name, texts)),
                Subject::Query(name) => drop(index.query.insert(name, texts)),
                Subject::Cookie(name) => drop(index.cookies.insert(name, texts)),
            }
        }
        index.clients = self.clients.into_iter().collect();
        index
    }
}

/// The rules filed under one text of a request, such as its path.
#[derive(Debug, Default)]
struct Texts {
    any: Vec<u32>,
    exact: Map<Box<str>, Vec<u32>>,
    /// Prefixes that end in a slash, as most prefixes of paths do. Looked up once per slash of the text.
    folders: Map<Box<str>, Vec<u32>>,
    /// All other prefixes, sorted by text.
    prefixes: Vec<Prefix>,
    literals: Option<Literals>,
}

#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    /// The index of the longest other entry that is a prefix of this one.
    parent: Option<usize>,
    ids: Vec<u32>,
}

/// Literals, all searched for in one pass.
#[derive(Debug)]
struct Literals {
    automaton: AhoCorasick,
    ids: Vec<Vec<u32>>,
}

impl TextsBuilder {
    fn finish(self) -> Texts {
        let (literals, unfiled) = Literals::build(self.literals);
        let any = self.any.into_iter().chain(unfiled).collect();
        let (folders, prefixes) = self.prefixes.into_iter().partition(|(text, _)| text.ends_with('/'));
        Texts {
            any,
            exact: self.exact,
            folders,
            prefixes: sorted(prefixes),
            literals,
        }
    }
}

fn sorted(prefixes: Map<Box<str>, Vec<u32>>) -> Vec<Prefix> {
    let mut entries: Vec<(Box<str>, Vec<u32>)> = prefixes.into_iter().collect();
    entries.sort();
    let mut sorted: Vec<Prefix> = Vec::with_capacity(entries.len());
    for (text, ids) in entries {
        // In sorted order, every prefix of this text is the entry before it or an ancestor of that.
        let mut parent = sorted.len().checked_sub(1);
        while let Some(entry) = parent.and_then(|at| sorted.get(at)) {
            if text.starts_with(&*entry.text) {
                break;
            }
            parent = entry.parent;
        }
        sorted.push(Prefix { text, parent, ids });
    }
    sorted
}

impl Literals {
    /// Builds the automaton. If it would be too large, returns the rules instead, to be candidates for every request.
    fn build(literals: Map<Box<str>, Vec<u32>>) -> (Option<Literals>, Vec<u32>) {
        if literals.is_empty() {
            return (None, Vec::new());
        }
        let (texts, ids): (Vec<Box<str>>, Vec<Vec<u32>>) = literals.into_iter().unzip();
        match AhoCorasick::new(texts.iter().map(|text| text.as_bytes())) {
            Ok(automaton) => (Some(Literals { automaton, ids }), Vec::new()),
            Err(_) => (None, ids.into_iter().flatten().collect()),
        }
    }
}

impl Texts {
    fn is_empty(&self) -> bool {
        self.any.is_empty()
            && self.exact.is_empty()
            && self.folders.is_empty()
            && self.prefixes.is_empty()
            && self.literals.is_none()
    }

    fn find(&self, text: &str, found: &mut Candidates) {
        found.extend_from_slice(&self.any);
        if let Some(ids) = self.exact.get(text) {
            found.extend_from_slice(ids);
        }
        if !self.folders.is_empty() {
            for (slash, _) in text.match_indices('/') {
                if let Some(ids) = text.get(..=slash).and_then(|folder| self.folders.get(folder)) {
                    found.extend_from_slice(ids);
                }
            }
        }
        // Only the entry before `text` in order and that entry's ancestors can be prefixes of `text`.
        let mut at = self
            .prefixes
            .partition_point(|prefix| *prefix.text <= *text)
            .checked_sub(1);
        while let Some(prefix) = at.and_then(|at| self.prefixes.get(at)) {
            if text.starts_with(&*prefix.text) {
                found.extend_from_slice(&prefix.ids);
            }
            at = prefix.parent;
        }
        if let Some(literals) = &self.literals {
            for place in literals.automaton.find_overlapping_iter(text) {
                found.extend(
                    literals
                        .ids
                        .get(place.pattern().as_usize())
                        .into_iter()
                        .flatten()
                        .copied(),
                );
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
