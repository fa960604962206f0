//! Bodies that come in pieces with a schedule: server-sent events and chunks.
//!
//! Times are counted from the start of the response, so that they do not drift. A piece is made when it is due. When
//! the client leaves, nothing more is made.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use minijinja::Environment;
use serde_json::Value;
use tokio::time::Instant;

use super::super::noted;
use super::facts::{Facts, Luck};
use super::page::limited;
use super::spec::{ChunkSpec, EventSpec};
use super::template::{Compiler, Failure, Scope, Template};
use super::tree::Node;
use crate::limits::aside;
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span};
use crate::yaml::units::Time;

/// The most repetitions of a piece.
const MAX_REPEAT: u64 = 10_000_000;

/// The most entries of a script.
const MAX_ENTRIES: usize = 10_000;

/// A compiled script.
#[derive(Debug)]
pub(super) struct Script {
    entries: Vec<StreamEntry>,
    /// The content type that goes with it.
    pub(super) kind: &'static str,
}

#[derive(Debug)]
struct StreamEntry {
    piece: Piece,
    /// Whether one of its templates may be long.
    long: bool,
    after: Duration,
    every: Duration,
    repeat: u64,
}

#[derive(Debug)]
enum Piece {
    Event(Box<Event>),
    Text(Template),
    Line(Node),
    Bytes(Bytes),
}

#[derive(Debug)]
struct Event {
    comment: Option<Template>,
    id: Option<Template>,
    event: Option<Template>,
    retry: Option<u128>,
    data: Option<Node>,
}

impl Script {
    /// Compiles events.
    pub(super) fn events(specs: &Spanned<Vec<Spanned<EventSpec>>>, compiler: &mut Compiler<'_>) -> Self {
        check_length(specs.value.len(), specs.span, "events", compiler);
        let entries = specs.value.iter().map(|spec| {
            let given = &spec.value;
            let mut text = |text: &Option<Spanned<String>>| {
                let text = text.as_ref()?;
                Some(compiler.with(&["n"], |compiler| compiler.text(&text.value, text.span)))
            };
            let event = Event {
                comment: text(&given.comment),
                id: text(&given.id),
                event: text(&given.event),
                retry: given.retry.as_ref().map(|retry| retry.value.get().as_millis()),
                data: given
                    .data
                    .as_ref()
                    .map(|data| compiler.with(&["n"], |compiler| Node::compile(&data.value, data.span, compiler))),
            };
            if event.is_empty() {
                let mistake = Diagnostic::error(spec.span, "the event's content is missing");
                compiler
                    .mistakes
                    .push(mistake.help("give `data`, `event`, `id`, `retry` or `comment`"));
            }
            let timing = (given.after.as_ref(), given.repeat.as_ref(), given.every.as_ref());
            StreamEntry::new(Piece::Event(Box::new(event)), timing, compiler)
        });
        Self {
            entries: entries.collect(),
            kind: "text/event-stream",
        }
    }

    /// Compiles chunks.
    pub(super) fn chunks(specs: &Spanned<Vec<Spanned<ChunkSpec>>>, compiler: &mut Compiler<'_>) -> Self {
        check_length(specs.value.len(), specs.span, "chunks", compiler);
        let entries: Vec<_> = specs.value.iter().filter_map(|spec| chunk(spec, compiler)).collect();
        let all = |is: fn(&Piece) -> bool| entries.iter().all(|entry| is(&entry.piece));
        let kind = match () {
            () if all(|piece| matches!(piece, Piece::Line(_))) => "application/x-ndjson",
            () if all(|piece| matches!(piece, Piece::Text(_) | Piece::Line(_))) => "text/plain; charset=utf-8",
            () => "application/octet-stream",
        };
        Self { entries, kind }
    }

    /// The body of one response.
    pub(super) fn body(
        self: &Arc<Self>,
        env: &Arc<Environment<'static>>,
        facts: &Arc<Facts>,
        luck: &Arc<Luck>,
    ) -> Body {
        let run = Run {
            script: Arc::clone(self),
            env: Arc::clone(env),
            facts: Arc::clone(facts),
            luck: Arc::clone(luck),
            entry: 0,
            n: 0,
            due: Instant::now(),
            failed: false,
        };
        Body::from_stream(futures_util::stream::unfold(run, Run::piece))
    }
}

impl Piece {
    fn make(&self, scope: &Scope<'_>) -> Result<Bytes, Failure> {
        match self {
            Piece::Event(event) => event.write(scope).map(Bytes::from),
            Piece::Text(template) => scope.text(template).map(Bytes::from),
            Piece::Line(node) => node.value(scope).map(|value| Bytes::from(format!("{value}\n"))),
            Piece::Bytes(bytes) => Ok(bytes.clone()),
        }
    }
}

impl Event {
    fn is_empty(&self) -> bool {
        self.comment.is_none()
            && self.id.is_none()
            && self.event.is_none()
            && self.retry.is_none()
            && self.data.is_none()
    }

    /// The event as it is sent (WHATWG HTML, "Server-sent events").
    fn write(&self, scope: &Scope<'_>) -> Result<String, Failure> {
        let mut written = String::new();
        let mut field = |name: &str, text: &str| {
            for line in text.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
                written.push_str(&format!("{name}: {line}\n"));
            }
        };
        // A line break in one of these would begin another field.
        let one_line = |text: String| text.replace(['\r', '\n'], " ");
        if let Some(comment) = &self.comment {
            field("", &scope.text(comment)?);
        }
        if let Some(event) = &self.event {
            field("event", &one_line(scope.text(event)?));
        }
        if let Some(id) = &self.id {
            field("id", &one_line(scope.text(id)?));
        }
        if let Some(retry) = self.retry {
            field("retry", &retry.to_string());
        }
        if let Some(data) = &self.data {
            match data.value(scope)? {
                Value::String(text) => field("data", &text),
                json => field("data", &json.to_string()),
            }
        }
        written.push('\n');
        Ok(written)
    }
}

type Timing<'a> = (
    Option<&'a Spanned<Time>>,
    Option<&'a Spanned<u64>>,
    Option<&'a Spanned<Time>>,
);

impl StreamEntry {
    fn new(piece: Piece, (after, repeat, every): Timing<'_>, compiler: &mut Compiler<'_>) -> Self {
        if let (Some(every), None) = (every, repeat) {
            let mistake = Diagnostic::error(every.span, "`every` needs `repeat`");
            compiler
                .mistakes
                .push(mistake.help("for a pause before it, use `after`"));
        }
        let after = after.map_or(Duration::ZERO, |time| time.value.get());
        let long = compiler.take_long();
        Self {
            piece,
            long,
            after,
            every: every.map_or(after, |time| time.value.get()),
            repeat: limited(repeat, 1..=MAX_REPEAT, "the number of repetitions", compiler).unwrap_or(1),
        }
    }
}

fn chunk(spec: &Spanned<ChunkSpec>, compiler: &mut Compiler<'_>) -> Option<StreamEntry> {
    let given = &spec.value;
    let piece = match (&given.text, &given.json, &given.base64) {
        (Some(text), None, None) => {
            Piece::Text(compiler.with(&["n"], |compiler| compiler.text(&text.value, text.span)))
        }
        (None, Some(json), None) => {
            Piece::Line(compiler.with(&["n"], |compiler| Node::compile(&json.value, json.span, compiler)))
        }
        (None, None, Some(text)) => Piece::Bytes(bytes(text, compiler)?),
        (text, json, base64) => {
            let message = match (text, json, base64) {
                (None, None, None) => "the chunk's content is missing",
                _ => "the chunk has more than one content",
            };
            let mistake = Diagnostic::error(spec.span, message);
            compiler
                .mistakes
                .push(mistake.help("give one of `text`, `json` and `base64`"));
            return None;
        }
    };
    let timing = (given.after.as_ref(), given.repeat.as_ref(), given.every.as_ref());
    Some(StreamEntry::new(piece, timing, compiler))
}

/// Bytes that are written in base64.
pub(super) fn bytes(text: &Spanned<String>, compiler: &mut Compiler<'_>) -> Option<Bytes> {
    let packed: String = text.value.split_whitespace().collect();
    let decoded = STANDARD.decode(packed);
    let decoded = decoded.map_err(|error| format!("this is not valid base64: {error}"));
    noted(decoded, text.span, compiler.mistakes).map(Bytes::from)
}

fn check_length(length: usize, span: Span, what: &str, compiler: &mut Compiler<'_>) {
    if length == 0 {
        compiler
            .mistakes
            .push(Diagnostic::error(span, format!("there are no {what}")));
    } else if length > MAX_ENTRIES {
        let message = format!("{length} {what} are given: at most {MAX_ENTRIES} are allowed");
        compiler
            .mistakes
            .push(Diagnostic::error(span, message).help("use `repeat` for identical ones"));
    }
}

/// A script that is being played.
struct Run {
    script: Arc<Script>,
    env: Arc<Environment<'static>>,
    facts: Arc<Facts>,
    luck: Arc<Luck>,
    entry: usize,
    n: u64,
    due: Instant,
    failed: bool,
}

impl Run {
    /// The next piece, when it is due, and what comes after it.
    async fn piece(mut self) -> Option<(Result<Bytes, io::Error>, Self)> {
        if self.failed {
            return None;
        }
        let script = Arc::clone(&self.script);
        let entry = script.entries.get(self.entry)?;
        let pause = if self.n == 0 { entry.after } else { entry.every };
        if let Some(due) = self.due.checked_add(pause).filter(|_| !pause.is_zero()) {
            self.due = due;
            tokio::time::sleep_until(due).await;
        }
        let made = if entry.long {
            let (script, env) = (Arc::clone(&script), Arc::clone(&self.env));
            let (facts, luck, n, entry) = (Arc::clone(&self.facts), Arc::clone(&self.luck), self.n, self.entry);
            let make = move || {
                let scope = Scope::new(&env, &facts, &luck, vec![("n", n.into())]);
                script.entries.get(entry).map(|entry| entry.piece.make(&scope))
            };
            let made = aside::run(make).await.ok().flatten();
            made.unwrap_or_else(|| Err(Failure("the piece could not be made".into())))
        } else {
            let scope = Scope::new(&self.env, &self.facts, &self.luck, vec![("n", self.n.into())]);
            entry.piece.make(&scope)
        };
        self.n += 1;
        if self.n == entry.repeat {
            self.n = 0;
            self.entry += 1;
        }
        let made = made.map_err(|failure| {
            tracing::warn!(url = %self.facts.url, cause = %failure.0, "a declared stream ended early");
            self.failed = true;
            io::Error::other(failure.0)
        });
        Some((made, self))
    }
}
