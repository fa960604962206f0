//! Steps as sentences: `enable outage`, `ramp delay of "slow db" from 50ms to 2s over 5m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::fault::distribution::wave::WaveShape;
use crate::scenario::curve::{Curve, Property};
use crate::yaml::forms::string_form;
use crate::yaml::report::did_you_mean;
use crate::yaml::units::Time;

/// A step that was typed as a sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceSpec {
    text: String,
    /// What it says to do.
    pub order: Order,
    /// How long that lasts: `for 30s`.
    pub lasting: Option<Duration>,
}

/// What a sentence says to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Switches rules on or off.
    Switch {
        /// The names of the rules.
        rules: Vec<String>,
        /// On, or off.
        on: bool,
    },
    /// Puts rules back as they were before the scenario.
    Revert(Vec<String>),
    /// Changes a number of a rule.
    Shape {
        /// The rule's name.
        rule: String,
        /// The number.
        property: Property,
        /// Its values.
        curve: Curve,
    },
    /// Changes nothing for a time.
    Pause(Duration),
}

/// Valid sentences, by their first word.
const EXAMPLES: [(&str, &str); 7] = [
    ("enable", "enable outage, \"slow db\" for 30s"),
    ("disable", "disable outage for 30s"),
    ("revert", "revert outage"),
    ("ramp", "ramp delay of \"slow db\" from 50ms to 2s over 5m"),
    ("step", "step percentage of outage through 1%, 5%, 20% every 30s"),
    (
        "wave",
        "wave delay of \"slow db\" between 50ms and 2s every 1m for 10m as sine",
    ),
    ("hold", "hold 30s`, or `hold delay of \"slow db\" at 2s for 1m"),
];

impl FromStr for SentenceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<SentenceSpec, String> {
        let mut words = Words::new(text)?;
        let Some(verb) = words.next_bare() else {
            return Err(format!("a step begins with one of {}", verbs()));
        };
        let parsed = words.sentence(&verb).and_then(|parsed| {
            let rest = words.rest();
            if rest.is_empty() {
                Ok(parsed)
            } else {
                Err(format!("`{rest}` is too much"))
            }
        });
        let (order, lasting) = parsed.map_err(|mistake| with_example(&verb, &mistake))?;
        Ok(SentenceSpec {
            text: text.trim().to_owned(),
            order,
            lasting,
        })
    }
}

fn verbs() -> String {
    let verbs: Vec<&str> = EXAMPLES.iter().map(|(verb, _)| *verb).collect();
    verbs.join(", ")
}

fn with_example(verb: &str, mistake: &str) -> String {
    match EXAMPLES.iter().find(|(known, _)| *known == verb) {
        Some((_, example)) => format!("{mistake}: write `{example}`"),
        None => mistake.to_owned(),
    }
}

impl fmt::Display for SentenceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

string_form!(
    SentenceSpec,
    "Sentence",
    "a sentence such as `enable outage`",
    r"^\s*\w+ "
);

/// A word of a sentence.
#[derive(Debug, Clone, PartialEq)]
enum Word {
    Bare(String),
    Quoted(String),
    Comma,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Bare(word) => f.write_str(word),
            Word::Quoted(word) => write!(f, "\"{word}\""),
            Word::Comma => f.write_str(","),
        }
    }
}

/// The words that are left of a sentence.
struct Words(std::iter::Peekable<std::vec::IntoIter<Word>>);

impl Words {
    /// Splits a sentence into words, commas, and names in single or double quotes.
    fn new(text: &str) -> Result<Words, String> {
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let (word, after) = match first {
                ',' => (Word::Comma, rest.get(1..)),
                '"' | '\'' => {
                    let inner = rest.get(1..).unwrap_or_default();
                    let end = inner
                        .find(first)
                        .ok_or(format!("the quotation mark before `{inner}` is not closed"))?;
                    (
                        Word::Quoted(inner.get(..end).unwrap_or_default().to_owned()),
                        inner.get(end + 1..),
                    )
                }
                _ => {
                    let end = rest.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(rest.len());
                    (
                        Word::Bare(rest.get(..end).unwrap_or_default().to_owned()),
                        rest.get(end..),
                    )
                }
            };
            words.push(word);
            rest = after.unwrap_or_default().trim_start();
        }
        Ok(Words(words.into_iter().peekable()))
    }

    fn sentence(&mut self, verb: &str) -> Result<(Order, Option<Duration>), String> {
        let order = match verb {
            "enable" | "disable" => {
                let (rules, on) = (self.rules()?, verb == "enable");
                Order::Switch { rules, on }
            }
            "revert" => return Ok((Order::Revert(self.rules()?), None)),
            "ramp" | "step" | "wave" => {
                let (property, rule) = self.number()?;
                let curve = match verb {
                    "ramp" => self.ramp(property)?,
                    "step" => self.steps(property)?,
                    _ => return self.wave(property, rule),
                };
                Order::Shape { rule, property, curve }
            }
            "hold" => {
                if let Some(time) = self.take_time() {
                    return Ok((Order::Pause(time), None));
                }
                let (property, rule) = self.number()?;
                let curve = Curve::Hold(self.after("at", property)?);
                Order::Shape { rule, property, curve }
            }
            _ => {
                let known = EXAMPLES.iter().map(|(verb, _)| *verb);
                let meant = did_you_mean(verb, known).map(|meant| format!("; did you mean `{meant}`?"));
                let verbs = verbs();
                return Err(format!(
                    "a step can't begin with `{verb}`{}: use {verbs}",
                    meant.unwrap_or_default()
                ));
            }
        };
        Ok((order, self.lasting()?))
    }

    /// `delay of "slow db"`.
    fn number(&mut self) -> Result<(Property, String), String> {
        let word = self.next_bare().ok_or("which number is missing")?;
        let property = Property::ALL.into_iter().find(|property| property.name() == word);
        let property = property.ok_or(format!(
            "`{word}` is not a number of a rule; use delay, percentage or bandwidth"
        ))?;
        self.expect("of")?;
        Ok((property, self.rule()?))
    }

    fn ramp(&mut self, property: Property) -> Result<Curve, String> {
        let from = self.after("from", property)?;
        let to = self.after("to", property)?;
        self.expect("over")?;
        let over = self.time("over")?;
        Ok(Curve::Ramp { from, to, over })
    }

    fn steps(&mut self, property: Property) -> Result<Curve, String> {
        self.expect("through")?;
        let mut values = vec![self.value(property)?];
        while self.0.next_if_eq(&Word::Comma).is_some() {
            values.push(self.value(property)?);
        }
        self.expect("every")?;
        let every = self.time("every")?;
        Ok(Curve::Steps { values, every })
    }

    fn wave(&mut self, property: Property, rule: String) -> Result<(Order, Option<Duration>), String> {
        let min = self.after("between", property)?;
        let max = self.after("and", property)?;
        self.expect("every")?;
        let period = self.time("every")?;
        let lasting = self.lasting()?;
        let shape = if self.take("as") {
            let word = self.next_bare().unwrap_or_default();
            let shapes = [
                ("sine", WaveShape::Sine),
                ("square", WaveShape::Square),
                ("triangle", WaveShape::Triangle),
                ("saw", WaveShape::Saw),
            ];
            let shape = shapes.into_iter().find(|(name, _)| *name == word);
            shape
                .ok_or(format!("`{word}` is not a shape; use sine, square, triangle or saw"))?
                .1
        } else {
            WaveShape::Sine
        };
        let curve = Curve::Wave {
            shape,
            min,
            max,
            period,
        };
        Ok((Order::Shape { rule, property, curve }, lasting))
    }

    fn lasting(&mut self) -> Result<Option<Duration>, String> {
        self.take("for").then(|| self.time("for")).transpose()
    }

    /// A keyword and the value after it.
    fn after(&mut self, keyword: &str, property: Property) -> Result<f64, String> {
        self.expect(keyword)?;
        self.value(property)
    }

    fn value(&mut self, property: Property) -> Result<f64, String> {
        let word = self.next_bare().ok_or(format!("a {property} is missing"))?;
        property.parse(&word)
    }

    fn time(&mut self, keyword: &str) -> Result<Duration, String> {
        let word = self
            .next_bare()
            .ok_or(format!("a duration is missing after `{keyword}`"))?;
        let time = word.parse::<Time>().map_err(|error| error.to_string())?;
        Ok(time.get())
    }

    fn take_time(&mut self) -> Option<Duration> {
        let Some(Word::Bare(word)) = self.0.peek() else {
            return None;
        };
        let time = word.parse::<Time>().ok()?;
        self.0.next();
        Some(time.get())
    }

    /// One rule, or several with commas or `and` between them.
    fn rules(&mut self) -> Result<Vec<String>, String> {
        let mut rules = vec![self.rule()?];
        while self.0.next_if_eq(&Word::Comma).is_some() || self.take("and") {
            rules.push(self.rule()?);
        }
        Ok(rules)
    }

    fn rule(&mut self) -> Result<String, String> {
        match self.0.next() {
            Some(Word::Bare(name) | Word::Quoted(name)) if !name.is_empty() => Ok(name),
            _ => Err("the name of a rule is missing (in quotes if it has spaces)".into()),
        }
    }

    fn expect(&mut self, keyword: &str) -> Result<(), String> {
        if self.take(keyword) {
            return Ok(());
        }
        Err(match self.0.peek() {
            Some(word) => format!("`{keyword}` is expected, not `{word}` (names with spaces need quotes)"),
            None => format!("`{keyword}` is missing"),
        })
    }

    fn take(&mut self, keyword: &str) -> bool {
        let is_it = |word: &Word| matches!(word, Word::Bare(word) if word == keyword);
        self.0.next_if(is_it).is_some()
    }

    fn next_bare(&mut self) -> Option<String> {
        match self.0.next_if(|word| matches!(word, Word::Bare(_))) {
            Some(Word::Bare(word)) => Some(word),
            _ => None,
        }
    }

    fn rest(&mut self) -> String {
        let words: Vec<String> = self.0.by_ref().map(|word| word.to_string()).collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests;
