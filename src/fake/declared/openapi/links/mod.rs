//! Links of answers that lead to the fake, not to the servers of the document.

use std::borrow::Cow;
use std::iter::once;

use http::request::Parts;
use percent_encoding::utf8_percent_encode;
use regex::{Captures, Regex};
use serde_json::Value;

use super::document::Document;
use super::rows::UNSAFE;
use crate::fake::query::pairs;
use crate::fake::reply::{Address, origin_of};

/// The servers of a document, by their URLs.
#[derive(Debug)]
pub(super) struct Servers {
    /// Any of the absolute ones, with what follows them.
    absolute: Option<Regex>,
    /// The paths of all of them, the longest first, without a slash at the end.
    paths: Vec<String>,
}

/// Where the links of an answer lead.
pub(super) struct Links<'a> {
    servers: &'a Servers,
    /// `http://127.0.0.1:8080`.
    origin: String,
    prefix: &'a str,
    /// What URLs in bodies begin with: the prefix as the client reaches it. The proxy maps those in fields.
    outer: String,
    /// Path and query of the request.
    here: &'a str,
}

impl Servers {
    /// The servers of the document, of its paths and of their operations.
    pub(super) fn read(document: &Document) -> Self {
        let items = document.paths().into_iter().flat_map(|paths| paths.values());
        let items = items.map(|item| document.resolve(item));
        let operations = items
            .clone()
            .filter_map(Value::as_object)
            .flat_map(|item| item.values());
        let servers = once(&*document.root).chain(items).chain(operations);
        let servers = servers.filter_map(|holder| holder.get("servers")?.as_array()).flatten();
        let mut urls: Vec<String> = servers.flat_map(urls).collect();
        urls.sort_by_key(|url| std::cmp::Reverse(url.len()));
        urls.dedup();
        let absolute = urls.iter().filter(|url| url.contains("://"));
        let absolute: Vec<_> = absolute.map(|url| regex::escape(url)).collect();
        let mut paths: Vec<String> = urls.iter().map(|url| path(url).to_owned()).collect();
        paths.retain(|path| path.starts_with('/'));
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        paths.dedup();
        let pattern = format!("(?i)(?:{})(/|[?#\\s\"'<>),;]|$)", absolute.join("|"));
        Self {
            absolute: Regex::new(&pattern).ok().filter(|_| !absolute.is_empty()),
            paths,
        }
    }

    /// The links of the answer to a request.
    pub(super) fn links<'a>(&'a self, head: &'a Parts, prefix: &'a str) -> Links<'a> {
        let origin = origin_of(head);
        Links {
            servers: self,
            outer: Address::of(head).full_url(prefix),
            origin: if origin.is_empty() {
                "http://localhost".to_owned()
            } else {
                origin
            },
            prefix,
            here: head.uri.path_and_query().map_or("/", |target| target.as_str()),
        }
    }
}

/// The URL of a server, once for each value that its variables list. Variables without a default are left as they are.
fn urls(server: &Value) -> Vec<String> {
    const URLS_LIMIT: usize = 64;
    let Some(url) = server.get("url").and_then(Value::as_str) else {
        return Vec::new();
    };
    let mut urls = vec![url.trim_end_matches('/').to_owned()];
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let listed = variable.get("enum").and_then(Value::as_array).into_iter().flatten();
        let values = variable
            .get("default")
            .into_iter()
            .chain(listed)
            .filter_map(Value::as_str);
        let place = format!("{{{name}}}");
        let filled = |url: &String| {
            values
                .clone()
                .map(|value| url.replace(&place, value))
                .collect::<Vec<_>>()
        };
        if urls.iter().any(|url| url.contains(&place)) {
            urls = urls.iter().flat_map(filled).take(URLS_LIMIT).collect();
        }
    }
    urls.retain(|url| !url.is_empty());
    urls.iter_mut()
        .for_each(|url| url.truncate(url.trim_end_matches('/').len()));
    urls
}

/// The path of a URL, which may consist of that alone.
fn path(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else {
        return url;
    };
    rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("")
}

impl Links<'_> {
    /// A text in which what begins with the URL of a server begins with that of the fake.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.led_to(&self.outer, text)
    }

    /// A text in which what begins with the URL of a server begins with `base`.
    fn led_to<'t>(&self, base: &str, text: &'t str) -> Cow<'t, str> {
        match &self.servers.absolute {
            Some(servers) if text.contains("://") => servers.replace_all(text, |found: &Captures<'_>| {
                let end = found.get(1).map_or("", |end| end.as_str());
                format!("{base}{end}")
            }),
            _ => text.into(),
        }
    }

    /// Turns the links in all texts of a value.
    pub(super) fn turn(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(turned) = self.text(text) {
                    *text = turned;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.turn(item)),
            Value::Object(map) => map.values_mut().for_each(|value| self.turn(value)),
            _ => {}
        }
    }

    /// Turns a URL or a path; a path of the document's server becomes one of the fake.
    pub(super) fn location(&self, url: &str) -> String {
        let turned = self.led_to(&format!("{}{}", self.origin, self.prefix), url);
        for path in &self.servers.paths {
            let below = turned.strip_prefix(path.as_str());
            if let Some(below) = below.filter(|below| below.is_empty() || below.starts_with(['/', '?', '#'])) {
                return format!("{}{below}", self.prefix);
            }
        }
        turned.into_owned()
    }

    /// A `Link` field (RFC 8288). A next page that is the one at hand is left out: else there would be no last one.
    pub(super) fn link(&self, field: &str) -> String {
        let links = split(field).into_iter().filter_map(|link| {
            let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
            let target = self.location(target);
            let next = rest.to_ascii_lowercase().replace(['"', ' '], "").contains("rel=next");
            (!next || !self.is_here(&target)).then(|| format!("<{target}>{rest}"))
        });
        links.collect::<Vec<_>>().join(", ")
    }

    /// Whether the request is for a page after the first one.
    pub(super) fn is_for_later_page(&self) -> bool {
        let query = self.here.split_once('?').map_or("", |(_, query)| query);
        pairs(query.as_bytes()).iter().any(|(name, value)| {
            let letters = name.chars().filter(|character| character.is_alphanumeric());
            let number = value.parse::<u64>().unwrap_or(0);
            match letters.collect::<String>().to_ascii_lowercase().as_str() {
                "page" | "pagenumber" | "pageno" | "pageindex" | "currentpage" | "startindex" => number > 1,
                "offset" | "skip" | "pageoffset" | "startat" => number > 0,
                "cursor" | "after" | "startingafter" | "pagetoken" | "nexttoken" | "nextcursor" | "nextpagetoken"
                | "continuationtoken" | "continue" | "pagecursor" | "pageafter" | "exclusivestartkey" => {
                    !value.is_empty()
                }
                _ => false,
            }
        })
    }

    /// Whether a URL is that of the request.
    fn is_here(&self, url: &str) -> bool {
        url.strip_prefix(&self.origin).unwrap_or(url) == self.here
    }

    /// Where what a request has made is found: below the request's path.
    pub(super) fn made(&self, is_new: bool, id: &str) -> String {
        let path = self.here.split('?').next().unwrap_or_default().trim_end_matches('/');
        let below = if is_new {
            format!("/{}", utf8_percent_encode(id, UNSAFE))
        } else {
            String::new()
        };
        format!("{}{path}{below}", self.origin)
    }
}

/// The links of a field: a comma can also stand in a URL.
fn split(field: &str) -> Vec<&str> {
    let (mut links, mut start, mut inside) = (Vec::new(), 0, false);
    for (index, character) in field.char_indices() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            ',' if !inside => {
                links.extend(field.get(start..index));
                start = index + 1;
            }
            _ => {}
        }
    }
    links.extend(field.get(start..));
    links
}

#[cfg(test)]
mod tests;
