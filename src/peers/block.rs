//! What a pasted block says as a whole, in squall's words: which requests, which of those, and what happens to them.

use super::conditions::Conditions;
use super::fault::Fault;
use super::value::{list, quoted};
use super::when::When;
use super::{Hint, said};

/// Conditions, shares and faults, wherever they stood.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// Which requests.
    pub(super) conditions: Conditions,
    /// Which of those.
    pub(super) when: When,
    /// What happens to them.
    pub(super) faults: Vec<Hit>,
    /// One of several outcomes, in the place of faults: their weights and their faults.
    pub(super) choose: Vec<(String, Vec<String>)>,
    /// Words that are understood and that squall needs not.
    pub(super) notes: Vec<String>,
}

/// A fault with the share of requests that it alone is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// What happens.
    pub(super) fault: Fault,
    /// To how many requests; to all that the rule hits if absent.
    pub(super) share: Option<String>,
}

impl From<Fault> for Hit {
    fn from(fault: Fault) -> Self {
        Self { fault, share: None }
    }
}

impl Block {
    /// Whether it says what happens.
    pub(super) fn has_effect(&self) -> bool {
        !self.faults.is_empty() || !self.choose.is_empty()
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_effect() && self.conditions.is_empty() && self.when.is_empty() && self.notes.is_empty()
    }

    /// Adds what another block says.
    pub(super) fn extend(&mut self, other: Self) {
        self.conditions.extend(other.conditions);
        self.when.extend(other.when);
        for hit in other.faults {
            if !self.faults.contains(&hit) {
                self.faults.push(hit);
            }
        }
        self.choose.extend(other.choose);
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// The shares of the faults, in order, each once. A fault without one has that of the block.
    fn shares(&self) -> Vec<Option<&str>> {
        let mut shares = Vec::new();
        for hit in &self.faults {
            let share = hit.share.as_deref().filter(|share| *share != "100%");
            if !shares.contains(&share) {
                shares.push(share);
            }
        }
        shares
    }

    /// The faults of one share, in their list.
    fn faults_of(&self, share: Option<&str>) -> String {
        let hits = self
            .faults
            .iter()
            .filter(|hit| hit.share.as_deref().filter(|share| *share != "100%") == share);
        format!("faults: {}", list(hits.map(|hit| hit.fault.to_string())))
    }

    fn when_of(&self, share: Option<&str>) -> Option<String> {
        let when = match share {
            Some(share) => self.when.clone().with_share(share),
            None => self.when.clone(),
        };
        // A share of all is none.
        (!when.is_empty() && when.line() != "when: 100%").then(|| when.line())
    }

    /// The lines of a rule apart from its effect, and the line of that.
    fn lines(&self, share: Option<&str>) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.conditions.is_empty() {
            lines.push(self.conditions.line());
        }
        lines.extend(self.when_of(share));
        if !self.choose.is_empty() {
            lines.push(self.choose_line());
        } else if self
            .faults
            .iter()
            .any(|hit| hit.share.as_deref().filter(|share| *share != "100%") == share)
        {
            lines.push(self.faults_of(share));
        }
        lines
    }

    fn choose_line(&self) -> String {
        let outcomes = self.choose.iter().map(|(weight, faults)| {
            let faults = (!faults.is_empty()).then(|| format!(", faults: {}", list(faults.iter().cloned())));
            format!("{{weight: {weight}{}}}", faults.unwrap_or_default())
        });
        format!("choose: {}", list(outcomes))
    }

    /// The rules, as items of `rules`: one for each share. A rule without a name has that of what it does.
    pub(super) fn rules(&self, name: Option<&str>) -> Vec<String> {
        let shares = self.shares();
        let all = [None];
        let shares: &[Option<&str>] = if shares.is_empty() { &all } else { &shares };
        let rule = |(number, share): (usize, &Option<&str>)| {
            let name = match name {
                Some(name) if number == 0 => quoted(name),
                Some(name) => quoted(&format!("{name} {}", number + 1)),
                None => self.name_of(*share).to_owned(),
            };
            let lines = [vec![format!("name: {name}")], self.lines(*share)].concat();
            format!("{{{}}}", lines.join(", "))
        };
        shares.iter().enumerate().map(rule).collect()
    }

    /// A name for the rule of the faults of one share.
    fn name_of(&self, share: Option<&str>) -> &str {
        let mut hits = self.faults.iter();
        let hit = hits.find(|hit| hit.share.as_deref().filter(|share| *share != "100%") == share);
        match hit.map(|hit| hit.fault.name()) {
            Some("delay") => "slow",
            Some("abort") | None => "errors",
            Some(fault) => fault,
        }
    }

    /// What to write where a rule's keys are.
    pub(super) fn in_rule(&self) -> Option<Hint> {
        let shares = self.shares();
        let help = match shares.as_slice() {
            [_, _, ..] => {
                let rules = rules(std::slice::from_ref(self), None)?;
                format!("each share needs a rule of its own: write `rules: {rules}`")
            }
            shares => quoted_lines(&self.lines(shares.first().copied().flatten())).unwrap_or_default(),
        };
        let help = if help.is_empty() { Vec::new() } else { vec![help] };
        let help = [help, self.notes.clone()].concat().join("; ");
        if help.is_empty() {
            return None;
        }
        let meant = match (self.choose.is_empty(), self.faults.is_empty()) {
            (false, _) => Some("choose"),
            (true, false) => Some("faults"),
            (true, true) => None,
        };
        Some(Hint {
            meant,
            ..Hint::said(help)
        })
    }

    /// What to write where a fault is, in the list of a rule.
    pub(super) fn in_faults(&self) -> Option<Hint> {
        let shares = self.shares();
        if shares.len() > 1 {
            return self.in_rule().map(|hint| Hint { meant: None, ..hint });
        }
        let share = shares.first().copied().flatten();
        let beside: Vec<String> = [
            (!self.conditions.is_empty()).then(|| self.conditions.line()),
            self.when_of(share),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut help = match self.faults.as_slice() {
            _ if !self.choose.is_empty() => format!("write `{}` instead of `faults`", self.choose_line()),
            [] => String::new(),
            [one] => format!("write `{}`", one.fault),
            _ => format!("write `{}`", self.faults_of(share)),
        };
        if let Some(beside) = quoted_lines(&beside) {
            let and = if help.is_empty() {
                beside
            } else {
                format!(", and {}", beside.trim_start_matches("write "))
            };
            help += &format!("{and} beside the rule's `faults`");
        }
        let help = if help.is_empty() { Vec::new() } else { vec![help] };
        let help = [help, self.notes.clone()].concat().join("; ");
        said(help).filter(|hint| !hint.help.is_empty())
    }
}

/// ``write `a` and `b` ``; nothing without lines.
pub(super) fn quoted_lines(lines: &[String]) -> Option<String> {
    let quoted: Vec<String> = lines.iter().map(|line| format!("`{line}`")).collect();
    let (last, others) = quoted.split_last()?;
    Some(match others {
        [] => format!("write {last}"),
        _ => format!("write {} and {last}", others.join(", ")),
    })
}

/// The rules of several blocks, each with a name of its own.
pub(super) fn rules(blocks: &[Block], name: Option<&str>) -> Option<String> {
    let mut rules: Vec<String> = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let name = match (name, number) {
            (Some(name), 0) => Some(name.to_owned()),
            (Some(name), _) => Some(format!("{name} {}", number + 1)),
            (None, _) => None,
        };
        rules.extend(block.rules(name.as_deref()));
    }
    let mut names = std::collections::HashMap::new();
    for rule in &mut rules {
        let begin = rule.split([',', '}']).next().unwrap_or_default().to_owned();
        let count = names.entry(begin.clone()).or_insert(0_u32);
        *count += 1;
        if *count > 1 {
            *rule = rule.replacen(&begin, &format!("{begin} {count}"), 1);
        }
    }
    (!rules.is_empty()).then(|| list(rules))
}
