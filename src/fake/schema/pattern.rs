//! Texts that match a regular expression.

use std::ops::RangeInclusive;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use crate::fake::made_up::dice::Dice;

/// The longest text.
const LENGTH_LIMIT: usize = 10_000;

/// How many parts of an expression are written out; it can repeat what is empty as often as it likes.
const STEPS_LIMIT: usize = 100_000;

/// How often a text of the wanted length is tried for.
const ATTEMPTS: usize = 64;

/// A text that matches `pattern`, with as many characters if possible. What looks ahead or behind and the boundaries of words
/// are passed over, so that it may not match after all. `None` if the pattern asks for more than its ends, for a text beyond
/// the limits, or is in a dialect that is not known.
pub(super) fn matching(pattern: &str, length: RangeInclusive<usize>, dice: &mut Dice) -> Option<String> {
    let parse = |pattern: &str| regex_syntax::Parser::new().parse(pattern).ok();
    let hir = parse(pattern).or_else(|| parse(&without_lookaround(pattern)))?;
    let shortest = hir.properties().minimum_len()?;
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        // First as long as it comes, then towards the length.
        let wanted = match attempt {
            0 if *length.start() <= shortest => None,
            _ => {
                let least = (*length.start()).max(shortest).min(LENGTH_LIMIT);
                let most = (*length.end()).min(least + 8);
                Some(dice.from(least, most.max(least)) - shortest)
            }
        };
        let mut growth = Growth {
            dice,
            text: String::new(),
            ended: false,
            steps: 0,
            spare: wanted,
        };
        growth.add(&hir)?;
        let text = growth.text;
        let characters = text.chars().count();
        if length.contains(&characters) {
            return Some(text);
        }
        if characters < *length.start() && !ends(&hir) {
            return Some(text + &"a".repeat((*length.start() - characters).min(LENGTH_LIMIT)));
        }
        last = Some(text);
    }
    last
}

/// Whether nothing may follow a text that matches.
fn ends(hir: &Hir) -> bool {
    hir.properties().look_set_suffix().contains_anchor()
}

/// The pattern without its groups that look ahead or behind.
fn without_lookaround(pattern: &str) -> String {
    let (mut kept, mut rest) = (String::new(), pattern);
    while let Some(character) = rest.chars().next() {
        let looks = ["(?=", "(?!", "(?<=", "(?<!"]
            .iter()
            .any(|start| rest.starts_with(start));
        let length = match character {
            '\\' => rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end),
            '[' => part_end(rest),
            '(' if looks => {
                rest = rest.get(part_end(rest)..).unwrap_or_default();
                continue;
            }
            _ => character.len_utf8(),
        };
        let (part, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        kept.push_str(part);
        rest = after;
    }
    kept
}

/// Where the group or the class ends that a text begins with.
fn part_end(text: &str) -> usize {
    let (mut depth, mut escaped, mut class) = (0_usize, false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' => class = false,
            '[' => class = true,
            '(' if !class => depth += 1,
            ')' if !class => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && !class && !escaped && index > 0 {
            return index + character.len_utf8();
        }
    }
    text.len()
}

struct Growth<'a> {
    dice: &'a mut Dice,
    text: String,
    /// Whether `$` was met: nothing may follow.
    ended: bool,
    steps: usize,
    /// How much longer than the shortest text this one is to be, if that matters.
    spare: Option<usize>,
}

impl Growth<'_> {
    fn add(&mut self, hir: &Hir) -> Option<()> {
        self.steps += 1;
        if self.steps > STEPS_LIMIT || self.text.len() > LENGTH_LIMIT {
            return None;
        }
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) if self.text.is_empty() => {}
            HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) => self.ended = true,
            HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) => return None,
            HirKind::Look(_) => {}
            HirKind::Literal(_) | HirKind::Class(_) if self.ended => return None,
            HirKind::Literal(literal) => self.text.push_str(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Class(class) => {
                let character = self.one_of(class)?;
                self.text.push(character);
            }
            HirKind::Repetition(repeated) => {
                for _ in 0..self.times(repeated) {
                    self.add(&repeated.sub)?;
                }
            }
            HirKind::Capture(group) => self.add(&group.sub)?,
            HirKind::Concat(parts) => {
                for part in parts {
                    self.add(part)?;
                }
            }
            HirKind::Alternation(options) => {
                let choice = self.dice.below(options.len());
                self.add(options.get(choice)?)?;
            }
        }
        Some(())
    }

    /// How often something is repeated.
    fn times(&mut self, repeated: &Repetition) -> usize {
        let least = repeated.min as usize;
        let most = repeated.max.map_or(usize::MAX, |most| most as usize).max(least);
        let Some(spare) = self.spare else {
            return self
                .dice
                .from(least, most.min(least + if repeated.max.is_none() { 4 } else { 8 }));
        };
        let one = repeated.sub.properties().minimum_len().unwrap_or(0).max(1);
        let room = (spare / one).min(most - least);
        // Often all of it: it may be the only place.
        let more = if self.dice.one_in(2) {
            room
        } else {
            self.dice.from(0, room)
        };
        self.spare = Some(spare - more * one);
        least + more
    }

    /// A character of a class: of its ASCII ones that can be seen, if it has some; mostly a letter or a digit, if it has most
    /// of them.
    fn one_of(&mut self, class: &Class) -> Option<char> {
        let Class::Unicode(class) = class else { return None };
        let ranges: Vec<(u32, u32)> = class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect();
        let within = |first: char, last: char| {
            let (first, last) = (u32::from(first), u32::from(last));
            let within = ranges
                .iter()
                .map(move |(start, end)| ((*start).max(first), (*end).min(last)));
            within.filter(|(start, end)| start <= end)
        };
        let seen: Vec<_> = within('!', '~').collect();
        let plain: Vec<_> = within('a', 'z').chain(within('0', '9')).collect();
        let count = |ranges: &[(u32, u32)]| ranges.iter().map(|(start, end)| end - start + 1).sum::<u32>();
        let ranges = if count(&seen) > 80 && count(&plain) > 30 && !self.dice.one_in(4) {
            plain
        } else if seen.is_empty() {
            ranges
        } else {
            seen
        };
        let size: u32 = ranges.iter().map(|(start, end)| end - start + 1).sum();
        let mut place = u32::try_from(self.dice.below(size as usize)).ok()?;
        for (start, end) in ranges {
            if place <= end - start {
                return char::from_u32(start + place);
            }
            place -= end - start + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::made_up::dice::Stream;

    fn make(pattern: &str, length: RangeInclusive<usize>, seed: u64) -> Option<String> {
        matching(pattern, length, &mut Dice::new(seed, Stream::Documents, 0))
    }

    #[test]
    fn texts_match_their_pattern() {
        for pattern in [
            "^[A-Z]{3}-\\d{2,4}(x|y)?$",
            "^(cat|dog)s?$",
            "(?i)^ab+c*$",
            "[^a-z]",
            "^$",
            "",
            "(^a|b)c",
            "\\p{Greek}+",
            "^[\\w.-]+\\/[a-z]$",
        ] {
            let regex = regex::Regex::new(pattern).unwrap();
            for seed in 0..30 {
                let text = make(pattern, 0..=100, seed);
                assert!(
                    text.as_deref().is_none_or(|text| regex.is_match(text)),
                    "{pattern}: {text:?}"
                );
            }
            assert!((0..30).any(|seed| make(pattern, 0..=100, seed).is_some()), "{pattern}");
        }
    }

    #[test]
    fn texts_have_the_wanted_length() {
        for (pattern, length) in [
            ("^[a-z]+$", 12..=14),
            ("^[a-zA-Z0-9]*$", 64..=64),
            ("^([a-z]+-)*[a-z]+$", 20..=20),
            ("^a*b*$", 3..=3),
            ("[a-z]", 30..=40),
            ("^https://.*$", 9..=12),
        ] {
            for seed in 0..30 {
                let text = make(pattern, length.clone(), seed).unwrap();
                assert!(length.contains(&text.len()), "{pattern}: {text}");
                assert!(regex::Regex::new(pattern).unwrap().is_match(&text), "{pattern}: {text}");
            }
        }
    }

    #[test]
    fn what_looks_around_is_passed_over() {
        assert_eq!(without_lookaround("^(?!-)(?=[)]x)[(?=]a\\(?=b$"), "^[(?=]a\\(?=b$");
        assert_eq!(without_lookaround("(?<!(a|b))c(?:d)"), "c(?:d)");
        assert_eq!(make("^(?=a)a(?<!b)$", 0..=9, 1).as_deref(), Some("a"));
    }

    #[test]
    fn what_cannot_be_made_up_is_none() {
        for pattern in ["a^b", "a$b", "[", "a{20000,}", "(((|a{0,1}){1000}){1000}){1000}"] {
            assert_eq!(make(pattern, 0..=100, 1), None, "{pattern}");
        }
    }
}
