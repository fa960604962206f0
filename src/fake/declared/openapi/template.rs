//! Path templates: `/pets/{petId}`, `/files/{name}.{ending}`.
//!
//! Beyond what OpenAPI allows, documents have paths with a query (`/search?kind=cat&q={q}`) and with parameters that take
//! slashes too (`/v1/{+name}:cancel` as in RFC 6570, `/{proxy+}` as gateways write it).

use std::collections::HashMap;

use regex::Regex;

use crate::fake::query::{Pairs, decode_path, pairs};

/// A path with parameters.
#[derive(Debug)]
pub(super) struct PathTemplate {
    segments: Vec<TemplateSegment>,
    /// The whole path, if a parameter in it takes slashes.
    whole: Option<TemplatePattern>,
    /// What the query must have; `None`: any value.
    query: Vec<(String, Option<String>)>,
}

#[derive(Debug)]
enum TemplateSegment {
    Literal(String),
    /// Text and parameters, or several parameters.
    Mixed(TemplatePattern),
    Parameter(String),
    /// A parameter that takes slashes is in it.
    Greedy,
}

/// Text with parameters, of these names.
#[derive(Debug)]
struct TemplatePattern {
    regex: Regex,
    names: Vec<String>,
}

/// The values of the parameters of a path, percent-encoded as they came.
pub(super) type PathValues = HashMap<String, String>;

impl PathTemplate {
    /// # Errors
    /// What is wrong with the braces.
    pub(super) fn read(path: &str) -> Result<Self, String> {
        let (path, query) = split_query(path);
        let path = path.strip_prefix('/').ok_or("a path must start with `/`")?;
        let segments: Vec<_> = path.split('/').map(segment).collect::<Result<_, _>>()?;
        let greedy = segments
            .iter()
            .any(|segment| matches!(segment, TemplateSegment::Greedy));
        Ok(Self {
            segments,
            whole: greedy.then(|| parts(path)?.compile()).transpose()?,
            query: query.into_iter().map(|(name, value)| (name, literal(value))).collect(),
        })
    }

    /// The values of the parameters, if a path is so, and a query has what it must have. `empty`: a parameter in the midst
    /// may be empty, too.
    pub(super) fn matches(&self, path: &str, query: &Pairs, empty: bool) -> Option<PathValues> {
        let has = |(name, value): &(String, Option<String>)| {
            let same = |given: &String| value.as_ref().is_none_or(|value| value == given);
            query.iter().any(|(key, given)| key == name && same(given))
        };
        if !self.query.iter().all(has) {
            return None;
        }
        let path = path.strip_prefix('/')?;
        let mut values = HashMap::new();
        if let Some(whole) = &self.whole {
            whole.find(path, &mut values)?;
            return Some(values);
        }
        let given: Vec<_> = path.split('/').collect();
        if given.len() != self.segments.len() {
            return None;
        }
        let last = given.len() - 1;
        for (index, (segment, text)) in self.segments.iter().zip(given).enumerate() {
            match segment {
                TemplateSegment::Literal(literal) if *literal == decode_path(text) => {}
                TemplateSegment::Parameter(name) if !text.is_empty() || (empty && index < last) => {
                    values.insert(name.clone(), text.to_owned());
                }
                TemplateSegment::Mixed(pattern) => pattern.find(text, &mut values)?,
                TemplateSegment::Literal(_) | TemplateSegment::Parameter(_) | TemplateSegment::Greedy => return None,
            }
        }
        Some(values)
    }

    /// Templates in this order: what is concrete comes before what is not, as OpenAPI wants it.
    pub(super) fn rank(&self) -> (Vec<u8>, usize) {
        let rank = |segment: &TemplateSegment| match segment {
            TemplateSegment::Literal(_) => 0,
            TemplateSegment::Mixed(..) => 1,
            TemplateSegment::Parameter(_) => 2,
            TemplateSegment::Greedy => 3,
        };
        let literals = self.query.iter().filter(|(_, value)| value.is_some()).count();
        let segments = self.segments.iter().map(rank).collect();
        (segments, usize::MAX - self.query.len() - literals)
    }

    /// The names of the parameters.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let of_segments = self.segments.iter().flat_map(|segment| match segment {
            TemplateSegment::Parameter(name) => std::slice::from_ref(name),
            TemplateSegment::Mixed(pattern) => &pattern.names,
            TemplateSegment::Literal(_) | TemplateSegment::Greedy => &[],
        });
        let whole = self.whole.iter().flat_map(|whole| &whole.names);
        of_segments.chain(whole).map(String::as_str)
    }

    /// The template without the names of its parameters: two that are equal match the same paths.
    pub(super) fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            shape.push('/');
            match segment {
                TemplateSegment::Literal(text) => shape.push_str(&text.replace('{', "{{")),
                TemplateSegment::Mixed(pattern) => shape.push_str(&format!("{{{}}}", pattern.regex)),
                TemplateSegment::Parameter(_) => shape.push_str("{}"),
                TemplateSegment::Greedy => {
                    let whole = self.whole.as_ref().map(|whole| whole.regex.as_str());
                    shape.push_str(&format!("{{{}}}", whole.unwrap_or_default()));
                }
            }
        }
        format!("{shape}?{:?}", self.query)
    }
}

impl TemplatePattern {
    /// Adds the values that a text has, percent-encoded, if it is so.
    fn find(&self, text: &str, values: &mut PathValues) -> Option<()> {
        // What the template has literally may be encoded in the path.
        let decoded;
        let found = match self.regex.captures(text) {
            Some(found) => found,
            None => {
                decoded = decode_path(text).replace('%', "%25");
                self.regex.captures(&decoded)?
            }
        };
        for (index, name) in self.names.iter().enumerate() {
            let value = found.get(index + 1).map_or("", |value| value.as_str());
            values.insert(name.clone(), value.to_owned());
        }
        Some(())
    }
}

/// A path, and the query that is written with it. That some names can be in the query (`{?page,size}`) says nothing of paths.
fn split_query(path: &str) -> (&str, Pairs) {
    let path = ["{?", "{&"]
        .iter()
        .find_map(|mark| path.split_once(mark))
        .map_or(path, |(path, _)| path);
    match path.split_once('?') {
        Some((path, query)) => (path, pairs(query.as_bytes())),
        None => (path, Pairs::new()),
    }
}

/// A value that the query must have; `None` if it is a parameter, or none is written.
fn literal(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty() && !value.contains('{'))
}

fn segment(text: &str) -> Result<TemplateSegment, String> {
    let parts = parts(text)?;
    Ok(match parts.names.as_slice() {
        [] => TemplateSegment::Literal(decode_path(text)),
        _ if parts.greedy => TemplateSegment::Greedy,
        [name] if text.len() == name.len() + 2 => TemplateSegment::Parameter(name.clone()),
        _ => TemplateSegment::Mixed(parts.compile()?),
    })
}

/// A text with parameters, as a regular expression.
struct TemplateParts {
    regex: String,
    names: Vec<String>,
    /// Whether one of them takes slashes.
    greedy: bool,
}

impl TemplateParts {
    fn compile(self) -> Result<TemplatePattern, String> {
        let regex = Regex::new(&self.regex).map_err(|error| error.to_string())?;
        let names = self.names;
        Ok(TemplatePattern { regex, names })
    }
}

fn parts(text: &str) -> Result<TemplateParts, String> {
    let mut regex = String::from("^");
    let mut names = Vec::new();
    let mut greedy = false;
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a `{` without a `}`")?;
        if name.is_empty() || name.contains('{') || literal.contains('}') {
            return Err("the braces don't match, or contain no name".to_owned());
        }
        let plain = name.trim_start_matches('+').trim_end_matches(['+', '*']);
        regex.push_str(&regex::escape(&decode_path(literal)));
        regex.push_str(if plain == name { "([^/]+?)" } else { "(.+)" });
        greedy |= plain != name;
        names.push(plain.to_owned());
        rest = after;
    }
    if rest.contains('}') {
        return Err("a `}` without a `{`".to_owned());
    }
    regex.push_str(&regex::escape(&decode_path(rest)));
    regex.push('$');
    Ok(TemplateParts { regex, names, greedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(template: &str, target: &str) -> Option<String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let values = PathTemplate::read(template)
            .unwrap()
            .matches(path, &pairs(query.as_bytes()), false)?;
        let mut shown: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        shown.sort();
        Some(shown.join(" "))
    }

    #[test]
    fn paths_and_their_parameters() {
        for (template, path, expect) in [
            ("/pets", "/pets", Some("")),
            ("/pets/{id}", "/pets/a%2Fb", Some("id=a%2Fb")),
            ("/pets/{id}", "/pets/", None),
            ("/pets/{id}", "/pets/1/2", None),
            ("/f/{name}.{ending}", "/f/a.tar.gz", Some("ending=tar.gz name=a")),
            ("/f/{a}({b})", "/f/x(1)", Some("a=x b=1")),
            ("/f/{a}({b})", "/f/x%281%29", Some("a=x b=1")),
            ("/ünï/{x}", "/%C3%BCn%C3%AF/1", Some("x=1")),
            ("/", "/", Some("")),
            ("/trail/", "/trail", None),
        ] {
            assert_eq!(values(template, path).as_deref(), expect, "{template} {path}");
        }
        for wrong in ["pets", "/{", "/}", "/{}", "/{a{b}}"] {
            assert!(PathTemplate::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_with_queries_and_with_parameters_that_take_slashes() {
        for (template, path, expect) in [
            ("/s?q={q}", "/s?q=x&r=1", Some("")),
            ("/s?q={q}", "/s", None),
            ("/s?Action=Foo&v", "/s?v&Action=Foo", Some("")),
            ("/s?Action=Foo", "/s?Action=Bar", None),
            ("/s{?q,r}", "/s", Some("")),
            ("/v1/{+name}:cancel", "/v1/a/b:cancel", Some("name=a/b")),
            ("/v1/{+name}:cancel", "/v1/a/b", None),
            ("/v1/{+name}", "/v1/a%20b/c", Some("name=a%20b/c")),
            ("/{id}/{proxy+}", "/1/a/b", Some("id=1 proxy=a/b")),
        ] {
            assert_eq!(values(template, path).as_deref(), expect, "{template} {path}");
        }
    }

    #[test]
    fn the_concrete_comes_first() {
        let sorted = [
            "/a/b?Action=X",
            "/a/b?q={q}",
            "/a/b",
            "/a/{c}.json",
            "/a/{c}",
            "/a/{+c}",
        ];
        assert!(sorted.is_sorted_by_key(|path| PathTemplate::read(path).unwrap().rank()));
        let shape = |path| PathTemplate::read(path).unwrap().shape();
        assert_eq!(shape("/a/{b}/{+c}"), shape("/a/{c}/{+d}"));
        assert_ne!(shape("/a/{b}"), shape("/a/{b}?c=d"));
    }
}
