//! Lists in pages, by page, offset, cursor or link.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::super::noted;
use super::facts::{Luck, value_of};
use super::response::read_file;
use super::spec::{PageSpec, Style};
use super::template::{Compiler, Failure, Scope};
use super::tree::Node;
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span};

/// The most items that are made up.
const MAX_COUNT: u64 = 10_000_000;

/// The most items of one page.
const MAX_SIZE: u64 = 10_000;

/// A page of more items than this may take long.
const LONG_PAGE: u64 = 100;

/// The variables of an envelope.
const VARIABLES: &[&str] = &[
    "items",
    "total",
    "size",
    "page",
    "pages",
    "offset",
    "next",
    "previous",
    "next_url",
    "previous_url",
];

/// A compiled list.
#[derive(Debug)]
pub(super) struct PagedList {
    source: ItemSource,
    style: Style,
    size: u64,
    max: u64,
    first: u64,
    names: Names,
    envelope: Option<Node>,
    seed: u64,
    /// What an item's random data depend on besides the seed and its index.
    luck: String,
}

#[derive(Debug)]
enum ItemSource {
    Items(Vec<Node>),
    Made { count: u64, item: Node },
}

/// The names of the query's parameters.
#[derive(Debug)]
struct Names {
    /// The page, the offset or the cursor.
    place: String,
    size: String,
}

/// The response to a request for a page.
pub(super) enum PageResponse {
    /// The body, and the header fields that belong to it.
    Page(Value, Vec<(&'static str, String)>),
    /// What is wrong with the request.
    Refused(String),
}

impl PagedList {
    /// Compiles a list. `name` is that of its route.
    pub(super) fn compile(
        spec: &Spanned<PageSpec>,
        compiler: &mut Compiler<'_>,
        folder: &Path,
        seed: u64,
        name: &str,
    ) -> Option<Self> {
        let given = &spec.value;
        let style = given.style.as_ref().map(|style| style.value).unwrap_or_default();
        let size = limited(given.size.as_ref(), 1..=MAX_SIZE, "a page's size", compiler).unwrap_or(20);
        let max = limited(given.max.as_ref(), 1..=MAX_SIZE, "the largest size", compiler).unwrap_or(size.max(100));
        if let Some(written) = given.max.as_ref().filter(|_| max < size) {
            let message = format!("`max` is {max}, but a page has {size} items");
            compiler.mistakes.push(Diagnostic::error(written.span, message));
        }
        let first = limited(given.first.as_ref(), 0..=1, "the first page's number", compiler).unwrap_or(1);
        if max > LONG_PAGE {
            compiler.note_long();
        }
        let names = names(spec, style, compiler);
        let envelope = given
            .envelope
            .as_ref()
            .map(|tree| compiler.with(VARIABLES, |compiler| Node::compile(&tree.value, tree.span, compiler)));
        Some(Self {
            source: source(spec, compiler, folder)?,
            style,
            size,
            max,
            first,
            names,
            envelope,
            seed,
            luck: format!("{name} item"),
        })
    }

    /// The page that a request asks for.
    pub(super) fn answer(&self, scope: &Scope<'_>) -> Result<PageResponse, Failure> {
        let slice = match self.slice(scope) {
            Ok(slice) => slice,
            Err(message) => return Ok(PageResponse::Refused(message)),
        };
        let items = self.items(scope, &slice)?;
        let (total, size, offset) = (self.total(), slice.size, slice.offset);
        let shown = items.len() as u64;
        let next = (shown > 0 && offset + shown < total).then(|| self.place(offset + size, size));
        let previous = (offset > 0).then(|| self.place(offset.saturating_sub(size).min(self.last(size)), size));
        let outer = |place: &Option<Value>| {
            let target = place.as_ref().map(|place| self.target(scope, place));
            target.map(|target| scope.facts().address.url(&target))
        };
        let all = [
            ("items", items.into()),
            ("total", json!(total)),
            ("size", json!(size)),
            ("page", json!(offset / size + self.first)),
            ("pages", json!(total.div_ceil(size))),
            ("offset", json!(offset)),
            ("next", json!(next)),
            ("previous", json!(previous)),
            ("next_url", json!(outer(&next))),
            ("previous_url", json!(outer(&previous))),
        ];
        let headers = match self.style {
            Style::Link => self.links(scope, (total, size), next, previous),
            _ => Vec::new(),
        };
        Ok(PageResponse::Page(self.body(scope, all)?, headers))
    }

    /// The body, from the values of all [`VARIABLES`].
    fn body<const N: usize>(&self, scope: &Scope<'_>, all: [(&'static str, Value); N]) -> Result<Value, Failure> {
        if let Some(envelope) = &self.envelope {
            let extra = all.map(|(name, value)| (name, value_of(value)));
            return envelope.value(&scope.with(extra.to_vec()));
        }
        let mut all = BTreeMap::from(all);
        let mut take = |name: &str| all.remove(name).unwrap_or_default();
        let keys: &[&str] = match self.style {
            Style::Link => return Ok(take("items")),
            Style::Page => &["items", "page", "size", "pages", "total"],
            Style::Offset => &["items", "offset", "size", "total"],
            Style::Cursor => &["items", "next"],
        };
        let named = |key: &str| match (self.style, key) {
            (Style::Offset, "size") => "limit".to_owned(),
            _ => key.to_owned(),
        };
        Ok(keys.iter().map(|key| (named(key), take(key))).collect())
    }

    fn total(&self) -> u64 {
        match &self.source {
            ItemSource::Items(items) => items.len() as u64,
            ItemSource::Made { count, .. } => *count,
        }
    }

    /// Where the last page begins.
    fn last(&self, size: u64) -> u64 {
        self.total().saturating_sub(1) / size * size
    }

    fn items(&self, scope: &Scope<'_>, slice: &Slice) -> Result<Vec<Value>, Failure> {
        let end = slice.offset.saturating_add(slice.size).min(self.total());
        let item = |index: u64| match &self.source {
            ItemSource::Items(items) => match items.get(usize::try_from(index).unwrap_or(usize::MAX)) {
                Some(item) => item.value(scope),
                None => Ok(Value::Null),
            },
            ItemSource::Made { item, .. } => {
                let luck = Luck::new(self.seed, &self.luck, index);
                item.value(&scope.with_luck(luck, vec![("index", index.into()), ("number", (index + 1).into())]))
            }
        };
        (slice.offset.min(end)..end).map(item).collect()
    }

    /// What stands for the page at an offset.
    fn place(&self, offset: u64, size: u64) -> Value {
        match self.style {
            Style::Page | Style::Link => json!(offset / size + self.first),
            Style::Offset => json!(offset),
            Style::Cursor => json!(URL_SAFE_NO_PAD.encode(format!("from {offset}"))),
        }
    }

    /// The part that a request asks for, or what is wrong with the request.
    fn slice(&self, scope: &Scope<'_>) -> Result<Slice, String> {
        let asked = |name: &str| scope.facts().asked(name).filter(|text| !text.is_empty());
        let number = |name: &str, least: u64| match asked(name) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if number >= least => Ok(Some(number)),
                _ => Err(format!("`{name}` must be a whole number, at least {least}")),
            },
        };
        let size = number(&self.names.size, 1)?.unwrap_or(self.size);
        if size > self.max {
            return Err(format!("`{}` must be at most {}", self.names.size, self.max));
        }
        let place = &self.names.place;
        let offset = match self.style {
            Style::Page | Style::Link => {
                let page = number(place, self.first)?.unwrap_or(self.first);
                (page - self.first).saturating_mul(size)
            }
            Style::Offset => number(place, 0)?.unwrap_or(0),
            Style::Cursor => match asked(place) {
                None => 0,
                Some(cursor) => {
                    let offset = opened(cursor).filter(|offset| *offset < self.total());
                    offset.ok_or_else(|| format!("`{place}` is not a cursor of this list"))?
                }
            },
        };
        Ok(Slice { offset, size })
    }

    /// Path and query of another page: the one that was asked for, with another parameter.
    fn target(&self, scope: &Scope<'_>, place: &Value) -> String {
        let facts = scope.facts();
        let (path, query) = facts.url.split_once('?').unwrap_or((&facts.url, ""));
        let name = |pair: &str| {
            let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
            percent_decode_str(&name).decode_utf8_lossy().into_owned()
        };
        let kept = query
            .split('&')
            .filter(|pair| !pair.is_empty() && name(pair) != self.names.place);
        let mut pairs: Vec<String> = kept.map(str::to_owned).collect();
        let value = place.as_str().map_or_else(|| place.to_string(), str::to_owned);
        pairs.push(format!(
            "{}={value}",
            utf8_percent_encode(&self.names.place, NON_ALPHANUMERIC)
        ));
        format!("{path}?{}", pairs.join("&"))
    }

    /// `Link` (RFC 8288) as GitHub writes it, and how many items there are in all. Its URLs are those that the fake knows: the
    /// proxy maps them back.
    fn links(
        &self,
        scope: &Scope<'_>,
        (total, size): (u64, u64),
        next: Option<Value>,
        previous: Option<Value>,
    ) -> Vec<(&'static str, String)> {
        let mut links = Vec::new();
        let origin = &scope.facts().origin;
        let mut add = |relation: &str, place: &Value| {
            let target = self.target(scope, place);
            links.push(format!("<{origin}{target}>; rel=\"{relation}\""));
        };
        if let Some(place) = previous {
            add("prev", &place);
            add("first", &self.place(0, size));
        }
        if let Some(place) = next {
            add("next", &place);
            add("last", &self.place(self.last(size), size));
        }
        let mut headers = vec![("x-total-count", total.to_string())];
        if !links.is_empty() {
            headers.push(("link", links.join(", ")));
        }
        headers
    }
}

/// A part of a list.
struct Slice {
    offset: u64,
    size: u64,
}

fn opened(cursor: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    std::str::from_utf8(&bytes).ok()?.strip_prefix("from ")?.parse().ok()
}

/// A number within limits; if it lies outside, that is a mistake.
pub(super) fn limited(
    given: Option<&Spanned<u64>>,
    range: std::ops::RangeInclusive<u64>,
    what: &str,
    compiler: &mut Compiler<'_>,
) -> Option<u64> {
    let given = given?;
    if range.contains(&given.value) {
        return Some(given.value);
    }
    let message = format!(
        "{what} must be {} to {}, not {}",
        range.start(),
        range.end(),
        given.value
    );
    compiler.mistakes.push(Diagnostic::error(given.span, message));
    None
}

fn names(spec: &Spanned<PageSpec>, style: Style, compiler: &mut Compiler<'_>) -> Names {
    let given = spec.value.parameters.as_ref();
    let (own, place, size) = match style {
        Style::Page => ("page", "page", "size"),
        Style::Link => ("page", "page", "per_page"),
        Style::Offset => ("offset", "offset", "limit"),
        Style::Cursor => ("cursor", "cursor", "limit"),
    };
    let Some(given) = given else {
        return Names {
            place: place.to_owned(),
            size: size.to_owned(),
        };
    };
    let renamed = [
        ("page", &given.value.page),
        ("offset", &given.value.offset),
        ("cursor", &given.value.cursor),
    ];
    for (key, _) in renamed.iter().filter(|(key, name)| name.is_some() && *key != own) {
        let message = format!("`{key}` can't be set with `by: {own}`");
        let mistake = Diagnostic::error(given.span, message).help(format!("use `{own}` and `size`"));
        compiler.mistakes.push(mistake);
    }
    let chosen = renamed
        .into_iter()
        .find(|(key, _)| *key == own)
        .and_then(|(_, name)| name.clone());
    Names {
        place: chosen.unwrap_or_else(|| place.to_owned()),
        size: given.value.size.clone().unwrap_or_else(|| size.to_owned()),
    }
}

fn source(spec: &Spanned<PageSpec>, compiler: &mut Compiler<'_>, folder: &Path) -> Option<ItemSource> {
    let given = &spec.value;
    let wrong = |compiler: &mut Compiler<'_>, span: Span, message: &str| {
        let help = "give one of `items`, `file` and `count`, and `item` with `count`";
        compiler.mistakes.push(Diagnostic::error(span, message).help(help));
        None
    };
    match (&given.items, &given.file, &given.count, &given.item) {
        (Some(items), None, None, None) => {
            let nodes = items
                .value
                .iter()
                .map(|item| Node::compile(&item.value, item.span, compiler));
            Some(ItemSource::Items(nodes.collect()))
        }
        (None, Some(file), None, None) => {
            let items = read_file(folder, &file.value).and_then(|bytes| {
                serde_json::from_slice::<Vec<Value>>(&bytes)
                    .map_err(|error| format!("`{}` is not a JSON array: {error}", file.value))
            });
            let items = noted(items, file.span, compiler.mistakes)?;
            Some(ItemSource::Items(items.into_iter().map(Node::Fixed).collect()))
        }
        (None, None, Some(written), Some(item)) => {
            let count = limited(Some(written), 0..=MAX_COUNT, "the number of items", compiler)?;
            let item = compiler.with(&["number", "index"], |compiler| {
                Node::compile(&item.value, item.span, compiler)
            });
            Some(ItemSource::Made { count, item })
        }
        (None, None, Some(count), None) => wrong(compiler, count.span, "`item` is missing"),
        (None, None, None, Some(item)) => wrong(compiler, item.span, "`count` is missing"),
        (None, None, None, None) => wrong(compiler, spec.span, "the page's items are missing"),
        _ => wrong(compiler, spec.span, "the page's items have more than one source"),
    }
}
