//! Pages that agree with the request: the page that was asked for is the one that an answer says it is.

use http::Method;
use http::request::Parts;
use serde_json::Value;

use super::operations::{Operation, ParameterLocation};
use crate::fake::query::{Pairs, pairs};

/// How deep, and at how many places, an answer says which page it is.
const DEPTH_LIMIT: usize = 3;
const CHANGES_LIMIT: usize = 16;

/// What a name says of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Page,
    Size,
    Offset,
    /// Of the items on the page.
    Count,
    /// Of all items.
    Total,
    /// Of all pages.
    Pages,
}

fn bare(name: &str) -> String {
    let letters = name.chars().filter(|character| character.is_alphanumeric());
    letters.collect::<String>().to_ascii_lowercase()
}

impl Role {
    fn of(name: &str) -> Option<Self> {
        Some(match bare(name).as_str() {
            "page" | "pagenumber" | "pageno" | "pageindex" | "currentpage" => Self::Page,
            "limit" | "size" | "perpage" | "pagesize" | "pagelimit" | "maxresults" | "itemsperpage" => Self::Size,
            "offset" | "skip" | "pageoffset" | "startat" => Self::Offset,
            "count" | "numberofelements" => Self::Count,
            "total" | "totalcount" | "totalitems" | "totalelements" | "totalresults" | "totalrecords" => Self::Total,
            "totalpages" | "pagecount" | "lastpage" | "numberofpages" | "pagetotal" | "totalpage" => Self::Pages,
            _ => return None,
        })
    }
}

/// A number of the query, as it was sent or as it is without that.
struct Sent {
    name: String,
    role: Option<Role>,
    value: i64,
}

/// The whole numbers of a query: those that were sent, the defaults of those that were not, and the first page.
fn numbers(operation: &Operation, query: &Pairs) -> Vec<Sent> {
    let declared = operation.parameters.iter();
    let declared = declared.filter(|parameter| parameter.place == ParameterLocation::Query);
    let sent = |name: &str| query.iter().find(|(other, _)| other == name).map(|(_, value)| value);
    let mut all: Vec<Sent> = Vec::new();
    for parameter in declared {
        let (name, schema) = (parameter.name.clone(), &parameter.schema.value);
        let role = Role::of(&name);
        let number = |key: &str| schema.get(key).and_then(Value::as_i64);
        let first = || match role? {
            Role::Page => Some(number("minimum").unwrap_or(1)),
            Role::Offset => Some(0),
            _ => None,
        };
        let value = match sent(&name) {
            Some(text) => text.parse().ok(),
            None => number("default").or_else(first),
        };
        all.extend(value.map(|value| Sent { name, role, value }));
    }
    for (name, value) in query {
        let role = Role::of(name).filter(|_| !all.iter().any(|known| known.name == *name));
        if let (Some(role), Ok(value)) = (role, value.parse()) {
            let (name, role) = (name.clone(), Some(role));
            all.push(Sent { name, role, value });
        }
    }
    all
}

/// A made-up value that says of its page what the request does, as far as what comes out is accepted. Answers that are no
/// pages stay as they are.
pub(super) fn agreeing(
    mut value: Value,
    operation: &Operation,
    head: &Parts,
    accepts: impl Fn(&Value) -> bool,
) -> Value {
    if operation.method != Method::GET {
        return value;
    }
    let numbers = numbers(operation, &pairs(head.uri.query().unwrap_or("").as_bytes()));
    let of = |role: Role| {
        numbers
            .iter()
            .find(|sent| sent.role == Some(role))
            .map(|sent| sent.value)
    };
    if ![Role::Page, Role::Size, Role::Offset]
        .iter()
        .any(|role| of(*role).is_some())
    {
        return value;
    }
    let change = |value: &mut Value, apply: &dyn Fn(&mut Value)| {
        let mut changed = value.clone();
        apply(&mut changed);
        if changed != *value && accepts(&changed) {
            *value = changed;
        }
    };
    if let Some(size) = of(Role::Size).and_then(|size| usize::try_from(size).ok()) {
        change(&mut value, &|value| {
            if let Some(items) = list(value) {
                items.truncate(size);
            }
        });
    }
    let shown = list(&mut value).and_then(|items| i64::try_from(items.len()).ok());
    let size = of(Role::Size).or(shown);
    let first = operation.first_page();
    let before = of(Role::Offset).or_else(|| {
        let page = of(Role::Page)?.checked_sub(first)?;
        page.checked_mul(size?)
    });
    let mut places = Vec::new();
    find(&value, &mut Vec::new(), &mut places);
    for place in places {
        let name = place.last().map_or("", String::as_str);
        let role = Role::of(name);
        let same = numbers.iter().find(|sent| bare(&sent.name) == bare(name));
        let number = match (same, role) {
            (Some(same), _) => Some(same.value),
            (None, Some(Role::Count)) => shown,
            (None, Some(Role::Total)) => shown.and_then(|shown| shown.checked_add(before.unwrap_or(0).max(0))),
            (None, Some(Role::Size)) => size,
            // The page at hand is the last one.
            (None, Some(Role::Pages)) => of(Role::Page).map(|page| page.saturating_sub(first).saturating_add(1)),
            (None, Some(role)) => of(role),
            (None, None) => None,
        };
        if let Some(number) = number {
            change(&mut value, &|value| {
                let found = place.iter().try_fold(value, |value, name| value.get_mut(name));
                if let Some(found) = found {
                    *found = number.into();
                }
            });
        }
    }
    value
}

/// The only list at the top of a value, or the value itself.
fn list(value: &mut Value) -> Option<&mut Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        Value::Object(map) => {
            let mut lists = map.values_mut().filter_map(Value::as_array_mut);
            lists.next().filter(|_| lists.next().is_none())
        }
        _ => None,
    }
}

/// The whole numbers outside of lists, each by the names that lead there.
fn find(value: &Value, names: &mut Vec<String>, places: &mut Vec<Vec<String>>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        names.push(name.clone());
        if value.is_i64() && places.len() < CHANGES_LIMIT {
            places.push(names.clone());
        } else if names.len() < DEPTH_LIMIT {
            find(value, names, places);
        }
        names.pop();
    }
}

impl Operation {
    /// The number of its first page.
    fn first_page(&self) -> i64 {
        let mut parameters = self.parameters.iter();
        let page = parameters.find(|parameter| Role::of(&parameter.name) == Some(Role::Page));
        let number = |key: &str| page?.schema.value.get(key)?.as_i64();
        match (number("minimum"), number("default")) {
            (Some(0), _) | (None, Some(0)) => 0,
            _ => 1,
        }
    }
}
