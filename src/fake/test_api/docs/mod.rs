//! `/docs`, `/redoc` and the OpenAPI document, from one table of the routes. The page needs no network.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Version;
use crate::fake::page::{self, Row};
use crate::fake::reply::Address;

/// What stands above the table of routes.
const INTRODUCTION: &str = concat!(
    "A fake served by squall: todos, users and made-up people, which wait on request. <code>delay</code> is in whole ",
    "seconds, and it really waits. The machine-readable form is ",
    r#"<a href="/api/v1/openapi.json">/api/v1/openapi.json</a>."#,
);

/// The routes as [`page::rows`] reads them; their parameters are keys of [`parameter`].
const ROUTES: &str = r#"
GET | /api/v1/todo/list | all todos | delay complete | /api/v1/todo/list?complete=true
GET | /api/v1/todo/list/count | the number of todos | delay complete | /api/v1/todo/list/count?delay=2
GET | /api/v1/todo/{todoId} | confirms that a todo was retrieved | delay | /api/v1/todo/1
PUT | /api/v1/todo/complete/{todoId} | completes a todo | delay | -X PUT /api/v1/todo/complete/1
POST | /api/v1/todo/create/ | creates a todo; the trailing slash is required | delay | -d '{"title":"wait","dateDue":"2019-06-01T12:00:00"}' /api/v1/todo/create/
DELETE | /api/v1/todo/{todoId} | deletes a todo |  | -X DELETE /api/v1/todo/1
GET | /api/v1/users/list | all users | delay active | /api/v1/users/list?active=true
GET | /api/v1/users/list/count | the number of users | delay active | /api/v1/users/list/count
GET | /api/v1/users/{userId} | a user, or null | delay | /api/v1/users/1
PUT | /api/v1/users/deactivate/{userId} | deactivates a user | delay | -X PUT /api/v1/users/deactivate/1
POST | /api/v1/users/create/ | creates a user; the trailing slash is required | delay | -d '{"firstName":"Ada","lastName":"Lovelace","password":"engine"}' /api/v1/users/create/
DELETE | /api/v1/users/{userId} | deletes a user |  | -X DELETE /api/v1/users/1
GET | /api/v1/silly-users/make-one | a made-up person | delay | /api/v1/silly-users/make-one
GET | /api/v1/silly-users/list | made-up people | quantity delay | /api/v1/silly-users/list?qty=3
GET | /joke | jokes | few long_delay | /joke?qty=2
GET | /information | about the original |  | /information
GET | /api/health | whether the server is up |  | /api/health
"#;

/// The fields of a body; those that end in `!` must be there.
const TODO_FIELDS: &[&str] = &["title!", "description", "dateDue", "userId"];

const USER_FIELDS: &[&str] = &[
    "firstName!",
    "lastName!",
    "password!",
    "title",
    "company",
    "address",
    "city",
    "country",
    "postal",
    "email",
    "website",
    "description",
];

/// The keys of a route's parameters in a version of the original.
fn keys(route: &Row, version: Version) -> impl Iterator<Item = &str> {
    let paged = version == Version::TestApiLater && route.path == "/api/v1/users/list";
    let more: &[&str] = if paged { &["page_quantity", "offset"] } else { &[] };
    route.parameters.split_whitespace().chain(more.iter().copied())
}

/// A query parameter: in words that begin with its name, whether it must be there, and its schema.
fn parameter(key: &str) -> (&'static str, bool, Value) {
    let integer = |maximum| json!({ "type": "integer", "minimum": 1, "maximum": maximum });
    match key {
        "delay" => ("delay: wait, 1 to 10 s", false, integer(10)),
        "long_delay" => ("delay: wait, 1 to 121 s", false, integer(121)),
        "complete" => ("complete: true or false", false, json!({ "type": "boolean" })),
        "active" => ("active: true or false", false, json!({ "type": "boolean" })),
        "quantity" => ("qty: 1 to 1000, required", true, integer(1000)),
        "few" => ("qty: 1 to 10", false, integer(10)),
        "page_quantity" => ("qty: 1 to 500", false, integer(500)),
        _ => (
            "offset: the number to skip",
            false,
            json!({ "type": "integer", "minimum": 0 }),
        ),
    }
}

/// The page: every route with a curl line that reaches this server as the client reached it.
pub(super) fn page(version: Version, address: &Address) -> Response {
    let in_words = |mut row: Row| {
        let words: Vec<_> = keys(&row, version).map(|key| parameter(key).0).collect();
        row.parameters = words.join("; ");
        row
    };
    let rows: Vec<_> = page::rows(ROUTES).into_iter().map(in_words).collect();
    page::page("Test API", INTRODUCTION, &rows, address)
}

/// The OpenAPI 3.0 document.
pub(super) fn open_api(version: Version) -> Response {
    let mut paths = Map::new();
    for route in page::rows(ROUTES) {
        let operations = paths.entry(&route.path).or_insert_with(|| json!({}));
        if let Value::Object(operations) = operations {
            operations.insert(route.method.to_ascii_lowercase(), operation(&route, version));
        }
    }
    let info = json!({ "title": "Test API", "version": "2019.4", "description": "A fake served by squall." });
    let schemas = json!({ "HTTPValidationError": error_schema() });
    let document = json!({ "openapi": "3.0.2", "info": info, "paths": paths, "components": { "schemas": schemas } });
    crate::fake::reply::json(StatusCode::OK, &document)
}

fn operation(route: &Row, version: Version) -> Value {
    let mut parameters: Vec<Value> = keys(route, version).map(query_parameter).collect();
    if let Some((_, name)) = route.path.split_once('{') {
        let name = name.trim_end_matches('}');
        parameters.insert(
            0,
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    }
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    let refusal = content(json!({ "$ref": "#/components/schemas/HTTPValidationError" }));
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Successful Response", "content": content(json!({})) },
            "422": { "description": "Validation Error", "content": refusal },
        },
    });
    if version == Version::TestApiLater
        && route.path.contains('{')
        && let Some(Value::Object(responses)) = operation.get_mut("responses")
    {
        responses.insert(
            "404".to_owned(),
            json!({ "description": "There is no row with this identifier" }),
        );
    }
    let fields = match route.path.as_str() {
        "/api/v1/todo/create/" => Some(TODO_FIELDS),
        "/api/v1/users/create/" => Some(USER_FIELDS),
        _ => None,
    };
    if let (Some(fields), Value::Object(operation)) = (fields, &mut operation) {
        let body = json!({ "required": true, "content": content(body_schema(fields)) });
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

fn body_schema(fields: &[&str]) -> Value {
    let required: Vec<_> = fields.iter().filter_map(|field| field.strip_suffix('!')).collect();
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let kind = json!({ "type": "string" });
            let date = json!({ "type": "string", "format": "date-time" });
            (
                field.trim_end_matches('!').to_owned(),
                if *field == "dateDue" { date } else { kind },
            )
        })
        .collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn error_schema() -> Value {
    let problem = json!({
        "type": "object",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": { "type": "array", "items": { "type": "string" } },
            "msg": { "type": "string" },
            "type": { "type": "string" },
        },
    });
    json!({ "type": "object", "properties": { "detail": { "type": "array", "items": problem } } })
}

fn query_parameter(key: &str) -> Value {
    let (words, required, schema) = parameter(key);
    let name = words.split(':').next();
    json!({ "name": name, "in": "query", "required": required, "schema": schema })
}

#[cfg(test)]
mod tests;
