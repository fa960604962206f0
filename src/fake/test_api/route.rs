//! Which route a method and a path mean.
//!
//! The rules are those of the original, where routes are tried in the order in which they were written and `{id}` takes
//! any one segment: `DELETE /api/v1/todo/list` deletes the todo `list`, `POST …/create` without its slash meets `{id}`
//! and so is a wrong method, and `…/list/count/` is nothing at all.

use http::Method;

/// A route, with what its path says.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum ApiRoute<'a> {
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
pub(super) enum RouteMatch<'a> {
    Route(ApiRoute<'a>),
    /// The path exists, for these methods.
    WrongMethod {
        allow: &'static str,
    },
    Nothing,
}

/// Finds the route of `path`, which is percent-decoded.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> RouteMatch<'a> {
    let route = match path {
        "/" => ApiRoute::Root,
        "/information" => ApiRoute::Information,
        "/docs" | "/redoc" => ApiRoute::Docs,
        "/api/v1/openapi.json" => ApiRoute::OpenApi,
        "/api/health" => ApiRoute::Health,
        "/joke" => ApiRoute::Joke,
        "/api/v1/silly-users/make-one" => ApiRoute::SillyOne,
        "/api/v1/silly-users/list" => ApiRoute::SillyList,
        _ => return find_in_collections(method, path),
    };
    only(method, &Method::GET, "GET", route)
}

fn find_in_collections<'a>(method: &Method, path: &'a str) -> RouteMatch<'a> {
    if let Some(rest) = path.strip_prefix("/api/v1/todo/") {
        find_action(method, rest, "complete", ApiRoute::Todo)
    } else if let Some(rest) = path.strip_prefix("/api/v1/users/") {
        find_action(method, rest, "deactivate", ApiRoute::User)
    } else {
        RouteMatch::Nothing
    }
}

fn find_action<'a>(
    method: &Method,
    rest: &'a str,
    finish: &str,
    route: impl FnOnce(Action<'a>) -> ApiRoute<'a>,
) -> RouteMatch<'a> {
    match rest.split_once('/') {
        None if rest.is_empty() => RouteMatch::Nothing,
        None => match *method {
            Method::GET if rest == "list" => RouteMatch::Route(route(Action::List)),
            Method::GET => RouteMatch::Route(route(Action::Get(rest))),
            Method::DELETE => RouteMatch::Route(route(Action::Delete(rest))),
            _ => RouteMatch::WrongMethod { allow: "GET, DELETE" },
        },
        Some(("list", "count")) => only(method, &Method::GET, "GET", route(Action::Count)),
        Some(("create", "")) => only(method, &Method::POST, "POST", route(Action::Create)),
        Some((verb, id)) if verb == finish && !id.is_empty() && !id.contains('/') => {
            only(method, &Method::PUT, "PUT", route(Action::Finish(id)))
        }
        Some(_) => RouteMatch::Nothing,
    }
}

fn only<'a>(method: &Method, allowed: &Method, allow: &'static str, route: ApiRoute<'a>) -> RouteMatch<'a> {
    if method == allowed {
        RouteMatch::Route(route)
    } else {
        RouteMatch::WrongMethod { allow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, expected: RouteMatch<'_>) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(find(&method, path), expected, "{method} {path}");
    }

    #[test]
    fn the_quirks_of_the_original() {
        check(
            "DELETE",
            "/api/v1/todo/list",
            RouteMatch::Route(ApiRoute::Todo(Action::Delete("list"))),
        );
        check(
            "GET",
            "/api/v1/todo/create",
            RouteMatch::Route(ApiRoute::Todo(Action::Get("create"))),
        );
        check(
            "POST",
            "/api/v1/todo/create",
            RouteMatch::WrongMethod { allow: "GET, DELETE" },
        );
        check("GET", "/api/v1/todo/create/", RouteMatch::WrongMethod { allow: "POST" });
        check(
            "HEAD",
            "/api/v1/todo/list",
            RouteMatch::WrongMethod { allow: "GET, DELETE" },
        );
        check("HEAD", "/", RouteMatch::WrongMethod { allow: "GET" });
        check(
            "GET",
            "/api/v1/users/deactivate/x",
            RouteMatch::WrongMethod { allow: "PUT" },
        );
        check("PUT", "/api/v1/users/complete/x", RouteMatch::Nothing);
        for nothing in [
            "/api/v1/todo",
            "/api/v1/todo/",
            "/api/v1/todo/list/count/",
            "/api/v1/todo/complete/",
        ] {
            check("GET", nothing, RouteMatch::Nothing);
        }
        for nothing in [
            "/api/v1/todo/complete/a/b",
            "/docs/",
            "//",
            "",
            "/api/v1/todo/list/",
            "/information/",
        ] {
            check("GET", nothing, RouteMatch::Nothing);
        }
    }
}
