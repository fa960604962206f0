//! Templates: compiled when the configuration is loaded, rendered for each request.
//!
//! They come from the configuration, never from traffic. What one gives is at most 16 MiB; there are no macros, includes or
//! inheritance, so nothing recurses; `range` stops at 100,000.

use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, escape_formatter};

use super::facts::{Facts, Luck, Root, VARIABLES};
use super::functions;
use super::tree::Node;
use crate::yaml::report::{Diagnostic, Span, did_you_mean};

/// The most that a template may give, in bytes.
const MAX_OUTPUT: usize = 16 << 20;

/// The variable that an expression's value is kept in.
const KEPT: &str = "__value";

/// A compiled template; a text without one is kept as it is.
#[derive(Debug, Clone)]
pub(super) enum Template {
    /// The text.
    Fixed(Arc<str>),
    /// The name of a template of the environment.
    Named(Arc<str>),
}

/// Why a template could not be rendered.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

/// Compiles the templates of one fake, and collects what is wrong with them.
pub(super) struct Compiler<'a> {
    /// All that is wrong so far.
    pub(super) mistakes: &'a mut Vec<Diagnostic>,
    env: Environment<'static>,
    /// The names of the functions besides those of Jinja, in alphabetical order.
    functions: Vec<String>,
    compiled: usize,
    /// The parameters of the path of the route at hand.
    parameters: Vec<String>,
    /// The variables that only this place has.
    extra: &'static [&'static str],
    uses_body: bool,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(mistakes: &'a mut Vec<Diagnostic>) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Chainable);
        // The defaults' delimiters: this can only succeed.
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            env.set_syntax(syntax);
        }
        env.set_formatter(|out, state, value| {
            if value.is_none() {
                out.write_str("null").map_err(Error::from)
            } else {
                escape_formatter(out, state, value)
            }
        });
        let builtin = global_names(&env);
        functions::add(&mut env);
        let mut functions = global_names(&env);
        functions.retain(|name| !builtin.contains(name));
        Self {
            mistakes,
            env,
            functions,
            compiled: 0,
            parameters: Vec::new(),
            extra: &[],
            uses_body: false,
        }
    }

    /// Begins a route with these parameters in its path.
    pub(super) fn begin(&mut self, parameters: Vec<String>) {
        self.parameters = parameters;
        self.uses_body = false;
    }

    /// Whether a template since [`Self::begin`] looks at the request's body.
    pub(super) fn uses_body(&self) -> bool {
        self.uses_body
    }

    /// Compiles with these variables besides the usual ones.
    pub(super) fn with<T>(&mut self, extra: &'static [&'static str], compile: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.extra, extra);
        let result = compile(self);
        self.extra = before;
        result
    }

    /// The environment with all that was compiled.
    pub(super) fn finish(self) -> Environment<'static> {
        self.env
    }

    /// Compiles a text.
    pub(super) fn text(&mut self, text: &str, span: Span) -> Template {
        if is_template(text) {
            self.add(text.to_owned(), span)
        } else {
            Template::Fixed(text.into())
        }
    }

    /// Compiles a text that stands for a value: a single expression keeps its type.
    pub(super) fn value(&mut self, text: &str, span: Span) -> Node {
        if !is_template(text) {
            return Node::Fixed(text.into());
        }
        match self.single_expression(text) {
            Some(expression) => {
                let source = format!("{{% set {KEPT} = ({expression}) %}}");
                Node::Expression(self.add(source, span))
            }
            None => Node::Text(self.add(text.to_owned(), span)),
        }
    }

    /// What stands between the braces, if the text is one pair of them around one expression.
    fn single_expression<'t>(&self, text: &'t str) -> Option<&'t str> {
        let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        let inner = inner.trim_matches(['-', '+']).trim();
        self.env.compile_expression_owned(inner.to_owned()).ok()?;
        Some(inner)
    }

    fn add(&mut self, source: String, span: Span) -> Template {
        let name: Arc<str> = format!("t{}", self.compiled).into();
        self.compiled += 1;
        let lines = source.lines().count();
        let filters = filters(&source);
        let uncalled = self.functions.iter().filter(|name| !is_called(&source, name));
        let uncalled: Vec<_> = uncalled.cloned().collect();
        if let Err(error) = self.env.add_template_owned(name.to_string(), source) {
            let message = format!("the template is not valid: {}", describe(&error, lines));
            self.mistakes.push(Diagnostic::error(span, message));
            return Template::Named(name);
        }
        if let Ok(template) = self.env.get_template(&name) {
            let mut used: Vec<_> = template.undeclared_variables(true).into_iter().collect();
            used.sort();
            self.check_names(&used, span);
            for name in uncalled.into_iter().filter(|name| used.contains(name)) {
                let message = format!("`{name}` is a function: use `{name}()`");
                self.mistakes.push(Diagnostic::error(span, message));
            }
        }
        self.check_filters(&filters, span);
        Template::Named(name)
    }

    fn check_names(&mut self, used: &[String], span: Span) {
        for name in used {
            let (first, second) = match name.split_once('.') {
                Some((first, rest)) => (first, rest.split('.').next()),
                None => (name.as_str(), None),
            };
            self.uses_body |= matches!(first, "body" | "json" | "form");
            if first == "path" {
                self.check_parameter(second, span);
            } else if !VARIABLES.contains(&first) && !self.extra.contains(&first) && !self.is_global(first) {
                self.unknown_name(first, span);
            }
        }
    }

    fn is_global(&self, name: &str) -> bool {
        self.env.globals().any(|(global, _)| global == name)
    }

    fn check_parameter(&mut self, name: Option<&str>, span: Span) {
        let Some(name) = name.filter(|name| !self.parameters.iter().any(|known| known == name)) else {
            return;
        };
        let mistake = Diagnostic::error(span, format!("the path has no `{{{name}}}`"));
        let known: Vec<_> = self.parameters.iter().map(|name| format!("`{name}`")).collect();
        self.mistakes.push(if known.is_empty() {
            mistake.help("it has no parameters")
        } else {
            mistake.help(format!("it has {}", known.join(", ")))
        });
    }

    fn unknown_name(&mut self, name: &str, span: Span) {
        let mut known: Vec<&str> = VARIABLES.iter().chain(self.extra).copied().collect();
        let functions = self.functions.iter().map(String::as_str);
        let near = did_you_mean(name, known.iter().copied().chain(functions)).map(str::to_owned);
        known.sort_unstable();
        let mistake = Diagnostic::error(span, format!("unknown variable `{name}`"));
        self.mistakes.push(match near {
            Some(near) => mistake.help(format!("did you mean `{near}`?")),
            None => mistake
                .help(format!("variables: {}", known.join(", ")))
                .help(format!("functions: {}", self.functions.join(", "))),
        });
    }

    /// An unknown filter would only be noticed when the template is rendered.
    fn check_filters(&mut self, filters: &[String], span: Span) {
        for filter in filters {
            let tried = self.env.empty_state().apply_filter(filter, &[Value::UNDEFINED]);
            if tried.is_err_and(|error| error.kind() == ErrorKind::UnknownFilter) {
                let message = format!("unknown filter `{filter}`");
                self.mistakes.push(Diagnostic::error(span, message));
            }
        }
    }
}

fn global_names(env: &Environment<'_>) -> Vec<String> {
    env.globals().map(|(name, _)| name.to_owned()).collect()
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Whether a name stands before a `(` anywhere.
fn is_called(source: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(name).any(|(at, _)| {
        let (before, rest) = source.split_at_checked(at).unwrap_or(("", source));
        let after = rest.strip_prefix(name).unwrap_or_default();
        !before.ends_with(is_part) && after.trim_start().starts_with('(')
    })
}

/// The names that follow a `|` within delimiters and outside of quotes.
fn filters(source: &str) -> Vec<String> {
    let (mut found, mut inside, mut quote) = (Vec::new(), false, None);
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(rest.next()),
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '{') if matches!(rest.peek(), Some('{' | '%')) => inside = true,
            (None, '}') if matches!(rest.peek(), Some('}')) => inside = false,
            (None, '%') if matches!(rest.peek(), Some('}')) => inside = false,
            (None, '"' | '\'') if inside => quote = Some(c),
            (None, '|') if inside => {
                while rest.next_if(|c| c.is_whitespace()).is_some() {}
                let name: String = std::iter::from_fn(|| rest.next_if(|c| c.is_alphanumeric() || *c == '_')).collect();
                if !name.is_empty() {
                    found.push(name);
                }
            }
            _ => {}
        }
    }
    found
}

fn describe(error: &Error, lines: usize) -> String {
    let what = match (error.kind(), error.detail()) {
        (ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    match error.line() {
        Some(line) if lines > 1 => format!("{what} (line {line} of the template)"),
        _ => what,
    }
}

/// What templates are rendered with: those of the fake, and the variables of one request.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    env: &'a Environment<'static>,
    root: Arc<Root>,
}

impl<'a> Scope<'a> {
    /// `extra` are variables besides those of every request.
    pub(super) fn new(
        env: &'a Environment<'static>,
        facts: &Arc<Facts>,
        luck: &Arc<Luck>,
        extra: Vec<(&'static str, Value)>,
    ) -> Self {
        let root = Root {
            facts: Arc::clone(facts),
            luck: Arc::clone(luck),
            extra,
        };
        Self {
            env,
            root: Arc::new(root),
        }
    }

    /// Makes a scope with other extra variables.
    pub(super) fn with(&self, extra: Vec<(&'static str, Value)>) -> Self {
        Self::new(self.env, &self.root.facts, &self.root.luck, extra)
    }

    /// Makes a scope with other extra variables, and random data of its own.
    pub(super) fn with_luck(&self, luck: Luck, extra: Vec<(&'static str, Value)>) -> Self {
        Self::new(self.env, &self.root.facts, &Arc::new(luck), extra)
    }

    fn variables(&self) -> Value {
        Value::from_dyn_object(Arc::clone(&self.root))
    }

    /// What the request is like.
    pub(super) fn facts(&self) -> &Facts {
        &self.root.facts
    }

    /// Renders a template to text.
    pub(super) fn text(&self, template: &Template) -> Result<String, Failure> {
        let name = match template {
            Template::Fixed(text) => return Ok(text.to_string()),
            Template::Named(name) => name,
        };
        let mut out = Limited(Vec::new());
        let rendered = self
            .env
            .get_template(name)
            .and_then(|template| template.render_captured_to(self.variables(), &mut out).map(drop));
        rendered.map_err(|error| Failure::of(&error))?;
        String::from_utf8(out.0).map_err(|error| Failure(error.to_string()))
    }

    /// The value of an expression.
    pub(super) fn value(&self, template: &Template) -> Result<serde_json::Value, Failure> {
        let Template::Named(name) = template else {
            return self.text(template).map(Into::into);
        };
        let captured = self
            .env
            .get_template(name)
            .and_then(|template| template.render_captured_to(self.variables(), io::sink()))
            .map_err(|error| Failure::of(&error))?;
        let value = captured.state().lookup(KEPT).unwrap_or_default();
        if value.is_undefined() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::to_value(&value).map_err(|error| Failure(error.to_string()))
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        let mut message = describe(error, 1);
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self(message)
    }
}

/// A buffer that takes [`MAX_OUTPUT`] bytes and then refuses.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other("the template's output is larger than 16 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
