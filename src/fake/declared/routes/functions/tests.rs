use super::*;

#[test]
fn times_are_written_as_asked() {
    let at = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap();
    for (format, expect) in [
        ("%Y-%m-%dT%H:%M:%SZ", "2023-11-14T22:13:20Z"),
        ("http", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("date", "2023-11-14"),
        (
            "%y %I%p %3f %f %j %A %B %z %%",
            "23 10PM 123 123456 318 Tuesday November +0000 %",
        ),
    ] {
        assert_eq!(written(at, format).unwrap().as_str(), Some(expect), "{format}");
    }
    assert_eq!(written(at, "unix").unwrap(), Value::from(1_700_000_000));
    assert_eq!(written(at, "unix_ms").unwrap(), Value::from(1_700_000_000_123_i64));
    assert_eq!(shifted(at, "-1d").unwrap(), at - Duration::days(1));
    assert_eq!(shifted(at, "+1h30m").unwrap(), at + Duration::minutes(90));
    assert!(written(at, "%Q").is_err());
}
