use proptest::prelude::*;

use super::*;

fn path(pattern: &str) -> Text {
    Text::compile(&TextSpec::Plain(pattern.into()), Place::Path).unwrap()
}

#[test]
fn path_globs() {
    let cases = [
        ("/api/*/checkout/**", "/api/v1/checkout/x/y", true),
        ("/api/*/checkout/**", "/api/v1/checkout", true),
        ("/api/*/checkout/**", "/api/v1/checkout/", true),
        ("/api/*/checkout/**", "/api/v1/v2/checkout/x", false),
        ("/api/*/checkout/**", "/api/v1/checkouts", false),
        ("/**", "/", true),
        ("/**", "/a/b", true),
        ("/a/**/b", "/a/b", true),
        ("/a/**/b", "/a/x/y/b", true),
        ("/a/*.json", "/a/x.json", true),
        ("/a/*.json", "/a/b/x.json", false),
        ("/a/{b,c}", "/a/c", true),
        ("/a/?", "/a/é", true),
        ("/plain", "/plain", true),
        ("/plain", "/plain/", false),
        ("**/x", "/a/b/x", true),
        ("/caf*", "/café", true),
        ("/café/*", "/café/x", true),
        ("/[é]x", "/éx", true),
        ("/{ä,ö}/**", "/ö/x", true),
        ("{/a,/b}/*", "/b/x", true),
    ];
    for (pattern, text, expect) in cases {
        assert_eq!(path(pattern).matches(text), expect, "{pattern} on {text}");
    }
}

proptest! {
    /// The regular expression that globset makes is what a glob means.
    #[test]
    fn simple_globs_match_as_their_regular_expressions(
        pattern in "/?([ab]|\\*|\\?|/|/\\*\\*/|\\*\\*/?){0,6}(/\\*\\*)?",
        text in "/?[ab/é]{0,8}",
        at in 0..3_usize,
    ) {
        let place = [Place::Path, Place::Host, Place::Value][at];
        let Ok(Text::Glob(glob)) = super::glob(&pattern, place) else { return Ok(()) };
        let expect = complex_glob(&pattern, place).unwrap();
        let matches = expect.is_match(&text);
        prop_assert_eq!(glob.matches(&text), matches, "{} on {}: {}", pattern, text, expect);
        let (prefix, within) = glob.literals();
        let fits = prefix.is_none_or(|prefix| text.starts_with(&prefix)) && within.iter().all(|one| text.contains(one));
        prop_assert!(!matches || fits, "{} on {}", pattern, text);
    }
}

#[test]
fn host_globs_cross_dots_and_ignore_case() {
    let host = Text::compile(&TextSpec::Plain("*.Example.com".into()), Place::Host).unwrap();
    assert!(host.matches("a.b.example.com"));
    assert!(!host.matches("example.com"));
    let host = Text::compile(&TextSpec::Regex("^SHOP\\.".into()), Place::Host).unwrap();
    assert!(host.matches("shop.example.com"));
}

#[test]
fn literals_are_read_off_patterns() {
    let of = |text: &Text| match text {
        Text::Glob(glob) => glob.literals(),
        Text::Regex(pattern) => literals(pattern.as_str()),
        other => panic!("{other:?}"),
    };
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        of(&path("/api/*/checkout/**")),
        (Some("/api".into()), list(&["checkout"]))
    );
    assert_eq!(of(&path("/x/y/**")), (Some("/x/y".into()), vec![]));
    assert_eq!(literals("^/re-123/[0-9]+$"), (Some("/re-123/".into()), vec![]));
    assert_eq!(literals("/items/[0-9]+/r5$"), (None, list(&["/items/", "/r5"])));
    assert_eq!(literals("^(/a|/b)"), (None, vec![]));
    assert_eq!(literals("abc"), (None, list(&["abc"])));
}

#[test]
fn bad_patterns_say_why() {
    let error = |spec| Text::compile(&spec, Place::Path).unwrap_err();
    assert!(error(TextSpec::Regex("(".into())).contains("unclosed group"));
    assert!(error(TextSpec::Plain("/a/[".into())).contains("not a valid glob"));
    assert!(error(TextSpec::Plain("api".into())).contains("`/api`"));
}
