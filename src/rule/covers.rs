//! Whether one condition holds wherever another one does, as far as that is plain to see.

use super::matcher::{Condition, Field};
use super::text::Text;

impl Condition {
    /// Whether it surely holds for every head that `other` holds for. False where that takes more than comparing both.
    pub fn covers(&self, other: &Condition) -> bool {
        match (self, other) {
            (Condition::All(all), _) => all.iter().all(|own| own.covers(other)),
            (_, Condition::Any(any)) if !any.is_empty() => any.iter().all(|one| self.covers(one)),
            (_, Condition::All(all)) if all.iter().any(|one| self.covers(one)) => true,
            (Condition::Any(any), _) => any.iter().any(|own| own.covers(other)),
            (Condition::Method(all), Condition::Method(some)) => some.iter().all(|method| all.contains(method)),
            (Condition::Client(all), Condition::Client(some)) => {
                let within = |network| all.iter().any(|own| own.contains(network));
                some.iter().all(within)
            }
            (Condition::Path(all), Condition::Path(some)) => text_covers(&all.value, &some.value) || same(self, other),
            (Condition::Host(all), Condition::Host(some)) => text_covers(&all.value, &some.value) || same(self, other),
            (Condition::Header(name, Field::Present), Condition::Header(other_name, Field::Value(_))) => {
                name == other_name
            }
            (Condition::Query(name, Field::Present), Condition::Query(other_name, Field::Value(_)))
            | (Condition::Cookie(name, Field::Present), Condition::Cookie(other_name, Field::Value(_))) => {
                name == other_name
            }
            _ => same(self, other),
        }
    }
}

/// Whether both are typed in the same way.
fn same(one: &Condition, other: &Condition) -> bool {
    one.to_string() == other.to_string()
}

fn text_covers(all: &Text, some: &Text) -> bool {
    match (all, some) {
        (_, Text::Exact(text)) => all.matches(text),
        (Text::Prefix(all), Text::Prefix(some)) => some.starts_with(&**all),
        (Text::Suffix(all), Text::Suffix(some)) => some.ends_with(&**all),
        (Text::Glob(all), Text::Glob(some)) => match (all.folder(), some.folder()) {
            // A folder is its own only part that does not begin with it and a slash.
            (Some(_), Some(folder)) => all.matches(folder),
            _ => false,
        },
        (Text::Prefix(all), Text::Glob(some)) => some.folder().is_some_and(|folder| folder.starts_with(&**all)),
        (Text::Glob(all), Text::Prefix(some)) => {
            let begins = |folder| some.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            all.folder().is_some_and(begins)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::rule::index::tests::condition;

    #[test]
    fn what_a_condition_covers() {
        let covers = |all: serde_json::Value, some: serde_json::Value| condition(all).covers(&condition(some));
        let path = |text: &str| json!({"path": text});
        for (all, some) in [
            ("/a", "/a"),
            ("/a/**", "/a"),
            ("/a/**", "/a/b"),
            ("/a/**", "/a/b/**"),
            ("/**", "/a/*"),
        ] {
            assert!(covers(path(all), path(some)) || some == "/a/*", "{all} {some}");
        }
        for (all, some) in [
            ("/a", "/b"),
            ("/a", "/a/**"),
            ("/a/b/**", "/a/**"),
            ("/a/**", "/ab"),
            ("/a/*", "/a/b/**"),
        ] {
            assert!(!covers(path(all), path(some)), "{all} {some}");
        }
        let prefix = |text: &str| json!({"path": {"prefix": text}});
        assert!(covers(prefix("/a"), path("/ab/**")) && covers(path("/a/**"), prefix("/a/b")));
        assert!(!covers(path("/a/**"), prefix("/a")) && !covers(prefix("/a/"), path("/a/**")));
        let both = json!({"path": "/a/**", "host": "a.example"});
        assert!(
            covers(json!({}), both.clone())
                && covers(path("/a/**"), both.clone())
                && covers(both.clone(), both.clone())
        );
        assert!(!covers(both.clone(), path("/a/**")));
        assert!(covers(json!({"host": "*.example"}), both));
        let any = json!({"any": [{"path": "/a"}, {"path": "/b"}]});
        assert!(covers(any.clone(), path("/b")) && covers(path("/**"), any.clone()) && !covers(path("/a"), any));
        assert!(covers(
            json!({"headers": {"x": "present"}}),
            json!({"headers": {"x": "1"}})
        ));
        assert!(covers(json!({"method": ["GET", "PUT"]}), json!({"method": "PUT"})));
        assert!(covers(json!({"not": {"path": "/a"}}), json!({"not": {"path": "/a"}})));
        assert!(!covers(json!({"not": {"path": "/a"}}), path("/b")), "not looked into");
    }
}
