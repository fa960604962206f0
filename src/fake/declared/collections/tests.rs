use http_body_util::BodyExt as _;

use super::*;
use crate::fake::declared::bodiless_for_head;
use crate::fake::declared::spec::FieldLong;

fn collection(spec: Value) -> Collection {
    let spec: CollectionSpec = serde_json::from_value(spec).unwrap();
    let mut mistakes = Vec::new();
    let collection = super::read(&Spanned::nowhere("things".to_owned()), &spec, &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    collection
}

/// A fake with one collection `things`, and the rows that it begins with.
fn things(spec: Value, store: &Store) -> Collections {
    let typed: CollectionSpec = serde_json::from_value(spec.clone()).unwrap();
    let collection = Arc::new(collection(spec));
    let database = Database::open(store).unwrap();
    let rows = typed.rows.into_iter().map(|row| row.value).collect();
    let generate = typed.generate.map_or(0, |generate| generate.value);
    database
        .now(|connection| rows::prepare(connection, &collection, rows, generate, 7))
        .unwrap();
    Collections {
        database,
        collections: vec![collection],
    }
}

fn shop() -> Collections {
    let fields = json!({"name": "string!", "price": "number", "tags": "array", "sold": "boolean", "sku": {"unique": true},
        "stock": {"type": "integer", "default": 0, "minimum": 0}, "maker": "object"});
    let rows = json!([
        {"name": "Anchor", "price": 9, "tags": ["iron", "old"], "sold": true, "maker": {"city": "Oslo"}},
        {"name": "Bucket", "price": 2.5, "tags": ["tin"], "sold": false},
        {"name": "Candle", "price": 10, "sku": "c-1"},
    ]);
    things(
        json!({"fields": fields, "rows": rows, "page": {"size": 2, "max": 3}}),
        &Store::Memory,
    )
}

async fn send(source: &Collections, line: &str, headers: &[(&str, &str)], body: &str) -> (Response<()>, String) {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Outcome::Answered(response) = source.answer(request.body(body.to_owned().into()).unwrap()).await else {
        panic!("{line} was passed on");
    };
    let response = bodiless_for_head(&method.parse().unwrap(), response);
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn ask(source: &Collections, line: &str, body: &str) -> (u16, Value) {
    let (head, body) = send(source, line, &[], body).await;
    let value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&body).unwrap()
    };
    (head.status().as_u16(), value)
}

type Response<T> = http::Response<T>;

async fn names(source: &Collections, query: &str) -> String {
    let (status, rows) = ask(source, &format!("GET /things?{query}"), "").await;
    assert_eq!(status, 200, "{query}: {rows}");
    let names = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap_or("-").to_owned());
    names.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_searched() {
    let shop = shop();
    for (query, expected) in [
        ("size=9", "Anchor Bucket Candle"),
        ("", "Anchor Bucket"),
        ("page=2", "Candle"),
        ("page=9", ""),
        ("offset=1&limit=2", "Bucket Candle"),
        ("name=Bucket", "Bucket"),
        ("name=Bucket&name=Anchor", "Anchor Bucket"),
        ("name=Bucket&price=9", ""),
        ("price[gte]=9", "Anchor Candle"),
        ("price_gt=9", "Candle"),
        ("price%5Blt%5D=9", "Bucket"),
        ("price=9.0", "Anchor"),
        ("price[in]=9,10", "Anchor Candle"),
        ("name[like]=CK", "Bucket"),
        ("name[ne]=Bucket", "Anchor Candle"),
        ("tags=old", "Anchor"),
        ("tags[ne]=old", "Bucket Candle"),
        ("sold=true", "Anchor"),
        ("maker.city=Oslo", "Anchor"),
        ("id=2", "Bucket"),
        ("id[gt]=1", "Bucket Candle"),
        ("q=oSL", "Anchor"),
        ("sort=-price&size=3", "Candle Anchor Bucket"),
        ("sort=price&size=3", "Bucket Anchor Candle"),
        ("_sort=price&_order=desc&_limit=1", "Candle"),
        ("_=1690000000", "Anchor Bucket"),
        ("_start=1&_end=3", "Bucket Candle"),
        ("_end=1", "Anchor"),
        ("name=%27%20OR%201%3D1--", ""),
    ] {
        assert_eq!(names(&shop, query).await, expected, "{query}");
    }
    assert_eq!(
        ask(&shop, "GET /things?fields=name,maker.city&size=1", "").await.1,
        json!([{"id": 1, "name": "Anchor", "maker.city": "Oslo"}])
    );
}

#[tokio::test]
async fn odd_queries_are_refused_with_what_is_wrong() {
    let shop = shop();
    for (query, field) in [
        ("_embed=x", "_embed"),
        ("_q=a", "_q"),
        ("_start=2&_end=2", "_end"),
        ("foo=bar", "foo"),
    ] {
        let (status, reply) = ask(&shop, &format!("GET /things?{query}"), "").await;
        assert_eq!(
            (status, &reply["problems"][0]["field"]),
            (400, &json!(field)),
            "{reply}"
        );
    }
    let (_, reply) = ask(&shop, "GET /things?_embed=x", "").await;
    let expected = "is neither a field of this collection (id, name, price, tags, sold, sku, stock, maker) nor one of q, \
        sort, page, size, offset, fields, _sort, _order, _page, _limit, _start, _end";
    assert_eq!(reply["problems"][0]["message"], expected);
    let query = "page=0&size=x&colour=red&price=cheap&sort=colour&fields=colour&name[is]=1";
    let (status, reply) = ask(&shop, &format!("GET /things?{query}"), "").await;
    let fields: Vec<_> = reply["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["field"].as_str().unwrap())
        .collect();
    assert_eq!((status, fields), (400, vec!["page", "size", "colour", "name[is]"]));
    let (status, reply) = ask(&shop, "GET /things?price=cheap&sort=colour&fields=colour", "").await;
    assert_eq!((status, reply["problems"].as_array().unwrap().len()), (400, 3));
    let many: Vec<_> = (0..101).map(|n| format!("name={n}")).collect();
    assert_eq!(ask(&shop, &format!("GET /things?{}", many.join("&")), "").await.0, 400);
}

#[tokio::test]
async fn pages_have_links_and_a_total() {
    let shop = shop();
    let (head, _) = send(&shop, "GET /things?name[ne]=x&page=1", &[], "").await;
    assert_eq!(head.headers()["x-total-count"], "3");
    assert_eq!(
        head.headers()["link"],
        "</things?name%5Bne%5D=x&page=1&size=2>; rel=\"first\", </things?name%5Bne%5D=x&page=2&size=2>; rel=\"next\", \
         </things?name%5Bne%5D=x&page=2&size=2>; rel=\"last\""
    );
    let (head, body) = send(&shop, "HEAD /things", &[], "").await;
    assert_eq!((head.status().as_u16(), body.as_str()), (200, ""));
    let wrapped = things(
        json!({"rows": [{"a": 1}, {"a": 2}], "envelope": "data", "page": {"size": 1}}),
        &Store::Memory,
    );
    assert_eq!(
        ask(&wrapped, "GET /things?page=2", "").await.1,
        json!({"data": [{"id": 2, "a": 2}], "total": 2, "page": 2, "size": 1, "pages": 2})
    );
}

#[tokio::test]
async fn rows_are_made_read_changed_and_deleted() {
    let shop = shop();
    let (head, body) = send(&shop, "POST /things", &[], r#"{"name": "Drum", "sku": "d"}"#).await;
    assert_eq!(
        (head.status().as_u16(), head.headers()["location"].to_str().unwrap()),
        (201, "/things/4")
    );
    assert_eq!(body, r#"{"id":4,"name":"Drum","sku":"d","stock":0}"#);
    let (head, same) = send(&shop, "GET /things/4", &[], "").await;
    assert_eq!(same, body);
    let tag = head.headers()["etag"].to_str().unwrap().to_owned();
    let (head, _) = send(&shop, "GET /things/4", &[("if-none-match", &format!("W/{tag}"))], "").await;
    assert_eq!(head.status().as_u16(), 304);
    let (head, _) = send(
        &shop,
        "PATCH /things/4",
        &[("if-match", "\"other\"")],
        r#"{"price": 1}"#,
    )
    .await;
    assert_eq!(head.status().as_u16(), 412);
    let merge = [
        ("if-match", tag.as_str()),
        ("content-type", "application/merge-patch+json"),
    ];
    let (head, body) = send(
        &shop,
        "PATCH /things/4",
        &merge,
        r#"{"sku": null, "maker": {"a": {"b": null, "c": 1}}}"#,
    )
    .await;
    assert_eq!(
        (head.status().as_u16(), body.as_str()),
        (200, r#"{"id":4,"name":"Drum","stock":0,"maker":{"a":{"c":1}}}"#)
    );
    assert_eq!(
        ask(&shop, "PUT /things/4", r#"{"name": "Drum 2"}"#).await,
        (200, json!({"id": 4, "name": "Drum 2", "stock": 0}))
    );
    assert_eq!(ask(&shop, "DELETE /things/4", "").await, (204, Value::Null));
    for line in [
        "GET /things/4",
        "DELETE /things/4",
        "GET /things/x",
        "PUT /things/99999999999999999999",
    ] {
        assert_eq!(ask(&shop, line, r#"{"name": "x"}"#).await.0, 404, "{line}");
    }
    assert_eq!(
        ask(&shop, "POST /things", r#"{"name": "E"}"#).await.1["id"],
        5,
        "an id is not used twice"
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let shop = shop();
    for (line, body, status, problem) in [
        (
            "POST /things",
            r#"{"stock": -1, "colour": 1}"#,
            422,
            "name is missing, stock must be at least 0, colour is not a field of this collection",
        ),
        ("POST /things", r#"{"name": null}"#, 422, "name must not be null"),
        ("POST /things", "[]", 422, " must be an object"),
        (
            "POST /things",
            r#"{"name": "x", "sku": "c-1", "id": 1}"#,
            409,
            "id is taken, sku is taken",
        ),
        (
            "POST /things",
            r#"{"name": "x", "id": "1"}"#,
            422,
            "id must be an integer from 1 to 2^53",
        ),
        ("PUT /things/1", r#"{"name": "x", "id": 2}"#, 422, "id can't be changed"),
        ("PATCH /things/1", r#"{"name": null}"#, 422, "name is missing"),
        ("PATCH /things/1", r#"{"sku": "c-1"}"#, 409, "sku is taken"),
    ] {
        let (got, reply) = ask(&shop, line, body).await;
        let problems = reply["problems"].as_array().unwrap().iter();
        let shown: Vec<_> = problems
            .map(|one| {
                format!(
                    "{} {}",
                    one["field"].as_str().unwrap(),
                    one["message"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!((got, shown.join(", ").as_str()), (status, problem), "{line} {body}");
    }
    assert_eq!(ask(&shop, "POST /things", "{").await.0, 400);
    assert_eq!(ask(&shop, "POST /things", &"[".repeat(10_000)).await.0, 400);
    assert_eq!(ask(&shop, "POST /things", &" ".repeat(BODY_LIMIT + 1)).await.0, 413);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(
        send(&shop, "POST /things", &form, "name=x").await.0.status().as_u16(),
        415
    );
}

#[tokio::test]
async fn other_kinds_of_ids() {
    let texts = things(json!({"id": "string"}), &Store::Memory);
    assert_eq!(ask(&texts, "POST /things", "{}").await.0, 422);
    let (head, _) = send(&texts, "POST /things", &[], r#"{"id": "a/b \u00e9"}"#).await;
    let place = head.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(place, "/things/a%2Fb%20%C3%A9");
    assert_eq!(ask(&texts, &format!("GET {place}"), "").await.0, 200);
    assert_eq!(
        ask(&texts, "PUT /things/new", r#"{"x": [1]}"#).await,
        (201, json!({"id": "new", "x": [1]}))
    );
    assert_eq!(
        ask(&texts, "GET /things?x=1", "").await.1,
        json!([{"id": "new", "x": [1]}])
    );
    let uuids = things(json!({"id": "uuid", "generate": 3}), &Store::Memory);
    let (_, row) = ask(&uuids, "POST /things", "{}").await;
    let id = row["id"].as_str().unwrap().to_owned();
    assert_eq!(
        ask(&uuids, &format!("GET /things/{}", id.to_uppercase()), "").await.0,
        200
    );
    let again = things(json!({"id": "uuid", "generate": 3}), &Store::Memory);
    let (first, second) = (
        ask(&uuids, "GET /things?size=3", "").await,
        ask(&again, "GET /things", "").await,
    );
    assert_eq!(first, second, "the same seed makes up the same rows");
}

#[tokio::test]
async fn a_file_keeps_rows_across_schemas() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::File(directory.path().join("rows.db"));
    let first = things(json!({"rows": [{"a": 1}], "generate": 2}), &store);
    assert_eq!(ask(&first, "DELETE /things/1", "").await.0, 204);
    let second = things(json!({"fields": {"b": {"unique": true}}, "rows": [{"b": 1}]}), &store);
    drop(first);
    let (_, rows) = ask(&second, "GET /things", "").await;
    assert_eq!(rows, json!([{"id": 2}, {"id": 3}]), "they are filled once only");
    assert_eq!(ask(&second, "POST /things", r#"{"b": 1}"#).await.1["id"], 4);
    let other = collection(json!({"id": "uuid"}));
    let refused = second
        .database
        .now(|connection| rows::prepare(connection, &other, Vec::new(), 0, 7));
    assert!(matches!(refused, Err(PrepareError::OtherIds(..))));
    second
        .database
        .now(|connection| connection.execute_batch("DELETE FROM squall_collections").unwrap());
    let refused = second
        .database
        .now(|connection| rows::prepare(connection, &other, Vec::new(), 0, 7));
    assert!(matches!(refused, Err(PrepareError::Foreign(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_writers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::File(directory.path().join("rows.db"));
    let source = Arc::new(things(json!({"rows": [{"n": 0}]}), &store));
    let writers = (0..8).map(|writer| {
        let source = Arc::clone(&source);
        tokio::spawn(async move {
            for row in 0..25 {
                assert_eq!(
                    ask(&source, "POST /things", &json!({"w": writer, "r": row}).to_string())
                        .await
                        .0,
                    201
                );
                let field = json!({format!("w{writer}-{row}"): 1}).to_string();
                assert_eq!(ask(&source, "PATCH /things/1", &field).await.0, 200);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (_, rows) = ask(&source, "GET /things", "").await;
    assert_eq!(rows.as_array().unwrap().len(), 201);
    assert_eq!(rows[0].as_object().unwrap().len(), 202, "no patch overwrote another");
}

#[test]
fn short_and_long_fields_are_the_same() {
    let short: super::spec::FieldSpec = serde_json::from_value(json!("string!")).unwrap();
    let long: super::spec::FieldSpec = serde_json::from_value(json!({"type": "string", "required": true})).unwrap();
    assert_eq!(short, long);
    assert_eq!(short.0.kind, Some(super::spec::FieldKind::String));
    let _: FieldLong = short.0;
}
