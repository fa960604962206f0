//! Splits WebSocket frames (RFC 6455, section 5).
//!
//! A message is one or more frames: the first has the opcode, the others are continuations, and the last has FIN. Control
//! frames may come in between and are outside. The rest of the stream is opaque after a protocol error: a reserved opcode,
//! a continuation without a message, a new message within another, a control frame that is fragmented or longer than 125
//! bytes, or a length of 2^63 or more.

use super::{Kind, Span};

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// The most bytes of a control frame's payload (RFC 6455, section 5.5).
const CONTROL_MAX: usize = 125;

/// The masking key of close frames that squall sends to servers. It protects no data, so a fixed one suffices.
const MASK: [u8; 4] = [0x73, 0x71, 0x6c, 0x6c];

#[derive(Debug, Default)]
pub(in crate::shape) struct Frames {
    at: WebSocketAt,
    frame: Frame,
    /// The message in progress; true if it is text.
    unfinished: Option<bool>,
}

/// The header of the current frame, as far as it was read.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    fin: bool,
    control: bool,
    masked: bool,
    total: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum WebSocketAt {
    #[default]
    First,
    Second,
    Length {
        left: u8,
    },
    Mask {
        left: u8,
    },
    Payload {
        offset: u64,
    },
    Broken,
}

impl Frames {
    pub(in crate::shape) fn next(&mut self, bytes: &[u8]) -> Span {
        let Some(&first) = bytes.first() else {
            return Span::outside(0, Kind::Frame);
        };
        let next = match self.at {
            WebSocketAt::First => return self.first(first, bytes.len()),
            WebSocketAt::Payload { offset } => return self.payload(bytes.len(), offset),
            WebSocketAt::Second => self.second(first),
            WebSocketAt::Length { left } => self.length(first, left),
            WebSocketAt::Mask { left: 1 } => self.begin_payload(),
            WebSocketAt::Mask { left } => WebSocketAt::Mask { left: left - 1 },
            WebSocketAt::Broken => WebSocketAt::Broken,
        };
        self.at = next;
        if matches!(next, WebSocketAt::Broken) {
            return Span::opaque(bytes.len());
        }
        self.part(1, Kind::Frame)
    }

    fn first(&mut self, first: u8, available: usize) -> Span {
        let opcode = first & 0x0f;
        let (fin, control) = (first & FIN != 0, opcode >= CLOSE);
        let allowed = match opcode {
            CONTINUATION => self.unfinished.is_some(),
            TEXT | BINARY => self.unfinished.is_none(),
            CLOSE..=PONG => fin,
            _ => false,
        };
        if !allowed {
            self.at = WebSocketAt::Broken;
            return Span::opaque(available);
        }
        self.frame = Frame {
            fin,
            control,
            ..Frame::default()
        };
        self.at = WebSocketAt::Second;
        let begins = matches!(opcode, TEXT | BINARY);
        if begins {
            self.unfinished = Some(opcode == TEXT);
        }
        Span {
            begins,
            ..self.part(1, Kind::Frame)
        }
    }

    fn second(&mut self, second: u8) -> WebSocketAt {
        self.frame.masked = second & MASKED != 0;
        match second & !MASKED {
            126 | 127 if self.frame.control => WebSocketAt::Broken,
            126 => WebSocketAt::Length { left: 2 },
            127 => WebSocketAt::Length { left: 8 },
            length => {
                self.frame.total = u64::from(length);
                self.behind_length()
            }
        }
    }

    fn length(&mut self, byte: u8, left: u8) -> WebSocketAt {
        self.frame.total = self.frame.total << 8 | u64::from(byte);
        match left - 1 {
            0 if self.frame.total >> 63 == 1 => WebSocketAt::Broken,
            0 => self.behind_length(),
            left => WebSocketAt::Length { left },
        }
    }

    fn behind_length(&self) -> WebSocketAt {
        if self.frame.masked {
            WebSocketAt::Mask { left: 4 }
        } else {
            self.begin_payload()
        }
    }

    fn begin_payload(&self) -> WebSocketAt {
        if self.frame.total == 0 {
            WebSocketAt::First
        } else {
            WebSocketAt::Payload { offset: 0 }
        }
    }

    fn payload(&mut self, available: usize, offset: u64) -> Span {
        let total = self.frame.total;
        let len = total.saturating_sub(offset).min(available as u64);
        self.at = match offset + len {
            end if end == total => WebSocketAt::First,
            offset => WebSocketAt::Payload { offset },
        };
        let text = self.unfinished == Some(true);
        let kind = if self.frame.control { Kind::Frame } else { Kind::Data };
        Span {
            offset,
            total: Some(total),
            text: text && !self.frame.control,
            // At most what is available.
            ..self.part(len as usize, kind)
        }
    }

    fn part(&mut self, len: usize, kind: Kind) -> Span {
        let (message, frame_ends) = (!self.frame.control, matches!(self.at, WebSocketAt::First));
        let ends = message && frame_ends && self.frame.fin;
        if ends {
            self.unfinished = None;
        }
        Span {
            message,
            ends,
            frame_ends,
            ..Span::outside(len, kind)
        }
    }
}

/// A close frame (RFC 6455, section 5.5.1), masked if it goes to a server (section 5.3). A reason that is too long is cut.
pub(in crate::shape) fn close_frame(code: u16, reason: &str, to_server: bool) -> Vec<u8> {
    let mut end = reason.len().min(CONTROL_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.as_bytes().get(..end).unwrap_or_default();
    let mask = if to_server { MASK } else { [0; 4] };
    let payload = code.to_be_bytes().into_iter().chain(reason.iter().copied());
    let mut frame = vec![FIN | CLOSE, if to_server { MASKED } else { 0 } | (end as u8 + 2)];
    if to_server {
        frame.extend(mask);
    }
    frame.extend(payload.zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
pub(in crate::shape) mod tests {
    use super::super::Framing;
    use super::super::tests::{messages, split};
    use super::*;

    pub(in crate::shape) fn frame(first: u8, data: &[u8]) -> Vec<u8> {
        let length = match data.len() {
            len @ 0..126 => vec![len as u8],
            len @ 126..65536 => [&[126], &(len as u16).to_be_bytes()[..]].concat(),
            len => [&[127], &(len as u64).to_be_bytes()[..]].concat(),
        };
        [&[first], &length[..], data].concat()
    }

    fn masked(first: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = frame(first, data);
        frame[1] |= MASKED;
        let at = frame.len() - data.len();
        frame.splice(at..at, [1, 2, 3, 4]);
        frame
    }

    #[test]
    fn frames_of_every_length_are_messages() {
        let all = [
            frame(0x81, b"short"),
            frame(0x82, &[7; 300]),
            frame(0x82, &[7; 70_000]),
            frame(0x81, b""),
            masked(0x81, b""),
            masked(0x82, &[7; 200]),
        ];
        assert_eq!(messages(Framing::WebSocket, &all.concat()), all);
    }

    #[test]
    fn control_frames_within_a_message_are_outside() {
        let parts = [frame(0x01, b"one"), frame(0x89, b"ping"), frame(0x80, b"two")];
        let found = messages(Framing::WebSocket, &parts.concat());
        assert_eq!(found, [[parts[0].clone(), parts[2].clone()].concat()]);
        let said = split(Framing::WebSocket, &[&parts.concat()]);
        assert_eq!(said.frame_ends, [5, 11, 16]);
    }

    #[test]
    fn the_payload_alone_is_data() {
        let stream = masked(0x82, b"abc");
        let said = split(Framing::WebSocket, &[&stream]);
        let kinds: Vec<Kind> = said.bytes.iter().map(|byte| byte.0).collect();
        assert_eq!(kinds[..6], [Kind::Frame; 6]);
        assert_eq!(kinds[6..], [Kind::Data; 3]);
        assert_eq!(said.bytes[8].3, 2);
        assert_eq!(said.bytes[8].4, Some(3));
    }

    #[test]
    fn the_stream_is_opaque_after_a_protocol_error() {
        let good = frame(0x82, b"good");
        for bad in [
            frame(0x83, b"reserved"),
            frame(0x80, b"continues nothing"),
            frame(0x09, b"fragmented control"),
            frame(0x89, &[0; 126]),
            [frame(0x01, b"unfinished"), frame(0x81, b"another")].concat(),
            vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let stream = [good.clone(), bad, good.clone()].concat();
            assert_eq!(messages(Framing::WebSocket, &stream).len(), 1, "{stream:?}");
        }
    }

    #[test]
    fn close_frames_carry_code_and_reason() {
        assert_eq!(close_frame(1001, "bye", false), b"\x88\x05\x03\xe9bye");
        let to_server = close_frame(1000, "x", true);
        assert_eq!(to_server[..2], [0x88, 0x83]);
        assert_eq!(to_server[6..], [0x03 ^ 0x73, 0xe8 ^ 0x71, b'x' ^ 0x6c]);
        // 123 bytes remain for the reason, and a two-byte character is never split.
        assert_eq!(close_frame(1001, &"ü".repeat(99), false).len(), 2 + 2 + 122);
    }
}
