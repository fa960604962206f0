//! Texts.

use super::super::pattern;
use super::layers::SchemaLayers;
use super::{Maker, PIECE, TEXT_LIMIT, formats};
use crate::fake::made_up::{fields, phrases};

impl<'a> Maker<'a> {
    pub(super) fn text(&mut self, layers: &SchemaLayers<'a>, name: &str) -> String {
        let length = |length: Option<u64>, or: usize| length.map_or(or, |length| usize::try_from(length).unwrap_or(or));
        let least = length(layers.most_of("minLength"), 0).min(TEXT_LIMIT);
        let most = length(layers.least_of("maxLength"), TEXT_LIMIT).max(least);
        let patterns: Vec<&str> = layers
            .values("pattern")
            .filter_map(|pattern| pattern.as_str())
            .collect();
        if let Some(text) = self.matching(&patterns, least, most) {
            self.parts += text.len() / PIECE;
            return text;
        }
        let format = layers
            .text("format")
            .and_then(|format| formats::text(format, &mut self.dice));
        let mut text = match format {
            Some(text) if (least..=most).contains(&text.chars().count()) => return text,
            Some(text) => text,
            None => self.named(name),
        };
        let mut characters = text.chars().count();
        self.parts += least.saturating_sub(characters) / PIECE;
        while characters < least {
            let more = phrases::thing(&mut self.dice);
            text.push(' ');
            text.push_str(more);
            characters += 1 + more.chars().count();
        }
        text.chars().take(most).collect()
    }

    /// A text that may match all of these patterns: one that matches any of them, or begins with one and ends with another.
    fn matching(&mut self, patterns: &[&str], least: usize, most: usize) -> Option<String> {
        let first = patterns.get(self.dice.below(patterns.len().max(1)))?;
        let mut text = pattern::matching(first, least..=most, &mut self.dice)?;
        if patterns.len() > 1 && self.dice.one_in(2) {
            let last = patterns.get(self.dice.below(patterns.len()))?;
            text += &pattern::matching(last, 0..=most, &mut self.dice)?;
        }
        Some(text)
    }

    /// A text for a property of this name.
    pub(in crate::fake) fn named(&mut self, name: &str) -> String {
        formats::named(name, &mut self.dice).unwrap_or_else(|| fields::text(name, &mut self.dice))
    }
}
