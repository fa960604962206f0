//! Resolves unquoted scalars by the core schema (YAML 1.2.2, section 10.3.2).

use super::Value;

/// Resolves a plain scalar to null, a boolean, a number, or else a text.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let (sign, unsigned) = match text.split_at_checked(1) {
        Some(("-", rest)) => (-1, rest),
        Some(("+", rest)) => (1, rest),
        _ => (1, text),
    };
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Value::Float(f64::INFINITY * f64::from(sign));
    }
    integer(text, unsigned, sign)
        .or_else(|| float(text, unsigned))
        .unwrap_or_else(|| Value::String(text.into()))
}

fn integer(text: &str, unsigned: &str, sign: i32) -> Option<Value> {
    let of_radix = |prefix: &str, radix| {
        let digits = text
            .strip_prefix(prefix)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
        i128::from_str_radix(digits, radix).ok()
    };
    let decimal = || {
        let digits = unsigned.bytes().all(|byte| byte.is_ascii_digit());
        unsigned
            .parse::<i128>()
            .ok()
            .filter(|_| digits)
            .map(|number| number * i128::from(sign))
    };
    let number = of_radix("0o", 8).or_else(|| of_radix("0x", 16)).or_else(decimal)?;
    (number >= i128::from(i64::MIN) && number <= i128::from(u64::MAX)).then_some(Value::Int(number))
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn float(text: &str, unsigned: &str) -> Option<Value> {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_is_fine = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_is_fine;
    text.parse().ok().filter(|_| number).map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` resolves to the value whose debug form this is.
    fn check(text: &str, expect: &str) {
        assert_eq!(format!("{:?}", resolve(text)), expect, "{text}");
    }

    #[test]
    fn core_schema() {
        for text in ["", "~", "null", "NULL"] {
            check(text, "Null");
        }
        check("true", "Bool(true)");
        check("FALSE", "Bool(false)");
        for (text, number) in [
            ("0", "0"),
            ("007", "7"),
            ("-12", "-12"),
            ("+5", "5"),
            ("0o17", "15"),
            ("0xfF", "255"),
        ] {
            check(text, &format!("Int({number})"));
        }
        check("18446744073709551615", "Int(18446744073709551615)");
        check("18446744073709551616", "Float(1.8446744073709552e19)");
        for (text, number) in [
            ("12.5", "12.5"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("1e3", "1000.0"),
            ("-.inf", "-inf"),
            (".nan", "NaN"),
        ] {
            check(text, &format!("Float({number})"));
        }
        for text in [
            "no",
            "on",
            "yes",
            "Yes",
            "0o8",
            "0xg",
            "-0x1",
            "0x+1",
            "0x-1",
            "1_000",
            "12:30",
            "1.2.3",
            ".",
            "+",
            "-",
            "e5",
            "1e",
            "inf",
            "nan",
            "2024-01-01",
            "5s",
        ] {
            check(text, &format!("String({text:?})"));
        }
    }
}
