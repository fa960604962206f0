use super::*;
use crate::yaml::report::Report;
use proptest::prelude::*;

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".into()),
        "TEXT" => Some("a: [b]".into()),
        _ => None,
    }
}

fn read(yaml: &str) -> (Option<Node>, Report) {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = add_source(&mut sources, "x.yaml", yaml.into(), "", &mut diagnostics).unwrap();
    let node = parse(&sources, source, Some(&environment), &mut diagnostics);
    (node, Report::new(diagnostics, Arc::new(sources)))
}

fn shown(node: &Node) -> String {
    let listed = |items: Vec<String>| items.join(", ");
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::String(text) => format!("{text:?}"),
        Value::Seq(items) => format!("[{}]", listed(items.iter().map(shown).collect())),
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", key.text().unwrap(), shown(value)));
            format!("{{{}}}", listed(entries.collect()))
        }
        Value::Unusable => "unusable".into(),
    }
}

/// `yaml` reads as this tree.
fn check(yaml: &str, expect: &str) {
    let (node, report) = read(yaml);
    assert!(report.is_empty(), "{yaml}\n{report}");
    assert_eq!(shown(&node.unwrap()), expect, "{yaml}");
}

/// `yaml` has errors whose places, messages and help are these.
fn check_errors(yaml: &str, expect: &str) {
    let (_, report) = read(yaml);
    let line = |one: &Diagnostic| {
        let span = one.span.unwrap();
        let text = report.sources().text(span.source).get(span.start..span.end).unwrap();
        let (line, column) = report.sources().position(span.source, span.start);
        let help = one.help.iter().map(|help| format!(" ({help})")).collect::<String>();
        format!("{line}:{column} `{text}`: {}{help}", one.message)
    };
    let lines: Vec<_> = report.diagnostics().iter().map(line).collect();
    assert_eq!(lines.join("\n"), expect, "{yaml}");
}

#[test]
fn trees() {
    check("", "{}");
    check("# nothing\n---\n", "{}");
    check(
        "a: 1\nb: [x, 'y', \"2\", 2.5, ~, true]\n",
        r#"{a: 1, b: ["x", "y", "2", 2.5, null, true]}"#,
    );
    check(
        "a: no\nb: on\nc: 0x10\nd: 12:30\n",
        r#"{a: "no", b: "on", c: 16, d: "12:30"}"#,
    );
    check("- 1\n- - 2\n  - {a: b}\n", r#"[1, [2, {a: "b"}]]"#);
    check(
        "a: |\n  one\n  two\nb: >-\n  one\n  two\n",
        r#"{a: "one\ntwo\n", b: "one two"}"#,
    );
    check("\u{feff}a: 1", "{a: 1}");
    check("a: 1\r\nb: 2\r\n", "{a: 1, b: 2}");
    check(
        "a: !!str 5\nb: !!int '5'\nc: ! 5\nd: !!map {}\n",
        r#"{a: "5", b: 5, c: "5", d: {}}"#,
    );
    check("404: x\ntrue: y\n", r#"{404: "x", true: "y"}"#);
    check("a: 1\n...\n# the end\n", "{a: 1}");
}

#[test]
fn variables() {
    check(
        "a: ${PORT}\nb: \"${PORT}\"\nc: ${N:-5}s\nd: ${N:-}\n",
        r#"{a: 8080, b: "8080", c: "5s", d: null}"#,
    );
    check("a: ${TEXT}\n${PORT}: x\n", r#"{a: "a: [b]", 8080: "x"}"#);
    check("a: $${PORT} # ${NONE}\n", r#"{a: "${PORT}"}"#);
    check_errors(
        "a: ü ${NONE} ${PORT}\nb: \"\\u00fc\\\"${OTHER}\"\n",
        "1:6 `${NONE}`: the variable `NONE` is not set (set it, or give a default: `${NONE:-…}`)\n\
             2:13 `${OTHER}`: the variable `OTHER` is not set (set it, or give a default: `${OTHER:-…}`)",
    );
    check_errors(
        "a: |\n  x\n  ${PORT} ${NONE}\n",
        "3:11 `${NONE}`: the variable `NONE` is not set (set it, or give a default: `${NONE:-…}`)",
    );
    check_errors(
        "a: {b: ${PORT}}\n",
        "1:9 `{`: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}' (within `{…}` or \
            `[…]` a string with `${` must be quoted: \"${NAME}\")",
    );
}

#[test]
fn brackets_within_a_word() {
    for (text, help) in [
        ("a: [{path: /x/{id}, json: 1}]\n", "quoted: \"/x/{id}\""),
        ("a: {path: /x/{id}/y/{n}}\n", "quoted: \"/x/{id}/y/{n}\""),
        ("a: {b: tags[0], c: 1}\n", "quoted: \"tags[0]\""),
        ("a: {b: ü/{id}}\n", "quoted: \"ü/{id}\""),
    ] {
        let (_, report) = read(text);
        assert!(report.to_string().contains(help), "{text}{report}");
    }
}

#[test]
fn anchors_and_merges() {
    check("a: &x {b: 1}\nc: *x\n", "{a: {b: 1}, c: {b: 1}}");
    check(
        "a: &x {b: 1, c: 2}\nd: {c: 3, <<: *x}\n",
        "{a: {b: 1, c: 2}, d: {c: 3, b: 1}}",
    );
    check(
        "- &x {a: 1}\n- &y {a: 2, b: 2}\n- {<<: [*x, *y]}\n",
        "[{a: 1}, {a: 2, b: 2}, {a: 1, b: 2}]",
    );
    check("'<<': 1\n", "{<<: 1}");
    check_errors("a: {<<: 1}\n", "1:9 `1`: `<<` needs a map or a list of maps");
    check_errors(
        "a: &x [*x]\n",
        "1:8 `*x`: this alias is inside the value that it refers to",
    );
    let laughs: String = (1..10)
        .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", ")))
        .collect();
    let (node, report) = read(&format!("a0: &a0 [lol, lol]\n{laughs}"));
    assert!(node.is_none());
    assert!(report.to_string().contains("more than 2000000 values"), "{report}");
    let deep: String = (1..80).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
    let (_, report) = read(&format!("a0: &a0 []\n{deep}"));
    assert!(report.to_string().contains("more than 64 deep"), "{report}");
}

#[test]
fn mistakes() {
    check_errors("a: 1\nb: 2\na: 3\n", "3:1 `a`: the key `a` is given twice");
    check_errors("{a: 1, 'a': 2}", "1:8 `'a'`: the key `a` is given twice");
    for count in [1, 15, 16, 17, 40] {
        let keys: String = (0..count).map(|number| format!("k{number}: 1\n")).collect();
        for again in [0, count - 1] {
            let place = format!("{}:1 `k{again}`: the key `k{again}` is given twice", count + 1);
            check_errors(&format!("{keys}k{again}: 2\n"), &place);
        }
    }
    check_errors(
        "a: 1\n---\nb: 2\n",
        "2:1 `---`: a second document starts here: a file can contain only one (move it into its own file, and \
            `include` that; what another \
            tool's document means is said for a file of its own)",
    );
    check_errors(
        "a: !env X\n",
        "1:9 `X`: the tag `!env` is not supported here (a string that starts with `!` must be quoted)",
    );
    check_errors("a: !!int x\n", "1:10 `x`: this is not a valid `!!int`");
    check_errors(
        "a: {{ x }}\n",
        "1:5 `{ x }`: a key must be a plain string (a string that starts with `{` or `[` must be quoted)",
    );
    check_errors(
        "a: \"x\u{1}\"\n",
        "1:6 `\u{1}`: the control character U+0001 is not allowed in YAML (in double quotes write it as \
            \"\\u0001\")",
    );
    let (_, report) = read(&"[".repeat(70));
    assert!(report.to_string().contains("more than 64 deep"), "{report}");
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    assert!(add_source(&mut sources, "x", b"a: \xff".to_vec(), "", &mut diagnostics).is_none());
    assert!(add_source(&mut sources, "x", vec![b' '; MAX_FILE_BYTES + 1], "", &mut diagnostics).is_none());
    assert_eq!(
        (diagnostics[0].span.unwrap().start, diagnostics[1].message.as_str()),
        (3, "x is larger than 16 MiB")
    );
}

#[test]
fn syntax_errors() {
    for (yaml, place, help) in [
        ("a: *.com\n", "1:4", "starts with `*` must be quoted"),
        ("a:\n\tb: 1\n", "2:2", "indent with spaces"),
        ("a:\n  b: 1\n c: 2\n", "3:2", "same column"),
        ("a: b: c\n", "1:5", "contains `: ` must be quoted"),
        ("ü: 'ä'\nx: ä: ö\n", "2:5", "contains `: ` must be quoted"),
        ("a: 'x\n", "1:4", ""),
        ("a: [1, 2\nb: 3\n", "2:2", ""),
        ("a: @x\n", "1:4", "starts with this character must be quoted"),
        ("- a\nb: 1\n", "2:1", "same column"),
    ] {
        let (node, report) = read(yaml);
        let report = report.to_string();
        assert!(
            node.is_none() && report.contains("error: not valid YAML: "),
            "{yaml}{report}"
        );
        assert!(
            report.contains(&format!("x.yaml:{place}\n")) && report.contains(help),
            "{yaml}{report}"
        );
    }
}

/// Every scalar's span holds that scalar.
fn check_spans(node: &Node, yaml: &str) {
    let text = yaml.get(node.span.start..node.span.end).unwrap();
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| check_spans(item, yaml)),
        Value::Map(entries) => entries.iter().for_each(|(key, value)| {
            check_spans(key, yaml);
            if value.span != key.span {
                check_spans(value, yaml);
            }
        }),
        Value::String(value) if !node.is_plain() => assert_eq!(text.trim_matches(['"', '\'']), &**value, "{yaml}"),
        _ if !text.contains('\n') => assert_eq!(text, node.text().unwrap(), "{yaml}"),
        _ => {}
    }
}

#[test]
fn spans_of_collections() {
    let yaml = "ä:\n  - x: 1\n    y: 2 # ü\n\n  - [a, b]\nc: &q {d: 1}\nlast: *q\n";
    let (node, _) = read(yaml);
    let node = node.unwrap();
    let text = |node: &Node| yaml.get(node.span.start..node.span.end).unwrap();
    let list = node.get("ä").unwrap();
    let Value::Seq(items) = &list.value else { panic!() };
    assert_eq!(text(&items[0]), "x: 1\n    y: 2");
    assert_eq!(text(&items[1]), "[a, b]");
    assert!(text(list).starts_with("- x") && text(list).ends_with("[a, b]"));
    assert_eq!(text(node.get("c").unwrap()), "{d: 1}");
    assert_eq!(text(node.get("last").unwrap()), "{d: 1}");
}

#[derive(Serialize)]
enum Sample {
    #[serde(rename = "unit")]
    Unit,
    #[serde(rename = "with")]
    With(Vec<Sample>),
    #[serde(rename = "text")]
    Text(String),
}

#[test]
fn writing() {
    let sample = Sample::With(vec![Sample::Unit, Sample::Text("no ${X}".into())]);
    let yaml = to_yaml(&sample).unwrap();
    assert_eq!(yaml, "with:\n- unit\n- text: no $${X}\n");
    check(&yaml, r#"{with: ["unit", {text: "no ${X}"}]}"#);
}

/// Pieces of YAML in any order.
fn yamlish() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a: ",
        "b:",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "ü",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "'",
        "\"",
        "# c\n",
        "&x ",
        "*x",
        "<<: ",
        "|\n",
        ">-\n",
        "!!str ",
        "!t ",
        "---\n",
        "...\n",
        "? ",
        ": ",
        "${A:-1}",
        "${B}",
        "1",
        "\t",
        "\r\n",
        "\\",
        "%",
        "@",
        "~",
        "é: €",
        "- - ",
        "\u{feff}",
        "x",
        "!<",
        "%TAG ! x\n",
        "0",
        "\u{2028}",
        "\u{85}",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("CASES").map_or(256, |n| n.parse().unwrap())))]

    #[test]
    fn no_text_panics(yaml in yamlish(), any: String) {
        for yaml in [yaml, any] {
            let (_, report) = read(&yaml);
            report.to_string();
        }
    }

    #[test]
    fn spans_hold_their_scalars(
        words in prop::collection::vec(prop::sample::select(vec!["a", "üb", "'q€'", "\"z\"", "12", "2.5", "x y", "ﬁ # ß\n  "]), 1..8),
        style in 0..4,
    ) {
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.push("z".into());
        let yaml = match style {
            0 => words.iter().map(|word| format!("- {word}\n")).collect(),
            1 => words.iter().enumerate().map(|(n, word)| format!("é{n}: {word}\n")).collect(),
            2 => format!("é: [{}]", words.join(", ")),
            _ => words.iter().enumerate().map(|(n, word)| format!("- é{n}: {word} # €\n\n  z: {word}\n")).collect::<String>(),
        };
        if let (Some(node), _) = read(&yaml) {
            check_spans(&node, &yaml);
        }
    }

    #[test]
    fn written_texts_read_back(text: String, plain in "[-+0-9.eEoxn~a-z: #$]{0,6}", list: bool) {
        for text in [text, plain] {
            let odd = ['\u{feff}', '\u{2028}', '\u{2029}'];
            let text: String = text.chars().filter(|letter| !letter.is_control() && !odd.contains(letter)).collect();
            let yaml = if list { to_yaml(&[text.as_str()]) } else { to_yaml(&std::collections::BTreeMap::from([("k", &text)])) };
            let (node, report) = read(&yaml.unwrap());
            prop_assert!(report.is_empty(), "{report}");
            let shown = shown(&node.unwrap());
            let expect = if list { format!("[{text:?}]") } else { format!("{{k: {text:?}}}") };
            prop_assert_eq!(shown, expect);
        }
    }
}
