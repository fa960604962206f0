//! Texts that match a regular expression.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::fake::made_up::dice::Dice;

/// The longest text.
const LENGTH_LIMIT: usize = 10_000;

/// How many parts of an expression are written out; it can repeat what is empty as often as it likes.
const STEPS_LIMIT: usize = 100_000;

/// A text that matches `pattern`. `None` if it asks for more than its ends, such as for the boundary of a word, for a text
/// beyond the limits, or in a dialect that is not known.
pub(super) fn matching(pattern: &str, dice: &mut Dice) -> Option<String> {
    let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
    let mut growth = Growth {
        dice,
        text: String::new(),
        ended: false,
        steps: 0,
    };
    growth.add(&hir)?;
    Some(growth.text)
}

struct Growth<'a> {
    dice: &'a mut Dice,
    text: String,
    /// Whether `$` was met: nothing may follow.
    ended: bool,
    steps: usize,
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
            HirKind::Look(_) => return None,
            HirKind::Literal(_) | HirKind::Class(_) if self.ended => return None,
            HirKind::Literal(literal) => self.text.push_str(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Class(class) => {
                let character = self.one_of(class)?;
                self.text.push(character);
            }
            HirKind::Repetition(repeated) => {
                let most = repeated
                    .max
                    .unwrap_or(repeated.min.saturating_add(4))
                    .min(repeated.min.saturating_add(8));
                for _ in 0..self.dice.from(repeated.min as usize, most as usize) {
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

    /// A character of a class: of its ASCII ones that can be seen, if it has some.
    fn one_of(&mut self, class: &Class) -> Option<char> {
        let Class::Unicode(class) = class else { return None };
        let ranges: Vec<(u32, u32)> = class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect();
        let seen: Vec<_> = ranges
            .iter()
            .map(|(start, end)| ((*start).max(0x21), (*end).min(0x7e)))
            .filter(|(start, end)| start <= end)
            .collect();
        let ranges = if seen.is_empty() { ranges } else { seen };
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

    fn make(pattern: &str, seed: u64) -> Option<String> {
        matching(pattern, &mut Dice::new(seed, Stream::Documents, 0))
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
        ] {
            let regex = regex::Regex::new(pattern).unwrap();
            for seed in 0..30 {
                let text = make(pattern, seed);
                assert!(
                    text.as_deref().is_none_or(|text| regex.is_match(text)),
                    "{pattern}: {text:?}"
                );
            }
            assert!((0..30).any(|seed| make(pattern, seed).is_some()), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_made_up_is_none() {
        for pattern in [
            "a^b",
            "a$b",
            "\\bx",
            "(?=a)b",
            "[",
            "a{10000,}",
            "(((|a{0,1}){1000}){1000}){1000}",
        ] {
            assert_eq!(make(pattern, 1), None, "{pattern}");
        }
    }
}
