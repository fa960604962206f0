//! Splits a stream of server-sent events (WHATWG HTML, section 9.2.5, "Parsing an event stream").
//!
//! Lines end in LF, CR or CR LF, and a blank line ends an event. An event begins with its first line that is not a comment;
//! comments and blank lines before it are outside.
//!
//! When the CR of a blank line arrives, it is unknown whether a LF follows. If the line before it ended in CR LF, a LF is
//! expected and the event ends after it. Otherwise the event ends after the CR, and a LF that does follow is outside.

use super::{Kind, Span};

const BOM: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data:";

#[derive(Debug, Default)]
pub(in crate::shape) struct Events {
    /// How many bytes of a byte order mark at the beginning were read; its full length once it is over or absent.
    bom: usize,
    line: Line,
    in_event: bool,
    /// Whether a CR ended the last line, so that a LF would belong to it.
    after_cr: bool,
    /// Whether the last line of the event ended in CR LF.
    crlf: bool,
    /// Whether the CR of a blank line was read, and its LF is expected.
    ending: bool,
}

/// The position within the current line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    /// This many bytes of `data:` have matched.
    Name(usize),
    /// At the beginning of the value of `data`; a space here is not part of it.
    Space,
    Value,
    /// A comment, or a field other than `data`.
    Other,
}

impl Events {
    pub(in crate::shape) fn next(&mut self, bytes: &[u8]) -> Span {
        let Some(&first) = bytes.first() else {
            return Span::outside(0, Kind::Frame);
        };
        if self.bom < BOM.len() {
            if BOM.get(self.bom) == Some(&first) {
                self.bom += 1;
                return Span::outside(1, Kind::Frame);
            }
            self.bom = BOM.len();
        }
        if std::mem::take(&mut self.ending) {
            return self.event_ends(usize::from(first == b'\n'));
        }
        match first {
            b'\n' if std::mem::take(&mut self.after_cr) => {
                self.crlf = true;
                self.framing(1)
            }
            b'\r' | b'\n' => self.line_end(first),
            _ => self.content(bytes, first),
        }
    }

    /// Ends an event whose blank line is only missing its LF. The end of the stream ends no other event.
    pub(in crate::shape) fn finish(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.ending).then_some(b"")
    }

    fn line_end(&mut self, first: u8) -> Span {
        let blank = self.line == Line::Start;
        let expects_lf = first == b'\r' && self.crlf;
        self.line = Line::Start;
        if blank && self.in_event && expects_lf {
            self.ending = true;
            return self.framing(1);
        }
        self.after_cr = first == b'\r';
        if blank && self.in_event {
            return self.event_ends(1);
        }
        self.crlf = false;
        self.framing(1)
    }

    fn event_ends(&mut self, len: usize) -> Span {
        self.in_event = false;
        self.crlf = false;
        Span {
            ends: true,
            ..Span::inside(len, Kind::Frame)
        }
    }

    fn content(&mut self, bytes: &[u8], first: u8) -> Span {
        self.after_cr = false;
        let mut begins = false;
        if self.line == Line::Start {
            self.line = Line::Name(0);
            if first == b':' {
                self.line = Line::Other;
            } else {
                begins = !self.in_event;
                self.in_event = true;
            }
        }
        let (len, kind) = match self.line {
            Line::Name(at) if DATA.get(at) == Some(&first) => {
                self.line = if at + 1 == DATA.len() {
                    Line::Space
                } else {
                    Line::Name(at + 1)
                };
                (1, Kind::Text)
            }
            Line::Space if first == b' ' => {
                self.line = Line::Value;
                (1, Kind::Text)
            }
            Line::Space | Line::Value => {
                self.line = Line::Value;
                (line_length(bytes), Kind::Data)
            }
            Line::Start | Line::Name(_) | Line::Other => {
                self.line = Line::Other;
                (line_length(bytes), Kind::Text)
            }
        };
        Span {
            begins,
            ..self.part(len, kind)
        }
        .text()
    }

    /// The span of a line end.
    fn framing(&self, len: usize) -> Span {
        self.part(len, Kind::Frame)
    }

    fn part(&self, len: usize, kind: Kind) -> Span {
        Span {
            message: self.in_event,
            ..Span::outside(len, kind)
        }
    }
}

/// The number of bytes before the end of the line.
fn line_length(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::super::Framing;
    use super::super::tests::{messages, split};
    use super::*;

    fn check(stream: &str, expect: &[&str]) {
        let found: Vec<String> = messages(Framing::Events, stream.as_bytes())
            .into_iter()
            .map(|message| String::from_utf8(message).unwrap())
            .collect();
        assert_eq!(found, expect, "{stream:?}");
    }

    #[test]
    fn blank_lines_end_events() {
        check("data: a\n\ndata: b\n\n", &["data: a\n\n", "data: b\n\n"]);
        check(
            "id: 1\r\ndata: a\r\n\r\ndata: b\r\n\r\n",
            &["id: 1\r\ndata: a\r\n\r\n", "data: b\r\n\r\n"],
        );
        check("data: a\r\rdata: b\r\r", &["data: a\r\r", "data: b\r\r"]);
        check("data: a\n\n\n\ndata: b\n\n", &["data: a\n\n", "data: b\n\n"]);
    }

    #[test]
    fn comments_alone_are_no_events() {
        check(": hello\n\ndata: a\n: inside\n\n:\n\n", &["data: a\n: inside\n\n"]);
        check(":before\ndata: a\n\n", &["data: a\n\n"]);
    }

    #[test]
    fn an_unfinished_event_does_not_end() {
        check("data: a\n\ndata: b\n", &["data: a\n\n"]);
    }

    #[test]
    fn mixed_line_ends_end_behind_what_can_be_known() {
        check("data: a\n\r\ndata: b\n\n", &["data: a\n\r", "data: b\n\n"]);
        check("data: a\r\n\rdata: b\n\n", &["data: a\r\n\r", "data: b\n\n"]);
    }

    #[test]
    fn a_byte_order_mark_is_outside() {
        check("\u{feff}data: a\n\n", &["data: a\n\n"]);
        check("\u{feff}: comment\n\n", &[]);
    }

    #[test]
    fn only_the_values_of_data_are_data() {
        let stream = b"event: x\ndata: yz\ndata:w\ndatax: u\ndata\n\n";
        let said = split(Framing::Events, &[stream]);
        let data: Vec<u8> = (0..stream.len())
            .filter(|&at| said.bytes[at].0 == Kind::Data)
            .map(|at| stream[at])
            .collect();
        assert_eq!(data, b"yzw");
    }
}
