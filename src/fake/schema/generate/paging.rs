//! Properties that say whether there are further pages: clients that page by themselves would never end.

use serde_json::Value;

/// How a property says that there is no further page.
pub(super) enum PageEnd {
    Is(Value),
    Absent,
}

/// The ways in which a property of this name says that, the best first. `None` if the name is of anything else.
pub(super) fn ends(name: &str) -> Option<Vec<PageEnd>> {
    let name: String = name.chars().filter(|character| character.is_alphanumeric()).collect();
    let name = name.to_ascii_lowercase();
    let has = name.starts_with("has") && (name.contains("more") || name.contains("next"));
    if has
        || matches!(
            name.as_str(),
            "more" | "istruncated" | "truncated" | "moreavailable" | "morerecords" | "morepages"
        )
    {
        return Some(vec![PageEnd::Is(false.into())]);
    }
    if matches!(
        name.as_str(),
        "islast" | "islastpage" | "lastpagereached" | "endofrecords"
    ) {
        return Some(vec![PageEnd::Is(true.into())]);
    }
    if matches!(
        name.as_str(),
        "totalpages" | "pagecount" | "lastpage" | "numberofpages" | "pagetotal" | "totalpage"
    ) {
        return Some(vec![PageEnd::Is(1.into())]);
    }
    const KINDS: &[&str] = &[
        "page", "cursor", "token", "url", "link", "uri", "href", "marker", "offset", "start", "key", "results",
    ];
    let next = name
        .strip_prefix("next")
        .or_else(|| name.split_once("next").map(|(_, kind)| kind));
    let is_next = name == "next"
        || matches!(name.as_str(), "continue" | "continuationtoken" | "nextpageid")
        || next.is_some_and(|next| KINDS.iter().any(|kind| next.ends_with(kind)));
    is_next.then(|| vec![PageEnd::Is(Value::Null), PageEnd::Absent, PageEnd::Is("".into())])
}

/// How many properties are changed at most.
const CHANGES_LIMIT: usize = 16;

/// A value whose properties say that there is no further page, as far as what comes out is accepted. Lists of a value that
/// says nothing of pages are empty instead: their clients go on until one is.
pub(super) fn ended(mut value: Value, accepts: impl Fn(&Value) -> bool) -> Value {
    let mut places = Vec::new();
    find(&value, &mut Vec::new(), &mut places);
    let is_silent = places.is_empty();
    for place in places {
        for end in place.last().and_then(|name| ends(name)).unwrap_or_default() {
            let mut changed = value.clone();
            if set(&mut changed, &place, end).is_some() && accepts(&changed) {
                value = changed;
                break;
            }
        }
    }
    let emptied = Some(emptied(&value)).filter(|emptied| is_silent && accepts(emptied));
    emptied.unwrap_or(value)
}

/// The properties that say something of pages, each by the names that lead there.
fn find(value: &Value, names: &mut Vec<String>, places: &mut Vec<Vec<String>>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        names.push(name.clone());
        if places.len() < CHANGES_LIMIT && ends(name).is_some() {
            places.push(names.clone());
        }
        find(value, names, places);
        names.pop();
    }
}

fn set(value: &mut Value, place: &[String], end: PageEnd) -> Option<()> {
    let (name, around) = place.split_last()?;
    let holder = around.iter().try_fold(value, |value, name| value.get_mut(name))?;
    let holder = holder.as_object_mut()?;
    match end {
        PageEnd::Is(value) => holder.insert(name.clone(), value),
        PageEnd::Absent => holder.shift_remove(name),
    };
    Some(())
}

fn emptied(value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| match value {
                Value::Array(_) => (name.clone(), Value::Array(Vec::new())),
                value => (name.clone(), value.clone()),
            });
            members.collect()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn examples_of_later_pages_end() {
        let any = |_: &Value| true;
        let page = json!({"data": [1], "has_more": true, "meta": {"next_cursor": "x"}});
        assert_eq!(
            ended(page, any),
            json!({"data": [1], "has_more": false, "meta": {"next_cursor": null}})
        );
        let strict = |value: &Value| value["next"].is_string();
        assert_eq!(ended(json!({"next": "a"}), strict), json!({"next": ""}));
        assert_eq!(ended(json!([1]), any), json!([]));
        assert_eq!(ended(json!({"a": [1], "n": 1}), any), json!({"a": [], "n": 1}));
        assert_eq!(ended(json!([1]), |_| false), json!([1]));
    }

    #[test]
    fn names_of_paging() {
        for name in [
            "has_more",
            "hasNextPage",
            "next",
            "next_page_token",
            "nextCursor",
            "@odata.nextLink",
            "continue",
            "is_truncated",
            "next_page_url",
            "total_pages",
        ] {
            assert!(ends(name).is_some(), "{name}");
        }
        for name in [
            "next_billing_date",
            "hash",
            "harness",
            "context",
            "text",
            "nextOfKin",
            "pages",
            "cursor",
            "last",
        ] {
            assert!(ends(name).is_none(), "{name}");
        }
    }
}
