use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::*;
use crate::fake::declared::bodiless_for_head;

const PETS: &str = r#"
openapi: 3.0.3
paths:
  /pets:
    get:
      parameters:
        - {name: limit, in: query, required: true, schema: {type: integer, maximum: 10}}
        - {name: tags, in: query, schema: {type: array, items: {type: string, enum: [a, b]}}}
        - {name: X-Trace, in: header, required: true, schema: {type: string, minLength: 2}}
      responses:
        200: {description: ok, content: {application/json: {schema: {type: array, items: {$ref: '#/components/schemas/Pet'}}}}}
    post:
      requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Pet'}}}}
      responses:
        '201':
          description: made
          headers: {Location: {schema: {type: string}, example: /pets/5}}
          content: {application/json: {example: {id: 5}}}
        default: {description: no, content: {application/json: {example: {error: no}}}}
  /pets/mine:
    get: {responses: {200: {description: ok, content: {text/plain: {example: mine}}}}}
  /pets/loose: {get: {responses: {200: {description: ok, content: {application/json: {}}}}}}
  /pets/photo: {get: {responses: {200: {description: ok, content: {image/*: {}}}}}}
  /pets/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
    get:
      responses:
        200:
          description: ok
          content:
            application/xml: {schema: {$ref: '#/components/schemas/Pet'}}
            application/json:
              examples: {cat: {value: {name: Minka}}, dog: {value: {name: Rex}}}
              schema: {$ref: '#/components/schemas/Pet'}
        404: {description: none, content: {application/json: {example: {error: none}}}}
    delete: {responses: {204: {description: gone}}}
components:
  schemas:
    Pet: {type: object, required: [name], properties: {id: {type: integer, readOnly: true}, name: {type: string}, secret: {type: string, writeOnly: true}}}
"#;

fn pets(validate: bool) -> OpenApi {
    source_of(PETS, validate)
}

fn source_of(text: &str, validate: bool) -> OpenApi {
    let (document, paths, validator) = read_document(text.as_bytes(), None, validate, &mut Vec::new()).unwrap();
    OpenApi {
        servers: Servers::read(&document),
        document,
        paths,
        validator,
        prefix: "/v1".to_owned(),
        seed: 7,
    }
}

async fn send(source: &OpenApi, line: &str, headers: &[(&str, &str)], body: &str) -> (Response, String) {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match source.answer(request.body(Body::from(body.to_owned())).unwrap()).await {
        Outcome::Answered(response) => {
            let response = bodiless_for_head(&method.parse().unwrap(), response);
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (
                Response::from_parts(head, Body::empty()),
                String::from_utf8_lossy(&body).into_owned(),
            )
        }
        Outcome::Passed(_, methods) => (Response::new(Body::empty()), format!("passed {methods:?}")),
    }
}

async fn text(source: &OpenApi, line: &str, headers: &[(&str, &str)]) -> String {
    let (head, body) = send(source, line, headers, "").await;
    format!("{} {body}", head.status().as_u16())
}

#[tokio::test]
async fn operations_are_answered_with_their_examples() {
    let pets = pets(false);
    let one = "GET /v1/pets/1";
    assert_eq!(text(&pets, one, &[]).await, r#"200 {"name":"Minka"}"#);
    assert_eq!(
        text(&pets, one, &[("prefer", "example=dog")]).await,
        r#"200 {"name":"Rex"}"#
    );
    assert_eq!(
        text(&pets, one, &[("prefer", "code=404")]).await,
        r#"404 {"error":"none"}"#
    );
    assert!(
        text(&pets, one, &[("prefer", "code=418")])
            .await
            .starts_with(r#"404 {"error":"the document has no response `418` here","known":["200","404"]"#)
    );
    assert!(
        text(&pets, one, &[("prefer", "example=cow")])
            .await
            .contains(r#""known":["cat","dog"]"#)
    );
    assert!(
        text(&pets, one, &[("prefer", "dynamic=true")])
            .await
            .contains(r#"{"id":"#)
    );
    assert!(
        text(&pets, one, &[("accept", "application/xml")])
            .await
            .contains("<Pet><id>")
    );
    assert!(
        text(&pets, one, &[("accept", "application/xml;q=0.5, */*;q=0.4")])
            .await
            .contains("<Pet>")
    );
    assert!(text(&pets, one, &[("accept", "image/png")]).await.starts_with("406"));
    assert!(text(&pets, one, &[("accept", "nonsense")]).await.starts_with("200"));
    assert_eq!(text(&pets, "GET /v1/pets/mine", &[]).await, "200 mine");
    let dynamic = [("prefer", "dynamic=true")];
    assert_eq!(
        text(&pets, "GET /v1/pets/mine", &dynamic).await,
        "200 mine",
        "without a schema, the example is used"
    );
    assert_eq!(
        text(&pets, "GET /v1/pets/loose", &[]).await,
        "200 {}",
        "it is to be parsed"
    );
    let (photo, body) = send(&pets, "GET /v1/pets/photo", &[], "").await;
    assert_eq!(photo.headers()["content-type"], "image/png");
    assert!(body.get(3..).unwrap_or_default().starts_with("PNG"), "{body}");
    assert_eq!(text(&pets, "DELETE /v1/pets/1", &[]).await, "204 ");
    assert_eq!(text(&pets, "HEAD /v1/pets/1", &[]).await, "200 ");
    let (head, body) = send(&pets, "POST /v1/pets", &[], "").await;
    assert_eq!((head.status().as_u16(), body.as_str()), (201, r#"{"id":5}"#));
    assert_eq!(head.headers()["location"], "/pets/5");
    assert_eq!(
        text(&pets, "POST /v1/pets", &[("prefer", "code=500")]).await,
        r#"500 {"error":"no"}"#
    );
}

#[tokio::test]
async fn values_are_made_up_and_stay_the_same() {
    let pets = pets(false);
    let first = text(&pets, "GET /v1/pets", &[]).await;
    assert_eq!(first, text(&pets, "GET /v1/pets", &[]).await);
    let rows: Vec<Value> = serde_json::from_str(first.split_once(' ').unwrap().1).unwrap();
    assert!(
        rows.iter()
            .all(|row| row["name"].is_string() && row["id"].is_i64() && row.get("secret").is_none()),
        "{first}"
    );
}

#[tokio::test]
async fn unknown_paths_and_methods_are_passed_on() {
    let pets = pets(false);
    assert_eq!(text(&pets, "GET /pets", &[]).await, "200 passed []");
    assert_eq!(
        text(&pets, "PUT /v1/pets/1", &[]).await,
        "200 passed [GET, DELETE, HEAD]"
    );
}

#[tokio::test]
async fn requests_are_checked() {
    let pets = pets(true);
    let (head, body) = send(&pets, "GET /v1/pets?limit=11&tags=a&tags=c", &[("x-trace", "t")], "").await;
    let reply: Value = serde_json::from_str(&body).unwrap();
    let problems = reply["problems"].as_array().unwrap().iter();
    let shown: Vec<_> = problems
        .map(|one| format!("{} {} {}", one["in"], one["field"], one["message"]).replace('"', ""))
        .collect();
    assert_eq!(head.status().as_u16(), 422);
    assert_eq!(
        shown,
        [
            "query limit must be at most 10",
            "query tags[1] must be one of \\a\\, \\b\\",
            "header X-Trace must have at least 2 characters",
        ]
    );
    assert!(
        text(&pets, "GET /v1/pets?limit=many", &[("x-trace", "tt")])
            .await
            .contains("must be an integer")
    );
    assert!(
        text(&pets, "GET /v1/pets", &[("x-trace", "tt")])
            .await
            .contains("is missing")
    );
    assert!(
        text(&pets, "GET /v1/pets?limit=3&tags=a", &[("x-trace", "tt")])
            .await
            .starts_with("200")
    );
    assert!(text(&pets, "GET /v1/pets/x", &[]).await.contains("\"in\":\"path\""));
    let json = [("content-type", "application/json; charset=utf-8")];
    for (body, status) in [
        ("", 422),
        ("{}", 422),
        ("{", 400),
        (r#"{"name": 5}"#, 422),
        (r#"{"name": "x"}"#, 201),
    ] {
        assert_eq!(
            send(&pets, "POST /v1/pets", &json, body).await.0.status().as_u16(),
            status,
            "{body}"
        );
    }
    let plain = [("content-type", "text/plain")];
    assert_eq!(send(&pets, "POST /v1/pets", &plain, "x").await.0.status().as_u16(), 415);
}

#[test]
fn schemas_are_compiled_where_requests_are_checked() {
    let text = PETS.replace("maximum: 10", "maximum: ten");
    let error = read_document(text.as_bytes(), None, true, &mut Vec::new())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error,
        ["/paths/~1pets/get/parameters/0/schema/maximum: \"ten\" is not of type \"number\""]
    );
    assert!(read_document(text.as_bytes(), None, false, &mut Vec::new()).is_ok());
    let text = PETS.replace("name: {type: string}", "name: {pattern: '('}");
    let error = read_document(text.as_bytes(), None, true, &mut Vec::new())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error,
        ["/components/schemas/Pet/properties/name/pattern: \"(\" is not a \"regex\""]
    );
}

#[test]
fn mistakes_have_their_place() {
    let error = |paths: &str| {
        let document = Document::read_from(format!("openapi: 3.1.0\n{paths}").as_bytes(), None).unwrap();
        operations::read(&mut Schemas::new(&document), &mut Vec::new())
            .unwrap_err()
            .join("\n")
    };
    assert!(error("info: {}").starts_with("/paths is missing"));
    assert!(error("paths: {}").starts_with("/paths has no operation"));
    assert_eq!(
        error(
            "paths: {a: {}, '/b/{': {}, /c: {get: 1, put: {parameters: [{in: body, name: x}], responses: {600: {}, ok: {}, 200: 1}}}}"
        ),
        "/paths/a: a path must start with `/`\n\
         /paths/~1b~1{: a `{` without a `}`\n\
         /paths/~1c/get is not an object\n\
         /paths/~1c/put/parameters/0: `in: body` is not path, query, header or cookie\n\
         /paths/~1c/put/responses/600 is not valid: use a status, a class such as 2XX, or `default`\n\
         /paths/~1c/put/responses/ok is not valid: use a status, a class such as 2XX, or `default`\n\
         /paths/~1c/put/responses/200 is not an object"
    );
}

const ORDERS: &str = r#"
openapi: 3.1.0
info: {title: Orders, version: '1'}
paths:
  /orders:
    get:
      parameters:
        - {name: page, in: query, schema: {type: integer}}
        - {name: limit, in: query, schema: {type: integer, default: 3}}
      responses:
        200:
          description: ok
          content:
            application/json:
              schema:
                required: [page, limit, total, data, meta]
                properties:
                  page: {type: integer, minimum: 1}
                  limit: {type: integer, maximum: 50}
                  total: {type: integer}
                  data: {type: array, minItems: 2, maxItems: 4, items: {$ref: '#/components/schemas/Order'}}
                  meta: {required: [total_pages], properties: {total_pages: {type: integer}}}
    post:
      requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}}
      responses:
        201:
          description: made
          headers: {Location: {schema: {type: string}}}
          content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}
        422: {description: no, content: {application/problem+json: {schema: {required: [title, status]}}}}
        401: {description: no, content: {application/vnd.x+json: {schema: {required: [code]}}}}
    put:
      requestBody: {content: {application/json: {schema: {allOf: [{properties: {id: {readOnly: true}}}, {required: [id, name]}]}}}}
      responses: {200: {description: ok}}
  /orders/{orderId}:
    get:
      parameters: [{name: orderId, in: path, required: true, schema: {type: string, format: uuid}}]
      responses: {200: {description: ok}}
  /bare:
    post: {responses: {201: {description: made, headers: {Location: {schema: {type: string}}}}}}
  /bare/{number}:
    get:
      parameters: [{name: number, in: path, required: true, schema: {type: integer, minimum: 100, maximum: 200}}]
      responses: {200: {description: ok}}
components:
  schemas:
    Base: {type: object, required: [id, password], properties: {id: {type: string, format: uuid, readOnly: true}, password: {type: string, writeOnly: true}}}
    Order:
      required: [id, secret, name]
      example: {id: 0b8a5d8c-6ea6-4d3a-9bb6-40e9b1b6a3c5, secret: s, name: n, password: p}
      allOf: [{$ref: '#/components/schemas/Base'}]
      properties: {secret: {type: string, writeOnly: true}, name: {type: string}}
"#;

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn what_was_made_is_found_by_the_id_of_its_body_or_one_that_fits() {
    let orders = source_of(ORDERS, false);
    let (made, body) = send(&orders, "POST /v1/orders", &[], "{}").await;
    let location = made.headers()["location"].to_str().unwrap();
    let id = parsed(&body)["id"].as_str().unwrap().to_owned();
    assert!(location.ends_with(&format!("/v1/orders/{id}")), "{location} {body}");
    let (made, _) = send(&orders, "POST /v1/bare", &[], "").await;
    let location = made.headers()["location"].to_str().unwrap();
    let number: u32 = location.rsplit_once('/').unwrap().1.parse().unwrap();
    assert!((100..=200).contains(&number), "{location}");
    let examples: Vec<_> = orders.rows().into_iter().map(|row| row.example).collect();
    let id = examples.iter().find_map(|one| one.strip_prefix("/v1/orders/")).unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok(), "{examples:?}");
}

#[tokio::test]
async fn no_answer_has_what_is_write_only_and_no_request_needs_what_is_read_only() {
    let orders = source_of(ORDERS, true);
    let (made, body) = send(
        &orders,
        "POST /v1/orders",
        &[],
        r#"{"name": "a", "secret": "b", "password": "c"}"#,
    )
    .await;
    assert_eq!(made.status(), 201, "{body}");
    let order = parsed(&body);
    assert!(
        order.get("secret").is_none() && order.get("password").is_none(),
        "{body}"
    );
    assert_eq!(order["name"], "n", "the rest of the example is kept");
    let (apart, body) = send(&orders, "PUT /v1/orders", &[], r#"{"name": "a"}"#).await;
    assert_eq!(apart.status(), 200, "one part requires what another describes: {body}");
    let (_, body) = send(&orders, "PUT /v1/orders", &[], "{}").await;
    assert!(
        body.contains(r#""field":"name""#) && !body.contains(r#""field":"id""#),
        "{body}"
    );
}

#[tokio::test]
async fn pages_say_what_the_request_does() {
    let orders = source_of(ORDERS, false);
    for (query, page, limit, pages) in [
        ("", 1, 3, 1),
        ("?page=2&limit=2", 2, 2, 2),
        ("?page=0&limit=90", 0, 90, 0),
    ] {
        let (_, body) = send(&orders, &format!("GET /v1/orders{query}"), &[], "").await;
        let answer = parsed(&body);
        let shown = i64::try_from(answer["data"].as_array().unwrap().len()).unwrap();
        if page == 0 {
            assert!(
                answer["page"].as_i64() >= Some(1) && answer["limit"].as_i64() <= Some(50),
                "{body}"
            );
            continue;
        }
        assert_eq!(
            (&answer["page"], &answer["limit"]),
            (&page.into(), &limit.into()),
            "{body}"
        );
        assert!(shown <= limit, "{body}");
        assert_eq!(answer["total"], (page - 1) * limit + shown, "{body}");
        assert_eq!(answer["meta"]["total_pages"], pages, "{body}");
    }
}

#[tokio::test]
async fn errors_have_the_media_type_that_the_document_has_for_them() {
    let orders = source_of(ORDERS, true);
    let (refused, body) = send(
        &orders,
        "POST /v1/orders",
        &[("content-type", "application/json")],
        "{}",
    )
    .await;
    assert_eq!(refused.status(), 422);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let problem = parsed(&body);
    assert_eq!(
        (&problem["title"], &problem["status"]),
        (&"Unprocessable Entity".into(), &422.into())
    );
    assert_eq!(problem["problems"][0]["field"], "secret", "{body}");
    assert!(
        problem.get("error").is_none() && problem["detail"].is_string(),
        "{body}"
    );
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_with_a_reason() {
    let (refused, body) = send(
        &source_of(ORDERS, true),
        "POST /v1/orders",
        &[],
        &"x".repeat(BODY_LIMIT + 1),
    )
    .await;
    assert_eq!(
        (refused.status().as_u16(), &*body),
        (413, r#"{"error":"the body is longer than 8 MiB"}"#)
    );
}
