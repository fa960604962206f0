//! Dates as the original reads and writes them: ISO 8601 without a zone, in UTC.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use regex::Regex;
use serde_json::Value;

/// Numbers above this are milliseconds, or finer; up to it they are seconds since 1970 (pydantic's watershed).
const MOST_SECONDS: f64 = 2e10;

static DATE_TIME: LazyLock<Regex> = LazyLock::new(|| {
    #[allow(clippy::expect_used, reason = "the pattern is a constant, and the tests use it")]
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
    let field = |index| {
        captures
            .get(index)
            .map_or(Some(0_u32), |text| text.as_str().parse().ok())
    };
    let (year, month, day) = (field(1)?, field(2)?, field(3)?);
    let real_day = year > 0 && (1..=days_in(year, month)).contains(&day);
    let real_time = field(4)? < 24 && field(5)? < 60 && field(6)? < 60;
    (real_day && real_time).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// 0 for a month that does not exist.
fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    }
}

fn date_of_seconds(mut seconds: f64) -> Option<String> {
    if !seconds.is_finite() {
        return None;
    }
    while seconds > MOST_SECONDS {
        seconds /= 1000.0;
    }
    let days = (seconds / 86_400.0).floor();
    #[allow(clippy::cast_possible_truncation, reason = "the range was just checked")]
    let days = (-720_000.0..2_933_000.0).contains(&days).then_some(days as i64)?;
    let (year, month, day) = civil(days);
    (1..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Year, month and day of a number of days since 1970-01-01 in the proleptic Gregorian calendar, after Howard
/// Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>): years are counted from March
/// on in eras of 400 years, so that the leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
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
            "soon",
            "",
            "nan",
        ] {
            check(json!(wrong), None);
        }
        for wrong in [json!([]), json!({}), json!(-1e300), json!("inf")] {
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
        fn days_go_round(year in 1_i64..9999, month in 1_u32..=12, day in 1_u32..=31) {
            prop_assume!(day <= days_in(u32::try_from(year).unwrap(), month));
            let shifted = year - i64::from(month <= 2);
            let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
            let days = 365 * shifted + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400)
                + day_of_year - 719_468;
            prop_assert_eq!(civil(days), (year, i64::from(month), i64::from(day)));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,30}", number: f64) {
            let _ = date_of(&json!(text));
            let _ = date_of(&json!(number));
        }
    }
}
