//! Path templates: `/pets/{petId}`, `/files/{name}.{ending}`.

use std::collections::HashMap;

use regex::Regex;

use crate::fake::query::decode_path;

/// A path with parameters.
#[derive(Debug)]
pub(super) struct PathTemplate {
    segments: Vec<TemplateSegment>,
}

#[derive(Debug)]
enum TemplateSegment {
    Literal(String),
    /// Text and parameters, or several parameters.
    Mixed(Regex, Vec<String>),
    Parameter(String),
}

impl PathTemplate {
    /// # Errors
    /// What is wrong with the braces.
    pub(super) fn read(path: &str) -> Result<Self, String> {
        let path = path.strip_prefix('/').ok_or("a path must start with `/`")?;
        let segments = path.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }

    /// The values of the parameters, decoded, if a path is so.
    pub(super) fn matches(&self, path: &str) -> Option<HashMap<String, String>> {
        let given: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        if given.len() != self.segments.len() {
            return None;
        }
        let mut values = HashMap::new();
        for (segment, text) in self.segments.iter().zip(given) {
            let text = decode_path(text);
            match segment {
                TemplateSegment::Literal(literal) if *literal == text => {}
                TemplateSegment::Parameter(name) if !text.is_empty() => {
                    values.insert(name.clone(), text);
                }
                TemplateSegment::Mixed(regex, names) => {
                    let found = regex.captures(&text)?;
                    for (index, name) in names.iter().enumerate() {
                        let value = found.get(index + 1).map_or("", |value| value.as_str());
                        values.insert(name.clone(), value.to_owned());
                    }
                }
                TemplateSegment::Literal(_) | TemplateSegment::Parameter(_) => return None,
            }
        }
        Some(values)
    }

    /// Templates in this order: what is concrete comes before what is not, as OpenAPI wants it.
    pub(super) fn rank(&self) -> Vec<u8> {
        let rank = |segment: &TemplateSegment| match segment {
            TemplateSegment::Literal(_) => 0,
            TemplateSegment::Mixed(..) => 1,
            TemplateSegment::Parameter(_) => 2,
        };
        self.segments.iter().map(rank).collect()
    }
}

fn segment(text: &str) -> Result<TemplateSegment, String> {
    let mut pattern = String::from("^");
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a `{` without a `}`")?;
        if name.is_empty() || name.contains('{') || literal.contains('}') {
            return Err("the braces don't match, or contain no name".to_owned());
        }
        pattern.push_str(&regex::escape(&decode_path(literal)));
        pattern.push_str("(.+?)");
        names.push(name.to_owned());
        rest = after;
    }
    if rest.contains('}') {
        return Err("a `}` without a `{`".to_owned());
    }
    pattern.push_str(&regex::escape(&decode_path(rest)));
    pattern.push('$');
    match names.as_slice() {
        [] => Ok(TemplateSegment::Literal(decode_path(text))),
        [name] if text.len() == name.len() + 2 => Ok(TemplateSegment::Parameter(name.clone())),
        _ => {
            let regex = Regex::new(&pattern).map_err(|error| error.to_string())?;
            Ok(TemplateSegment::Mixed(regex, names))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_their_parameters() {
        let values = |template: &str, path: &str| -> Option<Vec<String>> {
            let values = PathTemplate::read(template).unwrap().matches(path)?;
            let mut shown: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
            shown.sort();
            Some(shown)
        };
        assert_eq!(values("/pets", "/pets"), Some(vec![]));
        assert_eq!(values("/pets/{id}", "/pets/a%2Fb"), Some(vec!["id=a/b".to_owned()]));
        assert_eq!(values("/pets/{id}", "/pets/"), None);
        assert_eq!(values("/pets/{id}", "/pets/1/2"), None);
        assert_eq!(
            values("/f/{name}.{ending}", "/f/a.tar.gz"),
            Some(vec!["ending=tar.gz".to_owned(), "name=a".to_owned()])
        );
        assert_eq!(values("/", "/"), Some(vec![]));
        for wrong in ["pets", "/{", "/}", "/{}", "/{a{b}}"] {
            assert!(PathTemplate::read(wrong).is_err(), "{wrong}");
        }
    }
}
