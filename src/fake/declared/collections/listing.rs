//! What a list may be asked for.
//!
//! | query | rows |
//! |---|---|
//! | `name=Ada` | whose `name` is that; given several times, one of those. An array has it among its items |
//! | `price[gte]=1`, `price_gte=1` | compared: `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `like` (contains, in any case), `in` (one of a list with commas) |
//! | `address.city=Oslo` | nested |
//! | `q=text` | with the text in any of their values, in any case of ASCII letters |
//! | `sort=-price,name` | sorted, `-` downwards; otherwise in the order in which they were created |
//! | `page=2`, `size=10` | a page, from 1; `limit` and `per_page` are names of `size`, too, and `offset=30` begins after 30 rows |
//! | `fields=name,price` | with their `id` and these fields only |
//!
//! `_sort`, `_order`, `_page`, `_limit`, `_per_page`, `_start` and `_end` are taken as json-server's. Of a name that is both, a
//! word of this table is meant: a field `page` is filtered by `page[eq]=`. All conditions must hold. Any other name is an
//! error, except `_`, which is left for caches.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Map, Value, json};

use super::fields::{RowProblem, is_name};
use super::spec::FieldKind;
use super::{Collection, SEGMENT};
use crate::fake::query::pairs;
use crate::fake::store::StoreError;

/// The most bytes of a page.
const PAGE_BYTES: usize = 16 << 20;

/// The most conditions of one query.
const CONDITIONS_LIMIT: usize = 100;

const OPERATORS: &[&str] = &["eq", "ne", "gte", "gt", "lte", "lt", "like", "in"];

/// A query, understood.
#[derive(Debug)]
pub(super) struct Listing {
    conditions: Vec<String>,
    values: Vec<Sql>,
    order: Vec<String>,
    order_values: Vec<Sql>,
    size: u32,
    offset: u64,
    /// Whether pages are counted in rows.
    by_offset: bool,
    fields: Option<Vec<String>>,
    /// The query without what says which page.
    rest: Vec<(String, String)>,
}

/// The rows of one page.
pub(super) struct RowPage {
    pub(super) total: u64,
    /// As a JSON array. `None` if that would be too long.
    pub(super) rows: Option<String>,
}

/// What stands in a query, sorted by meaning.
#[derive(Default)]
struct ListQuery {
    /// By path and operator, in order; several equal ones are alternatives.
    filters: Vec<(String, &'static str, Vec<String>)>,
    page: Option<u64>,
    size: Option<u64>,
    offset: Option<u64>,
    /// Where the page ends, as json-server has it.
    end: Option<u64>,
    sort: Option<String>,
    order: Option<String>,
    fields: Option<String>,
    search: Vec<String>,
}

impl Listing {
    /// Reads a query.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn read(collection: &Collection, query: &str) -> Result<Self, Vec<RowProblem>> {
        let mut problems = Vec::new();
        let mut asked = ListQuery::default();
        let mut rest = Vec::new();
        for (name, value) in pairs(query.as_bytes()) {
            if asked.take(collection, &name, &value, &mut problems) {
                rest.push((name, value));
            }
        }
        if let Some(end) = asked.end {
            let size = end.checked_sub(asked.offset.unwrap_or(0)).filter(|size| *size > 0);
            if size.is_none() {
                problems.push(RowProblem::new("_end", "must be more than `_start`"));
            }
            asked.offset = asked.offset.or(Some(0));
            asked.size = asked.size.or(size);
        }
        if asked.filters.iter().map(|(_, _, values)| values.len()).sum::<usize>() + asked.search.len()
            > CONDITIONS_LIMIT
        {
            problems.push(RowProblem::new("", "has more than 100 conditions"));
        }
        if !problems.is_empty() {
            problems.truncate(CONDITIONS_LIMIT);
            return Err(problems);
        }
        let size = asked
            .size
            .unwrap_or(u64::from(collection.page.0))
            .min(u64::from(collection.page.1));
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let page = asked.page.unwrap_or(1);
        let mut listing = Self {
            conditions: Vec::new(),
            values: Vec::new(),
            order: Vec::new(),
            order_values: Vec::new(),
            size,
            offset: asked.offset.unwrap_or((page - 1).saturating_mul(u64::from(size))),
            by_offset: asked.offset.is_some(),
            fields: None,
            rest,
        };
        for (path, operator, values) in &asked.filters {
            listing.filter(collection, path, operator, values, &mut problems);
        }
        for text in &asked.search {
            listing.conditions.push(
                "EXISTS (SELECT 1 FROM json_tree(row) WHERE atom IS NOT NULL AND instr(lower(atom), lower(?)) > 0)"
                    .into(),
            );
            listing.values.push(Sql::Text(text.clone()));
        }
        listing.sort(collection, &asked, &mut problems);
        listing.fields = asked.fields.map(|fields| {
            let names: Vec<_> = fields.split(',').map(|name| name.trim().to_owned()).collect();
            let unknown = names.iter().filter(|name| !known(collection, name));
            problems.extend(unknown.map(|name| RowProblem::new("fields", format!("there is no field `{name}`"))));
            names
        });
        if problems.is_empty() {
            Ok(listing)
        } else {
            Err(problems)
        }
    }

    fn filter(
        &mut self,
        collection: &Collection,
        path: &str,
        operator: &str,
        values: &[String],
        problems: &mut Vec<RowProblem>,
    ) {
        let kind = kind_of(collection, path);
        let values: Vec<&str> = match operator {
            "in" => values.iter().flat_map(|value| value.split(',')).collect(),
            _ => values.iter().map(String::as_str).collect(),
        };
        let (mut alternatives, mut parameters) = (Vec::new(), Vec::new());
        for value in values {
            let candidates = match operator {
                "like" => vec![Sql::Text(value.to_owned())],
                _ => match candidates(kind, value) {
                    Ok(candidates) => candidates,
                    Err(problem) => {
                        problems.push(RowProblem::new(path, problem));
                        continue;
                    }
                },
            };
            for candidate in candidates {
                alternatives.push(condition(kind, operator, &candidate));
                parameters.push(Sql::Text(json_path(path)));
                parameters.push(candidate);
            }
        }
        // A row must differ from all, but be like one.
        let glue = if operator == "ne" { " AND " } else { " OR " };
        if !alternatives.is_empty() {
            self.conditions.push(format!("({})", alternatives.join(glue)));
            self.values.extend(parameters);
        }
    }

    fn sort(&mut self, collection: &Collection, asked: &ListQuery, problems: &mut Vec<RowProblem>) {
        let orders: Vec<_> = asked.order.as_deref().unwrap_or("").split(',').collect();
        let keys = asked
            .sort
            .as_deref()
            .unwrap_or("")
            .split(',')
            .filter(|key| !key.trim().is_empty());
        for (index, key) in keys.enumerate().take(CONDITIONS_LIMIT) {
            let key = key.trim();
            let (name, down) = key.strip_prefix('-').map_or((key, false), |name| (name, true));
            let name = name.strip_prefix('+').unwrap_or(name);
            let down = down
                || orders
                    .get(index)
                    .is_some_and(|order| order.eq_ignore_ascii_case("desc"));
            if !known(collection, name) {
                problems.push(RowProblem::new("sort", format!("there is no field `{name}`")));
                continue;
            }
            self.order
                .push(format!("json_extract(row, ?) {}", if down { "DESC" } else { "ASC" }));
            self.order_values.push(Sql::Text(json_path(name)));
        }
    }

    /// Reads the page.
    pub(super) fn run(&self, connection: &Connection, collection: &Collection) -> Result<RowPage, StoreError> {
        let wanted = if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        };
        let table = &collection.name;
        let sql = format!("SELECT count(*) FROM \"{table}\"{wanted}");
        let mut statement = connection.prepare_cached(&sql)?;
        let total: i64 = statement.query_row(params_from_iter(&self.values), |row| row.get(0))?;
        let order: String = self.order.iter().map(|order| format!("{order}, ")).collect();
        let sql = format!("SELECT row FROM \"{table}\"{wanted} ORDER BY {order}seq LIMIT ? OFFSET ?");
        let bounds = [
            Sql::Integer(i64::from(self.size)),
            Sql::Integer(i64::try_from(self.offset).unwrap_or(i64::MAX)),
        ];
        let values = self.values.iter().chain(&self.order_values).chain(&bounds);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut found = statement.query(params_from_iter(values))?;
        let mut rows = String::from("[");
        while let Some(row) = found.next()? {
            let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            if rows.len() + text.len() > PAGE_BYTES {
                return Ok(RowPage {
                    total: total.unsigned_abs(),
                    rows: None,
                });
            }
            if rows.len() > 1 {
                rows.push(',');
            }
            match &self.fields {
                None => rows.push_str(text),
                Some(fields) => rows.push_str(&select(text, fields)),
            }
        }
        rows.push(']');
        Ok(RowPage {
            total: total.unsigned_abs(),
            rows: Some(rows),
        })
    }

    /// The page in an object.
    pub(super) fn envelope(&self, key: &str, rows: &str, total: u64) -> String {
        let size = u64::from(self.size);
        let page = self.offset / size + 1;
        let pages = total.div_ceil(size);
        let key = Value::from(key);
        format!("{{{key}:{rows},\"total\":{total},\"page\":{page},\"size\":{size},\"pages\":{pages}}}")
    }

    /// Links to other pages (RFC 8288), relative to this server.
    pub(super) fn links(&self, path: &str, total: u64) -> String {
        let size = u64::from(self.size);
        let last = total.saturating_sub(1) / size * size;
        let mut links = vec![("first", 0)];
        if self.offset > 0 {
            links.push(("prev", self.offset.saturating_sub(size).min(last)));
        }
        if self.offset.saturating_add(size) < total {
            links.push(("next", self.offset + size));
        }
        links.push(("last", last));
        let links = links.iter().map(|(relation, offset)| {
            let start = if self.by_offset {
                ("offset", *offset)
            } else {
                ("page", offset / size + 1)
            };
            let mut query: Vec<_> = self.rest.iter().map(|(name, value)| encode(name, value)).collect();
            query.push(format!("{}={}", start.0, start.1));
            query.push(format!("size={size}"));
            format!("<{path}?{}>; rel=\"{relation}\"", query.join("&"))
        });
        links.collect::<Vec<_>>().join(", ")
    }
}

impl ListQuery {
    /// Takes one parameter. Whether it also belongs into the links to other pages.
    fn take(&mut self, collection: &Collection, name: &str, value: &str, problems: &mut Vec<RowProblem>) -> bool {
        let number = |least: u64, problems: &mut Vec<RowProblem>| {
            let number = value
                .parse::<u64>()
                .ok()
                .filter(|number| (least..1 << 40).contains(number));
            if number.is_none() {
                problems.push(RowProblem::new(name, format!("must be a number, at least {least}")));
            }
            number
        };
        match name {
            "page" | "_page" => self.page = number(1, problems),
            "size" | "limit" | "per_page" | "_limit" | "_per_page" => self.size = number(1, problems),
            "offset" | "_start" => self.offset = number(0, problems),
            "_end" => self.end = number(1, problems),
            "sort" | "_sort" => self.sort = Some(value.to_owned()),
            "_order" => self.order = Some(value.to_owned()),
            "fields" => self.fields = Some(value.to_owned()),
            "q" => self.search.push(value.to_owned()),
            _ => match operator(collection, name) {
                Some((path, operator)) => {
                    let slot = self
                        .filters
                        .iter_mut()
                        .find(|(known, op, _)| *known == path && *op == operator);
                    match slot {
                        Some((_, _, values)) => values.push(value.to_owned()),
                        None => self.filters.push((path.to_owned(), operator, vec![value.to_owned()])),
                    }
                }
                // What jQuery adds against caches.
                None if name == "_" => {}
                None => problems.push(RowProblem::new(name, unknown(collection))),
            },
        }
        !matches!(
            name,
            "page" | "_page" | "size" | "limit" | "per_page" | "_limit" | "_per_page" | "offset" | "_start" | "_end"
        )
    }
}

/// What a parameter is not, with all that there are.
fn unknown(collection: &Collection) -> String {
    let own = "q, sort, page, size, offset, fields, _sort, _order, _page, _limit, _start, _end";
    let fields: Vec<_> = collection.fields.iter().map(|field| field.name.as_str()).collect();
    let fields = match fields.as_slice() {
        [] => String::new(),
        fields => format!(" (id, {})", fields.join(", ")),
    };
    format!("is neither a field of this collection{fields} nor one of {own}")
}

/// The field that a parameter's name is about, and how.
fn operator<'a>(collection: &Collection, name: &'a str) -> Option<(&'a str, &'static str)> {
    if let Some((path, operator)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        let operator = OPERATORS.iter().find(|known| **known == operator)?;
        return known(collection, path).then_some((path, *operator));
    }
    let declared = |path: &str| path == "id" || collection.field(path.split('.').next().unwrap_or_default()).is_some();
    if !declared(name)
        && let Some((path, operator)) = name.rsplit_once('_')
        && let Some(operator) = OPERATORS.iter().find(|known| **known == operator)
        && known(collection, path)
    {
        return Some((path, operator));
    }
    known(collection, name).then_some((name, "eq"))
}

/// Whether a row may have this, nested or not. Names are plain, so they can't leave the JSON path that they stand in.
fn known(collection: &Collection, path: &str) -> bool {
    let mut names = path.split('.');
    let first = names.next().unwrap_or_default();
    let declared = first == "id" || collection.field(first).is_some();
    let additional = collection.additional && !first.starts_with('_') && is_name(first);
    path.len() <= 512 && (declared || additional) && names.all(is_name)
}

fn kind_of(collection: &Collection, path: &str) -> FieldKind {
    match collection.field(path) {
        Some(field) => field.kind,
        None if path == "id" && collection.id == super::IdKind::Integer => FieldKind::Integer,
        None if path == "id" => FieldKind::String,
        None => FieldKind::Any,
    }
}

fn json_path(path: &str) -> String {
    path.split('.')
        .fold("$".to_owned(), |path, name| format!("{path}.\"{name}\""))
}

/// What a value in a query may stand for.
fn candidates(kind: FieldKind, value: &str) -> Result<Vec<Sql>, &'static str> {
    let number = || {
        let integer = value.parse::<i64>().ok().map(Sql::Integer);
        let real = || {
            value
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map(Sql::Real)
        };
        integer.or_else(real)
    };
    let flag = || match value {
        "true" | "1" => Some(Sql::Integer(1)),
        "false" | "0" => Some(Sql::Integer(0)),
        _ => None,
    };
    let text = || Sql::Text(value.to_owned());
    match kind {
        FieldKind::Number | FieldKind::Integer => Ok(vec![number().ok_or("must be a number")?]),
        FieldKind::Boolean => Ok(vec![flag().ok_or("must be true or false")?]),
        FieldKind::Any | FieldKind::Array | FieldKind::Object => {
            let other = number().or_else(flag);
            Ok(other.into_iter().chain([text()]).collect())
        }
        _ => Ok(vec![text()]),
    }
}

fn condition(kind: FieldKind, operator: &str, value: &Sql) -> String {
    let sign = match operator {
        "ne" => "IS NOT",
        "gt" => ">",
        "gte" => ">=",
        "lt" => "<",
        "lte" => "<=",
        "like" => return "instr(lower(json_extract(row, ?)), lower(?)) > 0".to_owned(),
        _ => "=",
    };
    // An array has an item that is so; what is no array counts as its own only item.
    let items = matches!(kind, FieldKind::Array | FieldKind::Any);
    if items && operator == "ne" {
        return "NOT EXISTS (SELECT 1 FROM json_each(row, ?) WHERE value = ?)".to_owned();
    }
    if items && sign == "=" {
        return "EXISTS (SELECT 1 FROM json_each(row, ?) WHERE value = ?)".to_owned();
    }
    // SQLite would put all texts after all numbers.
    let kinds = match value {
        Sql::Text(_) => "'text'",
        _ => "'integer', 'real'",
    };
    match operator {
        "ne" | "eq" | "in" => format!("json_extract(row, ?) {sign} ?"),
        _ => format!(
            "EXISTS (SELECT 1 FROM (SELECT json_extract(row, ?) AS x) WHERE typeof(x) IN ({kinds}) AND x {sign} ?)"
        ),
    }
}

fn select(text: &str, fields: &[String]) -> String {
    let row: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let mut selected = Map::new();
    if let Some(id) = row.get("id") {
        selected.insert("id".to_owned(), id.clone());
    }
    for path in fields {
        let mut names = path.split('.');
        let top = names.next().unwrap_or_default();
        let value = names.try_fold(row.get(top), |value, name| {
            Some(value.and_then(|value| value.get(name)))
        });
        if let Some(value) = value.flatten() {
            selected.insert(path.clone(), value.clone());
        }
    }
    json!(selected).to_string()
}

fn encode(name: &str, value: &str) -> String {
    let encode = |text: &str| percent_encoding::utf8_percent_encode(text, SEGMENT).to_string();
    format!("{}={}", encode(name), encode(value))
}
