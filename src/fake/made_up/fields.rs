//! Values for fields whose names hint at what they hold.

use serde_json::{Number, Value};
use uuid::Uuid;

use super::dice::Dice;
use super::{phrases, words};

/// A text for a field of this name: a city for `city` and for `homeCity`, some words for a name that says nothing.
pub(in crate::fake) fn text(name: &str, dice: &mut Dice) -> String {
    let words = words_of(name);
    let has = |one: &str| words.iter().any(|word| word == one);
    let first = words.first().map_or("", String::as_str);
    if has("email") || has("mail") {
        return email(dice);
    }
    if has("url") || has("uri") || has("website") || has("link") || has("href") {
        return url(dice);
    }
    match words.last().map_or("", String::as_str) {
        "name" if first == "first" || first == "given" => dice.pick(words::FIRST_NAMES).to_owned(),
        "name" if first == "last" || first == "family" => dice.pick(words::LAST_NAMES).to_owned(),
        "firstname" | "forename" => dice.pick(words::FIRST_NAMES).to_owned(),
        "lastname" | "surname" => dice.pick(words::LAST_NAMES).to_owned(),
        "name" if first == "user" => user_name(dice),
        "username" | "login" | "nickname" => user_name(dice),
        "name" if first == "company" => phrases::company(dice),
        "name" | "author" | "owner" | "person" | "customer" | "assignee" | "user" => person(dice),
        "company" | "organisation" | "organization" | "employer" | "brand" => phrases::company(dice),
        "title" | "subject" | "headline" | "product" | "item" => {
            phrases::capitalise(&format!("{} {}", dice.pick(words::ADJECTIVES), phrases::thing(dice)))
        }
        "description" | "text" | "body" | "content" | "bio" | "summary" | "comment" | "notes" => {
            phrases::paragraph(dice, 2)
        }
        "message" | "note" | "sentence" => phrases::sentence(dice),
        "address" | "street" => phrases::address(dice),
        "city" | "town" | "place" | "location" => phrases::capitalise(&phrases::city(dice)),
        "country" | "nation" => phrases::capitalise(&phrases::country(dice)),
        "postal" | "postcode" | "zip" | "zipcode" => phrases::postal(dice),
        "phone" | "telephone" | "mobile" | "fax" => phrases::phone(dice),
        "domain" | "host" | "hostname" => phrases::domain(dice),
        "colour" | "color" => dice.pick(words::COLOURS).to_owned(),
        _ => format!("{} {}", dice.pick(words::ADJECTIVES), phrases::thing(dice)),
    }
}

/// An address at a reserved domain (RFC 2606).
pub(in crate::fake) fn email(dice: &mut Dice) -> String {
    let name = format!("{}.{}", dice.pick(words::FIRST_NAMES), dice.pick(words::LAST_NAMES));
    format!("{}@{}", name.to_lowercase(), phrases::domain(dice))
}

pub(in crate::fake) fn url(dice: &mut Dice) -> String {
    format!("https://{}/{}", phrases::domain(dice), phrases::thing(dice))
}

pub(in crate::fake) fn person(dice: &mut Dice) -> String {
    format!("{} {}", dice.pick(words::FIRST_NAMES), dice.pick(words::LAST_NAMES))
}

fn user_name(dice: &mut Dice) -> String {
    format!("{}{}", dice.pick(words::FIRST_NAMES).to_lowercase(), dice.from(1, 999))
}

/// A version 4 UUID (RFC 9562, section 5.4).
pub(in crate::fake) fn uuid(dice: &mut Dice) -> Uuid {
    let bits = u128::from(dice.throw()) << 64 | u128::from(dice.throw());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

/// A day from 2015 to 2024, `2019-03-28`.
pub(in crate::fake) fn date(dice: &mut Dice) -> String {
    format!(
        "{}-{:02}-{:02}",
        dice.from(2015, 2024),
        dice.from(1, 12),
        dice.from(1, 28)
    )
}

/// A time of day, `08:30:00`.
pub(in crate::fake) fn time(dice: &mut Dice) -> String {
    format!("{:02}:{:02}:{:02}", dice.below(24), dice.below(60), dice.below(60))
}

/// A moment of RFC 3339, `2019-03-28T08:30:00Z`.
pub(in crate::fake) fn date_time(dice: &mut Dice) -> String {
    format!("{}T{}Z", date(dice), time(dice))
}

/// A number from `minimum` to `maximum` with two decimals at most: what prices look like.
pub(in crate::fake) fn number(minimum: f64, maximum: f64, dice: &mut Dice) -> Value {
    let exact = minimum + (maximum - minimum).max(0.0) * dice.unit();
    let rounded = (exact * 100.0).round() / 100.0;
    let value = if (minimum..=maximum).contains(&rounded) {
        rounded
    } else {
        exact
    };
    Number::from_f64(value).map_or_else(|| Value::from(0), Value::Number)
}

/// A whole number from `minimum` to `maximum`.
pub(in crate::fake) fn integer(minimum: i64, maximum: i64, dice: &mut Dice) -> i64 {
    let span = u128::from(maximum.max(minimum).abs_diff(minimum)) + 1;
    let offset = (u128::from(dice.throw()) * span) >> 64;
    minimum.wrapping_add_unsigned(u64::try_from(offset).unwrap_or(u64::MAX))
}

/// `home_city`, `homeCity` and `home-city` are the words `home` and `city`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for character in name.chars() {
        let starts = character.is_uppercase() && !before.is_uppercase();
        if (starts || !character.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
        before = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::super::dice::Stream;
    use super::*;

    #[test]
    fn names_hint_at_what_is_made_up() {
        let make = |name: &str, seed| text(name, &mut Dice::new(seed, Stream::Rows, 0));
        assert!(make("workEmail", 1).contains('@'));
        assert!(make("email_address", 1).contains('@'));
        assert!(make("homepage_url", 1).starts_with("https://"));
        assert!(words::FIRST_NAMES.contains(&make("firstName", 2).as_str()));
        assert_eq!(make("city", 3), make("city", 3));
        assert_eq!(words_of("userID_of-Homecity2"), ["user", "id", "of", "homecity2"]);
        assert!(!make("", 1).is_empty());
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let mut dice = Dice::new(5, Stream::Rows, 1);
        for _ in 0..200 {
            assert!((-2..=2).contains(&integer(-2, 2, &mut dice)));
            let number = number(0.001, 0.002, &mut dice).as_f64().unwrap();
            assert!((0.001..=0.002).contains(&number), "{number}");
        }
        let _ = (integer(i64::MIN, i64::MAX, &mut dice), integer(3, 1, &mut dice));
        assert_eq!(uuid(&mut dice).to_string().as_bytes()[14], b'4');
    }
}
