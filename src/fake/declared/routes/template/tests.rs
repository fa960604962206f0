use super::*;
use serde_json::json;

fn compile(text: &str) -> Result<(Environment<'static>, Node), Vec<String>> {
    let mut mistakes = Vec::new();
    let mut compiler = Compiler::new(&mut mistakes);
    compiler.begin(vec!["id".to_owned()]);
    let node = compiler.value(text, Span::NOWHERE);
    let env = compiler.finish();
    if mistakes.is_empty() {
        Ok((env, node))
    } else {
        Err(mistakes
            .iter()
            .map(|mistake| format!("{} {:?}", mistake.message, mistake.help))
            .collect())
    }
}

fn render(text: &str) -> Result<serde_json::Value, Failure> {
    let (env, node) = compile(text).unwrap();
    let facts = Arc::new(Facts::example());
    node.value(&Scope::new(
        &env,
        &facts,
        &Arc::new(Luck::new(1, "GET /x", 1)),
        Vec::new(),
    ))
}

#[test]
fn a_single_expression_keeps_its_type() {
    for (text, expect) in [
        ("{{ 1 + 1 }}", json!(2)),
        ("{{ path.id }}", json!("7")),
        ("{{ path.id | int }}", json!(7)),
        ("{{ path.id }} ", json!("7")),
        ("n {{ 1 + 1 }}", json!("n 2")),
        ("{{ 1 }}{{ 2 }}", json!("12")),
        ("{{ json }}", json!({"z": 1, "a": [true, null, 1.5]})),
        ("{{ json.a }}", json!([true, null, 1.5])),
        ("{{ json.nothing.below }}", json!(null)),
        ("{{ json.a[1] }}!", json!("null!")),
        ("{{ query.x }}", json!("a b")),
        ("{{ query_all.x }}", json!(["a b", "c"])),
        ("{{ headers['X-A'] }}", json!("1")),
        ("{{ headers.host }}", json!("h:80")),
        ("{{ cookies.c }}", json!("2")),
        (
            "{{ method }} {{ url }} {{ client }}",
            json!("POST /x/7?x=a+b&x=c 10.0.0.1"),
        ),
        ("{{ request_number }}", json!(1)),
        ("line\n{{ 1 }}\n", json!("line\n1\n")),
        ("{{ 'a}}b' }}", json!("a}}b")),
    ] {
        assert_eq!(render(text).unwrap(), expect, "{text}");
    }
    let text = render("{{ json }}").unwrap().to_string();
    assert_eq!(text, r#"{"z":1,"a":[true,null,1.5]}"#, "the order of keys is kept");
}

#[test]
fn mistakes_are_found_at_load() {
    for (text, expect) in [
        ("{{ path.idd }}", "the path has no `{idd}`"),
        ("{{ qurey.x }}", "did you mean `query`?"),
        ("{{ uuuid() }}", "did you mean `uuid`?"),
        ("{{ 1 | nope }}", "unknown filter `nope`"),
        ("{{ name }}", "use `name()`"),
        ("{{ 1 +", "the template is not valid"),
        ("{% if 1 %}", "the template is not valid"),
    ] {
        let mistakes = compile(text).map(drop).unwrap_err();
        assert!(mistakes[0].contains(expect), "{text}: {mistakes:?}");
    }
    assert!(compile("{{ '|nope' | upper }} | nope").is_ok());
    assert!(compile("{{ name () }} {% set date = 1 %}{{ date }} {{ query.name }}").is_ok());
}

#[test]
fn output_is_bounded() {
    let failure = render("x{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}").unwrap_err();
    assert!(failure.0.contains("16 MiB"), "{}", failure.0);
}
