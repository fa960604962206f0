//! The page at `/` that documents a fake: what it serves, with a line to try for each. It needs no network.

use std::fmt::Write as _;

use axum::response::{Html, IntoResponse, Response};

use super::reply::Address;

/// One route of a fake, or a family of them.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// `GET`, several methods, or `any`.
    pub(super) method: String,
    /// The path, with its parameters in braces.
    pub(super) path: String,
    /// What it does, in a few words.
    pub(super) summary: String,
    /// What its parameters are, in words.
    pub(super) parameters: String,
    /// Path and query of a call to try, after the options that curl needs: `-X DELETE /todo/1`, `-d '{}' /todo`.
    pub(super) example: String,
}

/// The rows of a table: a row a line, its cells separated by ` | `: method, path, summary, parameters, example.
pub(super) fn rows(table: &str) -> Vec<Row> {
    table.trim().lines().map(row).collect()
}

fn row(line: &str) -> Row {
    let mut cells = line.splitn(5, " | ").map(str::to_owned);
    let mut cell = || cells.next().unwrap_or_default();
    Row {
        method: cell(),
        path: cell(),
        summary: cell(),
        parameters: cell(),
        example: cell(),
    }
}

/// A page with a title, an introduction (which is HTML) and the rows. The lines to try reach this server as the client reached
/// it, and so do links from the root.
pub(super) fn page(title: &str, introduction: &str, rows: &[Row], address: &Address) -> Response {
    let introduction = introduction.replace("href=\"/", &format!("href=\"{}/", escape(&address.path(""))));
    let mut table = String::new();
    for row in rows {
        let _infallible = writeln!(
            table,
            "<tr><td>{}<td><code>{}</code><td>{}<td>{}<td><code>{}</code>",
            escape(&row.method),
            escape(&row.path),
            escape(&row.summary),
            escape(&row.parameters),
            escape(&curl(&row.example, address)),
        );
    }
    let page = include_str!("page.html")
        .replace("{{ title }}", &escape(title))
        .replace("{{ introduction }}", &introduction)
        .replace("{{ rows }}", &table);
    Html(page).into_response()
}

fn curl(example: &str, address: &Address) -> String {
    let (options, target) = example.rsplit_once(' ').unwrap_or(("", example));
    let space = if options.is_empty() { "" } else { " " };
    // In single quotes a shell expands nothing; a quote itself is not part of a URL.
    let url = address.full_url(target).replace('\'', "");
    format!("curl {options}{space}'{url}'")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Mount;

    fn address(host: &str) -> Address {
        let request = http::Request::builder().uri("/").header("host", host);
        Address::of(&request.body(()).unwrap().into_parts().0)
    }

    #[tokio::test]
    async fn links_have_the_prefix_that_the_fake_does_not_see() {
        let mut request = http::Request::builder().uri("/").header("host", "h").body(()).unwrap();
        request.extensions_mut().insert(Mount {
            outer: "/fz".to_owned(),
            inner: String::new(),
        });
        let address = Address::of(&request.into_parts().0);
        let response = page("t", "<a href=\"/docs\">", &rows("GET | /a | b |  | /a?b"), &address);
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("curl 'http://h/fz/a?b'"), "{body}");
        assert!(body.contains("<a href=\"/fz/docs\">"), "{body}");
    }

    #[test]
    fn a_host_can_write_neither_markup_nor_shell() {
        let line = escape(&curl("/api", &address("<b>'$(x)")));
        assert_eq!(line, "curl 'http://&lt;b&gt;$(x)/api'");
    }

    #[test]
    fn options_stand_before_the_target() {
        assert_eq!(
            curl("-d '{\"a\":1}' /x?y=1", &address("h")),
            "curl -d '{\"a\":1}' 'http://h/x?y=1'"
        );
    }
}
