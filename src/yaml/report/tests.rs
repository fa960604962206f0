use super::*;
use proptest::prelude::*;

const TEXT: &str = "rules:\n  - name: größer\n    faults:\n      - dellay: 200ms\n        after: 1s\n";

fn span_of(source: SourceId, text: &str, part: &str) -> Span {
    let start = text.find(part).unwrap();
    Span {
        source,
        start,
        end: start + part.len(),
    }
}

#[test]
fn renders_like_a_compiler() {
    let mut sources = Sources::default();
    let source = sources.add("rules.yaml", TEXT, "");
    let unknown = Diagnostic::error(span_of(source, TEXT, "dellay"), "unknown fault `dellay`")
        .help("did you mean `delay`?")
        .also(span_of(source, TEXT, "größer"), "in this rule");
    let odd = Diagnostic::warning(span_of(source, TEXT, "größer"), "odd name").label("here");
    let report = Report::new(
        vec![unknown.clone(), unknown, odd, Diagnostic::error(None, "no port")],
        Arc::new(sources),
    );
    assert_eq!(
        report.to_string(),
        "error: no port\n\
             \n\
             warning: odd name\n \
             --> rules.yaml:2:11\n  \
             |\n\
             2 |   - name: größer\n  \
             |           ^^^^^^ here\n\
             \n\
             error: unknown fault `dellay`\n \
             --> rules.yaml:4:9\n  \
             |\n\
             2 |   - name: größer\n  \
             |           ------ in this rule\n\
             3 |     faults:\n\
             4 |       - dellay: 200ms\n  \
             |         ^^^^^^\n  \
             |\n  \
             = help: did you mean `delay`?\n\
             \n\
             2 errors and 1 warning in rules.yaml"
    );
    assert!(report.render(true).contains("\u{1b}["));
    assert!(report.has_errors());
    let json = report.to_json();
    assert_eq!(json[1]["line"], 2);
    assert_eq!((&json[2]["column"], &json[2]["end_column"]), (&9.into(), &15.into()));
    assert_eq!(json[2]["help"][0], "did you mean `delay`?");
    assert_eq!(
        (&json[0]["file"], &json[0]["severity"]),
        (&serde_json::Value::Null, &"error".into())
    );
}

#[test]
fn two_files_and_long_spans() {
    let mut sources = Sources::default();
    let (one, two) = (
        sources.add("a.yaml", "x: 1\ny:\n  z: 2\n", ""),
        sources.add("b.yaml", "x: 2", ""),
    );
    let twice = Diagnostic::error(
        Span {
            source: two,
            start: 0,
            end: 1,
        },
        "`x` is given twice",
    )
    .also(
        Span {
            source: one,
            start: 0,
            end: 1,
        },
        "first here",
    );
    let long = Diagnostic::error(
        Span {
            source: one,
            start: 5,
            end: 14,
        },
        "not so",
    );
    let past_the_end = Diagnostic::error(
        Span {
            source: two,
            start: 400,
            end: 900,
        },
        "too late",
    );
    let report = Report::new(vec![twice, long, past_the_end], Arc::new(sources)).to_string();
    assert!(report.contains("2 | y:\n  | ^^\n"), "{report}");
    assert!(report.contains(" ::: a.yaml:1:1"), "{report}");
    assert!(report.ends_with("3 errors in 2 files"), "{report}");
}

#[test]
fn suggestions() {
    let keys = ["delay", "abort", "address", "percentage", "retry_after", "p50", "p99"];
    for (word, meant) in [
        ("dellay", Some("delay")),
        ("Delay", Some("delay")),
        ("percent", Some("percentage")),
        ("retry-after", Some("retry_after")),
        ("retryafter", Some("retry_after")),
        ("addr", Some("address")),
        ("p5", Some("p50")),
        ("latency", None),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(did_you_mean(word, keys), meant, "{word}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_span_renders(text in "[a-ü\r\n\t€ ]{0,40}", start in 0..60_usize, end in 0..60_usize, other in 0..60_usize) {
        let mut sources = Sources::default();
        let source = sources.add("x", text, "");
        let place = Diagnostic::error(Span { source, start, end }, "a\nb")
            .also(Span { source, start: other, end: start }, "there");
        let report = Report::new(vec![place], Arc::new(sources));
        prop_assert!(report.to_string().contains("1 error in x"));
        report.to_json();
    }
}
