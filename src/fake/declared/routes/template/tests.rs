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

/// A list that holds itself twice, 40 times over, by assignments in a row.
fn doubled() -> String {
    "{% set a = [a, a] %}".repeat(40)
}

#[test]
fn templates_end_with_their_fuel() {
    for text in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ ('x' * 1000000) | replace('x', 'y' * 1000) }}",
        "{{ ('x' * 1000000) | replace('', 'y' * 100) }}",
        "{{ 'a\\nb' | indent(1000000000) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ [1] | batch(1000000000, 0) | list }}",
        "{{ range(100000) | map('string') | sort | unique | map('upper') | join('-' * 1000) }}",
        "{% for i in range(9) recursive %}{{ loop(range(9)) }}{% endfor %}",
        "{{ range(1000000000) | list }}",
    ] {
        for text in [text.to_owned(), format!("{text} ")] {
            let started = std::time::Instant::now();
            let failure = render(&text).unwrap_err();
            assert!(!failure.0.is_empty());
            assert!(started.elapsed().as_secs() < 20, "{text}: {:?}", started.elapsed());
        }
    }
}

/// A value can be far larger than what was paid for it, if the same list is in it many times.
#[test]
fn values_in_values_are_measured_before_they_are_written() {
    let many = format!("{}{{{{ a }}}}", doubled().replacen("[a, a]", "['x']", 1));
    let failure = render(&many).unwrap_err();
    assert!(failure.0.contains("16 MiB"), "{}", failure.0);
    let captured = format!(
        "{}{{% set b %}}{{{{ a }}}}{{% endset %}}",
        doubled().replacen("[a, a]", "['x']", 1)
    );
    let failure = render(&captured).unwrap_err();
    assert!(failure.0.contains("16 MiB"), "{}", failure.0);
    let failure = render("{{ ('x' * 1000000, 1) | list * 1000 }}").unwrap_err();
    assert!(failure.0.contains("16 MiB"), "{}", failure.0);
}

/// Dropping a deep value recurses: on a usual stack that ends the process.
#[test]
fn deep_values_are_no_danger() {
    let nest = "[".repeat(20) + "ns.a" + &"]".repeat(20);
    let deep =
        format!("{{% set ns = namespace(a=1) %}}{{% for i in range(100000) %}}{{% set ns.a = {nest} %}}{{% endfor %}}");
    let failure = render(&deep).unwrap_err();
    assert!(failure.0.contains("too much time or memory"), "{}", failure.0);
    let less = deep.replace("100000", "10000");
    assert_eq!(render(&less).unwrap(), json!(""));
    let row = "{% set a = [a] %}".repeat(20_000);
    assert_eq!(render(&row).unwrap(), json!(""));
}

/// What one template may use is for all templates of a response.
#[test]
fn the_templates_of_a_response_share_their_fuel() {
    let (env, node) = compile("{% for i in range(20000) %}{% endfor %}").unwrap();
    let facts = Arc::new(Facts::example());
    let scope = Scope::new(&env, &facts, &Arc::new(Luck::new(1, "GET /x", 1)), Vec::new());
    let all: Result<Vec<_>, _> = (0..1000)
        .map(|index| node.value(&scope.with(vec![("index", index.into())])))
        .collect();
    assert!(all.unwrap_err().0.contains("too much time or memory"));
}

#[test]
fn values_in_json_have_a_depth() {
    let env = Environment::new();
    let facts = Arc::new(Facts::example());
    let scope = Scope::new(&env, &facts, &Arc::new(Luck::new(1, "GET /x", 1)), Vec::new());
    let nested = |depth: usize| (0..depth).fold(Value::from(1), |value, _| Value::from(vec![value]));
    assert!(scope.json(&nested(128)).is_ok());
    let error = scope.json(&nested(129)).unwrap_err();
    assert!(error.to_string().contains("128 deep"), "{error}");
}
