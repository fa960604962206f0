//! Dates as SonarQube reads and writes them. The server's zone is two hours east of Greenwich all year.

use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};
use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

const ZONE: UtcOffset = offset!(+2);
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const DATE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]");

/// `2013-05-13T17:55:39+0200`, from seconds since 1970.
pub(super) fn date_time(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let time = time.to_offset(ZONE);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    // By hand, since a page has a thousand of them.
    format!(
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+0200",
        u8::from(month)
    )
}

/// The day, in days since 1970, on which a moment falls.
pub(super) fn day_of(seconds: i64) -> i64 {
    (seconds + i64::from(ZONE.whole_seconds())).div_euclid(86_400)
}

/// The date of a day since 1970.
pub(super) fn date_of(day: i64) -> Date {
    let date = OffsetDateTime::UNIX_EPOCH.checked_add(Duration::days(day));
    date.unwrap_or(OffsetDateTime::UNIX_EPOCH).date()
}

/// `2013-05-13T00:00:00+0200`
pub(super) fn midnight(date: Date) -> String {
    date_time(date.with_time(Time::MIDNIGHT).assume_offset(ZONE).unix_timestamp())
}

/// A span of the calendar.
#[derive(Clone, Copy)]
pub(super) enum Bucket {
    Day,
    /// From Monday.
    Week,
    Month,
    Year,
}

impl Bucket {
    /// The first day of the one in which `date` is.
    pub(super) fn start(self, date: Date) -> Date {
        let back = match self {
            Self::Day => 0,
            Self::Week => date.weekday().number_days_from_monday(),
            Self::Month => date.day() - 1,
            Self::Year => return Date::from_calendar_date(date.year(), Month::January, 1).unwrap_or(date),
        };
        date.checked_sub(Duration::days(i64::from(back))).unwrap_or(date)
    }
}

/// How a date without a time is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Start,
    /// The start of the next day.
    End,
}

/// Seconds since 1970 of `2017-10-19` or `2017-10-19T13:00:00+0200`.
///
/// # Errors
///
/// It is neither; in SonarQube's words.
pub(super) fn parse(text: &str, bound: Bound) -> Result<i64, String> {
    if let Ok(time) = OffsetDateTime::parse(text, DATE_TIME) {
        return Ok(time.unix_timestamp());
    }
    let date = Date::parse(text, DATE).ok();
    let date = date.and_then(|date| match bound {
        Bound::Start => Some(date),
        Bound::End => date.next_day(),
    });
    date.map(|date| date.with_time(Time::MIDNIGHT).assume_offset(ZONE).unix_timestamp())
        .ok_or_else(|| format!("Date '{text}' cannot be parsed as either a date or date+time"))
}

/// `1y2m3w4d` before `now`: the units in this order, at least one of them.
pub(super) fn before(now: OffsetDateTime, span: &str) -> Option<i64> {
    let (mut months, mut days) = (0_i64, 0_i64);
    let mut rest = span;
    let mut units: &[char] = &['y', 'm', 'w', 'd'];
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(end)?;
        let number = i64::from(number.parse::<u16>().ok()?);
        let mut characters = tail.chars();
        let unit = characters.next()?.to_ascii_lowercase();
        let place = units.iter().position(|known| *known == unit)?;
        units = units.get(place + 1..)?;
        match unit {
            'y' => months += 12 * number,
            'm' => months += number,
            'w' => days += 7 * number,
            _ => days += number,
        }
        rest = characters.as_str();
    }
    if span.is_empty() {
        return None;
    }
    months_before(now, months)?
        .checked_sub(Duration::days(days))
        .map(OffsetDateTime::unix_timestamp)
}

fn months_before(time: OffsetDateTime, months: i64) -> Option<OffsetDateTime> {
    let count = i64::from(time.year()) * 12 + i64::from(u8::from(time.month())) - 1 - months;
    let year = i32::try_from(count.div_euclid(12)).ok()?;
    let month = Month::try_from(u8::try_from(count.rem_euclid(12) + 1).ok()?).ok()?;
    let day = time.day().min(month.length(year));
    Some(time.replace_date(Date::from_calendar_date(year, month, day).ok()?))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn dates_are_read_as_they_are_written() {
        let time = parse("2013-05-13T17:55:39+0200", Bound::Start).unwrap();
        assert_eq!(date_time(time), "2013-05-13T17:55:39+0200");
        assert_eq!(parse("2013-05-13T15:55:39+0000", Bound::End), Ok(time));
    }

    #[test]
    fn a_date_is_a_day_in_the_zone_of_the_server() {
        let (start, end) = (parse("2017-10-19", Bound::Start), parse("2017-10-19", Bound::End));
        assert_eq!(date_time(start.unwrap()), "2017-10-19T00:00:00+0200");
        assert_eq!(date_time(end.unwrap()), "2017-10-20T00:00:00+0200");
        assert_eq!(date_of(day_of(1_508_371_200)).to_string(), "2017-10-19");
    }

    #[test]
    fn neither_milliseconds_nor_nonsense_are_dates() {
        for text in [
            "2007-09-08T21:21:02.125Z",
            "polop",
            "",
            "2017-02-30",
            "2017-10-19 13:00:00",
        ] {
            let expected = format!("Date '{text}' cannot be parsed as either a date or date+time");
            assert_eq!(parse(text, Bound::Start), Err(expected));
        }
    }

    #[test]
    fn spans_go_back_by_the_calendar() {
        let now = datetime!(2019-05-31 18:00:00 +02:00);
        let back = |span| before(now, span).map(date_time);
        assert_eq!(back("1m2w").unwrap(), "2019-04-16T18:00:00+0200");
        assert_eq!(back("3m").unwrap(), "2019-02-28T18:00:00+0200");
        assert_eq!(back("1Y1D").unwrap(), "2018-05-30T18:00:00+0200");
        for wrong in ["", "m", "1", "2w1m", "1m1m", "-1d", "1h", "99999999999d", "é"] {
            assert_eq!(back(wrong), None, "{wrong}");
        }
    }
}
