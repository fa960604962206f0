//! The templates of faults that respond: those of routes, but for what only fakes have.

use std::sync::Arc;

use minijinja::Environment;
use serde_json::Value;

use super::facts::{Facts, Luck};
use super::template::{Compiler, Scope, Template as Compiled, is_template};
use super::tree::Node;
use crate::draw::Purpose;
use crate::fault::kind::HitRequest;
use crate::fault::template::{Template, Templates};
use crate::yaml::report::Span;

/// The language of templates, for the faults.
pub static TEMPLATES: FakeTemplates = FakeTemplates;

/// Compiles templates in the language of declared fakes.
#[derive(Debug)]
pub struct FakeTemplates;

/// A text or a JSON value with templates in it.
#[derive(Debug)]
struct Injected {
    env: Environment<'static>,
    node: Node,
    uses_body: bool,
}

impl Templates for FakeTemplates {
    fn text(&self, text: &str) -> Result<Option<Arc<dyn Template>>, String> {
        if !is_template(text) {
            return Ok(None);
        }
        compile(|compiler| match compiler.text(text, Span::NOWHERE) {
            Compiled::Fixed(text) => Node::Fixed(Value::from(&*text)),
            named => Node::Text(named),
        })
    }

    fn json(&self, json: &Value) -> Result<Option<Arc<dyn Template>>, String> {
        if !has_template(json) {
            return Ok(None);
        }
        compile(|compiler| Node::of_json(json, Span::NOWHERE, compiler))
    }
}

/// Whether one of the texts in a value is a template.
fn has_template(json: &Value) -> bool {
    match json {
        Value::String(text) => is_template(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(members) => members.values().any(has_template),
        _ => false,
    }
}

fn compile(make: impl FnOnce(&mut Compiler<'_>) -> Node) -> Result<Option<Arc<dyn Template>>, String> {
    let mut mistakes = Vec::new();
    let mut compiler = Compiler::of_fault(&mut mistakes);
    let node = make(&mut compiler);
    let uses_body = compiler.uses_body();
    let env = compiler.finish();
    match mistakes.into_iter().next() {
        Some(mistake) if mistake.help.is_empty() => Err(mistake.message),
        Some(mistake) => Err(format!("{}: {}", mistake.message, mistake.help.join("; "))),
        None => Ok(Some(Arc::new(Injected { env, node, uses_body }))),
    }
}

impl Template for Injected {
    fn render(&self, hit: &HitRequest<'_, '_>) -> Result<Value, String> {
        let facts = Arc::new(Facts::of_head(hit.head, hit.ordinal));
        let luck = hit.draw.stream(Purpose::Template, hit.position);
        let luck = Arc::new(Luck::new(luck, "", hit.ordinal));
        let scope = Scope::new(&self.env, &facts, &luck, Vec::new());
        self.node.value(&scope).map_err(|failure| failure.0)
    }

    fn uses_body(&self) -> bool {
        self.uses_body
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use serde_json::json;

    use super::*;
    use crate::content::Content;
    use crate::draw::head::Head;
    use crate::draw::{KeyHash, Seed};
    use crate::fault::abort::AbortSpec;
    use crate::fault::context::Context;
    use crate::fault::effect::{Effect, Ending};
    use crate::fault::kind::{Fault as _, Spec as _};
    use crate::fault::place::testing::context;

    fn rendered(template: &dyn Template, ordinal: u64) -> Result<Value, String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "r1".parse().unwrap());
        headers.insert(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                .parse()
                .unwrap(),
        );
        let content = Content::new(&headers, r#"{"id": 7}"#.into(), 100);
        let head = Head::new(&Method::POST, "/a%20b?x=1", Some("h:80"), &headers, None).with_body(Some(&content));
        let rule = Seed(1).rule("r");
        template.render(&HitRequest {
            head: &head,
            draw: rule.draw(KeyHash::ordinal(ordinal)),
            rule,
            ordinal,
            position: 0,
            since: std::time::Duration::ZERO,
            counts: true,
        })
    }

    fn render(json: Value) -> Value {
        rendered(&*TEMPLATES.json(&json).unwrap().unwrap(), 3).unwrap()
    }

    #[test]
    fn requests_are_known() {
        for (template, expect) in [
            (
                "{{ request.path }} {{ request.method }} {{ request.query.x }} {{ method }}",
                json!("/a b POST 1 POST"),
            ),
            ("{{ json.id }}", json!(7)),
            ("{{ request.json.id + 1 }}", json!(8)),
            ("{{ headers['x-request-id'] }}{{ headers.none }}", json!("r1")),
            (
                "{{ trace_id }} {{ span_id }}",
                json!("0af7651916cd43dd8448eb211c80319c b7ad6b7169203331"),
            ),
            ("{{ host }} {{ url }} {{ request_number }}", json!("h:80 /a%20b?x=1 3")),
        ] {
            assert_eq!(render(json!({"a": [template]})), json!({"a": [expect]}), "{template}");
        }
        assert!(TEMPLATES.json(&json!({"a": 1, "b": "c"})).unwrap().is_none());
        let body = |text: &str| TEMPLATES.text(text).unwrap().unwrap().uses_body();
        assert!(body("{{ request.body }}") && body("{{ form.a }}") && !body("{{ request.path }}"));
    }

    /// How an `abort` responds to a request with these header fields and this body, or why it does not.
    fn aborted(yaml: &str, body: Content) -> Result<Vec<String>, String> {
        let spec: AbortSpec = crate::yaml::testing::read(yaml).unwrap();
        let context = Context {
            templates: &TEMPLATES,
            ..context()
        };
        let abort = spec.compile(&context).unwrap();
        let headers = HeaderMap::new();
        let head = Head::new(&Method::POST, "/", Some("h"), &headers, None).with_body(Some(&body));
        let rule = Seed(1).rule("r");
        let effects = abort.effects(&HitRequest {
            head: &head,
            draw: rule.draw(KeyHash::ordinal(1)),
            rule,
            ordinal: 1,
            position: 0,
            since: std::time::Duration::ZERO,
            counts: true,
        });
        match &effects[0] {
            Effect::End {
                ending: Ending::Answer(answer, _),
                ..
            } => Ok(answer
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .chain([String::from_utf8(answer.body.to_vec()).unwrap()])
                .collect()),
            Effect::Skip(skip) => Err(skip.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_of_null_are_left_out_and_failures_are_named() {
        let body = r#"{"none": null, "n": 7, "list": [1], "lines": "a\r\nb", "long": "#;
        let content = || {
            Content::new(
                &HeaderMap::new(),
                format!("{body}{:?}}}", "x".repeat(9000)).into(),
                1 << 20,
            )
        };
        let check = |yaml: &str, expect: Result<&[&str], &str>| {
            let expect = expect.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect());
            assert_eq!(aborted(yaml, content()), expect.map_err(str::to_owned), "{yaml}");
        };
        check(
            "{headers: {x-a: '{{ json.none }}', x-b: '{{ json.absent }}', x-c: '{{ json.n }}', x-d: 'n={{ json.n }}', x-e: '{{ json.list }}'}}",
            Ok(&["x-c: 7", "x-d: n=7", "x-e: [1]", ""]),
        );
        check(
            "{headers: {x-a: '{{ json.lines }}'}}",
            Err("template failed: header `x-a`: the value of `x-a` contains a control character, such as a newline"),
        );
        check(
            "{headers: {x-a: '{{ json.long }}'}}",
            Err("template failed: header `x-a`: it has 9000 bytes, and a field has at most 8 KiB"),
        );
        let failed = |yaml: &str| aborted(yaml, content()).unwrap_err();
        assert!(failed("{body: '{{ 1 / 0 }}'}").starts_with("template failed: `body`: "));
        assert!(failed("{json: {a: '{{ 1 // 0 }}'}}").starts_with("template failed: `json`: "));
    }

    #[test]
    fn bodies_that_could_not_be_read_are_not_taken_as_empty() {
        let unknown = || Content::unknown("is longer than the limit of 1MiB");
        let skipped = "body unread: the request's body is longer than the limit of 1MiB".to_owned();
        for yaml in ["{body: '{{ body | length }}'}", "{headers: {x-a: '{{ json.user }}'}}"] {
            assert_eq!(aborted(yaml, unknown()), Err(skipped.clone()), "{yaml}");
        }
        assert!(aborted("{body: '{{ request.path }}'}", unknown()).is_ok());
    }

    #[test]
    fn a_status_without_content_gets_no_body() {
        let content = || Content::new(&HeaderMap::new(), "x".into(), 10);
        for status in [204, 205, 304] {
            let none = Ok(vec!["x-a: 1".to_owned(), String::new()]);
            let plain = format!("{{status: {status}, headers: {{x-a: 1}}, body: hello}}");
            assert_eq!(aborted(&plain, content()), none);
            let template = format!("{{status: {status}, headers: {{x-a: 1}}, body: '{{{{ body }}}}'}}");
            assert_eq!(aborted(&template, content()), none);
        }
    }

    #[test]
    fn random_data_are_the_same_for_the_same_request() {
        let template = TEMPLATES.text("{{ uuid() }}").unwrap().unwrap();
        assert_eq!(rendered(&*template, 1), rendered(&*template, 1));
        assert_ne!(rendered(&*template, 1), rendered(&*template, 2));
    }

    #[test]
    fn mistakes_are_found_when_compiled_and_long_ones_when_rendered() {
        let error = |text: &str| TEMPLATES.text(text).map(drop).unwrap_err();
        assert_eq!(
            error("{{ path.id }}"),
            "`path` is for the routes of fakes: a fault has `request.path`"
        );
        assert_eq!(
            error("{{ request.pth }}"),
            "`request` has no `pth`: did you mean `request.path`?"
        );
        assert_eq!(
            error("{{ counter('a') }}"),
            "`counter` is for the routes of fakes: a fault has `request_number`"
        );
        assert!(error("{{ nothing }}").starts_with("unknown variable `nothing`"));
        assert!(error("{{ 1 +").starts_with("the template is not valid"));
        let long = TEMPLATES
            .text("{% for i in range(99999) %}{{ i }}{% endfor %}")
            .unwrap()
            .unwrap();
        assert!(rendered(&*long, 1).is_err());
    }
}
