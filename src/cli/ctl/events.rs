//! `squall ctl events`: follows the event stream.

use std::io::{self, Write};
use std::process::ExitCode;

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::api::{Api, Done, Failed, encoded};

/// The longest line of a stream, in bytes. `stats` with all its rules is far below it.
const LONGEST: usize = 1 << 20;

/// Prints each event in a line, until squall ends or the reader does.
pub(super) async fn follow(api: &Api, kinds: &str) -> Done {
    let target = format!("/api/v1/events?kinds={}", encoded(kinds));
    let (_, mut body) = api.open(Method::GET, &target, "").await?;
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failed::internal(format!("the stream broke off: {error}")))?;
        let bytes = frame.into_data().unwrap_or_default();
        for event in lines.take(&bytes)? {
            let line = if api.json { event.json() } else { event.text() };
            // A reader that has what it wants, as `head` does, ends the command.
            let mut stdout = io::stdout().lock();
            if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Err(Failed::internal("the stream has ended, as squall has"))
}

/// An event of the stream.
#[derive(Debug, PartialEq)]
struct StreamedEvent {
    kind: String,
    data: Value,
}

impl StreamedEvent {
    fn json(&self) -> String {
        json!({"event": self.kind, "data": self.data}).to_string()
    }

    /// The event in one line: `rule rule=slow what=put revision=7`.
    fn text(&self) -> String {
        let shown = |(name, value): (&String, &Value)| match value {
            Value::Null => None,
            Value::String(text) => Some(format!("{name}={}", quoted(text))),
            other => Some(format!("{name}={other}")),
        };
        let fields: Vec<String> = self.data.as_object().into_iter().flatten().filter_map(shown).collect();
        format!("{} {}", self.kind, fields.join(" ")).trim_end().to_owned()
    }
}

/// A text as it is, or in quotation marks if it would not be one word.
fn quoted(text: &str) -> String {
    let is_word = !text.is_empty()
        && text
            .chars()
            .all(|letter| !letter.is_whitespace() && !letter.is_control() && letter != '"');
    if is_word {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// Server-sent events (WHATWG HTML, section 9.2), as far as squall sends them: one line of data each.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
    kind: String,
}

impl Lines {
    /// The events that end in these bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<StreamedEvent>, Failed> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim_end().split_once(": ") {
                Some(("event", kind)) => self.kind = kind.to_owned(),
                Some(("data", data)) => events.push(StreamedEvent {
                    kind: std::mem::take(&mut self.kind),
                    data: serde_json::from_str(data).unwrap_or_default(),
                }),
                _ => {}
            }
        }
        if self.buffer.len() > LONGEST {
            return Err(Failed::internal(
                "an event is too long: is this the admin API of squall?",
            ));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b": keep alive\n\nevent: ru").unwrap(), []);
        let told = lines.take(b"le\ndata: {\"rule\":\"slow payments\",\"space\":null,\"revision\":7}\nid: 3\n\n");
        let told = told.unwrap().remove(0);
        assert_eq!(told.text(), "rule rule=\"slow payments\" revision=7");
        let json = r#"{"event":"rule","data":{"rule":"slow payments","space":null,"revision":7}}"#;
        assert_eq!(told.json(), json);
    }

    #[test]
    fn endless_lines_are_an_error() {
        assert!(Lines::default().take(&vec![b'x'; LONGEST + 1]).is_err());
    }
}
