//! Quantities in the YAML: durations, percentages, sizes and rates.
//!
//! Each is read by exact decimal arithmetic: `0.1%` is exactly 1,000 parts per million, and `1.1ms` exactly 1,100,000 ns. A
//! value that a unit can't hold exactly is an error, and is not rounded. `Display` writes the canonical form, which reads
//! back as an equal value.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A length of time, from 0 to 365 days, in whole nanoseconds: `200ms`, `1.5s`, `1m30s`, `0`.
///
/// Units are `ns`, `us` (or `µs`), `ms`, `s`, `m`, `h` and `d`, the larger ones first. A bare number other than 0 is an
/// error, since its unit would be ambiguous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// A time of zero.
    pub const ZERO: Self = Self(Duration::ZERO);
    /// The longest time: 365 days.
    pub const MAX: Self = Self(Duration::from_secs(365 * 24 * 60 * 60));

    /// A time of whole milliseconds; the widest argument is 50 days, so this can't fail.
    pub const fn from_millis(milliseconds: u32) -> Self {
        Self(Duration::from_millis(milliseconds as u64))
    }

    /// Converts a duration; [`Self::MAX`] if it is longer.
    pub fn saturating(duration: Duration) -> Self {
        Self(duration.min(Self::MAX.0))
    }

    /// The time as a standard `Duration`.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<Duration> for Time {
    type Error = UnitError;

    /// Fails above [`Time::MAX`].
    fn try_from(duration: Duration) -> Result<Self, UnitError> {
        if duration > Self::MAX.0 {
            return fail("a duration can be at most 365d");
        }
        Ok(Self(duration))
    }
}

/// The units of time with their nanoseconds, the largest first.
const TIME_UNITS: [(&str, u128); 9] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

impl FromStr for Time {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let (mut rest, mut total, mut smallest) = (text, 0_u128, u128::MAX);
        loop {
            let help = "use a number and a unit: 200ms, 1.5s, 1m30s";
            let (number, after) = Decimal::read(rest, text, "duration", help)?;
            let (unit, after) = split_unit(after);
            if unit.is_empty() {
                return match number.digits {
                    0 if rest == text && after.is_empty() => Ok(Self::ZERO),
                    _ => fail(format!("the duration {} needs a unit: 200ms, 2s, 1m", quoted(text))),
                };
            }
            let nanoseconds = find_unit(&TIME_UNITS, unit)
                .ok_or_else(|| invalid(unit, "unit of time", "use ns, us, ms, s, m, h or d"))?;
            if nanoseconds >= smallest {
                return fail(format!(
                    "the units in {} must go from large to small: 1h30m",
                    quoted(text)
                ));
            }
            let part = match number.times(nanoseconds) {
                Err(Inexact::Fraction) => return fail(format!("{} is finer than a nanosecond", quoted(text))),
                Err(Inexact::Overflow) => u128::MAX,
                Ok(part) => part,
            };
            total = total.saturating_add(part);
            if after.is_empty() {
                return Self::try_from(Duration::from_nanos(u64::try_from(total).unwrap_or(u64::MAX)));
            }
            (rest, smallest) = (after, nanoseconds);
        }
    }
}

impl fmt::Display for Time {
    /// Days, hours and minutes as whole numbers, then the rest in its largest unit: `1m30s`, `1.5s`, `200ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nanoseconds = self.0.as_nanos();
        if nanoseconds == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in TIME_UNITS.iter().filter(|(unit, _)| unit.is_ascii()) {
            if nanoseconds < *size {
                continue;
            }
            if matches!(*unit, "d" | "h" | "m") {
                write!(f, "{}{unit}", nanoseconds / size)?;
                nanoseconds %= size;
            } else {
                return write!(f, "{}{unit}", Ratio(nanoseconds, *size));
            }
        }
        Ok(())
    }
}

/// A share from 0 to 100 %, in steps of 0.0001 % (one part in a million).
///
/// Written `12.5`, `"12.5%"` or `"12.5"`. It is always per hundred: `0.5` means half a percent, not a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentage(u32);

impl Percentage {
    /// The whole: 100 %.
    pub const ALL: Self = Self(1_000_000);
    /// None of them: 0 %.
    pub const NONE: Self = Self(0);

    /// The share of this many parts per million; more than 1,000,000 counts as 100 %.
    pub const fn from_ppm(ppm: u32) -> Self {
        if ppm > Self::ALL.0 { Self::ALL } else { Self(ppm) }
    }

    /// Parts per million, 0 to 1,000,000.
    pub const fn ppm(self) -> u32 {
        self.0
    }
}

impl FromStr for Percentage {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let out_of_range = || fail(format!("a percentage must be from 0 to 100, not {}", quoted(text)));
        if text.starts_with('-') {
            return out_of_range();
        }
        let help = "use 0 to 100, such as 12.5%";
        let (number, after) = Decimal::read(text, text, "percentage", help)?;
        if !matches!(after.trim_start(), "" | "%") {
            return Err(invalid(text, "percentage", help));
        }
        match number.times(10_000).map(u32::try_from) {
            Ok(Ok(ppm)) if ppm <= Self::ALL.0 => Ok(Self(ppm)),
            Err(Inexact::Fraction) => fail(format!(
                "a percentage must be from 0 to 100 in steps of 0.0001, not {}",
                quoted(text)
            )),
            _ => out_of_range(),
        }
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", Ratio(u128::from(self.0), 10_000))
    }
}

/// A [`Percentage`] that always has its percent sign: `12.5%`. Without one, `0.5` could as well mean a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(Percentage);

impl Share {
    /// The whole: 100 %.
    pub const ALL: Self = Self(Percentage::ALL);

    /// The share as a percentage.
    pub const fn get(self) -> Percentage {
        self.0
    }

    /// Parts per million, 0 to 1,000,000.
    pub const fn ppm(self) -> u32 {
        self.0.ppm()
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let percentage: Percentage = text.parse()?;
        if text.trim_end().ends_with('%') {
            return Ok(Self(percentage));
        }
        let all = u128::from(Percentage::ALL.0);
        let hundredfold = u128::from(percentage.0) * 100;
        let either = match hundredfold {
            1.. if hundredfold <= all => format!(" or {}%", Ratio(hundredfold, 10_000)),
            _ => String::new(),
        };
        fail(format!(
            "the share {} needs a percent sign: {percentage}{either}",
            quoted(text)
        ))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of bytes: `64B`, `1KiB` (1,024), `1kB` or `1KB` (1,000), `10MiB`; a bare integer is bytes.
///
/// Fractions are fine where they make whole bytes (`1.5KiB`). The units are `B`, `kB`, `MB`, `GB`, `TB` and `KiB`, `MiB`,
/// `GiB`, `TiB`; the range is that of 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The size of this many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The units of data with their bytes, in the order in which `Display` tries them.
const SIZE_UNITS: [(&str, u128); 11] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("kiB", 1 << 10),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let (number, unit) = Decimal::read(text, text, "size", "use bytes, or a number and a unit: 64KiB")?;
        let bytes = match unit.trim_start() {
            "" => 1,
            unit => find_unit(&SIZE_UNITS, unit).ok_or_else(|| {
                let help = "use B, KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB (1000)";
                invalid(unit, "unit of size", help)
            })?,
        };
        match number.times(bytes).map(u64::try_from) {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Err(Inexact::Fraction) => fail(format!("{} is not a whole number of bytes", quoted(text))),
            _ => fail(format!("the size {} is out of range", quoted(text))),
        }
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit of which it is a multiple, of those of 1,024 first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.0);
        let divides = |size: u128| bytes != 0 && bytes % size == 0;
        let (unit, size) = SIZE_UNITS.iter().find(|(_, size)| divides(*size)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", bytes / size)
    }
}

/// A speed in whole bytes a second, at least 1: `64KiB/s`, `500kbit/s`, `10Mbit/s`.
///
/// Units are those of [`ByteSize`] and `bit`, `kbit`, `Mbit`, `Gbit`, `Tbit` (1,000) and `Kibit`, `Mibit`, `Gibit`, `Tibit`
/// (1,024), each followed by `/s`. A bare number is an error, since bits and bytes differ by eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(NonZeroU64);

impl ByteRate {
    /// The rate of this many bytes per second.
    pub const fn from_bytes_per_second(bytes: NonZeroU64) -> Self {
        Self(bytes)
    }

    /// Bytes per second, at least 1.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Bytes per second, as a non-zero type.
    pub const fn get_nonzero(self) -> NonZeroU64 {
        self.0
    }
}

/// The units that count bits, with their bits.
const BIT_UNITS: [(&str, u128); 10] = [
    ("bit", 1),
    ("kbit", 1_000),
    ("Kbit", 1_000),
    ("Mbit", 1_000_000),
    ("Gbit", 1_000_000_000),
    ("Tbit", 1_000_000_000_000),
    ("Kibit", 1 << 10),
    ("Mibit", 1 << 20),
    ("Gibit", 1 << 30),
    ("Tibit", 1 << 40),
];

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let help = "use a number and a unit: 64KiB/s, 10Mbit/s";
        let (number, unit) = Decimal::read(text, text, "rate", help)?;
        let unit = unit.trim().strip_suffix("/s").unwrap_or_default().trim_end();
        if unit.is_empty() {
            return fail(format!("the rate {} needs a unit: 64KiB/s, 500kbit/s", quoted(text)));
        }
        let bits = find_unit(&BIT_UNITS, unit)
            .or_else(|| find_unit(&SIZE_UNITS, unit).map(|bytes| bytes * 8))
            .ok_or_else(|| invalid(unit, "unit of data", "use B/s, KiB/s, kB/s, kbit/s, Mbit/s…"))?;
        let bytes = match number.times(bits) {
            Ok(bits) if bits % 8 == 0 => u64::try_from(bits / 8).ok(),
            Ok(_) | Err(Inexact::Fraction) => {
                return fail(format!("{} is not a whole number of bytes a second", quoted(text)));
            }
            Err(Inexact::Overflow) => None,
        };
        match bytes.map(NonZeroU64::new) {
            Some(Some(rate)) => Ok(Self(rate)),
            Some(None) => fail("a rate must be at least 1B/s: to stop, use `stall`"),
            None => fail(format!("the rate {} is out of range", quoted(text))),
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0.get()))
    }
}

/// Why a text is not a valid quantity: a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

fn fail<T>(message: impl Into<String>) -> Result<T, UnitError> {
    Err(UnitError(message.into()))
}

fn invalid(text: &str, what: &str, help: &str) -> UnitError {
    UnitError(format!("{} is not a valid {what}: {help}", quoted(text)))
}

/// A decimal number, held exactly: `digits / 10^scale`.
struct Decimal {
    digits: u128,
    scale: u32,
}

/// Why there is no exact multiple.
enum Inexact {
    Fraction,
    Overflow,
}

impl Decimal {
    /// The number at the start of `rest`, which is in `text`, a `what`, and what follows it.
    fn read<'a>(rest: &'a str, text: &str, what: &str, help: &str) -> Result<(Self, &'a str), UnitError> {
        if rest.strip_prefix('-').is_some_and(|rest| Self::split(rest).is_some()) {
            return fail(format!("a {what} can't be negative"));
        }
        Self::split(rest).ok_or_else(|| invalid(text, what, help))
    }

    /// The unsigned number at the start of `text` (`12`, `12.5`), and what follows it. `None` also above 30 digits.
    fn split(text: &str) -> Option<(Self, &str)> {
        let digits_from = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = text.split_at_checked(digits_from(text))?;
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(after) => after
                .split_at_checked(digits_from(after))
                .filter(|(fraction, _)| !fraction.is_empty())?,
            None => ("", rest),
        };
        let fraction = fraction.trim_end_matches('0');
        if whole.is_empty() || whole.len() + fraction.len() > 30 {
            return None;
        }
        let mut digits = 0_u128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            digits = digits
                .checked_mul(10)?
                .checked_add(u128::from(digit.wrapping_sub(b'0')))?;
        }
        Some((
            Self {
                digits,
                scale: u32::try_from(fraction.len()).ok()?,
            },
            rest,
        ))
    }

    fn times(&self, factor: u128) -> Result<u128, Inexact> {
        let product = self.digits.checked_mul(factor).ok_or(Inexact::Overflow)?;
        let divisor = 10_u128.checked_pow(self.scale).ok_or(Inexact::Overflow)?;
        if product % divisor == 0 {
            Ok(product / divisor)
        } else {
            Err(Inexact::Fraction)
        }
    }
}

/// `.0 / .1` written as a decimal; `.1` is a power of ten.
struct Ratio(u128, u128);

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / self.1, self.0 % self.1);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        // Adding the divisor keeps the zeros after the point: for 1.005 the fraction is `1005` without its first digit.
        let padded = (self.1 + fraction).to_string();
        write!(
            f,
            "{whole}.{}",
            padded.get(1..).unwrap_or_default().trim_end_matches('0')
        )
    }
}

/// The word before the next digit or space, and what follows it.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text
        .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
        .unwrap_or(text.len());
    let (unit, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (unit, rest.trim_start())
}

fn find_unit(units: &[(&str, u128)], wanted: &str) -> Option<u128> {
    units.iter().find(|(unit, _)| *unit == wanted).map(|(_, size)| *size)
}

/// Quotes a text in backticks, shortened so that messages stay on one line.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

/// Reads a quantity from a string, or from a number's decimal text: a YAML `12.5` is the text `12.5`.
struct FromText<T> {
    expecting: &'static str,
    result: PhantomData<T>,
}

impl<T: FromStr<Err = UnitError>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        // `Display` writes the shortest digits that mean this number, so 0.1 is the text `0.1` again.
        self.visit_str(&number.to_string())
    }
}

macro_rules! written_as_text {
    ($type:ident, $expecting:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(FromText {
                    expecting: $expecting,
                    result: PhantomData,
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

// Every pattern also allows a text with `${`, since the value of a variable is known only when the file is loaded.
written_as_text!(Time, "a duration such as 200ms", {
    "description": "A duration: 200ms, 1.5s, 1m30s, 0",
    "type": ["string", "number"],
    "pattern": "^(0|([0-9]+(\\.[0-9]+)? ?(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h|d) ?)+)$|\\$\\{",
    "minimum": 0,
    "maximum": 0,
});
written_as_text!(Percentage, "a percentage such as 12.5%", {
    "description": "A percentage from 0 to 100: 12.5 or 12.5%",
    "type": ["string", "number"],
    "pattern": "^[0-9]+(\\.[0-9]+)? ?%?$|\\$\\{",
    "minimum": 0,
    "maximum": 100,
});
written_as_text!(Share, "a share such as 12.5%", {
    "description": "A share from 0% to 100%: 12.5%",
    "type": "string",
    "pattern": "^[0-9]+(\\.[0-9]+)? ?%$|\\$\\{",
});
written_as_text!(ByteSize, "a size such as 64KiB", {
    "description": "A size: 64B, 1KiB (1024), 1kB (1000), 10MiB; a bare integer is bytes",
    "type": ["string", "integer"],
    "pattern": "^[0-9]+(\\.[0-9]+)? ?(B|[kKMGT]B|[kKMGT]iB)?$|\\$\\{",
    "minimum": 0,
});
written_as_text!(ByteRate, "a rate such as 64KiB/s", {
    "description": "A rate: 64KiB/s, 500kbit/s, 10Mbit/s",
    "type": "string",
    "pattern": "^[0-9]+(\\.[0-9]+)? ?([kKMGT]?i?B|[kKMGT]?i?bit) ?/s$|\\$\\{",
});

#[cfg(test)]
mod tests;
