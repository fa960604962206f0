//! Templates: compiled when the configuration is loaded, rendered for each request.
//!
//! They come from the configuration, but what they do can depend on the request. So what all templates of one response may do
//! together is bounded: by [`FUEL`], which pays for instructions and for the memory of values, and by [`MAX_OUTPUT`]. There are
//! no macros, includes or inheritance; `range` stops at 100,000.
//!
//! A response whose templates may take long, since they have loops, is made off the threads that carry traffic. A template that
//! can nest values as deeply as its fuel lasts is rendered on a stack of its own, since dropping such a value recurses.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Captured, Environment, Error, ErrorKind, UndefinedBehavior, Value, escape_formatter};
use serde::Serialize as _;

use super::facts::{Facts, Luck, OF_REQUEST, Root, VARIABLES};
use super::functions;
use super::tree::Node;
use crate::yaml::report::{Diagnostic, Span, did_you_mean};

/// The most that a template may give, in bytes.
const MAX_OUTPUT: usize = 16 << 20;

/// What the templates of one response may use: one for each instruction, and one for every 64 bytes of the values that they
/// make. That takes some tens of milliseconds, and 32 MiB.
const FUEL: u64 = 500_000;

/// What a template of a fault may use: a millisecond or so, since it is rendered on a thread that carries traffic.
const FAULT_FUEL: u64 = 20_000;

/// The deepest nesting of a value in a response, which is also the deepest that is read from a request.
const MAX_DEPTH: usize = 128;

/// The stack for values that are nested as deeply as [`FUEL`] allows, which is 300,000 levels of some 400 bytes each.
const STACK: usize = 192 << 20;

/// A text with more assignments than this can nest a value too deeply for an ordinary stack.
const MANY_ASSIGNMENTS: usize = 500;

/// How much of a template, and of each value that it uses, a failure shows, in characters.
const SHOWN: usize = 120;

/// The variable that an expression's value is kept in.
const KEPT: &str = "__value";

/// A compiled template; a text without one is kept as it is.
#[derive(Debug, Clone)]
pub(super) enum Template {
    /// The text.
    Fixed(Arc<str>),
    /// A template of the environment.
    Named(NamedTemplate),
}

/// A template of the environment.
#[derive(Debug, Clone)]
pub(super) struct NamedTemplate {
    name: Arc<str>,
    /// As it was written.
    written: Arc<str>,
    /// Whether it can nest a value too deeply for an ordinary stack.
    nests: bool,
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
    long: bool,
    /// Whether the templates are those of a fault, which has neither routes nor states.
    of_fault: bool,
    /// Whether the state is not known yet.
    stateless: bool,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(mistakes: &'a mut Vec<Diagnostic>) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Chainable);
        env.set_fuel(Some(FUEL));
        // The defaults' delimiters: this can only succeed.
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            env.set_syntax(syntax);
        }
        env.set_formatter(|out, state, value| {
            if value.is_none() {
                out.write_str("null").map_err(Error::from)
            } else if value.as_object().is_some() {
                // The same list may be in a value many times, so its text can be far longer than what was paid for it.
                let mut text = Limited::new(MAX_OUTPUT);
                write!(text, "{value}").map_err(|error| Error::new(ErrorKind::WriteFailure, error.to_string()))?;
                escape_formatter(out, state, &Value::from(text.into_text()?))
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
            long: false,
            of_fault: false,
            stateless: false,
        }
    }

    /// Compiles the templates of a response that a fault injects.
    pub(super) fn of_fault(mistakes: &'a mut Vec<Diagnostic>) -> Self {
        let mut compiler = Self::new(mistakes);
        compiler.env.set_fuel(Some(FAULT_FUEL));
        compiler.of_fault = true;
        compiler
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

    /// Notes that what is compiled may take long.
    pub(super) fn note_long(&mut self) {
        self.long = true;
    }

    /// Whether a template since the last call may take long.
    pub(super) fn take_long(&mut self) -> bool {
        std::mem::take(&mut self.long)
    }

    /// Compiles with these variables besides the usual ones.
    pub(super) fn with<T>(&mut self, extra: &'static [&'static str], compile: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.extra, extra);
        let result = compile(self);
        self.extra = before;
        result
    }

    /// Compiles what is rendered before the state is known.
    pub(super) fn without_state<T>(&mut self, compile: impl FnOnce(&mut Self) -> T) -> T {
        self.stateless = true;
        let result = compile(self);
        self.stateless = false;
        result
    }

    /// Notes a key of a map that looks like a template.
    pub(super) fn check_key(&mut self, key: &str, span: Span) {
        if key.contains("{{") || key.contains("{%") {
            let mistake = Diagnostic::error(span, format!("`{key}` is a key, and keys can't be templates"));
            let help = "make the whole map one expression: `\"{{ {'a': 1} }}\"`, or use `body`";
            self.mistakes.push(mistake.help(help));
        }
    }

    /// The environment with all that was compiled.
    pub(super) fn finish(self) -> Environment<'static> {
        self.env
    }

    /// Compiles a text.
    pub(super) fn text(&mut self, text: &str, span: Span) -> Template {
        if is_template(text) {
            self.add(text.to_owned(), text, span)
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
                Node::Expression(self.add(source, text, span))
            }
            None => Node::Text(self.add(text.to_owned(), text, span)),
        }
    }

    /// What stands between the braces, if the text is one pair of them around one expression.
    fn single_expression<'t>(&self, text: &'t str) -> Option<&'t str> {
        let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        let inner = inner.trim_matches(['-', '+']).trim();
        self.env.compile_expression_owned(inner.to_owned()).ok()?;
        Some(inner)
    }

    fn add(&mut self, source: String, written: &str, span: Span) -> Template {
        let name: Arc<str> = format!("t{}", self.compiled).into();
        self.compiled += 1;
        let lines = source.lines().count();
        // What only looks like one of these costs some microseconds.
        self.long |= ["for", "range", "*"].iter().any(|part| source.contains(part));
        let nests = source.contains("namespace") || source.matches("set").count() > MANY_ASSIGNMENTS;
        let template = Template::Named(NamedTemplate {
            name: Arc::clone(&name),
            written: written.into(),
            nests,
        });
        let filters = filters(&source);
        let uncalled = self.functions.iter().filter(|name| !is_called(&source, name));
        let uncalled: Vec<_> = uncalled.cloned().collect();
        if let Err(error) = self.env.add_template_owned(name.to_string(), source) {
            let message = format!("the template is not valid: {}", describe(&error, lines));
            self.mistakes.push(Diagnostic::error(span, message));
            return template;
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
        template
    }

    fn check_names(&mut self, used: &[String], span: Span) {
        for name in used {
            let (first, second) = match name.split_once('.') {
                Some((first, rest)) => (first, rest.split('.').next()),
                None => (name.as_str(), None),
            };
            self.uses_body |= matches!(first, "body" | "json" | "form");
            if first == "request" {
                self.check_request(second, span);
            } else if self.of_fault && matches!(first, "path" | "state") {
                let message = format!("`{first}` is for the routes of fakes: a fault has `request.path`");
                self.mistakes.push(Diagnostic::error(span, message));
            } else if self.of_fault && first == "counter" {
                let message = "`counter` is for the routes of fakes: a fault has `request_number`";
                self.mistakes.push(Diagnostic::error(span, message));
            } else if self.stateless && first == "state" {
                let message = "`state` is not known yet where `key` and `becomes` are made: name the states with `is`";
                self.mistakes.push(Diagnostic::error(span, message));
            } else if first == "path" {
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

    fn check_request(&mut self, name: Option<&str>, span: Span) {
        // Alone, it can be asked for anything.
        self.uses_body |= name.is_none_or(|name| matches!(name, "body" | "json" | "form"));
        let Some(name) = name.filter(|name| !OF_REQUEST.contains(name)) else {
            return;
        };
        let mistake = Diagnostic::error(span, format!("`request` has no `{name}`"));
        self.mistakes
            .push(match did_you_mean(name, OF_REQUEST.iter().copied()) {
                Some(near) => mistake.help(format!("did you mean `request.{near}`?")),
                None => mistake.help(format!("it has {}", OF_REQUEST.join(", "))),
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

/// Whether a text has anything of a template in it.
pub(super) fn is_template(text: &str) -> bool {
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
        (ErrorKind::OutOfFuel, _) => "the templates of the response take too much time or memory".to_owned(),
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
    spent: Arc<Spent>,
}

/// What the templates of one response have used.
#[derive(Debug, Default)]
struct Spent {
    fuel: AtomicU64,
    bytes: AtomicUsize,
}

impl<'a> Scope<'a> {
    /// `extra` are variables besides those of every request.
    pub(super) fn new(
        env: &'a Environment<'static>,
        facts: &Arc<Facts>,
        luck: &Arc<Luck>,
        extra: Vec<(&'static str, Value)>,
    ) -> Self {
        Self::spending(env, facts, luck, extra, &Arc::default())
    }

    fn spending(
        env: &'a Environment<'static>,
        facts: &Arc<Facts>,
        luck: &Arc<Luck>,
        extra: Vec<(&'static str, Value)>,
        spent: &Arc<Spent>,
    ) -> Self {
        let root = Root {
            facts: Arc::clone(facts),
            luck: Arc::clone(luck),
            extra,
        };
        Self {
            env,
            root: Arc::new(root),
            spent: Arc::clone(spent),
        }
    }

    /// Makes a scope with other extra variables.
    pub(super) fn with(&self, extra: Vec<(&'static str, Value)>) -> Self {
        Self::spending(self.env, &self.root.facts, &self.root.luck, extra, &self.spent)
    }

    /// Makes a scope with other extra variables, and random data of its own.
    pub(super) fn with_luck(&self, luck: Luck, extra: Vec<(&'static str, Value)>) -> Self {
        Self::spending(self.env, &self.root.facts, &Arc::new(luck), extra, &self.spent)
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
        let source = match template {
            Template::Fixed(text) => return Ok(text.to_string()),
            Template::Named(source) => source,
        };
        self.on_a_stack(source, || {
            let mut out = Limited::new(MAX_OUTPUT.saturating_sub(self.spent.bytes.load(Ordering::Relaxed)));
            self.render(source, &mut out)?;
            self.spent.bytes.fetch_add(out.bytes.len(), Ordering::Relaxed);
            out.into_text()
        })
    }

    /// The value of an expression.
    pub(super) fn value(&self, template: &Template) -> Result<serde_json::Value, Failure> {
        let Template::Named(source) = template else {
            return self.text(template).map(Into::into);
        };
        self.on_a_stack(source, || {
            let captured = self.render(source, io::sink())?;
            let value = captured.state().lookup(KEPT).unwrap_or_default();
            if value.is_undefined() {
                return Ok(serde_json::Value::Null);
            }
            self.json(&value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
        })
    }

    /// A value as JSON. It is written once to nowhere, to see that it is neither too large nor nested too deeply.
    fn json(&self, value: &Value) -> serde_json::Result<serde_json::Value> {
        if value.as_object().is_some() || value.as_str().is_some() {
            let left = MAX_OUTPUT.saturating_sub(self.spent.bytes.load(Ordering::Relaxed));
            let mut measured = Measured { left };
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut measured, Depth(0)))?;
            self.spent.bytes.fetch_add(left - measured.left, Ordering::Relaxed);
        }
        serde_json::to_value(value)
    }

    /// Renders a template, and counts the fuel.
    fn render(&self, source: &NamedTemplate, out: impl io::Write) -> Result<Captured<'_>, Error> {
        if self.spent.fuel.load(Ordering::Relaxed) >= FUEL {
            return Err(ErrorKind::OutOfFuel.into());
        }
        let template = self.env.get_template(&source.name)?;
        let captured = template.render_captured_to(self.variables(), out)?;
        let (used, _left) = captured.state().fuel_levels().unwrap_or_default();
        self.spent.fuel.fetch_add(used, Ordering::Relaxed);
        Ok(captured)
    }

    fn on_a_stack<T>(&self, source: &NamedTemplate, render: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
        let rendered = if source.nests {
            stacker::grow(STACK, render)
        } else {
            render()
        };
        rendered.map_err(|error| {
            let Failure(cause) = Failure::of(&error);
            let mut written: String = source.written.trim().chars().take(SHOWN).collect();
            if written.len() < source.written.trim().len() {
                written.push('…');
            }
            let used = self.used(source).map(|used| format!(" with {used}"));
            Failure(format!("{cause}, in `{written}`{}", used.unwrap_or_default()))
        })
    }

    /// The values of path and query that a template names: `path.id = "abc"`.
    fn used(&self, source: &NamedTemplate) -> Option<String> {
        let template = self.env.get_template(&source.name).ok()?;
        let mut names: Vec<_> = template.undeclared_variables(true).into_iter().collect();
        names.sort();
        let values = names.iter().filter_map(|name| {
            let first = name.split('.').next()?;
            // Others may hold secrets, and failures are logged.
            if !matches!(first, "path" | "query") {
                return None;
            }
            let value = name
                .split('.')
                .try_fold(self.variables(), |value, name| value.get_attr(name).ok())?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), |text| format!("{text:?}"));
            let text = if value.is_undefined() {
                "nothing".to_owned()
            } else {
                text
            };
            let shown: String = text.chars().take(SHOWN).collect();
            Some(format!("{name} = {shown}"))
        });
        let values: Vec<_> = values.take(4).collect();
        (!values.is_empty()).then(|| values.join(", "))
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

/// A buffer that refuses to grow beyond a limit.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl Limited {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }

    fn into_text(self) -> Result<String, Error> {
        String::from_utf8(self.bytes).map_err(|error| Error::new(ErrorKind::WriteFailure, error.to_string()))
    }
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(too_large());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts what is written, and refuses more than is left.
struct Measured {
    left: usize,
}

impl io::Write for Measured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(too_large)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large() -> io::Error {
    io::Error::other("the output of the templates is larger than 16 MiB")
}

/// Writes compact JSON, and refuses a value that is nested too deeply.
struct Depth(usize);

impl Depth {
    fn enter(&mut self) -> io::Result<()> {
        self.0 += 1;
        if self.0 > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "the value is nested more than {MAX_DEPTH} deep"
            )));
        }
        Ok(())
    }
}

impl serde_json::ser::Formatter for Depth {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0 -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0 -= 1;
        writer.write_all(b"}")
    }
}

#[cfg(test)]
mod tests;
