//! The operations of a document.

use std::collections::HashMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value};

use super::document::{Document, escape};
use super::schemas::{Schema, Schemas};
use super::security::Security;
use super::template::PathTemplate;
use crate::fake::reply::essence;

const METHODS: &[(&str, Method)] = &[
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("options", Method::OPTIONS),
    ("head", Method::HEAD),
    ("patch", Method::PATCH),
    ("trace", Method::TRACE),
];

/// One path of the document.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) template: PathTemplate,
    pub(super) operations: Vec<Operation>,
}

/// A method of a path.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// Resolved, those of the path that the operation does not have itself included.
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) security: Security,
    pub(super) responses: Responses,
}

/// A parameter of a request.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: ParameterLocation,
    pub(super) required: bool,
    pub(super) schema: Schema,
    pub(super) style: ParameterStyle,
    /// Whether each item and property has a `name=` of its own.
    pub(super) explode: bool,
    /// Whether it may be there without a value, whatever its schema says.
    pub(super) allows_empty: bool,
    /// The media type of its value, if it is described by `content`.
    pub(super) media_type: Option<String>,
}

/// How a parameter is written (OpenAPI 3.1.1, section 4.8.12.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterStyle {
    Simple,
    Label,
    Matrix,
    Form,
    SpaceDelimited,
    PipeDelimited,
    DeepObject,
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct RequestBody {
    pub(super) required: bool,
    /// By media type, or range of media types.
    pub(super) content: Vec<(String, MediaType)>,
}

/// What a body of one media type holds.
#[derive(Debug)]
pub(super) struct MediaType {
    pub(super) schema: Option<Schema>,
    /// How the fields of a form are written, by their names.
    pub(super) encoding: Map<String, Value>,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterLocation {
    Path,
    Query,
    Header,
    Cookie,
}

impl ParameterLocation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

/// The responses of an operation, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Responses(Vec<(For, Value)>);

/// What a response is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Status(StatusCode),
    /// `2XX`, by its first digit.
    Class(u16),
    Others,
}

impl Responses {
    /// The response that stands for success: the lowest status from 200 to 299, or what comes closest to that.
    pub(super) fn success(&self) -> (StatusCode, Option<&Value>) {
        let mut exact: Vec<_> = self
            .0
            .iter()
            .filter_map(|(of, value)| match of {
                For::Status(status) => Some((*status, value)),
                _ => None,
            })
            .collect();
        exact.sort_by_key(|(status, _)| *status);
        let by = |wanted: For| self.0.iter().find(|(of, _)| *of == wanted).map(|(_, value)| value);
        if let Some((status, value)) = exact.iter().find(|(status, _)| status.is_success()) {
            return (*status, Some(value));
        }
        if let Some(value) = by(For::Class(2)).or_else(|| by(For::Others)) {
            return (StatusCode::OK, Some(value));
        }
        if let Some((status, value)) = exact.first() {
            return (*status, Some(value));
        }
        let classes = [3, 4, 5, 1]
            .into_iter()
            .filter_map(|class| Some((class, by(For::Class(class))?)));
        let status = |class: u16| StatusCode::from_u16(class * 100).unwrap_or_default();
        let first = classes.map(|(class, value)| (status(class), Some(value))).next();
        first.unwrap_or((StatusCode::OK, None))
    }

    /// Whether the document has a response for this very status.
    pub(super) fn has(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(of, _)| *of == For::Status(status))
    }

    /// The response for a status, if there is one.
    pub(super) fn of(&self, status: StatusCode) -> Option<&Value> {
        let wanted = [For::Status(status), For::Class(status.as_u16() / 100), For::Others];
        wanted
            .iter()
            .find_map(|wanted| self.0.iter().find(|(of, _)| of == wanted))
            .map(|(_, value)| value)
    }

    /// As the document writes them.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |of: &For| match of {
            For::Status(status) => status.as_str().to_owned(),
            For::Class(class) => format!("{class}XX"),
            For::Others => "default".to_owned(),
        };
        self.0.iter().map(|(of, _)| name(of)).collect()
    }
}

/// All paths with their operations, the concrete ones first. What can be served, but not as its author may expect, is added
/// to `warnings`.
///
/// # Errors
/// What is wrong, each with its JSON pointer.
pub(super) fn read(schemas: &mut Schemas<'_>, warnings: &mut Vec<String>) -> Result<Vec<Path>, Vec<String>> {
    let document = schemas.document;
    let Some(paths) = document.paths() else {
        return Err(vec!["/paths is missing: there is nothing to serve".to_owned()]);
    };
    let mut mistakes = Vec::new();
    let mut read: Vec<Path> = Vec::new();
    let mut known = HashMap::new();
    let unreachable: Vec<_> = paths
        .keys()
        .filter(|name| name.contains('#'))
        .map(String::as_str)
        .collect();
    if !unreachable.is_empty() {
        warnings.push(format!(
            "no request can reach a path with a `#`: what follows is never sent ({})",
            some_of(&unreachable)
        ));
    }
    for (name, item) in paths {
        if name.starts_with("x-") || name.contains('#') {
            continue;
        }
        let at = format!("/paths/{}", escape(name));
        let template = match PathTemplate::read(name) {
            Ok(template) => template,
            Err(problem) => {
                mistakes.push(format!("{at}: {problem}"));
                continue;
            }
        };
        let Some(item) = document.resolve(item).as_object() else {
            mistakes.push(format!("{at} is not an object"));
            continue;
        };
        let mut operations = operations(schemas, item, &at, &mut mistakes);
        for operation in &mut operations {
            if let Some(first) = known.insert((template.shape(), operation.method.clone()), name) {
                warnings.push(format!(
                    "{at}: {} never gets here, since `{first}` matches the same requests",
                    operation.method
                ));
                known.insert((template.shape(), operation.method.clone()), first);
            }
            operation.parameters.retain(|parameter| {
                let there =
                    parameter.place != ParameterLocation::Path || template.names().any(|name| name == parameter.name);
                if !there {
                    warnings.push(format!(
                        "{at}: the path has no parameter `{}`: it is ignored",
                        parameter.name
                    ));
                }
                there
            });
        }
        read.push(Path { template, operations });
    }
    if !mistakes.is_empty() {
        mistakes.truncate(50);
        return Err(mistakes);
    }
    if read.iter().all(|path| path.operations.is_empty()) {
        return Err(vec!["/paths has no operation: there is nothing to serve".to_owned()]);
    }
    read.sort_by_cached_key(|path| path.template.rank());
    Ok(read)
}

/// Some of many names, in words.
fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn operations<'a>(
    schemas: &mut Schemas<'a>,
    item: &'a Map<String, Value>,
    at: &str,
    mistakes: &mut Vec<String>,
) -> Vec<Operation> {
    let document = schemas.document;
    let mut operations = Vec::new();
    for (key, method) in METHODS {
        let Some(operation) = item.get(*key) else { continue };
        let at = format!("{at}/{key}");
        if !operation.is_object() {
            mistakes.push(format!("{at} is not an object"));
            continue;
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        for (of, at) in [(Some(operation), at.clone()), (None, parent(&at))] {
            let list = of.map_or_else(|| item.get("parameters"), |operation| operation.get("parameters"));
            for (index, parameter) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
                let at = format!("{at}/parameters/{index}");
                match read_parameter(schemas, parameter, &at) {
                    Ok(parameter) if parameter.is_ignored() || parameters.iter().any(|one| one.same(&parameter)) => {}
                    Ok(parameter) => parameters.push(parameter),
                    Err(problem) => mistakes.push(format!("{at}: {problem}")),
                }
            }
        }
        operations.push(Operation {
            method: method.clone(),
            parameters,
            body: document
                .get(operation, "requestBody")
                .map(|body| read_body(schemas, body, &at)),
            security: Security::read(document, operation),
            responses: responses(document, operation, &at, mistakes),
        });
    }
    operations
}

fn parent(at: &str) -> String {
    at.rsplit_once('/').map_or(at, |(parent, _)| parent).to_owned()
}

fn read_parameter<'a>(schemas: &mut Schemas<'a>, parameter: &'a Value, at: &str) -> Result<Parameter, String> {
    let parameter = schemas.document.resolve(parameter);
    let text = |key| parameter.get(key).and_then(Value::as_str);
    let name = text("name").ok_or("`name` is missing")?;
    let place = match text("in") {
        Some("path") => ParameterLocation::Path,
        Some("query") => ParameterLocation::Query,
        Some("header") => ParameterLocation::Header,
        Some("cookie") => ParameterLocation::Cookie,
        Some(other) => return Err(format!("`in: {other}` is not path, query, header or cookie")),
        None => return Err("`in` is missing".to_owned()),
    };
    let in_query = matches!(place, ParameterLocation::Query | ParameterLocation::Cookie);
    let style = match text("style") {
        Some("simple") => ParameterStyle::Simple,
        Some("label") => ParameterStyle::Label,
        Some("matrix") => ParameterStyle::Matrix,
        Some("form") => ParameterStyle::Form,
        Some("spaceDelimited") => ParameterStyle::SpaceDelimited,
        Some("pipeDelimited") => ParameterStyle::PipeDelimited,
        Some("deepObject") => ParameterStyle::DeepObject,
        _ if in_query => ParameterStyle::Form,
        _ => ParameterStyle::Simple,
    };
    let is = |key| parameter.get(key).and_then(Value::as_bool);
    let content = parameter.get("content").and_then(Value::as_object);
    let media = content.and_then(|content| content.iter().next());
    let (described, at) = match media {
        Some((name, media)) => (media.get("schema"), format!("{at}/content/{}/schema", escape(name))),
        None => (parameter.get("schema"), format!("{at}/schema")),
    };
    Ok(Parameter {
        name: name.to_owned(),
        place,
        required: place == ParameterLocation::Path || is("required") == Some(true),
        schema: schemas.read(described.unwrap_or(&Value::Bool(true)), at),
        style,
        explode: is("explode").unwrap_or(matches!(style, ParameterStyle::Form | ParameterStyle::DeepObject)),
        allows_empty: is("allowEmptyValue") == Some(true),
        media_type: media.map(|(name, _)| essence(name)),
    })
}

fn read_body<'a>(schemas: &mut Schemas<'a>, body: &'a Value, at: &str) -> RequestBody {
    let document = schemas.document;
    let content = body.get("content").and_then(Value::as_object).into_iter().flatten();
    let content = content.map(|(name, media)| {
        let at = format!("{at}/requestBody/content/{}/schema", escape(name));
        let media = document.resolve(media);
        let schema = media.get("schema").map(|schema| schemas.read(schema, at));
        let encoding = media.get("encoding").and_then(Value::as_object);
        let encoding = encoding.cloned().unwrap_or_default();
        (name.clone(), MediaType { schema, encoding })
    });
    RequestBody {
        required: body.get("required") == Some(&Value::Bool(true)),
        content: content.collect(),
    }
}

impl Parameter {
    fn same(&self, other: &Self) -> bool {
        self.name == other.name && self.place == other.place
    }

    /// OpenAPI: such header parameters shall be ignored. `security` and the media types say what they would.
    fn is_ignored(&self) -> bool {
        let ignored = ["accept", "authorization", "content-type"];
        self.place == ParameterLocation::Header && ignored.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

fn responses(document: &Document, operation: &Value, at: &str, mistakes: &mut Vec<String>) -> Responses {
    let mut read = Vec::new();
    let Some(responses) = operation.get("responses") else {
        return Responses::default();
    };
    let Some(responses) = responses.as_object() else {
        mistakes.push(format!("{at}/responses is not an object"));
        return Responses::default();
    };
    for (key, response) in responses.iter().filter(|(key, _)| !key.starts_with("x-")) {
        let of = match key.as_str() {
            "default" => Some(For::Others),
            _ => match key.to_ascii_uppercase().strip_suffix("XX") {
                Some(class) => class
                    .parse()
                    .ok()
                    .filter(|class| (1..=5).contains(class))
                    .map(For::Class),
                None => StatusCode::from_bytes(key.as_bytes()).ok().map(For::Status),
            },
        };
        let resolved = document.resolve(response);
        match of.filter(|of| !matches!(of, For::Status(status) if status.as_u16() > 599)) {
            Some(_) if !resolved.is_object() => mistakes.push(format!("{at}/responses/{key} is not an object")),
            Some(of) => read.push((of, resolved.clone())),
            None => mistakes.push(format!(
                "{at}/responses/{key} is not valid: use a status, a class such as 2XX, or `default`"
            )),
        }
    }
    Responses(read)
}
