//! `/docs`, `/redoc` and the OpenAPI document, from one table of the routes. The page needs no network.

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::Version;
use crate::fake::page::{self, Row};

/// What stands above the table of routes.
const INTRODUCTION: &str = concat!(
    "A fake that squall serves: todos, users and made-up people, with waits on request. <code>delay</code> is in whole ",
    "seconds, and it really waits. The machine-readable form is ",
    r#"<a href="/api/v1/openapi.json">/api/v1/openapi.json</a>."#,
);

/// A parameter in a query.
#[derive(Clone, Copy)]
enum QueryParameter {
    Delay,
    LongDelay,
    Complete,
    Active,
    Quantity,
    FewQuantity,
    /// Of later versions.
    PageQuantity,
    /// Of later versions.
    Offset,
}

use QueryParameter::{Active, Complete, Delay, FewQuantity, LongDelay, Offset, PageQuantity, Quantity};

/// One route as the documentation shows it.
struct DocumentedRoute {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    parameters: &'static [QueryParameter],
    /// What follows the server's address in the curl line to try.
    example: &'static str,
    /// An example body, whose keys that end in `!` must be there.
    body: Option<(&'static str, &'static [&'static str])>,
}

const fn get(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [QueryParameter],
    example: &'static str,
) -> DocumentedRoute {
    DocumentedRoute {
        method: "GET",
        path,
        summary,
        parameters,
        example,
        body: None,
    }
}

impl DocumentedRoute {
    /// Its parameters in a version of the original.
    fn parameters(&self, version: Version) -> impl Iterator<Item = QueryParameter> {
        let paged = version == Version::Later && self.path == "/api/v1/users/list";
        let more: &[QueryParameter] = if paged { &[PageQuantity, Offset] } else { &[] };
        self.parameters.iter().chain(more).copied()
    }

    fn parameters_in_words(&self, version: Version) -> String {
        let words: Vec<_> = self.parameters(version).map(|parameter| parameter.in_words()).collect();
        words.join("; ")
    }

    /// What follows `curl`.
    fn curl(&self) -> String {
        match (self.body, self.method) {
            (Some((body, _)), _) => format!("-d '{body}' {}", self.example),
            (None, "GET") => self.example.to_owned(),
            (None, method) => format!("-X {method} {}", self.example),
        }
    }
}

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

const ENTRIES: &[DocumentedRoute] = &[
    get(
        "/api/v1/todo/list",
        "all todos",
        &[Delay, Complete],
        "/api/v1/todo/list?complete=true",
    ),
    get(
        "/api/v1/todo/list/count",
        "how many todos there are",
        &[Delay, Complete],
        "/api/v1/todo/list/count?delay=2",
    ),
    get(
        "/api/v1/todo/{todoId}",
        "says that a todo was retrieved",
        &[Delay],
        "/api/v1/todo/1",
    ),
    DocumentedRoute {
        method: "PUT",
        path: "/api/v1/todo/complete/{todoId}",
        summary: "completes a todo",
        parameters: &[Delay],
        example: "/api/v1/todo/complete/1",
        body: None,
    },
    DocumentedRoute {
        method: "POST",
        path: "/api/v1/todo/create/",
        summary: "creates a todo; mind the slash",
        parameters: &[Delay],
        example: "/api/v1/todo/create/",
        body: Some((r#"{"title":"wait","dateDue":"2019-06-01T12:00:00"}"#, TODO_FIELDS)),
    },
    DocumentedRoute {
        method: "DELETE",
        path: "/api/v1/todo/{todoId}",
        summary: "deletes a todo",
        parameters: &[],
        example: "/api/v1/todo/1",
        body: None,
    },
    get(
        "/api/v1/users/list",
        "all users",
        &[Delay, Active],
        "/api/v1/users/list?active=true",
    ),
    get(
        "/api/v1/users/list/count",
        "how many users there are",
        &[Delay, Active],
        "/api/v1/users/list/count",
    ),
    get(
        "/api/v1/users/{userId}",
        "a user; nothing if there is none",
        &[Delay],
        "/api/v1/users/1",
    ),
    DocumentedRoute {
        method: "PUT",
        path: "/api/v1/users/deactivate/{userId}",
        summary: "deactivates a user",
        parameters: &[Delay],
        example: "/api/v1/users/deactivate/1",
        body: None,
    },
    DocumentedRoute {
        method: "POST",
        path: "/api/v1/users/create/",
        summary: "creates a user; mind the slash",
        parameters: &[Delay],
        example: "/api/v1/users/create/",
        body: Some((
            r#"{"firstName":"Ada","lastName":"Lovelace","password":"engine"}"#,
            USER_FIELDS,
        )),
    },
    DocumentedRoute {
        method: "DELETE",
        path: "/api/v1/users/{userId}",
        summary: "deletes a user",
        parameters: &[],
        example: "/api/v1/users/1",
        body: None,
    },
    get(
        "/api/v1/silly-users/make-one",
        "a made-up person",
        &[Delay],
        "/api/v1/silly-users/make-one",
    ),
    get(
        "/api/v1/silly-users/list",
        "made-up people",
        &[Quantity, Delay],
        "/api/v1/silly-users/list?qty=3",
    ),
    get("/joke", "jokes", &[FewQuantity, LongDelay], "/joke?qty=2"),
    get("/information", "about the original", &[], "/information"),
    get("/api/health", "says that it is up", &[], "/api/health"),
];

/// The page: every route with a curl line that reaches this server as the client reached it.
pub(super) fn page(version: Version, host: Option<&HeaderValue>) -> Response {
    let words: Vec<_> = ENTRIES
        .iter()
        .map(|entry| (entry.parameters_in_words(version), entry.curl()))
        .collect();
    let rows: Vec<_> = ENTRIES
        .iter()
        .zip(&words)
        .map(|(entry, (parameters, example))| Row {
            method: entry.method,
            path: entry.path,
            summary: entry.summary,
            parameters,
            example,
        })
        .collect();
    page::page("Test API", INTRODUCTION, &rows, host)
}

/// The OpenAPI 3.0 document.
pub(super) fn open_api(version: Version) -> Response {
    let mut paths = Map::new();
    for entry in ENTRIES {
        let operations = paths.entry(entry.path).or_insert_with(|| json!({}));
        if let Value::Object(operations) = operations {
            operations.insert(entry.method.to_ascii_lowercase(), operation(entry, version));
        }
    }
    let info = json!({ "title": "Test API", "version": "2019.4", "description": "A fake that squall serves." });
    let schemas = json!({ "HTTPValidationError": error_schema() });
    let document = json!({ "openapi": "3.0.2", "info": info, "paths": paths, "components": { "schemas": schemas } });
    crate::fake::reply::json(StatusCode::OK, &document)
}

fn operation(entry: &DocumentedRoute, version: Version) -> Value {
    let mut parameters: Vec<Value> = entry.parameters(version).map(QueryParameter::schema).collect();
    if let Some((_, name)) = entry.path.split_once('{') {
        let name = name.trim_end_matches('}');
        parameters.insert(
            0,
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    }
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    let refusal = content(json!({ "$ref": "#/components/schemas/HTTPValidationError" }));
    let mut operation = json!({
        "summary": entry.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Successful Response", "content": content(json!({})) },
            "422": { "description": "Validation Error", "content": refusal },
        },
    });
    if version == Version::Later
        && entry.path.contains('{')
        && let Some(Value::Object(responses)) = operation.get_mut("responses")
    {
        responses.insert(
            "404".to_owned(),
            json!({ "description": "There is none of that identifier" }),
        );
    }
    if let (Some((_, fields)), Value::Object(operation)) = (entry.body, &mut operation) {
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

impl QueryParameter {
    fn in_words(self) -> &'static str {
        match self {
            Delay => "delay: wait, 1 to 10 s",
            LongDelay => "delay: wait, 1 to 121 s",
            Complete => "complete: true or false",
            Active => "active: true or false",
            Quantity => "qty: 1 to 1000, required",
            FewQuantity => "qty: 1 to 10",
            PageQuantity => "qty: 1 to 500",
            Offset => "offset: how many to skip",
        }
    }

    fn schema(self) -> Value {
        let integer = |maximum| json!({ "type": "integer", "minimum": 1, "maximum": maximum });
        let (name, required, schema) = match self {
            Delay => ("delay", false, integer(10)),
            LongDelay => ("delay", false, integer(121)),
            Complete => ("complete", false, json!({ "type": "boolean" })),
            Active => ("active", false, json!({ "type": "boolean" })),
            Quantity => ("qty", true, integer(1000)),
            FewQuantity => ("qty", false, integer(10)),
            PageQuantity => ("qty", false, integer(500)),
            Offset => ("offset", false, json!({ "type": "integer", "minimum": 0 })),
        };
        json!({ "name": name, "in": "query", "required": required, "schema": schema })
    }
}

#[cfg(test)]
mod tests;
