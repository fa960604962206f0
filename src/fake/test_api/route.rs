//! Which route a method and a path mean.
//!
//! The rules are those of the original, where routes are tried in the order in which they were written and `{id}` takes
//! any one segment: `DELETE /api/v1/todo/list` deletes the todo `list`, `POST …/create` without its slash meets `{id}`
//! and so is a wrong method, and `…/list/count/` is nothing at all.

use http::Method;

/// A route, with what its path says.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Route<'a> {
    Root,
    Information,
    Docs,
    OpenApi,
    Health,
    Joke,
    Todo(Action<'a>),
    User(Action<'a>),
    SillyOne,
    SillyList,
}

/// What is to be done with todos or with users.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Action<'a> {
    List,
    Count,
    Get(&'a str),
    /// Complete a todo, deactivate a user.
    Finish(&'a str),
    Delete(&'a str),
    Create,
}

/// What was found.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Found<'a> {
    Route(Route<'a>),
    /// The path exists, for these methods.
    WrongMethod {
        allow: &'static str,
    },
    Nothing,
}

/// Finds the route of `path`, which is percent-decoded.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let route = match path {
        "/" => Route::Root,
        "/information" => Route::Information,
        "/docs" | "/redoc" => Route::Docs,
        "/api/v1/openapi.json" => Route::OpenApi,
        "/api/health" => Route::Health,
        "/joke" => Route::Joke,
        "/api/v1/silly-users/make-one" => Route::SillyOne,
        "/api/v1/silly-users/list" => Route::SillyList,
        _ => return find_in_collections(method, path),
    };
    only(method, &Method::GET, "GET", route)
}

fn find_in_collections<'a>(method: &Method, path: &'a str) -> Found<'a> {
    if let Some(rest) = path.strip_prefix("/api/v1/todo/") {
        find_action(method, rest, "complete", Route::Todo)
    } else if let Some(rest) = path.strip_prefix("/api/v1/users/") {
        find_action(method, rest, "deactivate", Route::User)
    } else {
        Found::Nothing
    }
}

fn find_action<'a>(
    method: &Method,
    rest: &'a str,
    finish: &str,
    route: impl FnOnce(Action<'a>) -> Route<'a>,
) -> Found<'a> {
    match rest.split_once('/') {
        None if rest.is_empty() => Found::Nothing,
        None => match *method {
            Method::GET if rest == "list" => Found::Route(route(Action::List)),
            Method::GET => Found::Route(route(Action::Get(rest))),
            Method::DELETE => Found::Route(route(Action::Delete(rest))),
            _ => Found::WrongMethod { allow: "GET, DELETE" },
        },
        Some(("list", "count")) => only(method, &Method::GET, "GET", route(Action::Count)),
        Some(("create", "")) => only(method, &Method::POST, "POST", route(Action::Create)),
        Some((verb, id)) if verb == finish && !id.is_empty() && !id.contains('/') => {
            only(method, &Method::PUT, "PUT", route(Action::Finish(id)))
        }
        Some(_) => Found::Nothing,
    }
}

fn only<'a>(method: &Method, allowed: &Method, allow: &'static str, route: Route<'a>) -> Found<'a> {
    if method == allowed {
        Found::Route(route)
    } else {
        Found::WrongMethod { allow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, expected: Found<'_>) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(find(&method, path), expected, "{method} {path}");
    }

    #[test]
    fn the_quirks_of_the_original() {
        check(
            "DELETE",
            "/api/v1/todo/list",
            Found::Route(Route::Todo(Action::Delete("list"))),
        );
        check(
            "GET",
            "/api/v1/todo/create",
            Found::Route(Route::Todo(Action::Get("create"))),
        );
        check(
            "POST",
            "/api/v1/todo/create",
            Found::WrongMethod { allow: "GET, DELETE" },
        );
        check("GET", "/api/v1/todo/create/", Found::WrongMethod { allow: "POST" });
        check("HEAD", "/api/v1/todo/list", Found::WrongMethod { allow: "GET, DELETE" });
        check("HEAD", "/", Found::WrongMethod { allow: "GET" });
        check("GET", "/api/v1/users/deactivate/x", Found::WrongMethod { allow: "PUT" });
        check("PUT", "/api/v1/users/complete/x", Found::Nothing);
        for nothing in [
            "/api/v1/todo",
            "/api/v1/todo/",
            "/api/v1/todo/list/count/",
            "/api/v1/todo/complete/",
        ] {
            check("GET", nothing, Found::Nothing);
        }
        for nothing in [
            "/api/v1/todo/complete/a/b",
            "/docs/",
            "//",
            "",
            "/api/v1/todo/list/",
            "/information/",
        ] {
            check("GET", nothing, Found::Nothing);
        }
    }
}
