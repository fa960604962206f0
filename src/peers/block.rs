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
    /// Which of those, by where they go.
    pub(super) upstream: Option<String>,
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
    /// Whether only to requests that ask for it with Envoy's headers.
    pub(super) asked: bool,
    /// The toxic that it stands for, if that is another fault on a TCP listener.
    pub(super) toxic: Option<Toxic>,
    /// Whether it is on what clients send, if that was said.
    pub(super) on_request: Option<bool>,
}

/// A toxic of Toxiproxy that ends connections. It stops one direction, while the other one flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toxic {
    /// Nothing passes, and then the connection is closed.
    Timeout,
    /// The connection is reset after a time.
    Reset,
    /// Everything waits.
    Latency,
}

impl From<Fault> for Hit {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            share: None,
            asked: false,
            toxic: None,
            on_request: None,
        }
    }
}

impl Hit {
    /// The share, if it is not all.
    fn part(&self) -> Option<&str> {
        self.share.as_deref().filter(|share| *share != "100%")
    }

    /// Whether one rule can hold both. Other tools draw for each fault by itself, while a rule draws once; a wait is of the fault
    /// that ends the connection after it.
    fn goes_with(&self, after: &Self) -> bool {
        let is_wait = self.fault.name() == "delay" && matches!(after.fault.name(), "close" | "reset");
        self.asked == after.asked && self.part() == after.part() && (self.part().is_none() || is_wait)
    }
}

impl Block {
    /// Whether it says what happens.
    pub(super) fn has_effect(&self) -> bool {
        !self.faults.is_empty() || !self.choose.is_empty()
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        let says = self.has_effect() || self.upstream.is_some() || !self.conditions.is_empty() || !self.when.is_empty();
        !says && self.notes.is_empty()
    }

    /// Adds what is to be said beside the lines, once.
    pub(super) fn note(&mut self, note: &str) {
        if self.notes.iter().all(|own| own != note) {
            self.notes.push(note.to_owned());
        }
    }

    /// Adds what another block says.
    pub(super) fn extend(&mut self, other: Self) {
        self.conditions.extend(other.conditions);
        self.upstream = self.upstream.take().or(other.upstream);
        self.when.extend(other.when);
        for hit in other.faults {
            if !self.faults.contains(&hit) {
                self.faults.push(hit);
            }
        }
        self.choose.extend(other.choose);
        other.notes.iter().for_each(|note| self.note(note));
    }

    /// The direction of the faults that have none of their own.
    pub(super) fn direct(&mut self, on_request: Option<bool>) {
        for hit in &mut self.faults {
            hit.on_request = hit.on_request.or(on_request);
        }
    }

    /// The share of the block as one of each of its faults.
    pub(super) fn share_out(&mut self) {
        if self.faults.is_empty() {
            return;
        }
        if let Some(share) = self.when.take_share() {
            for hit in &mut self.faults {
                hit.share.get_or_insert_with(|| share.clone());
            }
        }
    }

    /// The toxics as faults of the listeners that the rule is for.
    pub(super) fn placed(mut self, is_tcp: bool) -> Self {
        let mut wait = None;
        let mut placed = Vec::new();
        for mut hit in std::mem::take(&mut self.faults) {
            let fault = hit.fault.clone();
            let on_request = hit.on_request == Some(true);
            hit.fault = match (hit.toxic, is_tcp) {
                (None, _) => fault,
                (Some(Toxic::Timeout), true) => Fault::of("stall", "discard", true)
                    .maybe("limit", fault.get("limit"))
                    .with("end", "close"),
                (Some(Toxic::Reset), true) if fault.name() == "delay" => {
                    wait = fault.fixed();
                    continue;
                }
                (Some(Toxic::Reset), true) => {
                    let limit = wait.take().unwrap_or_else(|| "10ms".to_owned());
                    Fault::of("stall", "limit", limit).with("end", "reset")
                }
                (Some(Toxic::Latency), true) if on_request => {
                    fault.with("before", "message").with("direction", "request")
                }
                (Some(Toxic::Latency), false) if hit.on_request == Some(false) => fault.with("before", "response"),
                (Some(Toxic::Latency), _) => fault,
                (Some(Toxic::Timeout), false) if !on_request && fault.has("limit") => {
                    // The upstream gets the request of a toxic on the response.
                    let wait = Fault::of("delay", "fixed", fault.get("limit").unwrap_or_default());
                    placed.push(Hit {
                        fault: wait.with("before", "response"),
                        ..hit.clone()
                    });
                    Fault::of("close", "before", "response")
                }
                (Some(Toxic::Timeout), false) => fault,
                (Some(_), false) if on_request => fault,
                (Some(_), false) => fault.with("before", "response"),
            };
            if on_request {
                hit.fault = hit.fault.on_request();
            }
            placed.push(hit);
        }
        self.faults = placed;
        self
    }

    /// What is to be said beside the lines.
    fn all_notes(&self) -> Vec<String> {
        self.conditions
            .note()
            .into_iter()
            .chain(self.notes.iter().cloned())
            .collect()
    }

    /// The faults by the rules that they need, in order: one for each draw. A fault without a share has that of the block.
    fn draws(&self) -> Vec<Vec<&Hit>> {
        let mut draws: Vec<Vec<&Hit>> = Vec::new();
        for hit in &self.faults {
            let same = draws
                .iter_mut()
                .find(|draw| draw.last().is_some_and(|last| last.goes_with(hit)));
            match same {
                Some(draw) => draw.push(hit),
                None => draws.push(vec![hit]),
            }
        }
        draws
    }

    fn when_of(&self, draw: &[&Hit]) -> Option<String> {
        let mut when = When::default();
        if let Some(hit) = draw.first() {
            if hit.asked {
                when.extend(When::requested());
            }
            when.extend(self.when.clone());
            if let Some(share) = hit.part() {
                when = when.with_share(share);
            }
        } else {
            when = self.when.clone();
        }
        // A share of all is none.
        (!when.is_empty() && when.line() != "when: 100%").then(|| when.line())
    }

    /// The lines of a rule apart from its effect, and the line of that.
    fn lines(&self, draw: &[&Hit]) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.upstream.as_ref().map(|name| format!("upstream: {name}")));
        if !self.conditions.is_empty() {
            lines.push(self.conditions.line());
        }
        lines.extend(self.when_of(draw));
        if !self.choose.is_empty() {
            lines.push(self.choose_line());
        } else if !draw.is_empty() {
            lines.push(faults_line(draw));
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
        let draws = self.draws();
        let none = [Vec::new()];
        let draws: &[Vec<&Hit>] = if draws.is_empty() { &none } else { &draws };
        let rule = |(number, draw): (usize, &Vec<&Hit>)| {
            let name = match name {
                Some(name) if number == 0 => quoted(name),
                Some(name) => quoted(&format!("{name} {}", number + 1)),
                None => name_of(draw).to_owned(),
            };
            let lines = [vec![format!("name: {name}")], self.lines(draw)].concat();
            format!("{{{}}}", lines.join(", "))
        };
        draws.iter().enumerate().map(rule).collect()
    }

    /// What to write where a rule's keys are.
    pub(super) fn in_rule(&self) -> Option<Hint> {
        let draws = self.draws();
        let help = match draws.as_slice() {
            [_, _, ..] => {
                let rules = rules(std::slice::from_ref(self), None)?;
                format!("a rule draws once, so each share needs a rule of its own: write `rules: {rules}`")
            }
            [draw] => quoted_lines(&self.lines(draw)).unwrap_or_default(),
            [] => quoted_lines(&self.lines(&[])).unwrap_or_default(),
        };
        let help = if help.is_empty() { Vec::new() } else { vec![help] };
        let help = [help, self.all_notes()].concat().join("; ");
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
        let draws = self.draws();
        if draws.len() > 1 {
            return self.in_rule().map(|hint| Hint { meant: None, ..hint });
        }
        let draw = draws.first().map_or(&[][..], Vec::as_slice);
        let beside: Vec<String> = [
            self.upstream.as_ref().map(|name| format!("upstream: {name}")),
            (!self.conditions.is_empty()).then(|| self.conditions.line()),
            self.when_of(draw),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut help = match self.faults.as_slice() {
            _ if !self.choose.is_empty() => format!("write `{}` instead of `faults`", self.choose_line()),
            [] => String::new(),
            [one] => format!("write `{}`", one.fault),
            _ => format!("write `{}`", faults_line(draw)),
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
        let help = [help, self.all_notes()].concat().join("; ");
        said(help).filter(|hint| !hint.help.is_empty())
    }
}

/// The list of the faults of one rule.
fn faults_line(draw: &[&Hit]) -> String {
    format!("faults: {}", list(draw.iter().map(|hit| hit.fault.to_string())))
}

/// A name for the rule of some faults.
fn name_of<'a>(draw: &[&'a Hit]) -> &'a str {
    match draw.first().map(|hit| hit.fault.name()) {
        Some("delay") => "slow",
        Some("abort") | None => "errors",
        Some(fault) => fault,
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

/// What to write at the top level for several blocks, and what is to be said beside it.
pub(super) fn told(blocks: &[Block], name: Option<&str>) -> Option<Hint> {
    let mut all = Block::default();
    blocks
        .iter()
        .flat_map(Block::all_notes)
        .for_each(|note| all.note(&note));
    let lines = vec![format!("write `rules: {}`", rules(blocks, name)?)];
    said([lines, all.notes].concat().join("; "))
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
