use super::*;
use proptest::prelude::*;

/// `text` reads as what `expect` says: the canonical form, or a part of the error.
fn check<T: FromStr<Err = UnitError> + fmt::Display>(text: &str, expect: Result<&str, &str>) {
    match (text.parse::<T>(), expect) {
        (Ok(value), Ok(canonical)) => assert_eq!(value.to_string(), canonical, "{text}"),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
        (got, _) => panic!("{text}: {:?} instead of {expect:?}", got.map(|value| value.to_string())),
    }
}

#[test]
fn times() {
    for (text, canonical) in [
        ("200ms", "200ms"),
        ("1.5s", "1.5s"),
        ("1500ms", "1.5s"),
        ("1.005s", "1.005s"),
        ("1m30s", "1m30s"),
        ("1m 30s", "1m30s"),
        ("90 s", "1m30s"),
        ("2h", "2h"),
        ("0.5h", "30m"),
        ("1h0.5s", "1h500ms"),
        ("0", "0s"),
        ("0.0", "0s"),
        ("0s", "0s"),
        ("1.5µs", "1.5us"),
        ("2μs", "2us"),
        ("7ns", "7ns"),
        ("0.1ms", "100us"),
        ("365d", "365d"),
        ("26h", "1d2h"),
    ] {
        check::<Time>(text, Ok(canonical));
    }
    for (text, part) in [
        ("200", "needs a unit: 200ms, 2s, 1m"),
        ("1m30", "needs a unit: 200ms, 2s, 1m"),
        ("1s0", "needs a unit"),
        ("-1s", "can't be negative"),
        ("-5", "can't be negative"),
        ("", "is not a valid duration"),
        ("fast", "is not a valid duration"),
        ("1.s", "is not a valid duration"),
        ("1e3s", "`e` is not a valid unit of time"),
        ("1M", "`M` is not a valid unit of time: use ns, us, ms, s, m, h or d"),
        ("1s1m", "from large to small"),
        ("1s1s", "from large to small"),
        ("0.1ns", "finer than a nanosecond"),
        ("365d1ns", "at most 365d"),
        ("999999999999999999999999999999d", "at most 365d"),
        ("99999999999999999999999d", "at most 365d"),
    ] {
        check::<Time>(text, Err(part));
    }
}

#[test]
fn percentages() {
    for (text, canonical) in [
        ("12.5", "12.5%"),
        ("12.5%", "12.5%"),
        ("0.1%", "0.1%"),
        ("100", "100%"),
        ("0", "0%"),
        ("0.0001 %", "0.0001%"),
    ] {
        check::<Percentage>(text, Ok(canonical));
    }
    for text in [
        "100.0001",
        "101",
        "-1",
        "0.00001",
        "half",
        "",
        "%",
        "5%%",
        "1e2",
        "NaN",
        "99999999999999999999999999999",
    ] {
        check::<Percentage>(text, Err("0 to 100"));
    }
    assert_eq!("0.1%".parse::<Percentage>().unwrap().ppm(), 1_000);
    assert_eq!(Percentage::from_ppm(u32::MAX), Percentage::ALL);
}

#[test]
fn sizes_and_rates() {
    for (text, canonical) in [
        ("64B", "64B"),
        ("64", "64B"),
        ("1KiB", "1KiB"),
        ("1kB", "1kB"),
        ("1KB", "1kB"),
        ("1.5KiB", "1536B"),
        ("10 MiB", "10MiB"),
        ("0", "0B"),
        ("18446744073709551615", "18446744073709551615B"),
    ] {
        check::<ByteSize>(text, Ok(canonical));
    }
    for (text, part) in [
        ("-1", "can't be negative"),
        ("1.5", "not a whole number of bytes"),
        ("1K", "not a valid unit of size"),
        ("big", "is not a valid size"),
        ("18446744073709551616", "out of range"),
    ] {
        check::<ByteSize>(text, Err(part));
    }
    for (text, canonical) in [
        ("64KiB/s", "64KiB/s"),
        ("500kbit/s", "62500B/s"),
        ("10Mbit/s", "1250kB/s"),
        ("33.6kbit/s", "4200B/s"),
        ("1 MB/s", "1MB/s"),
    ] {
        check::<ByteRate>(text, Ok(canonical));
    }
    for (text, part) in [
        ("64", "needs a unit: 64KiB/s"),
        ("64KiB", "needs a unit: 64KiB/s"),
        ("64/s", "needs a unit: 64KiB/s"),
        ("0B/s", "at least 1B/s"),
        ("1bit/s", "whole number of bytes"),
        ("1mbit/s", "not a valid unit of data"),
        ("-1B/s", "can't be negative"),
    ] {
        check::<ByteRate>(text, Err(part));
    }
}

#[test]
fn serde_takes_strings_and_numbers() {
    assert_eq!(serde_json::from_str::<Percentage>("12.5").unwrap().ppm(), 125_000);
    assert_eq!(serde_json::from_str::<Percentage>("\"7%\"").unwrap().ppm(), 70_000);
    assert_eq!(serde_json::from_str::<Time>("0").unwrap(), Time::ZERO);
    assert_eq!(serde_json::from_str::<ByteSize>("64").unwrap().get(), 64);
    assert_eq!(serde_json::to_string(&Time::from_millis(1500)).unwrap(), "\"1.5s\"");
    let error = serde_json::from_str::<Time>("2").unwrap_err().to_string();
    assert!(error.contains("needs a unit: 200ms, 2s, 1m"), "{error}");
    let error = serde_json::from_str::<Time>("[]").unwrap_err().to_string();
    assert!(error.contains("expected a duration such as 200ms"), "{error}");
}

fn matches_schema<T: JsonSchema>(text: &str) -> bool {
    let schema = schemars::schema_for!(T);
    regex::Regex::new(schema.get("pattern").unwrap().as_str().unwrap())
        .unwrap()
        .is_match(text)
}

#[test]
fn schemas_admit_variables() {
    assert!(matches_schema::<Time>("${WAIT:-1s}") && !matches_schema::<Time>("5"));
    assert!(matches_schema::<Percentage>("${SHARE}%") && !matches_schema::<Percentage>("half"));
    assert!(matches_schema::<ByteSize>("${N}KiB") && !matches_schema::<ByteSize>("1K"));
    assert!(matches_schema::<ByteRate>("${N}") && !matches_schema::<ByteRate>("64"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "\\PC*|[-0-9. ]{0,40}[a-zA-Zµ%/]{0,5}[0-9.]{0,4}[a-z]{0,2}") {
        let _ = text.parse::<Time>();
        let _ = text.parse::<Percentage>();
        let _ = text.parse::<ByteSize>();
        let _ = text.parse::<ByteRate>();
    }

    #[test]
    fn canonical_forms_read_back(nanoseconds in 0..=31_536_000_000_000_000_u64, ppm in 0..=1_000_000_u32, bytes: u64, unit in 0..9_usize) {
        let nanoseconds = Duration::from_nanos(nanoseconds / 10_u64.pow(unit as u32) * 10_u64.pow(unit as u32));
        let time = Time::try_from(nanoseconds).unwrap();
        prop_assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        prop_assert!(matches_schema::<Time>(&time.to_string()));
        let share = Percentage::from_ppm(ppm);
        prop_assert_eq!(share.to_string().parse::<Percentage>().unwrap(), share);
        prop_assert!(matches_schema::<Percentage>(&share.to_string()));
        let number: f64 = f64::from(ppm) / 10_000.0;
        prop_assert_eq!(serde_json::from_str::<Percentage>(&number.to_string()).unwrap(), share);
        for bytes in [bytes, bytes >> 20 << 20, bytes / 1_000_000 * 1_000_000] {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
            prop_assert!(matches_schema::<ByteSize>(&size.to_string()));
            if let Some(bytes) = NonZeroU64::new(bytes) {
                let rate = ByteRate::from_bytes_per_second(bytes);
                prop_assert_eq!(rate.to_string().parse::<ByteRate>().unwrap(), rate);
                prop_assert!(matches_schema::<ByteRate>(&rate.to_string()));
            }
        }
    }
}
