use super::*;
use crate::yaml::report::{Report, Sources};
use crate::yaml::tree;
use crate::yaml::units::{ByteSize, Percentage, Time};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Default, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    seed: Option<u64>,
    port: u16,
    token: Option<String>,
    rules: Vec<Rule>,
    upstreams: Named<Upstream>,
    ratio: f64,
    on: bool,
    pair: Option<(Time, Time)>,
    modes: Vec<Mode>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: Spanned<String>,
    #[serde(default)]
    share: Option<Spanned<Percentage>>,
    #[serde(default)]
    faults: Vec<Fault>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Upstream {
    address: String,
    size: Option<ByteSize>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Add,
    RoundRobin,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Fault {
    Delay(Delay),
    Abort(Abort),
    Reset(Reset),
    Nothing,
}

#[derive(Debug, PartialEq, Default, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Reset {
    code: Option<u8>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(try_from = "RawAbort")]
struct Abort {
    status: u16,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawAbort {
    status: Option<u16>,
    grpc: Option<String>,
}

impl TryFrom<RawAbort> for Abort {
    type Error = String;

    fn try_from(raw: RawAbort) -> Result<Self, String> {
        match (raw.status, raw.grpc) {
            (Some(status), None) => Ok(Self { status }),
            (None, None) => Err("an abort needs `status` or `grpc`".into()),
            _ => Err("`status` and `grpc` exclude each other".into()),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, schemars::JsonSchema)]
enum Delay {
    Fixed(Time),
    Shape(Shape),
}

#[derive(Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Uniform(Time, Time),
    Normal { mean: Time, deviation: Spanned<Time> },
}

/// The short form and the long form.
impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Delay;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration such as 200ms, or a distribution")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Delay, E> {
                text.parse().map(Delay::Fixed).map_err(E::custom)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Delay, A::Error> {
                Shape::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Delay::Shape)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

fn run(text: &str) -> (Option<Config>, Report) {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = sources.add("x.yaml", text, "");
    let node = tree::parse(&sources, source, Some(&|_| None), &mut diagnostics);
    let config = node.and_then(|node| decode(&node, &mut diagnostics));
    (config, Report::new(diagnostics, Arc::new(sources)))
}

fn good(text: &str) -> Config {
    let (config, report) = run(text);
    config.unwrap_or_else(|| panic!("{text}\n{report}"))
}

/// `text` has exactly these errors: a line each, of place, underlined text, message and help.
fn check(text: &str, expect: &[&str]) {
    let (config, report) = run(text);
    let line = |one: &Diagnostic| {
        let Some(span) = one.span else {
            return one.message.clone();
        };
        let underlined = text
            .get(span.start..span.end)
            .unwrap()
            .lines()
            .next()
            .unwrap_or_default();
        let (line, column) = report.sources().position(span.source, span.start);
        let help = one.help.iter().map(|help| format!(" ({help})")).collect::<String>();
        format!("{line}:{column} `{underlined}`: {}{help}", one.message)
    };
    let lines: Vec<_> = report.diagnostics().iter().map(line).collect();
    assert_eq!(lines, expect, "{text}");
    assert_eq!(config.is_none(), !expect.is_empty());
}

#[test]
fn reads_every_kind() {
    let text = "seed: 42\nport: 8080\ntoken: 5e3\nrules:\n  - name: true\n    share: 12.5\n    faults:\n      - delay: 200ms\n      \
                    - delay: {uniform: [1s, 2s]}\n      - delay: {normal: {mean: 1s, deviation: 5ms}}\n      - abort: {status: 503}\n      \
                    - reset: {}\n      - reset\n      - reset:\n      - nothing\n      - nothing: {}\n\
                    upstreams:\n  b: {address: x, size: 1KiB}\n  a: {address: 80}\nratio: 1\non: true\npair: [0, 1s]\nmodes: [add, round-robin]\n";
    let config = good(text);
    assert_eq!(
        (config.seed, config.port, config.ratio, config.on),
        (Some(42), 8080, 1.0, true)
    );
    assert_eq!(config.token.as_deref(), Some("5e3"));
    let rule = &config.rules[0];
    assert_eq!(&text[rule.name.span.start..rule.name.span.end], "true");
    assert_eq!(rule.name.value, "true");
    let share = rule.share.unwrap();
    assert_eq!(
        (&text[share.span.start..share.span.end], share.ppm()),
        ("12.5", 125_000)
    );
    assert_eq!(rule.faults.len(), 9);
    assert_eq!(rule.faults[3], Fault::Abort(Abort { status: 503 }));
    assert_eq!(rule.faults[5], Fault::Reset(Reset::default()));
    let Fault::Delay(Delay::Shape(Shape::Normal { deviation, .. })) = &rule.faults[2] else {
        panic!()
    };
    assert_eq!(&text[deviation.span.start..deviation.span.end], "5ms");
    assert_eq!(config.upstreams.names().collect::<Vec<_>>(), ["b", "a"]);
    let (name, upstream) = config.upstreams.entry("a").unwrap();
    assert_eq!(
        (&text[name.span.start..name.span.end], upstream.address.as_str()),
        ("a", "80")
    );
    assert_eq!(config.modes, [Mode::Add, Mode::RoundRobin]);
    assert_eq!(good("rules:\nupstreams:\ntoken:\n"), Config::default());
    assert_eq!(good(""), Config::default());
}

#[test]
fn unknown_and_missing_keys() {
    check("prot: 80\n", &["1:1 `prot`: unknown key `prot` (did you mean `port`?)"]);
    check(
        "upstreams:\n  a: {zzz: 1}\n  b:\n    adress: x\n  c: {size: 1}\n  d:\n",
        &[
            "2:7 `zzz`: unknown key `zzz` (valid keys: address, size) (`address` is missing beside it)",
            "4:5 `adress`: unknown key `adress` (did you mean `address`?)",
            "5:3 `c`: missing key `address`",
            "6:3 `d`: missing key `address`",
        ],
    );
    check(
        "rules:\n  - faults: []\n  - {}\n",
        &["2:5 `faults`: missing key `name`", "3:5 `{}`: missing key `name`"],
    );
    check("rules: [{name: [x]}]", &["1:16 `[x]`: expected a string, found a list"]);
}

#[test]
fn wrong_kinds() {
    check(
        "seed: x\nport: 70000\nratio: '1'\non: no\ntoken: [a]\nrules: {name: x}\nupstreams: 5\nmodes: add\npair: [1s]\n",
        &[
            "1:7 `x`: expected a whole number from 0, found the string `x`",
            "2:7 `70000`: expected a whole number from 0 to 65535, found the number 70000",
            "3:8 `'1'`: expected a number, found the string `1` (remove the quotes)",
            "4:5 `no`: expected `true` or `false`, found the string `no`",
            "5:8 `[a]`: expected a string, found a list",
            "6:8 `{name: x}`: expected a list, found a map (start each item with `- `, or put it in `[…]`)",
            "7:12 `5`: expected a map from names to settings, found the number 5",
            "8:8 `add`: expected a list, found the string `add` (start each item with `- `, or put it in `[…]`)",
            "9:7 `[1s]`: expected a list of 2, found 1",
        ],
    );
    check(
        "rules:\n  - 5\n  - name: x\n    share: 101\n    faults: [{delay: [1]}, {delay: 5}, {reset: 5}, [], {nothing: 1}]\nseed: -1\nport:\n",
        &[
            "2:5 `5`: expected a map with keys such as `name`, `share`, `faults`, found the number 5",
            "4:12 `101`: a percentage must be from 0 to 100, not `101`",
            "5:22 `[1]`: expected a duration such as 200ms, or a distribution, found a list",
            "5:36 `5`: expected a duration such as 200ms, or a distribution, found the number 5",
            "5:48 `5`: expected a map with keys such as `code`, found the number 5",
            "5:52 `[]`: expected one of `delay`, `abort`, `reset`, `nothing`, found a list",
            "5:66 `1`: `nothing` can't have a value",
            "6:7 `-1`: expected a whole number from 0, found the number -1",
            "7:1 `port`: expected a whole number from 0 to 65535, found nothing",
        ],
    );
    check(
        "[1]",
        &[
            "1:1 `[1]`: expected a map with keys such as `seed`, `port`, `token`, `rules`, `upstreams`, `ratio`…, found a list",
        ],
    );
}

#[test]
fn enums() {
    let rule = |faults: &str| format!("rules:\n- name: x\n  faults:\n{faults}");
    check(
        &rule("  - dellay: 1s\n"),
        &["4:5 `dellay`: unknown fault `dellay` (did you mean `delay`?)"],
    );
    check(
        &rule("  - zz\n"),
        &["4:5 `zz`: unknown fault `zz` (valid names: delay, abort, reset, nothing)"],
    );
    check(
        &rule("  - delay: 1s\n    abort: {status: 500}\n"),
        &["5:5 `abort`: one fault per list item (start a new `- ` item for `abort`)"],
    );
    check(
        &rule("  - abort:\n    status: 500\n"),
        &["5:5 `status`: unknown key `status` beside `abort` (indent it further if it belongs to `abort`)"],
    );
    check(
        &rule("  - delay: 1s\n    max: 2s\n"),
        &["5:5 `max`: unknown key `max` beside `delay` (move it into `delay` if it belongs there)"],
    );
    check(
        &rule("  - {}\n"),
        &["4:5 `{}`: expected one of `delay`, `abort`, `reset`, `nothing`, found a map"],
    );
    // Through a visitor that takes a short and a long form.
    check(
        &rule("  - delay: {unifrom: [1s, 2s]}\n"),
        &["4:13 `unifrom`: unknown name `unifrom` (did you mean `uniform`?)"],
    );
    check(
        &rule("  - delay: {uniform: [1s, 2s], normal: {}}\n"),
        &["4:32 `normal`: only one entry is allowed here (remove `normal` or the one before it)"],
    );
    check(
        &rule("  - delay: {uniform: [1s, 2]}\n"),
        &["4:27 `2`: the duration `2` needs a unit: 200ms, 2s, 1m"],
    );
    check(
        &rule("  - delay: {normal: {mean: 1s}}\n"),
        &["4:13 `normal`: missing key `deviation`"],
    );
    check(
        "modes: [add, roundrobin, 5]",
        &[
            "1:14 `roundrobin`: unknown mode `roundrobin` (did you mean `round-robin`?)",
            "1:26 `5`: unknown mode `5` (valid names: add, round-robin)",
        ],
    );
}

#[test]
fn consequences_of_an_error_are_not_reported() {
    let rule = |faults: &str| format!("rules:\n- name: x\n  faults:\n{faults}");
    check(
        &rule("  - abort: {}\n  - abort: {status: 500, grpc: x}\n"),
        &[
            "4:12 `{}`: an abort needs `status` or `grpc`",
            "5:12 `{status: 500, grpc: x}`: `status` and `grpc` exclude each other",
        ],
    );
    check(
        &rule("  - abort: {status: x}\n"),
        &["4:21 `x`: expected a whole number from 0 to 65535, found the string `x`"],
    );
    check(
        &rule("  - abort: {statsu: 5}\n"),
        &["4:13 `statsu`: unknown key `statsu` (did you mean `status`?)"],
    );
    check(
        "rules:\n- name: {}\n  bad: 1\n",
        &[
            "2:9 `{}`: expected a string, found a map",
            "3:3 `bad`: unknown key `bad` (valid keys: name, share, faults)",
        ],
    );
    let unset = "1:27 `${NO}`: the variable `NO` is not set (set it, or give a default: `${NO:-…}`)";
    check("upstreams: {a: {address: '${NO}'}}", &[unset]);
    check(
        "seed: !x 1\nport: 99999",
        &[
            "1:10 `1`: the tag `!x` is not supported here (a string that starts with `!` must be quoted)",
            "2:7 `99999`: expected a whole number from 0 to 65535, found the number 99999",
        ],
    );
}

#[test]
fn bounded() {
    let (config, report) = run(&format!("modes: [{}]", "x, ".repeat(300)));
    assert!(config.is_none());
    assert_eq!(report.diagnostics().len(), MAX_ERRORS + 1);
    assert_eq!(
        report.diagnostics()[0].message,
        "and more; these are the first 100 errors"
    );
}

#[test]
fn repeated_by_an_alias() {
    check(
        "rules:\n- &r {name: x, shrae: 1}\n- *r\n",
        &["2:16 `shrae`: unknown key `shrae` (did you mean `share`?)"],
    );
}

#[test]
fn spanned_and_named_are_transparent() {
    assert_eq!(serde_json::from_str::<Spanned<u8>>("5").unwrap(), Spanned::from(5));
    let named = serde_json::from_str::<Named<Spanned<u8>>>(r#"{"b": 1, "a": 2}"#).unwrap();
    assert_eq!(serde_json::to_string(&named).unwrap(), r#"{"b":1,"a":2}"#);
    assert!(named.entry("b").unwrap().0.span.is_nowhere());
    assert!(serde_json::from_str::<Named<u8>>(r#"{"b": 1, "b": 2}"#).is_err());
    assert_eq!(schemars::schema_for!(Spanned<Time>), schemars::schema_for!(Time));
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    assert_eq!(
        schema["properties"]["upstreams"]["additionalProperties"]["$ref"],
        "#/$defs/Upstream"
    );
    assert_eq!(schema["$defs"]["Rule"]["properties"]["name"]["type"], "string");
}

#[test]
fn written_configurations_read_back() {
    let config = good(
        "rules: [{name: x, share: 5%, faults: [nothing, reset: {code: 7}]}]\nupstreams: {a: {address: '5'}}\npair: [1s, 2ms]\n",
    );
    assert_eq!(good(&tree::to_yaml(&config).unwrap()), config);
}

fn yamlish() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "rules: ",
        "- ",
        "name: ",
        "faults: ",
        "delay: ",
        "abort: ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "\n",
        "\n  ",
        "x",
        "1s",
        "5",
        "uniform: ",
        "normal: ",
        "mean: ",
        "upstreams: ",
        "address: ",
        "reset",
        "&a ",
        "*a",
        "<<: ",
        "'",
        "~",
        "modes: ",
        "pair: ",
        "zz: ",
        "!x ",
        "${A}",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("CASES").map_or(256, |n| n.parse().unwrap())))]

    /// Something is decoded, or something is reported: never neither.
    #[test]
    fn decoded_or_reported(text in yamlish()) {
        let (config, report) = run(&text);
        prop_assert!(config.is_some() || report.has_errors(), "neither:\n{}", text);
    }
}
