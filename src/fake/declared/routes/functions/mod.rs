//! The functions and filters that templates have besides those of Jinja.
//!
//! | function | gives |
//! |---|---|
//! | `now()`, `now("%Y-%m-%d")`, `now(offset="-1d")` | the time, in UTC: RFC 3339, or as `unix`, `unix_ms`, `http`, or a pattern of `%Y %y %m %d %H %M %S %f %3f %j %a %A %b %B %p %I %z %Z %s %%`; some time before or after |
//! | `counter("name")` | 1, 2, 3 …: one count for each name, for all routes of the fake |
//! | `uuid()` | a UUID of version 4 |
//! | `random(1, 6)` | a whole number from the first to the last, or one with a fraction if either has one |
//! | `choice([1, 2])`, `boolean()`, `hex(8)` | one of a list; true or false; so many hexadecimal digits |
//! | `name()`, `first_name()`, `last_name()`, `email()`, `username()`, `phone()` | of a person |
//! | `company()`, `street()`, `city()`, `country()`, `postcode()`, `domain()`, `ip()` | of a place |
//! | `word()`, `sentence()`, `paragraph(3)` | texts |
//! | `date("2020-01-01", "2024-12-31")` | a day from the first to the last |
//! | `x \| base64`, `x \| base64_decode` | filters |
//!
//! Random data are a function of the seed, the route, the request's number and how many were drawn for it before: the same
//! requests in the same order get the same responses.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State};
use time::{Date, Duration, OffsetDateTime};

use super::facts::Root;
use crate::fake::made_up::dice::{Dice, Stream};
use crate::fake::made_up::{fields, phrases, words};
use crate::yaml::units::Time;

/// The most digits of `hex`.
const MAX_DIGITS: usize = 1024;

/// The most sentences of `paragraph`.
const MAX_SENTENCES: usize = 1000;

type FunctionResult = Result<Value, Error>;

/// Makes one thing up.
type Make = fn(&mut Dice) -> String;

/// Adds all of them.
pub(super) fn add(env: &mut Environment<'static>) {
    env.add_function("now", now);
    env.add_function("counter", |state: &State<'_, '_>, name: String| -> FunctionResult {
        Ok(Value::from(root(state)?.facts.counters.next(&name)))
    });
    env.add_function("random", random);
    env.add_function("choice", choice);
    env.add_function("date", date);
    env.add_function(
        "hex",
        |state: &State<'_, '_>, digits: Option<usize>| -> FunctionResult {
            let mut dice = dice(state)?;
            let digits = 0..digits.unwrap_or(8).min(MAX_DIGITS);
            let digit = |_| char::from_digit(u32::try_from(dice.below(16)).unwrap_or_default(), 16);
            Ok(Value::from(digits.filter_map(digit).collect::<String>()))
        },
    );
    env.add_function(
        "paragraph",
        |state: &State<'_, '_>, sentences: Option<usize>| -> FunctionResult {
            let sentences = sentences.unwrap_or(3).min(MAX_SENTENCES);
            Ok(Value::from(phrases::paragraph(&mut dice(state)?, sentences)))
        },
    );
    env.add_function("boolean", |state: &State<'_, '_>| {
        dice(state).map(|mut dice| dice.one_in(2))
    });
    let simple: &[(&'static str, Make)] = &[
        ("uuid", |dice| fields::uuid(dice).to_string()),
        ("name", fields::person),
        ("first_name", |dice| dice.pick(words::FIRST_NAMES).to_owned()),
        ("last_name", |dice| dice.pick(words::LAST_NAMES).to_owned()),
        ("username", |dice| {
            format!("{}{}", dice.pick(words::FIRST_NAMES).to_lowercase(), dice.from(1, 99))
        }),
        ("email", fields::email),
        ("phone", phrases::phone),
        ("company", phrases::company),
        ("street", |dice| phrases::capitalise(&phrases::address(dice))),
        ("city", |dice| phrases::capitalise(&phrases::city(dice))),
        ("country", |dice| phrases::capitalise(&phrases::country(dice))),
        ("postcode", |dice| phrases::postal(dice).to_uppercase()),
        ("domain", phrases::domain),
        // The network for documentation of RFC 5737, section 3.
        ("ip", |dice| format!("203.0.113.{}", dice.from(1, 254))),
        ("word", |dice| phrases::thing(dice).to_owned()),
        ("sentence", phrases::sentence),
    ];
    for (name, make) in simple {
        env.add_function(*name, |state: &State<'_, '_>| {
            dice(state).map(|mut dice| make(&mut dice))
        });
    }
    env.add_filter("base64", |text: String| STANDARD.encode(text));
    env.add_filter("base64_decode", |text: String| -> Result<String, Error> {
        let bytes = STANDARD.decode(text.trim()).map_err(|error| wrong(error.to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn root(state: &State<'_, '_>) -> Result<Arc<Root>, Error> {
    let root = state.lookup(Root::NAME).and_then(|root| root.downcast_object::<Root>());
    root.ok_or_else(|| wrong("there is no request"))
}

fn dice(state: &State<'_, '_>) -> Result<Dice, Error> {
    let (key, index) = root(state)?.luck.next();
    Ok(Dice::new(key, Stream::Templates, index))
}

fn random(state: &State<'_, '_>, first: Value, last: Value) -> FunctionResult {
    let mut dice = dice(state)?;
    if first.is_integer()
        && last.is_integer()
        && let (Some(first), Some(last)) = (first.as_i64(), last.as_i64())
    {
        if first > last {
            return Err(wrong(format!(
                "random({first}, {last}): the first number is greater than the last"
            )));
        }
        let width = usize::try_from(i128::from(last) - i128::from(first) + 1).unwrap_or(usize::MAX);
        let step = i64::try_from(dice.below(width)).unwrap_or_default();
        return Ok(Value::from(first.saturating_add(step)));
    }
    let (Ok(first), Ok(last)) = (f64::try_from(first), f64::try_from(last)) else {
        return Err(wrong("random(first, last) needs two numbers"));
    };
    Ok(Value::from(first + (last - first) * dice.unit()))
}

fn choice(state: &State<'_, '_>, list: Value) -> FunctionResult {
    let items: Vec<Value> = list.try_iter()?.collect();
    let chosen = dice(state)?.below(items.len());
    items
        .get(chosen)
        .cloned()
        .ok_or_else(|| wrong("choice of an empty list"))
}

fn date(state: &State<'_, '_>, first: String, last: String) -> FunctionResult {
    let (first, last) = (parse_day(&first)?, parse_day(&last)?);
    let days = (last - first).whole_days();
    let Ok(width) = usize::try_from(days + 1) else {
        return Err(wrong("date(first, last): the first is after the last"));
    };
    let step = i64::try_from(dice(state)?.below(width)).unwrap_or_default();
    let day = first.checked_add(Duration::days(step)).unwrap_or(last);
    Ok(Value::from(day.to_string()))
}

fn parse_day(text: &str) -> Result<Date, Error> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, &format)
        .map_err(|_| wrong(format!("`{text}` is not a valid date: use a form such as 2024-12-31")))
}

fn now(format: Option<String>, options: Kwargs) -> FunctionResult {
    let named: Option<String> = options.get("format")?;
    let offset: Option<String> = options.get("offset")?;
    options.assert_all_used()?;
    let now = OffsetDateTime::from(SystemTime::now());
    let moved = match offset {
        Some(offset) => shifted(now, &offset)?,
        None => now,
    };
    let format = format.or(named);
    written(moved, format.as_deref().unwrap_or("%Y-%m-%dT%H:%M:%SZ"))
}

fn shifted(now: OffsetDateTime, offset: &str) -> Result<OffsetDateTime, Error> {
    let (back, length) = match offset.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, offset.strip_prefix('+').unwrap_or(offset)),
    };
    let length: Time = length.trim().parse().map_err(|error| wrong(format!("{error}")))?;
    let moved = if back {
        now.checked_sub(Duration::try_from(length.get()).unwrap_or_default())
    } else {
        now.checked_add(Duration::try_from(length.get()).unwrap_or_default())
    };
    moved.ok_or_else(|| wrong("the time is out of range"))
}

fn written(at: OffsetDateTime, format: &str) -> FunctionResult {
    Ok(match format {
        "unix" => Value::from(at.unix_timestamp()),
        "unix_ms" => Value::from(i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()),
        // RFC 9110, section 5.6.7.
        "http" => Value::from(strftime(at, "%a, %d %b %Y %H:%M:%S GMT")?),
        "date" => Value::from(strftime(at, "%Y-%m-%d")?),
        "time" => Value::from(strftime(at, "%H:%M:%S")?),
        pattern => Value::from(strftime(at, pattern)?),
    })
}

fn strftime(at: OffsetDateTime, pattern: &str) -> Result<String, Error> {
    use std::fmt::Write as _;

    let (month, weekday) = (at.month().to_string(), at.weekday().to_string());
    let short = |name: &str| name.chars().take(3).collect::<String>();
    let mut text = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let _infallible = match rest.next() {
            Some('Y') => write!(text, "{:04}", at.year()),
            Some('y') => write!(text, "{:02}", at.year().rem_euclid(100)),
            Some('m') => write!(text, "{:02}", u8::from(at.month())),
            Some('d') => write!(text, "{:02}", at.day()),
            Some('H') => write!(text, "{:02}", at.hour()),
            Some('I') => write!(text, "{:02}", (at.hour() + 11) % 12 + 1),
            Some('p') => write!(text, "{}", if at.hour() < 12 { "AM" } else { "PM" }),
            Some('M') => write!(text, "{:02}", at.minute()),
            Some('S') => write!(text, "{:02}", at.second()),
            Some('f') => write!(text, "{:06}", at.microsecond()),
            Some('3') if rest.next() == Some('f') => write!(text, "{:03}", at.millisecond()),
            Some('j') => write!(text, "{:03}", at.ordinal()),
            Some('a') => write!(text, "{}", short(&weekday)),
            Some('A') => write!(text, "{weekday}"),
            Some('b') => write!(text, "{}", short(&month)),
            Some('B') => write!(text, "{month}"),
            Some('z') => write!(text, "+0000"),
            Some('Z') => write!(text, "UTC"),
            Some('s') => write!(text, "{}", at.unix_timestamp()),
            Some('%') => write!(text, "%"),
            other => {
                let letter = other.map(String::from).unwrap_or_default();
                return Err(wrong(format!("`%{letter}` is not a valid time format")));
            }
        };
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
