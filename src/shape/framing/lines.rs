//! Splits newline-delimited JSON: LF ends a line, and a blank line is not a message.

use super::{Kind, Span};

#[derive(Debug, Default)]
pub(in crate::shape) struct Lines {
    in_line: bool,
}

impl Lines {
    pub(in crate::shape) fn next(&mut self, bytes: &[u8]) -> Span {
        if !self.in_line {
            let blank = length_while(bytes, |byte| byte.is_ascii_whitespace());
            if blank > 0 {
                return Span::outside(blank, Kind::Frame);
            }
        }
        let begins = !self.in_line;
        self.in_line = true;
        // JSON strings contain no raw CR, so a CR counts as part of the line end.
        let len = length_while(bytes, |byte| !matches!(byte, b'\r' | b'\n'));
        if len > 0 {
            return Span {
                begins,
                ..Span::inside(len, Kind::Data).text()
            };
        }
        let ends = bytes.first() == Some(&b'\n');
        self.in_line = !ends;
        Span {
            ends,
            ..Span::inside(1, Kind::Frame)
        }
    }

    /// Ends the last line, if the stream ends without a newline.
    pub(in crate::shape) fn finish(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.in_line).then_some(b"\n")
    }
}

fn length_while(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !is(byte)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::super::Framing;
    use super::super::tests::messages;

    #[test]
    fn lines_are_messages_and_blank_ones_are_none() {
        let found = messages(Framing::Lines, b"\n{\"a\":1}\n\r\n  \n {}\r\n[1]\nlast");
        assert_eq!(found, [&b"{\"a\":1}\n"[..], b"{}\r\n", b"[1]\n"]);
    }
}
