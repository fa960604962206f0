use super::*;
use crate::toxiproxy::json::Json;

fn kind(name: &str, attributes: &str) -> Kind {
    let mut kind = Kind::named(name).unwrap();
    kind.merge(&Json::first(attributes.as_bytes()).unwrap()).unwrap();
    kind
}

#[test]
fn toxics_are_faults() {
    let check = |name: &str, attributes: &str, expected: Result<Option<&str>, &str>| {
        let found = fault(&kind(name, attributes), Direction::Response).map(|fault| fault.map(|f| f.to_string()));
        let found = found.as_ref().map(Option::as_deref).map_err(String::as_str);
        assert_eq!(found, expected, "{name} {attributes}");
    };
    let delay = |time: &str| format!(r#"{{"delay":{{{time},"before":"message","direction":"response"}}}}"#);
    check("latency", "{}", Ok(None));
    check("latency", r#"{"latency":-5}"#, Ok(None));
    check("latency", r#"{"latency":100}"#, Ok(Some(&delay(r#""fixed":"100ms""#))));
    check(
        "latency",
        r#"{"latency":100,"jitter":-7}"#,
        Ok(Some(&delay(r#""fixed":"100ms""#))),
    );
    check(
        "latency",
        r#"{"latency":100,"jitter":30}"#,
        Ok(Some(&delay(r#""uniform":["70ms","130ms"]"#))),
    );
    check(
        "latency",
        r#"{"latency":10,"jitter":30}"#,
        Ok(Some(&delay(
            r#""percentiles":{"min":"0ms","p33.3333":"0ms","max":"40ms"}"#,
        ))),
    );
    check(
        "latency",
        r#"{"latency":30,"jitter":30}"#,
        Ok(Some(&delay(r#""uniform":["0ms","60ms"]"#))),
    );
    check("latency", r#"{"latency":-40,"jitter":30}"#, Ok(None));
    check(
        "latency",
        r#"{"latency":-29,"jitter":30}"#,
        Ok(Some(&delay(
            r#""percentiles":{"min":"0ms","p98.3333":"0ms","max":"1ms"}"#,
        ))),
    );
    check(
        "latency",
        r#"{"latency":9223372036854775807,"jitter":9223372036854775807}"#,
        Ok(Some(&delay(r#""uniform":["604800000ms","604800000ms"]"#))),
    );
    check("noop", "{}", Ok(None));
    check(
        "bandwidth",
        r#"{"rate":100}"#,
        Ok(Some(r#"{"bandwidth":{"response":"100kB/s","scope":"connection"}}"#)),
    );
    check("bandwidth", "{}", Ok(Some(r#"{"stall":{"direction":"response"}}"#)));
    check("bandwidth", r#"{"rate":-1}"#, Err("a rate can't be negative"));
    check("slow_close", "{}", Ok(None));
    check(
        "slow_close",
        r#"{"delay":1000}"#,
        Ok(Some(
            r#"{"delay":{"fixed":"1000ms","before":"end","direction":"response"}}"#,
        )),
    );
    check(
        "timeout",
        "{}",
        Ok(Some(
            r#"{"stall":{"discard":true,"end":"close","direction":"response"}}"#,
        )),
    );
    check(
        "timeout",
        r#"{"timeout":50}"#,
        Ok(Some(
            r#"{"stall":{"discard":true,"limit":"50ms","end":"close","direction":"response"}}"#,
        )),
    );
    check(
        "reset_peer",
        "{}",
        Ok(Some(
            r#"{"stall":{"limit":"10ms","end":"reset","direction":"response"}}"#,
        )),
    );
    check(
        "reset_peer",
        r#"{"timeout":50}"#,
        Ok(Some(
            r#"{"stall":{"limit":"50ms","end":"reset","direction":"response"}}"#,
        )),
    );
    check(
        "slicer",
        r#"{"average_size":64,"size_variation":32,"delay":10}"#,
        Ok(Some(
            r#"{"dribble":{"chunk":"64B","gap":"10us","direction":"response","vary":"32B"}}"#,
        )),
    );
    check(
        "slicer",
        r#"{"average_size":1,"size_variation":-32}"#,
        Ok(Some(r#"{"dribble":{"chunk":"1B","gap":"0us","direction":"response"}}"#)),
    );
    check(
        "slicer",
        "{}",
        Err("the average size of a slice must be at least 1 byte: set `average_size`"),
    );
    check(
        "slicer",
        r#"{"average_size":4,"size_variation":4}"#,
        Err("the size variation must be less than the average size"),
    );
    check(
        "limit_data",
        r#"{"bytes":-9}"#,
        Ok(Some(
            r#"{"truncate":{"after":"0B","end":"close","direction":"response"}}"#,
        )),
    );
    check("close", "{}", Ok(Some(r#"{"close":{}}"#)));
    check(
        "delay",
        r#"{"lognormal":{"median":"50ms","p99":"1s"}}"#,
        Ok(Some(
            r#"{"delay":{"lognormal":{"median":"50ms","p99":"1s"},"before":"message","direction":"response"}}"#,
        )),
    );
    check(
        "delay",
        r#"{"fixed":"1s","before":"request"}"#,
        Ok(Some(r#"{"delay":{"fixed":"1s","before":"request"}}"#)),
    );
    check(
        "stall",
        r#"{"direction":"request"}"#,
        Err("the direction is that of the toxic: use `stream`"),
    );
}

#[test]
fn the_stream_is_the_direction() {
    let found = fault(&kind("bandwidth", r#"{"rate":5}"#), Direction::Request);
    assert_eq!(
        found.unwrap().unwrap().to_string(),
        r#"{"bandwidth":{"request":"5kB/s","scope":"connection"}}"#
    );
}

#[test]
fn names_of_rules_are_valid_and_distinct() {
    assert_eq!(name("redis", "latency_downstream"), "redis/latency_downstream");
    let long = "ä".repeat(300);
    let (a, b) = (name(&long, "a"), name(&long, "b"));
    assert!(a.len() <= MAX_NAME && b.len() <= MAX_NAME && a != b, "{a}");
    assert_ne!(name("a\n", "t"), name("a\r", "t"));
    assert!(!name("a\n", "t").contains('\n'));
}

#[test]
fn the_toxicity_is_a_percentage() {
    let check = |toxicity: f32, expected: &str| {
        let kind = kind("reset_peer", "{}");
        let wish = Wish {
            proxy: "p",
            toxic: "t",
            kind: &kind,
            direction: Direction::Response,
            toxicity,
        };
        let found = text(&wish).unwrap().unwrap();
        assert_eq!(
            found,
            format!(
                r#"{{"name":"p/t","faults":[{{"stall":{{"limit":"10ms","end":"reset","direction":"response"}}}}]{expected}}}"#
            )
        );
        let rules = Rules::new(1, Metrics::new().unwrap());
        assert!(rules.compile(&wish, None).unwrap().is_some(), "{toxicity}");
    };
    check(1.0, "");
    check(7.0, "");
    check(0.2, r#","when":{"percentage":"20.0000%"}"#);
    check(-1.0, r#","when":{"percentage":"0.0000%"}"#);
}

#[test]
fn an_unchanged_rule_is_kept_with_its_state() {
    let rules = Rules::new(1, Metrics::new().unwrap());
    let compile = |attributes: &str, previous: Option<&Arc<Rule>>| {
        let kind = kind("truncate", attributes);
        let wish = Wish {
            proxy: "p",
            toxic: "t",
            kind: &kind,
            direction: Direction::Response,
            toxicity: 1.0,
        };
        rules.compile(&wish, previous).map(Option::unwrap)
    };
    let first = compile(r#"{"after":"1KiB"}"#, None).unwrap();
    let same = compile(r#"{"after":"1KiB"}"#, Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    let other = compile(r#"{"after":"2KiB"}"#, Some(&first)).unwrap();
    assert!(!Arc::ptr_eq(&first, &other));
    let mistake = compile(r#"{"aftre":"1KiB"}"#, None).unwrap_err();
    assert!(mistake.contains("after"), "{mistake}");
}

#[test]
fn clients_read_neither_files_nor_the_environment() {
    let rules = Rules::new(1, Metrics::new().unwrap());
    let compile = |attributes: &str| {
        let kind = kind("delay", attributes);
        let wish = Wish {
            proxy: "p",
            toxic: "t",
            kind: &kind,
            direction: Direction::Response,
            toxicity: 1.0,
        };
        rules.compile(&wish, None).unwrap_err()
    };
    let file = compile(r#"{"samples":"/etc/passwd","before":"body"}"#);
    assert!(file.contains("no files can be read"), "{file}");
    let variable = compile(r#"{"fixed":"${HOME}","before":"body"}"#);
    assert!(variable.contains("${HOME}"), "{variable}");
}

#[test]
fn every_toxic_compiles() {
    let rules = Rules::new(1, Metrics::new().unwrap());
    let most = i64::MAX;
    for (name, attributes, acts) in [
        ("latency", format!(r#"{{"latency":{most},"jitter":{most}}}"#), true),
        ("latency", r#"{"latency":100}"#.into(), true),
        ("bandwidth", "{}".into(), true),
        ("bandwidth", format!(r#"{{"rate":{most}}}"#), true),
        ("slow_close", format!(r#"{{"delay":{most}}}"#), true),
        ("timeout", "{}".into(), true),
        ("timeout", format!(r#"{{"timeout":{most}}}"#), true),
        ("reset_peer", "{}".into(), true),
        ("reset_peer", format!(r#"{{"timeout":{most}}}"#), true),
        ("slicer", r#"{"average_size":1}"#.into(), true),
        (
            "slicer",
            format!(
                r#"{{"average_size":{most},"size_variation":{},"delay":{most}}}"#,
                most - 1
            ),
            true,
        ),
        ("limit_data", "{}".into(), true),
        ("limit_data", format!(r#"{{"bytes":{most}}}"#), true),
        ("noop", "{}".into(), false),
        ("close", "{}".into(), true),
        ("hang", "{}".into(), true),
        ("profile", r#"{"name":"3g"}"#.into(), true),
        ("concurrency", r#"{"limit":8}"#.into(), true),
        ("corrupt", r#"{"bytes":"1%"}"#.into(), true),
    ] {
        for direction in [Direction::Request, Direction::Response] {
            let kind = kind(name, &attributes);
            let wish = Wish {
                proxy: "p",
                toxic: "t",
                kind: &kind,
                direction,
                toxicity: 0.5,
            };
            let rule = rules.compile(&wish, None).map(|rule| rule.is_some());
            assert_eq!(rule, Ok(acts), "{name} {attributes}");
        }
    }
}

#[test]
fn what_needs_a_request_is_refused() {
    let rules = Rules::new(1, Metrics::new().unwrap());
    let refused = |name: &str, attributes: &str| {
        let kind = kind(name, attributes);
        let wish = Wish {
            proxy: "p",
            toxic: "t",
            kind: &kind,
            direction: Direction::Response,
            toxicity: 1.0,
        };
        rules.compile(&wish, None).unwrap_err()
    };
    let moment = refused("delay", r#"{"fixed":"1s","before":"connection"}"#);
    assert!(moment.contains("leave out `before`"), "{moment}");
    let share = refused("truncate", r#"{"after":"50%"}"#);
    assert!(share.contains("length unknown"), "{share}");
    let profile = refused("profile", r#"{"name":"3g","x":1}"#);
    assert_eq!(profile, "a profile has one attribute, `name`, such as 3g");
}
