use http::Request;

use super::super::schemas::Schemas;
use super::super::{document, operations};
use super::*;

/// A document with one operation, `POST /a`, or at another path, that has this in YAML, below these schemas.
struct Checked {
    document: document::Document,
    paths: Vec<operations::Path>,
    validator: Validator,
}

const SCHEMAS: &str = "
    Color: {type: object, required: [R, G], properties: {R: {type: integer}, G: {type: integer}}}
    List: {type: array, items: {type: integer}}
";

fn read(path: &str, operation: &str) -> Checked {
    let text = format!("openapi: 3.1.0\npaths: {{'{path}': {{post: {operation}}}}}\ncomponents:\n  schemas:{SCHEMAS}");
    let document = document::Document::read_from(text.as_bytes(), None).unwrap();
    let mut schemas = Schemas::new(&document);
    let paths = operations::read(&mut schemas, &mut Vec::new()).unwrap();
    let validator = schemas.compile().unwrap();
    Checked {
        document,
        paths,
        validator,
    }
}

impl Checked {
    /// What is wrong with a request, in one line each; nothing: an empty text.
    fn problems(&self, target: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut request = Request::post(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let path = &self.paths[0];
        let query = pairs(head.uri.query().unwrap_or("").as_bytes());
        let values = path.template.matches(head.uri.path(), &query, false).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        match check(
            &self.document,
            &self.validator,
            &path.operations[0],
            &values,
            &head,
            &body,
        ) {
            Ok(()) => String::new(),
            Err(Refusal::Problems(problems)) => {
                let lines = problems
                    .iter()
                    .map(|one| format!("{} {}", one.field, one.message).trim().to_owned());
                lines.collect::<Vec<_>>().join("; ")
            }
            Err(other) => format!("{other:?}"),
        }
    }
}

/// Requests with such a query to an operation with this one parameter, each with what is wrong with it.
#[track_caller]
fn queries(parameter: &str, cases: &[(&str, &str)]) {
    let checked = read("/a", &format!("{{parameters: [{parameter}]}}"));
    for (query, expect) in cases {
        assert_eq!(
            checked.problems(&format!("/a?{query}"), &[], ""),
            *expect,
            "{parameter} {query}"
        );
    }
}

const MISSING: &str = "p is missing";
const R_MISSING: &str = "p.R is missing";

#[test]
fn objects_in_queries() {
    let color = |more: &str| {
        format!("{{name: p, in: query, required: true, schema: {{$ref: '#/components/schemas/Color'}}{more}}}")
    };
    queries(
        &color(""),
        &[
            ("R=1&G=2", ""),
            ("R=1", "p.G is missing"),
            ("R=x&G=2", "p.R must be an integer"),
            ("", MISSING),
            ("p[R]=1&p[G]=2", ""),
            ("p=%7B%22R%22:1,%22G%22:2%7D", ""),
        ],
    );
    queries(
        &color(", explode: false"),
        &[
            ("p=R,1,G,2", ""),
            ("p=R%2C1%2CG%2C2", ""),
            ("p=G,1", R_MISSING),
            ("R=1&G=2", MISSING),
        ],
    );
    queries(
        &color(", style: spaceDelimited, explode: false"),
        &[("p=R%201%20G%202", ""), ("p=R+1+G+2", "")],
    );
    queries(
        &color(", style: pipeDelimited, explode: false"),
        &[("p=R|1|G|2", ""), ("p=R%7C1%7CG%7C2", ""), ("p=G|1", R_MISSING)],
    );
    queries(
        &color(", style: deepObject, explode: true"),
        &[
            ("p[R]=1&p[G]=2", ""),
            ("p%5BR%5D=1&p%5BG%5D=2", ""),
            ("p[R]=x&p[G]=1", "p.R must be an integer"),
            ("p[G]=1", R_MISSING),
            ("R=1", MISSING),
        ],
    );
    queries(
        "{name: p, in: query, style: deepObject, schema: {type: object, properties: {at: {type: object, properties: {gte: {type: integer}}}, \
         ids: {type: array, items: {type: integer}}}}}",
        &[
            ("p[at][gte]=1&p[ids][]=2&p[ids][]=3", ""),
            ("p[ids][0]=2&p[ids][1]=x", "p.ids[1] must be an integer"),
            ("p[at][gte]=x", "p.at.gte must be an integer"),
            ("", ""),
        ],
    );
    let checked = read(
        "/a",
        "{parameters: [{name: sort, in: query, schema: {type: object, properties: {at: {enum: [asc]}}}}, \
         {name: at, in: query, style: deepObject, schema: {type: object}}]}",
    );
    assert_eq!(checked.problems("/a?at[gte]=x", &[], ""), "");
    // What is a parameter of its own is not a property, too.
    let checked = read(
        "/a",
        "{parameters: [{name: sort, in: query, schema: {type: object, properties: {at: {enum: [asc]}, by: {enum: [x]}}}}, \
         {name: at, in: query, schema: {type: string}}]}",
    );
    assert_eq!(checked.problems("/a?at=x&by=x", &[], ""), "");
    assert_eq!(checked.problems("/a?by=y", &[], ""), "sort.by must be one of \"x\"");
    // Free-form objects take what no other parameter takes.
    let checked = read(
        "/a",
        "{parameters: [{name: p, in: query, schema: {type: object, additionalProperties: {type: integer}}}, {name: q, in: query, schema: {type: string}}]}",
    );
    assert_eq!(checked.problems("/a?x=1&q=y", &[], ""), "");
    assert_eq!(checked.problems("/a?x=z&q=y", &[], ""), "p.x must be an integer");
}

#[test]
fn lists_in_queries() {
    let list = |more: &str| format!("{{name: p, in: query, schema: {{$ref: '#/components/schemas/List'}}{more}}}");
    let other = "p[1] must be an integer";
    queries(
        &list(""),
        &[
            ("p=1&p=2", ""),
            ("p=1", ""),
            ("p=1&p=x", other),
            ("p[]=1&p[]=2", ""),
            ("p[0]=1&p[1]=x", other),
            ("", ""),
        ],
    );
    queries(
        &list(", explode: false"),
        &[("p=1,2", ""), ("p=1%2C2", ""), ("p=1,x", other), ("p=1&p=2", "")],
    );
    queries(&list(", style: spaceDelimited"), &[("p=1%202", ""), ("p=1+x", other)]);
    queries(&list(", style: pipeDelimited"), &[("p=1|2", ""), ("p=1%7Cx", other)]);
    queries(
        "{name: 'p[]', in: query, schema: {type: array, items: {type: integer}}}",
        &[
            ("p[]=1&p[]=2", ""),
            ("p[]=x", "p[][0] must be an integer"),
            ("p[0]=1", ""),
        ],
    );
    queries(
        "{name: 'p[size]', in: query, schema: {type: integer}}",
        &[("p[size]=1", ""), ("p[size]=x", "p[size] must be an integer")],
    );
    queries(
        "{name: p, in: query, explode: false, schema: {type: array, items: {enum: [a]}}}",
        &[("p=", ""), ("p=a", ""), ("p=b", "p[0] must be one of \"a\"")],
    );
    for schema in [
        "{anyOf: [{type: array, items: {type: integer}}, {type: 'null'}]}",
        "{allOf: [{$ref: '#/components/schemas/List'}]}",
        "{oneOf: [{$ref: '#/components/schemas/List'}, {type: string, enum: [all]}]}",
        "{type: [array, 'null'], items: {type: integer}}",
    ] {
        queries(
            &format!("{{name: p, in: query, schema: {schema}}}"),
            &[("p=1", ""), ("p=1&p=2", "")],
        );
    }
    queries(
        "{name: p, in: query, schema: {oneOf: [{$ref: '#/components/schemas/List'}, {type: string, enum: [all]}]}}",
        &[("p=all", "")],
    );
}

#[test]
fn texts_are_what_their_schemas_let_them_be() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        (
            "{type: integer}",
            &[
                ("p=5", ""),
                ("p=5.0", ""),
                ("p=x", "p must be an integer"),
                ("p=", "p must be an integer"),
            ],
        ),
        ("{type: string}", &[("p=5", ""), ("p=true", ""), ("p=", "")]),
        ("{type: boolean}", &[("p=true", ""), ("p=yes", "p must be a boolean")]),
        ("{type: [integer, 'null']}", &[("p=null", ""), ("p=", ""), ("p=1", "")]),
        (
            "{anyOf: [{type: integer, maximum: 5}, {type: string, minLength: 2}]}",
            &[
                ("p=12", ""),
                ("p=3", ""),
                ("p=7", "p must match at least one of 2 schemas; it matches none"),
            ],
        ),
        ("{enum: [1, 2]}", &[("p=1", ""), ("p=3", "p must be one of 1, 2")]),
        ("{const: true}", &[("p=true", "")]),
        ("{type: string, enum: ['1']}", &[("p=1", "")]),
        ("{minimum: 3}", &[("p=3", ""), ("p=2", "p must be at least 3")]),
        ("{}", &[("p=x", ""), ("p=", "")]),
        (
            "{type: integer, minimum: -9223372036854776000, maximum: 9223372036854776000}",
            &[
                ("p=18446744073709551616", "p must be at most 9223372036854776000"),
                ("p=1", ""),
            ],
        ),
    ];
    for (schema, cases) in cases {
        queries(&format!("{{name: p, in: query, schema: {schema}}}"), cases);
    }
    queries(
        "{name: p, in: query, allowEmptyValue: true, schema: {type: integer}}",
        &[("p=", ""), ("p", ""), ("p=x", "p must be an integer")],
    );
}

#[test]
fn parameters_in_paths() {
    let color = "$ref: '#/components/schemas/Color'";
    let list = "$ref: '#/components/schemas/List'";
    for (more, schema, path) in [
        ("", color, "R,1,G,2"),
        ("", color, "R%2C1%2CG%2C2"),
        ("explode: true", color, "R=1,G=2"),
        ("style: label", color, ".R,1,G,2"),
        ("style: label", color, ".R.1.G.2"),
        ("style: label, explode: true", color, ".R=1.G=2"),
        ("style: matrix", color, ";p=R,1,G,2"),
        ("style: matrix, explode: true", color, ";R=1;G=2"),
        ("", list, "1,2"),
        ("style: label", list, ".1,2"),
        ("style: label, explode: true", list, ".1.2"),
        ("style: matrix", list, ";p=1,2"),
        ("style: matrix, explode: true", list, ";p=1;p=2"),
        ("style: label", "type: integer", ".5"),
        ("style: matrix", "type: integer", ";p=5"),
        ("", "type: integer", "5"),
    ] {
        let checked = read(
            "/a/{p}",
            &format!("{{parameters: [{{name: p, in: path, required: true, schema: {{{schema}}}, {more}}}]}}"),
        );
        assert_eq!(checked.problems(&format!("/a/{path}"), &[], ""), "", "{more} {path}");
        let wrong = path.replace(['1', '5'], "x");
        assert_ne!(checked.problems(&format!("/a/{wrong}"), &[], ""), "", "{more} {wrong}");
    }
    let text = read(
        "/a/{p}",
        "{parameters: [{name: p, in: path, required: true, schema: {type: string, enum: [a/b]}}]}",
    );
    assert_eq!(text.problems("/a/a%2Fb", &[], ""), "");
}

#[test]
fn parameters_in_headers_and_cookies() {
    let color = "$ref: '#/components/schemas/Color'";
    let checked = |place: &str, more: &str, schema: &str| {
        read(
            "/a",
            &format!("{{parameters: [{{name: p, in: {place}, required: true, schema: {{{schema}}}, {more}}}]}}"),
        )
    };
    let header = |more, schema, value| checked("header", more, schema).problems("/a", &[("p", value)], "");
    assert_eq!(header("", color, "R,1,G,2"), "");
    assert_eq!(header("", color, "R, 1, G, x"), "p.G must be an integer");
    assert_eq!(header("explode: true", color, "R=1, G=2"), "");
    assert_eq!(header("", "$ref: '#/components/schemas/List'", "1, 2"), "");
    let twice = checked("header", "", "$ref: '#/components/schemas/List'");
    assert_eq!(
        twice.problems("/a", &[("p", "1"), ("p", "x")], ""),
        "p[1] must be an integer"
    );
    let cookie = |more, schema, value| checked("cookie", more, schema).problems("/a", &[("cookie", value)], "");
    assert_eq!(cookie("", "type: integer", "q=x; p=5"), "");
    assert_eq!(
        cookie("explode: false", "$ref: '#/components/schemas/List'", "p=1,2"),
        ""
    );
    assert_eq!(cookie("", color, "R=1; G=2"), "");
    assert_eq!(cookie("", color, "q=1"), MISSING);
}

#[test]
fn header_parameters_that_openapi_ignores() {
    let names = ["Accept", "content-type", "Authorization"];
    let parameters =
        names.map(|name| format!("{{name: {name}, in: header, required: true, schema: {{type: integer}}}}"));
    let checked = read("/a", &format!("{{parameters: [{}]}}", parameters.join(", ")));
    assert_eq!(checked.problems("/a", &[("accept", "*/*")], ""), "");
}

#[test]
fn parameters_with_a_media_type() {
    queries(
        "{name: p, in: query, required: true, content: {application/json: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}}}",
        &[
            ("p={%22n%22:1}", ""),
            ("p={}", "p.n is missing"),
            ("p={bad", "p is not valid JSON: key must be a string at line 1 column 2"),
            ("", MISSING),
        ],
    );
    queries(
        "{name: p, in: query, content: {text/plain: {schema: {type: integer}}}}",
        &[("p=x", "")],
    );
}

/// Forms for a body of this media type and schema, each with what is wrong with it.
#[track_caller]
fn forms(media: &str, cases: &[(&str, &str)]) {
    let checked = read(
        "/a",
        &format!("{{requestBody: {{required: true, content: {{application/x-www-form-urlencoded: {media}}}}}}}"),
    );
    for (body, expect) in cases {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(checked.problems("/a", &form, body), *expect, "{media} {body}");
    }
}

#[test]
fn a_port_of_kubernetes_is_a_number_or_a_name() {
    let schema = "{type: object, properties: {port: {type: string, format: int-or-string}}}";
    let checked = read(
        "/a",
        &format!("{{requestBody: {{content: {{application/json: {{schema: {schema}}}}}}}}}"),
    );
    let problems = |body: &str| checked.problems("/a", &[("content-type", "application/json")], body);
    assert_eq!([problems("{\"port\": 80}"), problems("{\"port\": \"http\"}")], ["", ""]);
    assert_ne!(problems("{\"port\": true}"), "");
}

#[test]
fn a_list_without_items_has_no_field_in_a_form() {
    let list = |more: &str| {
        format!(
            "{{schema: {{type: object, required: [a], properties: {{a: {{type: array{more}}}, b: {{type: string}}}}}}}}"
        )
    };
    forms(&list(""), &[("b=x", ""), ("", ""), ("a=1", "")]);
    forms(&list(", minItems: 1"), &[("b=x", "a is missing"), ("a=1", "")]);
}

#[test]
fn forms_nest() {
    let schema = "type: object, additionalProperties: false, required: [card], properties: {expand: {type: array, items: {type: string}}, \
        card: {type: object, required: [number], properties: {number: {type: string}, year: {type: integer}}}, \
        items: {type: array, items: {type: object, required: [price], properties: {price: {type: integer}}}}, \
        metadata: {anyOf: [{type: object, additionalProperties: {type: string}}, {type: string, enum: ['']}]}, \
        at: {anyOf: [{type: object, properties: {gt: {type: integer}}}, {type: integer}]}}";
    forms(
        &format!("{{encoding: {{card: {{style: deepObject, explode: true}}}}, schema: {{{schema}}}}}"),
        &[
            ("expand[]=x&expand[]=y&card[number]=4242", ""),
            ("expand[0]=x&expand[1]=y&card[number]=4242&card[year]=30", ""),
            ("expand=x&card%5Bnumber%5D=1", ""),
            ("card[year]=x&card[number]=1", "card.year must be an integer"),
            ("card[year]=3", "card.number is missing"),
            (
                "card[number]=1&items[0][price]=1&items[1][price]=x",
                "items[1].price must be an integer",
            ),
            ("card[number]=1&items[][price]=1", ""),
            ("card[number]=1&metadata[a]=5&at=5", ""),
            ("card[number]=1&metadata=&at[gt]=5", ""),
            ("card[number]=1&other=1", "other is unknown"),
            ("card={\"number\":\"1\"}", ""),
            ("expand=x", "card is missing"),
            ("", "card is missing"),
        ],
    );
    forms(
        "{schema: {type: object, properties: {a: {type: string}}}}",
        &[("", ""), ("b=1", "")],
    );
    let list = "schema: {type: object, properties: {a: {type: array, items: {type: integer}}}}";
    forms(
        &format!("{{encoding: {{a: {{explode: false}}}}, {list}}}"),
        &[("a=1,2", ""), ("a=1,x", "a[1] must be an integer")],
    );
    forms(&format!("{{{list}}}"), &[("a=1&a=2", ""), ("a=1", "")]);
    forms(
        "{encoding: {a: {allowReserved: false}}, schema: {type: object}}",
        &[
            ("a=%2F", ""),
            ("a=/", "a must have its reserved characters percent-encoded"),
        ],
    );
    forms(
        "{encoding: {a: {contentType: application/json}}, schema: {type: object, properties: {a: {type: object, required: [b]}}}}",
        &[("a={\"b\":1}", ""), ("a={}", "a.b is missing")],
    );
}

#[test]
fn forms_in_parts() {
    let schema = "type: object, required: [file, kind], properties: {file: {type: string, format: binary}, kind: {type: string, enum: [a, b]}, \
        n: {type: integer}, tags: {type: array, items: {type: string}}, data: {type: object, required: [x]}}";
    let checked = read(
        "/a",
        &format!("{{requestBody: {{required: true, content: {{multipart/form-data: {{schema: {{{schema}}}}}}}}}}}"),
    );
    let send = |parts: &[&str]| {
        let mut body = parts
            .iter()
            .map(|part| format!("--b\r\nContent-Disposition: form-data; {part}\r\n"))
            .collect::<String>();
        body.push_str("--b--\r\n");
        checked.problems("/a", &[("content-type", "multipart/form-data; boundary=b")], &body)
    };
    let file = "name=\"file\"; filename=\"f\"\r\nContent-Type: application/json\r\n\r\n{}";
    let kind = "name=\"kind\"\r\n\r\na";
    assert_eq!(send(&[file, kind, "name=n\r\n\r\n5", "name=tags\r\n\r\nx"]), "");
    assert_eq!(
        send(&[file, kind, "name=data\r\nContent-Type: application/json\r\n\r\n{}"]),
        "data.x is missing"
    );
    assert_eq!(send(&[file, "name=kind\r\n\r\nc"]), "kind must be one of \"a\", \"b\"");
    assert_eq!(send(&[kind]), "file is missing");
    assert!(
        checked
            .problems("/a", &[("content-type", "multipart/form-data; boundary=c")], "x")
            .contains("Malformed")
    );
    assert!(
        checked
            .problems("/a", &[("content-type", "multipart/form-data")], "x")
            .contains("no `boundary`")
    );
}

#[test]
fn media_types_of_bodies() {
    let checked = read(
        "/a",
        "{requestBody: {content: {application/vnd.x+json: {schema: {type: object}}, text/plain: {schema: {type: integer}}}}}",
    );
    for (media_type, body, expect) in [
        ("application/vnd.x+json; version=2", "{}", ""),
        ("application/json", "[]", "must be an object"),
        ("text/plain", "5", ""),
        ("text/plain", "x", "must be an integer"),
        (
            "image/png",
            "x",
            "MediaType([\"application/vnd.x+json\", \"text/plain\"])",
        ),
    ] {
        assert_eq!(
            checked.problems("/a", &[("content-type", media_type)], body),
            expect,
            "{media_type} {body}"
        );
    }
    assert_eq!(checked.problems("/a", &[], "[]"), "must be an object");
    let any = read(
        "/a",
        "{requestBody: {content: {'*/*': {schema: {type: object, required: [a]}}}}}",
    );
    assert_eq!(
        any.problems("/a", &[("content-type", "application/yaml")], "b: 1"),
        "a is missing"
    );
    assert!(
        any.problems("/a", &[("content-type", "text/x-yaml")], "b: [")
            .contains("not valid YAML")
    );
    assert_eq!(any.problems("/a", &[("content-type", "text/plain")], "x"), "");
    assert_eq!(any.problems("/a", &[], "{}"), "a is missing");
    let patch = read(
        "/a",
        "{requestBody: {content: {application/json-patch+json: {schema: {type: object}}}}}",
    );
    assert_eq!(
        patch.problems("/a", &[("content-type", "application/json-patch+json")], "[]"),
        ""
    );
    let only_form = read(
        "/a",
        "{requestBody: {content: {application/x-www-form-urlencoded: {schema: {type: object, required: [a]}}}}}",
    );
    assert_eq!(only_form.problems("/a", &[], "b=1"), "a is missing");
}
