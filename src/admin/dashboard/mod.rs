//! The dashboard: one page, with its scripts and styles, all from this binary.
//!
//! The page reveals nothing and needs no token: what it shows it asks the API for, with the token that its user types. Its policy
//! allows no other origin, no inline script and no frame. `page` holds what is written for squall, `uplot` the chart library as npm
//! has it.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::pages;

/// What browsers may do with the page: load from squall and connect to squall.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The page.
const PAGE: &str = include_str!("page/index.html");

/// What the page loads: name, media type, content.
const FILES: [(&str, &str, &str); 15] = [
    ("style.css", CSS, include_str!("page/style.css")),
    ("app.js", JAVASCRIPT, include_str!("page/app.js")),
    ("api.js", JAVASCRIPT, include_str!("page/api.js")),
    ("charts.js", JAVASCRIPT, include_str!("page/charts.js")),
    ("dom.js", JAVASCRIPT, include_str!("page/dom.js")),
    ("explain.js", JAVASCRIPT, include_str!("page/explain.js")),
    ("format.js", JAVASCRIPT, include_str!("page/format.js")),
    ("panels.js", JAVASCRIPT, include_str!("page/panels.js")),
    ("requests.js", JAVASCRIPT, include_str!("page/requests.js")),
    ("rules.js", JAVASCRIPT, include_str!("page/rules.js")),
    ("slide.js", JAVASCRIPT, include_str!("page/slide.js")),
    ("stop.js", JAVASCRIPT, include_str!("page/stop.js")),
    ("stream.js", JAVASCRIPT, include_str!("page/stream.js")),
    ("uPlot.iife.min.js", JAVASCRIPT, include_str!("uplot/uPlot.iife.min.js")),
    ("uPlot.min.css", CSS, include_str!("uplot/uPlot.min.css")),
];

/// Whether a path is that of the dashboard or one of its files, which are open to those without a token.
pub(super) fn is_at(path: &str) -> bool {
    path == "/dashboard" || path.starts_with("/dashboard/")
}

pub(super) async fn page() -> Response {
    answer("text/html; charset=utf-8", PAGE)
}

pub(super) async fn file(Path(name): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => answer(kind, content),
        None => pages::unknown(uri, headers).await,
    }
}

fn answer(kind: &'static str, content: &'static str) -> Response {
    let fields: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    (fields, content).into_response()
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, AUTHORIZATION, HOST};
    use http::{Method, StatusCode};

    use super::*;
    use crate::admin::tests::{Asked, admin, text};

    const HTML: (HeaderName, &str) = (ACCEPT, "text/html");

    async fn status(admin: &Asked, target: &str, fields: &[(HeaderName, &str)]) -> StatusCode {
        admin.send(Method::GET, target, fields, "").await.status()
    }

    #[tokio::test]
    async fn all_that_the_page_loads_is_there() {
        let admin = admin("");
        for target in ["/", "/dashboard"] {
            let response = admin.send(Method::GET, target, &[HTML], "").await;
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(text(response).await.1, PAGE);
        }
        let mut loaded: Vec<&str> = PAGE
            .split('"')
            .filter_map(|part| part.strip_prefix("/dashboard/"))
            .collect();
        let scripts = FILES
            .iter()
            .filter(|(_, kind, _)| *kind == JAVASCRIPT)
            .map(|(.., script)| script);
        loaded.extend(scripts.flat_map(|script| script.split('"').filter_map(|part| part.strip_prefix("./"))));
        loaded.sort_unstable();
        loaded.dedup();
        assert_eq!(loaded.len(), FILES.len(), "{loaded:?}");
        for name in loaded {
            let response = admin.send(Method::GET, &format!("/dashboard/{name}"), &[], "").await;
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        }
        assert_eq!(status(&admin, "/dashboard/mod.rs", &[]).await, StatusCode::NOT_FOUND);
    }

    /// Data never becomes markup or code, and nothing comes from elsewhere.
    #[test]
    fn the_page_uses_nothing_dangerous_or_foreign() {
        let own = FILES.iter().filter(|(name, ..)| !name.starts_with("uPlot"));
        for (name, _, content) in own.chain([&("index.html", "", PAGE)]) {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "eval(",
                "document.write",
                "https:",
                " style=\"",
                "onclick=\"",
            ] {
                assert!(!content.contains(word), "{name} has {word}");
            }
        }
    }

    #[tokio::test]
    async fn without_the_token_there_is_the_page_alone() {
        let admin = admin("admin: {address: '127.0.0.1:0', token: s3cret}\n");
        for (target, fields) in [("/", &[HTML][..]), ("/dashboard", &[]), ("/dashboard/app.js", &[])] {
            assert_eq!(status(&admin, target, fields).await, StatusCode::OK, "{target}");
        }
        for (target, fields) in [
            ("/", &[][..]),
            ("/api/v1/rules", &[HTML]),
            ("/api/v1/events", &[]),
            ("/metrics", &[HTML]),
        ] {
            assert_eq!(
                status(&admin, target, fields).await,
                StatusCode::UNAUTHORIZED,
                "{target}"
            );
        }
        let known = [(AUTHORIZATION, "Bearer s3cret")];
        assert_eq!(status(&admin, "/", &known).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn another_name_for_this_machine_gets_no_page() {
        let admin = admin("");
        for target in ["/", "/dashboard", "/dashboard/app.js"] {
            let request = http::Request::builder()
                .uri(target)
                .header(HOST, "evil.example:9900")
                .header(ACCEPT, "text/html");
            let response = admin.pass(request.body(axum::body::Body::empty()).unwrap()).await;
            assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{target}");
        }
    }
}
