//! The log as people read it on a terminal: a short line for each request or connection, aligned and coloured.

use std::fmt;

use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::explain::text::clean;
use crate::proxy::exchange::log::TARGET;

/// Columns of a method and of a path; longer ones push the rest to the right.
const METHOD: usize = 6;
const PATH: usize = 32;

/// Formats lines for a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    pub(super) coloured: bool,
}

/// The fields of an event, as text.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

/// A colour, as a number of ECMA-48 (section 8.3.117, "SGR").
#[derive(Debug, Clone, Copy)]
enum Colour {
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Magenta = 35,
    Cyan = 36,
}

impl<S, N> FormatEvent<S, N> for Terminal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_access = event.metadata().target() == TARGET;
        let text = self.line(&fields, (!is_access).then(|| *event.metadata().level()));
        // Of UTC, as all times that squall shows.
        let clock = OffsetDateTime::now_utc()
            .format(format_description!("[hour]:[minute]:[second]Z"))
            .unwrap_or_default();
        writeln!(line, "{} {text}", self.painted(Colour::Dim, &clock))
    }
}

impl Terminal {
    /// A line without its time. `level`: of an event that is not about a request.
    fn line(self, fields: &Fields, level: Option<Level>) -> String {
        match (level, fields.get("method"), fields.get("status")) {
            (None, Some(method), Some(status)) => self.request(fields, method, status),
            (None, _, Some(status)) => self.request(fields, "-", status),
            (None, ..) => self.connection(fields),
            (Some(level), ..) => self.event(fields, level),
        }
    }

    fn request(self, fields: &Fields, method: &str, status: &str) -> String {
        let path = clean(fields.get("path").unwrap_or("-"));
        let colour = match status.as_bytes().first() {
            Some(b'2') => Colour::Green,
            Some(b'3') => Colour::Cyan,
            Some(b'4') => Colour::Yellow,
            _ => Colour::Red,
        };
        let shown = if status == "0" { "---" } else { status };
        let took = self.painted(Colour::Dim, &format!("{:>9}", took(fields)));
        let status = self.painted(colour, shown);
        let line = format!("{:METHOD$} {path:PATH$} {status} {took}", clean(method));
        self.with_faults(line, fields)
    }

    fn connection(self, fields: &Fields) -> String {
        let what = fields.get("message").unwrap_or("connection");
        let who = format!(
            "{} {}",
            fields.get("listener").unwrap_or_default(),
            fields.get("client").unwrap_or_default()
        );
        let took = self.painted(Colour::Dim, &format!("{:>9}", took(fields)));
        self.with_faults(format!("{:METHOD$} {:PATH$} {what} {took}", "TCP", clean(&who)), fields)
    }

    /// Adds what was injected, what could not be, and what went wrong by itself.
    fn with_faults(self, mut line: String, fields: &Fields) -> String {
        let parts = [
            ("faults", Colour::Magenta, ""),
            ("skipped", Colour::Yellow, "skipped "),
            ("error", Colour::Red, ""),
        ];
        for (name, colour, before) in parts {
            if let Some(value) = fields.get(name) {
                let rules = fields.get("rules").filter(|_| name == "faults");
                let by = rules.map_or(String::new(), |rules| format!(" [{}]", clean(rules)));
                line.push_str("  ");
                line.push_str(&self.painted(colour, &format!("{before}{}{by}", clean(value))));
            }
        }
        if fields.get("client_gone").is_some() {
            line.push_str("  ");
            line.push_str(&self.painted(Colour::Yellow, "the client disconnected"));
        }
        line
    }

    fn event(self, fields: &Fields, level: Level) -> String {
        let colour = match level {
            Level::ERROR => Colour::Red,
            Level::WARN => Colour::Yellow,
            _ => Colour::Dim,
        };
        let mut line = self.painted(colour, &format!("{level:METHOD$}"));
        line.push(' ');
        // Terminal of their own stay so: a configuration's mistakes come with the place in the file.
        line.push_str(fields.get("message").unwrap_or_default());
        for (name, value) in fields
            .0
            .iter()
            .filter(|(name, _)| *name != "message" && !name.starts_with("log."))
        {
            line.push_str(&self.painted(Colour::Dim, &format!(" {name}=")));
            line.push_str(&clean(value));
        }
        line
    }

    fn painted(self, colour: Colour, words: &str) -> String {
        if self.coloured {
            format!("\x1b[{}m{words}\x1b[0m", colour as u8)
        } else {
            words.to_owned()
        }
    }
}

/// The time of a request or connection.
fn took(fields: &Fields) -> String {
    let millis: Option<f64> = fields.get("total_ms").and_then(|millis| millis.parse().ok());
    match millis {
        None => String::new(),
        Some(millis) if millis < 10.0 => format!("{millis:.1}ms"),
        Some(millis) if millis < 10_000.0 => format!("{millis:.0}ms"),
        Some(millis) => format!("{:.1}s", millis / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: &[(&'static str, &str)], level: Option<Level>) -> String {
        let fields = Fields(
            fields
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        );
        Terminal { coloured: false }.line(&fields, level)
    }

    #[test]
    fn requests_are_short_and_aligned() {
        let plain = [
            ("method", "GET"),
            ("path", "/users"),
            ("status", "200"),
            ("total_ms", "1.25"),
        ];
        assert_eq!(
            line(&plain, None),
            "GET    /users                           200     1.2ms"
        );
        let hit = [
            ("method", "POST"),
            ("path", "/pay\u{1b}[2J"),
            ("status", "503"),
            ("total_ms", "12345.6"),
            ("rules", "pay is down"),
            ("faults", "abort"),
            ("skipped", "truncate: body too short"),
        ];
        assert_eq!(
            line(&hit, None),
            "POST   /pay\u{fffd}[2J                         503     12.3s  abort [pay is down]  skipped truncate: body too short"
        );
        let cut = [
            ("method", "GET"),
            ("path", "/"),
            ("status", "0"),
            ("total_ms", "20"),
            ("client_gone", "true"),
        ];
        assert_eq!(
            line(&cut, None),
            "GET    /                                ---      20ms  the client disconnected"
        );
    }

    #[test]
    fn other_events_keep_their_fields() {
        let event = [
            ("message", "listening"),
            ("listener", "web"),
            ("address", "127.0.0.1:80"),
        ];
        assert_eq!(
            line(&event, Some(Level::INFO)),
            "INFO   listening listener=web address=127.0.0.1:80"
        );
    }

    #[test]
    fn colours_are_for_terminals() {
        let fields = Fields(vec![("method", "GET".into()), ("status", "404".into())]);
        assert!(
            Terminal { coloured: true }
                .line(&fields, None)
                .contains("\x1b[33m404\x1b[0m")
        );
    }
}
