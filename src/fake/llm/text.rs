//! What the model says, and how it is counted. Everything is a function of the seed and of what was asked.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fake::made_up::dice::{Dice, Stream};
use crate::fake::made_up::phrases;

/// Characters of a token. No real model's tokens are like this, but their mean in English prose is.
const TOKEN: usize = 4;

/// How many tokens a text has: a quarter of its characters, rounded up.
pub(super) fn count(text: &str) -> u64 {
    text.chars().count().div_ceil(TOKEN) as u64
}

/// A text's first tokens, which put together are the text.
pub(super) fn head(text: &str, tokens: usize) -> &str {
    let end = text.char_indices().nth(tokens.saturating_mul(TOKEN));
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// A text, token by token.
#[derive(Debug)]
pub(super) struct Tokens {
    text: String,
    at: usize,
}

impl Tokens {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            at: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.text.len()
    }
}

impl Iterator for Tokens {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let token = head(self.text.get(self.at..)?, 1);
        self.at += token.len();
        (!token.is_empty()).then(|| token.to_owned())
    }
}

/// Whether a message says itself what the reply to it is.
pub(super) fn is_instruction(last: &str) -> bool {
    instructed(last.trim(), &mut dice(0, "", 0), 0).is_some()
}

/// The reply to a conversation whose last message of the user is `last`.
///
/// `echo: TEXT` gives that text back, and `tokens: N` gives exactly that many tokens, up to `most`; anything else gets a few
/// sentences that depend on `dice` alone.
pub(super) fn reply(dice: &mut Dice, last: &str, most: u64) -> String {
    instructed(last.trim(), dice, most).unwrap_or_else(|| {
        let sentences = dice.from(2, 5);
        phrases::paragraph(dice, sentences)
    })
}

fn instructed(last: &str, dice: &mut Dice, most: u64) -> Option<String> {
    if let Some(echo) = last.strip_prefix("echo:") {
        return Some(echo.trim_start().to_owned());
    }
    let wanted: u64 = last.strip_prefix("tokens:")?.trim().parse().ok()?;
    let wanted = usize::try_from(wanted.min(most)).unwrap_or_default();
    let mut text = String::new();
    while text.chars().count() < wanted * TOKEN {
        text.push_str(&phrases::paragraph(dice, 20));
        text.push(' ');
    }
    let mut text = head(&text, wanted).to_owned();
    // A space at the end is easily lost.
    if text.pop().is_some() {
        text.push('.');
    }
    Some(text)
}

/// The dice for what is said to `conversation`; `choice` is its number among several.
pub(super) fn dice(seed: u64, conversation: &str, choice: u64) -> Dice {
    let index = xxh3_64_with_seed(conversation.as_bytes(), choice);
    Dice::new(seed, Stream::Replies, index)
}

/// A moment, in seconds since 1970, as RFC 3339 writes it.
pub(super) fn date(seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// An identifier such as `chatcmpl-…`: letters and digits after the prefix.
pub(super) fn identifier(seed: u64, number: u64, prefix: &str, length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
    let mut dice = Dice::new(xxh3_64_with_seed(prefix.as_bytes(), seed), Stream::Replies, number);
    let letters = (0..length).map(|_| char::from(dice.pick(ALPHABET)));
    prefix.chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_has_as_many_tokens_as_asked_for() {
        for wanted in [1, 2, 7, 500] {
            let text = reply(&mut dice(1, "x", 0), &format!("tokens: {wanted}"), 10_000);
            assert_eq!(count(&text), wanted, "{text}");
        }
        assert_eq!(count(&reply(&mut dice(1, "x", 0), "tokens: 100", 10)), 10);
        assert_eq!(reply(&mut dice(1, "x", 0), " echo:  a b ", 10), "a b");
        assert_eq!((count(""), count("a"), count("abcd"), count("äöüß.")), (0, 1, 1, 2));
    }

    proptest! {
        #[test]
        fn tokens_are_the_text(text in "\\PC{0,60}") {
            let tokens: Vec<_> = Tokens::new(&text).collect();
            prop_assert_eq!(tokens.len() as u64, count(&text));
            prop_assert_eq!(tokens.concat(), text);
        }
    }
}
