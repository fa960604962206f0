//! Numbers in JSON, compared by the value that their text has, however long it is.

use serde_json::Number;

/// The first number above those that fit in 64 bits.
const BEYOND: f64 = 18_446_744_073_709_551_616.0;

/// Whether the text of a number has this value. Every digit counts, except where `wanted` is beyond 64 bits, since its own digits
/// are lost there: then both are compared as 64-bit floats.
pub fn is_same(text: &str, wanted: &Number) -> bool {
    match wanted.as_f64() {
        Some(float) if wanted.is_f64() && float.abs() >= BEYOND => {
            text.parse::<f64>().is_ok_and(|value| value == float)
        }
        _ => {
            let value = Decimal::parse(text);
            value.is_some() && value == Decimal::parse(&wanted.to_string())
        }
    }
}

/// A decimal number: its digits without zeros at either end, and the power of ten that the last one stands for.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `None` if it is none, or has an exponent beyond all reason.
    fn parse(text: &str) -> Option<Decimal> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - significant.len()).ok()?;
        let digits = significant.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Decimal {
                is_negative: false,
                digits,
                exponent: 0,
            });
        }
        Some(Decimal {
            is_negative,
            digits,
            exponent: i64::from(exponent) - i64::try_from(fraction.len()).ok()? + zeros,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compared_by_value() {
        for (text, wanted, expect) in [
            ("5", "5.0", true),
            ("5.00", "5", true),
            ("0.5e1", "5", true),
            ("50E-1", "5", true),
            ("-0", "0", true),
            ("-5", "5", false),
            ("0.1", "0.10", true),
            ("1e400", "5", false),
            ("1e99999999999999999999", "5", false),
            ("9007199254740993", "9007199254740993", true),
            ("9007199254740993", "9007199254740992", false),
            ("9007199254740993", "9007199254740992.0", false),
            ("18446744073709551615", "18446744073709551615", true),
            ("18446744073709551617", "18446744073709551615", false),
            ("1e30", "1000000000000000000000000000000", true),
            ("x", "5", false),
        ] {
            let number: Number = serde_json::from_str(wanted).unwrap();
            assert_eq!(is_same(text, &number), expect, "{text} {wanted}");
        }
    }
}
