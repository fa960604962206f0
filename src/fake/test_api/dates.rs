//! Dates as the original reads and writes them: ISO 8601 without a zone, in UTC.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use regex::Regex;
use serde_json::Value;
use time::{Date, Month, OffsetDateTime, Time};

/// Numbers above this are milliseconds, or finer; up to it they are seconds since 1970 (pydantic's watershed).
const MOST_SECONDS: f64 = 2e10;

static DATE_TIME: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the pattern is a constant, and the tests use it")]
    Regex::new(concat!(
        r"^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})[T ]([0-9]{1,2}):([0-9]{1,2})",
        r"(?::([0-9]{1,2})(?:\.[0-9]{1,12})?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?$"
    ))
    .expect("a valid pattern")
});

/// The time now, such as `2019-04-20T15:22:52.170947`.
pub(super) fn now() -> String {
    let now = SystemTime::now().max(UNIX_EPOCH);
    humantime::format_rfc3339_micros(now)
        .to_string()
        .trim_end_matches('Z')
        .to_owned()
}

/// The date, such as `2019-06-01`, of a date-time: a text like `2019-06-01 12:00:00`, or seconds or milliseconds since
/// 1970. `None` if it is not one.
pub(super) fn date_of(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => date_of_seconds(f64::from(u8::from(*value))),
        Value::Number(number) => date_of_seconds(number.as_f64()?),
        Value::String(text) => match text.trim().parse() {
            Ok(seconds) => date_of_seconds(seconds),
            Err(_) => date_of_text(text),
        },
        _ => None,
    }
}

fn date_of_text(text: &str) -> Option<String> {
    let captures = DATE_TIME.captures(text)?;
    let field = |index| captures.get(index).map_or(Some(0), |text| text.as_str().parse().ok());
    let year = captures.get(1)?.as_str().parse().ok()?;
    let date = Date::from_calendar_date(year, Month::try_from(field(2)?).ok()?, field(3)?).ok()?;
    Time::from_hms(field(4)?, field(5)?, field(6)?).ok()?;
    written(date)
}

fn date_of_seconds(mut seconds: f64) -> Option<String> {
    while seconds.is_finite() && seconds > MOST_SECONDS {
        seconds /= 1000.0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and such moments have no date"
    )]
    let moment = OffsetDateTime::from_unix_timestamp(seconds.floor() as i64);
    moment
        .ok()
        .filter(|_| !seconds.is_nan())
        .and_then(|moment| written(moment.date()))
}

/// Python has no year before 1.
fn written(date: Date) -> Option<String> {
    let (year, month, day) = date.to_calendar_date();
    (year > 0).then(|| format!("{year:04}-{:02}-{day:02}", u8::from(month)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn date_times_have_dates() {
        let check = |value, expected: Option<&str>| assert_eq!(date_of(&value).as_deref(), expected, "{value}");
        check(json!("2019-06-01T12:30:00.123456"), Some("2019-06-01"));
        check(json!("2019-6-1 1:2"), Some("2019-06-01"));
        check(json!("2020-02-29T00:00:00Z"), Some("2020-02-29"));
        check(json!("2019-06-01T00:00:00+02:00"), Some("2019-06-01"));
        check(json!(1_559_390_400), Some("2019-06-01"));
        check(json!(1_559_390_400_000_i64), Some("2019-06-01"));
        check(json!("1559390400"), Some("2019-06-01"));
        check(json!(-1), Some("1969-12-31"));
        check(json!(1e300), Some("2001-09-09"));
        for wrong in [
            "2019-06-01",
            "2019-02-29T00:00",
            "2019-13-01T00:00",
            "2019-01-01T24:00",
            "0000-01-01T00:00",
            "soon",
            "",
            "nan",
        ] {
            check(json!(wrong), None);
        }
        for wrong in [json!([]), json!({}), json!(-1e300), json!(-1e11), json!("inf")] {
            check(wrong, None);
        }
    }

    #[test]
    fn now_has_the_form_of_the_original() {
        let now = now();
        assert!(DATE_TIME.is_match(&now) && now.len() == 26, "{now}");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,30}", number: f64) {
            let _ = date_of(&json!(text));
            let _ = date_of(&json!(number));
        }
    }
}
