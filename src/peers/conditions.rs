//! Conditions on requests in squall's words: what `match` says.

use super::value::{flow, list, map, quoted};
use crate::yaml::tree::Node;

/// Conditions that all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    parts: Vec<(&'static str, Part)>,
    not: Vec<Conditions>,
    any: Vec<Conditions>,
    all: Vec<Conditions>,
    /// What has no condition of squall.
    lost: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Fields(Vec<(String, String)>),
}

/// The key and the value of a part of a body in the route of a fake.
fn in_route(body: &str) -> (&'static str, String) {
    let inner = |key: &str| {
        let rest = body.strip_prefix('{')?.strip_prefix(key)?.strip_prefix(": ")?;
        Some(rest.strip_suffix('}')?.to_owned())
    };
    for key in ["json", "json_path", "form"] {
        if let Some(text) = inner(key) {
            return (key, text);
        }
    }
    if let Some(name) = inner("graphql").or_else(|| inner("graphql: {operation")?.strip_suffix('}').map(str::to_owned))
    {
        return ("json", map([("operationName", name)]));
    }
    if let Some(name) = inner("model") {
        return ("json", map([("model", name)]));
    }
    ("body", inner("text").unwrap_or_else(|| body.to_owned()))
}

impl Conditions {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.not.is_empty() && self.any.is_empty() && self.all.is_empty()
    }

    pub(super) fn of(key: &'static str, text: String) -> Self {
        Self {
            parts: vec![(key, Part::Text(text))],
            ..Self::default()
        }
    }

    /// squall's own conditions, as they are.
    pub(super) fn verbatim(map: &Node) -> Self {
        let mut conditions = Self::default();
        for key in [
            "method", "host", "path", "headers", "query", "cookies", "client", "grpc", "body",
        ] {
            if let Some(value) = map.get(key) {
                conditions.add(key, flow(value));
            }
        }
        conditions
    }

    /// A path as a glob.
    pub(super) fn path(glob: &str) -> Self {
        Self::of("path", quoted(glob))
    }

    /// Either of these.
    pub(super) fn either(mut alternatives: Vec<Self>) -> Self {
        match alternatives.len() {
            0 | 1 => alternatives.pop().unwrap_or_default(),
            _ => {
                let mut all = Self::default();
                for one in &mut alternatives {
                    all.lose_all(std::mem::take(&mut one.lost));
                }
                Self {
                    any: alternatives,
                    ..all
                }
            }
        }
    }

    /// Notes a word that has no condition of squall.
    pub(super) fn lose(&mut self, word: &str) {
        self.lose_all(vec![word.to_owned()]);
    }

    fn lose_all(&mut self, words: Vec<String>) {
        for word in words {
            if !self.lost.contains(&word) {
                self.lost.push(word);
            }
        }
    }

    /// What is to be said of words that are left out.
    pub(super) fn note(&self) -> Option<String> {
        let words: Vec<String> = self.lost.iter().map(|word| format!("`{word}`")).collect();
        (!words.is_empty()).then(|| format!("left out, since squall has no such condition: {}", words.join(", ")))
    }

    pub(super) fn add(&mut self, key: &'static str, text: String) {
        if self.parts.iter().any(|(own, _)| *own == key) {
            self.all.push(Self::of(key, text));
        } else {
            self.parts.push((key, Part::Text(text)));
        }
    }

    /// Adds a condition that stands before the others.
    pub(super) fn add_first(&mut self, key: &'static str, text: String) {
        self.parts.insert(0, (key, Part::Text(text)));
    }

    /// The same conditions for a fake's route, whose `match` has the parts of the body among its own keys.
    pub(super) fn of_route(mut self) -> Self {
        let all = std::mem::take(&mut self.all);
        for one in all {
            for (key, part) in one.parts {
                match part {
                    Part::Text(text) => self.parts.push((key, Part::Text(text))),
                    Part::Fields(fields) => fields
                        .into_iter()
                        .for_each(|(name, text)| self.add_field(key, name, text)),
                }
            }
        }
        let mut route = Self {
            not: self.not,
            any: self.any.into_iter().map(Self::of_route).collect(),
            lost: self.lost,
            ..Self::default()
        };
        for (key, part) in self.parts {
            let (key, part) = match (key, part) {
                ("body", Part::Text(text)) => {
                    let (key, text) = in_route(&text);
                    (key, Part::Text(text))
                }
                other => other,
            };
            if route.parts.iter().any(|(own, _)| *own == key) {
                route.lose(&format!("a second `{key}`").replace('`', ""));
            } else {
                route.parts.push((key, part));
            }
        }
        route
    }

    pub(super) fn add_field(&mut self, key: &'static str, name: String, text: String) {
        for (own, part) in &mut self.parts {
            if let (true, Part::Fields(fields)) = (*own == key, part) {
                fields.push((name, text));
                return;
            }
        }
        self.parts.push((key, Part::Fields(vec![(name, text)])));
    }

    /// Adds the conditions of another one, which must hold too.
    pub(super) fn extend(&mut self, other: Self) {
        for (key, part) in other.parts {
            match part {
                Part::Text(text) => self.add(key, text),
                Part::Fields(fields) => fields
                    .into_iter()
                    .for_each(|(name, text)| self.add_field(key, name, text)),
            }
        }
        if self.any.is_empty() {
            self.any = other.any;
        } else if !other.any.is_empty() {
            self.all.push(Self {
                any: other.any,
                ..Self::default()
            });
        }
        self.not.extend(other.not);
        self.all.extend(other.all);
        self.lose_all(other.lost);
    }

    /// The entries of `match`.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries: Vec<(&'static str, String)> = Vec::new();
        for (key, part) in &self.parts {
            let text = match part {
                Part::Text(text) => text.clone(),
                Part::Fields(fields) => map(fields.iter().cloned()),
            };
            entries.push((key, text));
        }
        match self.not.as_slice() {
            [] => {}
            [one] => entries.push(("not", one.map())),
            several => entries.push(("not", format!("{{any: {}}}", list(several.iter().map(Self::map))))),
        }
        for (key, several) in [("any", &self.any), ("all", &self.all)] {
            if !several.is_empty() {
                entries.push((key, list(several.iter().map(Self::map))));
            }
        }
        entries
    }

    /// The map that `match` is.
    pub(super) fn map(&self) -> String {
        map(self.entries())
    }

    /// The line.
    pub(super) fn line(&self) -> String {
        format!("match: {}", self.map())
    }

    /// The conditions, or that they don't hold.
    pub(super) fn unless(self, inverted: bool) -> Self {
        if !inverted {
            return self;
        }
        let mut inner = self;
        Self {
            lost: std::mem::take(&mut inner.lost),
            not: vec![inner],
            ..Self::default()
        }
    }

    /// Adds that others don't all hold.
    pub(super) fn add_unless(&mut self, mut others: Self) {
        others.lost.clear();
        if !self.not.contains(&others) {
            self.not.push(others);
        }
    }

    /// Adds what must not hold. Of several fields none may, while `not` of a map means that not all of them do.
    pub(super) fn add_not(&mut self, mut other: Self) {
        self.lose_all(std::mem::take(&mut other.lost));
        match other.parts.as_slice() {
            [(key, Part::Fields(fields))] if other.not.is_empty() => {
                self.not.extend(fields.iter().map(|field| Self {
                    parts: vec![(key, Part::Fields(vec![field.clone()]))],
                    ..Self::default()
                }));
            }
            _ => self.not.push(other),
        }
    }
}
