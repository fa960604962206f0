//! Made-up things, texts and places. All in lower case, unless a name is one.

use super::dice::Dice;
use super::words;

pub(in crate::fake) fn thing(dice: &mut Dice) -> &'static str {
    dice.pick(words::THINGS).0
}

fn things(dice: &mut Dice) -> &'static str {
    dice.pick(words::THINGS).1
}

fn number(dice: &mut Dice) -> String {
    format!("{}-{}", dice.pick(words::TENS), dice.pick(words::UNITS))
}

pub(in crate::fake) fn some_things(dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => format!("{} of {}", dice.pick(words::GROUPS), things(dice)),
        1 => format!("{} {} {}", number(dice), dice.pick(words::ADJECTIVES), things(dice)),
        2 => format!("one hundred and {} {} {}", number(dice), thing(dice), things(dice)),
        _ => format!(
            "{} the {} {}",
            dice.pick(words::VERBS),
            dice.pick(words::ADJECTIVES),
            thing(dice)
        ),
    }
}

pub(in crate::fake) fn sentence(dice: &mut Dice) -> String {
    let name = dice.pick(words::FIRST_NAMES);
    let verb = dice.pick(words::VERBS);
    match dice.below(5) {
        0 => format!(
            "{name} can't wait to {verb} {} {} in {}.",
            number(dice),
            things(dice),
            capitalise(&city(dice))
        ),
        1 => format!("{} is the best company in {}.", company(dice), capitalise(&city(dice))),
        2 => format!(
            "Everybody will {verb} {} of {}.",
            with_article(dice.pick(words::GROUPS)),
            things(dice)
        ),
        3 => format!(
            "{name} needs {} {}, badly.",
            with_article(dice.pick(words::ADJECTIVES)),
            thing(dice)
        ),
        _ => format!(
            "I can't wait to {verb} {} {}.",
            with_article(dice.pick(words::ADJECTIVES)),
            thing(dice)
        ),
    }
}

fn with_article(word: &str) -> String {
    format!(
        "{} {word}",
        if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
            "an"
        } else {
            "a"
        }
    )
}

pub(in crate::fake) fn paragraph(dice: &mut Dice, sentences: usize) -> String {
    let sentences: Vec<String> = (0..sentences).map(|_| sentence(dice)).collect();
    sentences.join(" ")
}

pub(in crate::fake) fn company(dice: &mut Dice) -> String {
    let (stem, thing) = (dice.pick(words::COMPANY_STEMS), capitalise(thing(dice)));
    match dice.below(4) {
        0 => format!("{stem}{}", thing.to_lowercase()),
        _ => format!("{stem} {thing} {}", dice.pick(words::COMPANY_ENDINGS)),
    }
}

pub(in crate::fake) fn address(dice: &mut Dice) -> String {
    if dice.one_in(5) {
        return format!("po box {}", dice.from(1000, 9999));
    }
    let street = dice.pick(words::STREETS);
    let house = format!(
        "{} {}{} {street}",
        dice.from(1, 999),
        dice.pick(words::COLOURS),
        thing(dice)
    );
    if dice.one_in(3) {
        format!("apt {}, {house}", number(dice))
    } else {
        house
    }
}

pub(in crate::fake) fn city(dice: &mut Dice) -> String {
    let city = format!("{}{}", dice.pick(words::PLACE_STEMS), dice.pick(words::PLACE_ENDINGS));
    if dice.one_in(4) {
        format!("{} {city}", dice.pick(words::DIRECTIONS))
    } else {
        city
    }
}

pub(in crate::fake) fn country(dice: &mut Dice) -> String {
    let country = dice.pick(words::COUNTRIES);
    if dice.one_in(4) {
        format!("{} {country}", dice.pick(words::DIRECTIONS))
    } else {
        country.to_owned()
    }
}

/// `0`-`9` stand for a digit, `a` for a letter.
pub(in crate::fake) fn postal(dice: &mut Dice) -> String {
    let pattern = dice.pick(&["a0a 0a0", "00000", "0a00a", "00a 000"]);
    let filled = pattern.chars().map(|character| match character {
        '0' => char::from(b'0' + u8::try_from(dice.below(10)).unwrap_or_default()),
        'a' => char::from(b'a' + u8::try_from(dice.below(26)).unwrap_or_default()),
        other => other,
    });
    filled.collect()
}

/// Numbers that are kept for fiction: 555-01xx.
pub(in crate::fake) fn phone(dice: &mut Dice) -> String {
    let line = format!("555-01{:02}", dice.below(100));
    if dice.one_in(2) {
        format!("{}-{line}", dice.from(201, 989))
    } else {
        line
    }
}

pub(in crate::fake) fn domain(dice: &mut Dice) -> String {
    format!(
        "{}-{}.{}",
        dice.pick(words::ADJECTIVES),
        thing(dice),
        dice.pick(words::DOMAINS)
    )
}

/// Every word with a capital letter.
pub(in crate::fake) fn capitalise(text: &str) -> String {
    let mut start = true;
    let capitals = text.chars().map(|character| {
        let here = std::mem::replace(&mut start, matches!(character, ' ' | '-'));
        if here {
            character.to_ascii_uppercase()
        } else {
            character
        }
    });
    capitals.collect()
}
