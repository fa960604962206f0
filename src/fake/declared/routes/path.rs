//! Paths with parameters: `/users/{id}`, `/files/{name}.json`, `/static/{*rest}`.
//!
//! A path is matched segment by segment, each percent-decoded. A final slash counts.

use crate::fake::query::decode_path;

/// A compiled path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    /// The parameter that takes all the rest, if there is one.
    rest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// This text.
    Text(String),
    /// A parameter of at least one character between two texts.
    Parameter {
        before: String,
        name: String,
        after: String,
    },
}

impl Pattern {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        if let Some((_, rest)) = path.split_once("://") {
            let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
            return Err(format!("a path has no scheme and host: use `{path}`"));
        }
        if let Some(segment) = path
            .split('/')
            .find(|part| part.starts_with(':') && part.ends_with('?'))
        {
            let name = segment.trim_matches([':', '?']);
            return Err(format!(
                "no segment of a path is optional: use `{{{name}}}` for `{segment}`, and a second route without it"
            ));
        }
        let Some(inner) = path.strip_prefix('/') else {
            return Err(format!("a path must start with `/`: use `/{path}`"));
        };
        if path.contains(['?', '#']) {
            return Err("a path can't have a query: use `match: {query: {name: value}}`".to_owned());
        }
        let mut pattern = Self {
            segments: Vec::new(),
            rest: None,
        };
        let mut names: Vec<String> = Vec::new();
        let parts: Vec<&str> = inner.split('/').collect();
        for (i, part) in parts.iter().enumerate() {
            let segment = match part.strip_prefix("{*").and_then(|part| part.strip_suffix('}')) {
                Some(name) if i + 1 == parts.len() => {
                    pattern.rest = Some(checked_name(name)?);
                    None
                }
                Some(_) => return Err(format!("`{part}` matches the rest of the path: it must come last")),
                None => Some(segment(part)?),
            };
            let name = match &segment {
                Some(Segment::Parameter { name, .. }) => Some(name.clone()),
                Some(Segment::Text(_)) => None,
                None => pattern.rest.clone(),
            };
            if let Some(name) = name {
                if names.contains(&name) {
                    return Err(format!("the path has `{{{name}}}` twice"));
                }
                names.push(name);
            }
            pattern.segments.extend(segment);
        }
        Ok(pattern)
    }

    /// The parameters' names, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let named = self.segments.iter().filter_map(|segment| match segment {
            Segment::Text(_) => None,
            Segment::Parameter { name, .. } => Some(name.clone()),
        });
        named.chain(self.rest.clone()).collect()
    }

    /// The values of the parameters, if a path (as it came, without the query) fits.
    pub(super) fn values(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut values = Vec::new();
        let mut left = Some(path.strip_prefix('/')?);
        for segment in &self.segments {
            let text = left?;
            let part = match text.split_once('/') {
                Some((part, rest)) => {
                    left = Some(rest);
                    part
                }
                None => {
                    left = None;
                    text
                }
            };
            let part = decode_path(part);
            match segment {
                Segment::Text(text) if *text == part => {}
                Segment::Text(_) => return None,
                Segment::Parameter { before, name, after } => {
                    let value = part.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                    if value.is_empty() {
                        return None;
                    }
                    values.push((name.clone(), value.to_owned()));
                }
            }
        }
        match (&self.rest, left) {
            (None, None) => Some(values),
            (Some(name), Some(rest)) if !rest.is_empty() => {
                values.push((name.clone(), decode_path(rest)));
                Some(values)
            }
            _ => None,
        }
    }

    /// The more specific of two paths is the smaller: where they first differ in kind, a text goes before a parameter
    /// with text around it, that before a bare one, and that before the rest of the path.
    pub(super) fn rank(&self) -> Vec<u8> {
        let kinds = self.segments.iter().map(|segment| match segment {
            Segment::Text(_) => 0,
            Segment::Parameter { before, after, .. } => 1 + u8::from(before.is_empty() && after.is_empty()),
        });
        kinds.chain(self.rest.as_ref().map(|_| 3)).collect()
    }

    /// The path without the names of its parameters: two paths of one shape match the same.
    pub(super) fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => shape.push_str(&format!("/{text}")),
                Segment::Parameter { before, after, .. } => shape.push_str(&format!("/{before}{{}}{after}")),
            }
        }
        if self.rest.is_some() {
            shape.push_str("/{*}");
        }
        shape
    }
}

fn segment(part: &str) -> Result<Segment, String> {
    let Some((before, rest)) = part.split_once('{') else {
        return if part.contains('}') {
            Err(format!("`{part}` has a `}}` without a `{{`"))
        } else {
            Ok(Segment::Text(decode_path(part)))
        };
    };
    let Some((name, after)) = rest.split_once('}') else {
        return Err(format!("`{part}` has a `{{` without a `}}`"));
    };
    if after.contains(['{', '}']) || before.contains('}') {
        return Err(format!("`{part}` has more than one parameter: a segment can have one"));
    }
    Ok(Segment::Parameter {
        before: decode_path(before),
        name: checked_name(name)?,
        after: decode_path(after),
    })
}

fn checked_name(name: &str) -> Result<String, String> {
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if good {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "`{{{name}}}` is not a valid parameter: use letters, digits and `_`, as in `{{user_id}}`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pattern: &str, path: &str) -> Option<String> {
        let values = Pattern::parse(pattern).unwrap().values(path)?;
        let values: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(values.join(" "))
    }

    #[test]
    fn paths_match_segment_by_segment() {
        for (pattern, path, expect) in [
            ("/", "/", Some("")),
            ("/", "/a", None),
            ("/a", "/a", Some("")),
            ("/a", "/a/", None),
            ("/a/", "/a/", Some("")),
            ("/users/{id}", "/users/7", Some("id=7")),
            ("/users/{id}", "/users/a%2Fb%20c", Some("id=a/b c")),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users/7/8", None),
            ("/users/{id}/orders/{order}", "/users/7/orders/9", Some("id=7 order=9")),
            ("/files/{name}.json", "/files/a.b.json", Some("name=a.b")),
            ("/files/{name}.json", "/files/.json", None),
            ("/v{n}/x", "/v2/x", Some("n=2")),
            ("/static/{*rest}", "/static/a/b.css", Some("rest=a/b.css")),
            ("/static/{*rest}", "/static/", None),
            ("/static/{*rest}", "/static", None),
            ("/caf\u{e9}", "/caf%C3%A9", Some("")),
        ] {
            assert_eq!(values(pattern, path).as_deref(), expect, "{pattern} {path}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (pattern, expect) in [
            ("users", "a path must start with `/`"),
            ("/a?b=1", "can't have a query"),
            ("/{*rest}/a", "must come last"),
            ("/{a}/{a}", "twice"),
            ("/{a", "without a `}`"),
            ("/a}", "without a `{`"),
            ("/{}", "is not a valid parameter"),
            ("/{a-b}", "is not a valid parameter"),
            ("/{a}-{b}", "more than one"),
        ] {
            let message = Pattern::parse(pattern).unwrap_err();
            assert!(message.contains(expect), "{pattern}: {message}");
        }
    }

    #[test]
    fn the_more_specific_ranks_first() {
        let mut paths = ["/{*rest}", "/a/{x}", "/a/{x}.json", "/a/b", "/{x}/b"];
        paths.sort_by_key(|path| Pattern::parse(path).unwrap().rank());
        assert_eq!(paths, ["/a/b", "/a/{x}.json", "/a/{x}", "/{x}/b", "/{*rest}"]);
    }
}
