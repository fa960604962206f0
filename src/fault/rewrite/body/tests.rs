use proptest::prelude::*;

use super::*;
use crate::fault::place::testing::context;
use crate::limits::bodies::Bodies;

fn edit(replace: &[(&str, &str)], patch: serde_json::Value) -> Result<Edit, String> {
    let replace: Vec<ReplaceSpec> = replace
        .iter()
        .map(|(find, with)| ReplaceSpec {
            find: (*find).to_owned(),
            with: (*with).to_owned(),
        })
        .collect();
    let patch: Vec<OperationSpec> = serde_json::from_value(patch).unwrap();
    let spec = BodySpec {
        body: None,
        json: None,
        file: None,
        replace: &replace,
        json_patch: &patch,
    };
    match spec.compile(&context())? {
        Some(BodyChange::Edit(edit)) => Ok(edit),
        other => Err(format!("{other:?}")),
    }
}

#[track_caller]
fn check(replace: &[(&str, &str)], patch: serde_json::Value, body: &str, expect: Result<&str, &'static str>) {
    let changed = edit(replace, patch)
        .unwrap()
        .apply(&Bytes::from(body.to_owned()), &Budget::default());
    assert_eq!(changed.as_deref(), expect.map(str::as_bytes).as_deref());
}

#[test]
fn replaces() {
    let none = serde_json::json!([]);
    check(&[("a+", "b")], none.clone(), "caat a", Ok("cbt b"));
    check(
        &[(r"(\d+)-(?<to>\d+)", "$to-$1")],
        none.clone(),
        "1-2,3-4",
        Ok("2-1,4-3"),
    );
    check(&[("x", "${0}y$$")], none.clone(), "axb", Ok("axy$b"));
    check(&[("a", "b"), ("b", "c")], none.clone(), "ab", Ok("cc"));
    check(&[("^", "> ")], none.clone(), "a", Ok("> a"));
    check(&[("(?m)^", "> ")], none.clone(), "a\nb", Ok("> a\n> b"));
    check(&[("q*", "-")], none.clone(), "ab", Ok("-a-b-"));
    check(&[("a", "")], none.clone(), "aaa", Ok(""));
    check(&[("z", "y")], none.clone(), "abc", Err("no match"));
    check(&[("z", "y"), ("a", "x")], none, "abc", Ok("xbc"));
}

#[test]
fn bytes_that_are_no_text_are_found_too() {
    let edit = edit(&[(r"(?-u)\xff\x00", "x")], serde_json::json!([])).unwrap();
    let changed = edit
        .apply(&Bytes::from_static(b"a\xff\x00b"), &Budget::default())
        .unwrap();
    assert_eq!(&changed[..], b"axb");
}

#[test]
fn patches() {
    let json = |patch| serde_json::from_str(patch).unwrap();
    let all = r#"[{"op":"test","path":"/a","value":1},{"op":"add","path":"/l/-","value":null},
            {"op":"replace","path":"/a","value":{"b":2}},{"op":"move","from":"/z","path":"/y"},{"op":"copy","from":"/l","path":"/m"},
            {"op":"remove","path":"/gone"}]"#;
    let body = r#"{"z": 9, "a": 1, "l": [0], "gone": true}"#;
    check(
        &[],
        json(all),
        body,
        Ok(r#"{"a":{"b":2},"l":[0,null],"y":9,"m":[0,null]}"#),
    );
    check(
        &[("9", "8")],
        json(r#"[{"op":"remove","path":"/a"}]"#),
        r#"{"a":1,"z":9}"#,
        Ok(r#"{"z":8}"#),
    );
    check(
        &[("q", "r")],
        json(r#"[{"op":"remove","path":"/a"}]"#),
        r#"{"a":1}"#,
        Ok("{}"),
    );
    let failing = json(r#"[{"op":"remove","path":"/a"},{"op":"test","path":"/b","value":2}]"#);
    check(&[], failing, r#"{"a":1,"b":1}"#, Err("patch failed"));
    check(&[], json(r#"[{"op":"remove","path":"/a"}]"#), "[", Err("not JSON"));
    check(&[], json(r#"[{"op":"replace","path":"","value":[]}]"#), "7", Ok("[]"));
}

#[test]
fn what_a_patch_does_not_name_keeps_its_text() {
    let add = serde_json::json!([{"op": "add", "path": "/x/0", "value": 1}]);
    let kept =
        r#""a":18446744073709551617,"b":19.990,"c":1E3,"d":-0,"e":1e400,"f":"\ud800","f":"\u00e9","g":{"h":[2.50]}"#;
    let kept = kept.replace(r"\\", r"\");
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let body = format!(r#"{{{kept},"x":[0.10],"y":{deep}}}"#);
    let expect = format!(r#"{{{kept},"x":[1,0.10],"y":{deep}}}"#);
    check(&[], add.clone(), &body, Ok(&expect));
    check(&[], add, &format!("\u{feff}{body}"), Ok(&format!("\u{feff}{expect}")));
    let moved =
        serde_json::json!([{"op": "move", "from": "/a", "path": "/b"}, {"op": "copy", "from": "/b", "path": "/c~1~0"}]);
    check(&[], moved, r#"{"a":1.0e2,"b":1}"#, Ok(r#"{"b":1.0e2,"c/~":1.0e2}"#));
}

#[test]
fn the_order_of_members_stays() {
    let patch = serde_json::json!([{"op": "remove", "path": "/c"}]);
    check(
        &[],
        patch.clone(),
        r#"{"d":1,"c":2,"b":3,"a":4}"#,
        Ok(r#"{"d":1,"b":3,"a":4}"#),
    );
    check(&[], patch, r#"{"c":1,"d":1,"\u0063":2}"#, Ok(r#"{"d":1}"#));
}

/// The examples of RFC 6902, appendix A, and some of the community's json-patch-tests.
#[test]
fn as_the_standard_has_it() {
    for (patch, body, expect) in [
        (
            r#"{"op":"add","path":"/foo/1","value":"qux"}"#,
            r#"{"foo":["bar","baz"]}"#,
            Some(r#"{"foo":["bar","qux","baz"]}"#),
        ),
        (
            r#"{"op":"remove","path":"/foo/1"}"#,
            r#"{"foo":["bar","qux","baz"]}"#,
            Some(r#"{"foo":["bar","baz"]}"#),
        ),
        (
            r#"{"op":"move","from":"/foo/waldo","path":"/qux/thud"}"#,
            r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
            Some(r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#),
        ),
        (
            r#"{"op":"move","from":"/foo/1","path":"/foo/3"}"#,
            r#"{"foo":["all","grass","cows","eat"]}"#,
            Some(r#"{"foo":["all","cows","eat","grass"]}"#),
        ),
        (r#"{"op":"test","path":"/baz","value":"bar"}"#, r#"{"baz":"qux"}"#, None),
        (
            r#"{"op":"add","path":"/baz/bat","value":"qux"}"#,
            r#"{"foo":"bar"}"#,
            None,
        ),
        (
            r#"{"op":"test","path":"/~01","value":10}"#,
            r#"{"/":9,"~1":10}"#,
            Some(r#"{"/":9,"~1":10}"#),
        ),
        (
            r#"{"op":"test","path":"/~01","value":"10"}"#,
            r#"{"/":9,"~1":10}"#,
            None,
        ),
        (
            r#"{"op":"add","path":"/foo/-","value":["abc"]}"#,
            r#"{"foo":["bar"]}"#,
            Some(r#"{"foo":["bar",["abc"]]}"#),
        ),
        (r#"{"op":"add","path":"/3","value":1}"#, "[0,1]", None),
        (r#"{"op":"add","path":"/01","value":1}"#, "[0,1]", None),
        (r#"{"op":"remove","path":"/-"}"#, "[0,1]", None),
        (r#"{"op":"replace","path":"/a","value":1}"#, "{}", None),
        (r#"{"op":"add","path":"/","value":1}"#, "{}", Some(r#"{"":1}"#)),
        (r#"{"op":"add","path":"/a/b","value":1}"#, r#"{"a":"{}"}"#, None),
        (r#"{"op":"move","from":"/0","path":"/0/a"}"#, r#"[1,{}]"#, None),
        (
            r#"{"op":"move","from":"/a","path":"/a"}"#,
            r#"{"a":1}"#,
            Some(r#"{"a":1}"#),
        ),
        (r#"{"op":"remove","path":""}"#, "{}", None),
        (
            r#"{"op":"copy","from":"","path":"/a"}"#,
            r#"{"b": 1}"#,
            Some(r#"{"b":1,"a":{"b":1}}"#),
        ),
    ] {
        let patch = serde_json::from_str(&format!("[{patch}]")).unwrap();
        check(&[], patch, body, expect.ok_or("patch failed"));
    }
}

#[test]
fn documents_that_grow_too_deep_are_refused() {
    let copies = std::iter::repeat_n(serde_json::json!({"op": "copy", "from": "", "path": "/0"}), 2);
    let deeper = serde_json::json!({"op": "add", "path": format!("{}/-", "/0".repeat(600)), "value": 1});
    let all: Vec<_> = copies.chain([deeper]).collect();
    let body = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    check(&[], all.into(), &body, Err("patch failed"));
}

#[test]
fn results_beyond_the_limit_are_refused() {
    let edit = edit(&[("a", &"b".repeat(70_000))], serde_json::json!([])).unwrap();
    let bodies = Arc::new(Bodies::default());
    let apply = |most| edit.apply(&Bytes::from("a".repeat(1000)), &Budget::new(&bodies, most));
    assert_eq!(apply(usize::MAX), Err("body too large"));
    assert_eq!(apply(MAX_LIMIT / 2), Err("too many bodies held"));
    assert_eq!(bodies.bytes(), 0);
}

#[test]
fn what_is_made_counts_until_it_is_sent() {
    let bodies = Arc::new(Bodies::default());
    let budget = Budget::new(&bodies, 1 << 20);
    let patch = serde_json::json!([{"op": "add", "path": "/b", "value": 1}]);
    let edit = edit(&[("x", "yy")], patch).unwrap();
    let made = edit.apply(&Bytes::from_static(br#"{"a":"x"}"#), &budget).unwrap();
    assert_eq!(&made[..], br#"{"a":"yy","b":1}"#);
    assert_eq!(bodies.bytes(), made.len());
    drop(made);
    assert_eq!(bodies.bytes(), 0);
}

#[test]
fn documents_that_grow_beyond_the_bound_are_refused() {
    let both = [("/a", "/b/-"), ("/b", "/a/-")];
    let copies = both.iter().cycle().take(60);
    let copies: Vec<_> = copies
        .map(|(from, path)| serde_json::json!({"op": "copy", "from": from, "path": path}))
        .collect();
    let copies = edit(&[], copies.into()).unwrap();
    let budget = Budget::new(&Arc::default(), 1 << 20);
    assert_eq!(
        copies.apply(&Bytes::from_static(br#"{"a":[],"b":[]}"#), &budget),
        Err("too many bodies held"),
        "each copy makes the document half as large again"
    );
    let one = edit(&[], serde_json::json!([{"op": "remove", "path": "/0"}])).unwrap();
    let dense = format!("[{}1]", "1,".repeat(10_000));
    assert_eq!(
        one.apply(&Bytes::from(dense), &budget),
        Err("too many bodies held"),
        "a parsed list takes far more than its text"
    );
}

/// From the documentation of the regex crate, "Untrusted input": iterating over all matches can take time that grows with the
/// square of the body.
#[test]
fn a_search_that_takes_too_long_is_given_up() {
    let edit = edit(&[(".*[^A-Z]|[A-Z]", "x")], serde_json::json!([])).unwrap();
    let started = Instant::now();
    let outcome = edit.apply(&Bytes::from("A".repeat(1 << 20)), &Budget::default());
    assert_eq!(outcome, Err("replacing took too long"));
    assert!(started.elapsed() < 5 * LONGEST, "{:?}", started.elapsed());
}

#[test]
fn groups_are_read_as_the_regex_crate_reads_them() {
    assert_eq!(groups("a$1b $x_1-${y z}$$3 $ ${"), ["1b", "x_1", "y z"]);
    assert!(
        edit(&[("(a)", "$1x")], serde_json::json!([]))
            .unwrap_err()
            .contains("`1x`")
    );
    assert!(edit(&[("(a)", "${1}x")], serde_json::json!([])).is_ok());
    assert!(edit(&[("(a)", "$2")], serde_json::json!([])).is_err());
    assert!(edit(&[("(a)", "$$2")], serde_json::json!([])).is_ok());
}

#[test]
fn limits() {
    let size = |text: &str| Some(text.parse().unwrap());
    assert_eq!(limit(None), Ok(1 << 20));
    assert_eq!(limit(size("1B")), Ok(1));
    assert_eq!(limit(size("64MiB")), Ok(64 << 20));
    assert!(limit(size("0")).is_err());
    assert!(limit(size("65MiB")).is_err());
}

proptest! {
    #[test]
    fn as_the_regex_crate_replaces(body: Vec<u8>, find in "[ab(|)*+?.]{1,6}", with in "[a$01{}]{0,6}") {
        let made = edit(&[(&find, &with)], serde_json::json!([]));
        prop_assume!(made.is_ok());
        let regex = Regex::new(&find).unwrap();
        let expect = if regex.is_match(&body) { Ok(Bytes::from(regex.replace_all(&body, with.as_bytes()).into_owned())) } else { Err("no match") };
        prop_assert_eq!(made.unwrap().apply(&Bytes::from(body), &Budget::default()), expect);
    }
}
