//! Splits the length-prefixed messages of gRPC ("gRPC over HTTP2"): a flag byte, a four-byte length (big endian), the
//! message.
//!
//! The flag is 0 or 1 (compressed). In gRPC-Web, a flag with the highest bit set precedes trailers, which are not a message.
//! After any other flag the rest is opaque.

use super::{Kind, Span};

#[derive(Debug, Default)]
pub(in crate::shape) struct GrpcMessages {
    at: GrpcAt,
    /// Whether the current frame is a message, and not trailers.
    message: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum GrpcAt {
    #[default]
    Flag,
    Length {
        read: u8,
        value: u32,
    },
    Payload {
        offset: u64,
        total: u64,
    },
    Broken,
}

impl GrpcMessages {
    pub(in crate::shape) fn next(&mut self, bytes: &[u8]) -> Span {
        let Some(&first) = bytes.first() else {
            return Span::outside(0, Kind::Frame);
        };
        match self.at {
            GrpcAt::Flag => self.flag(first, bytes.len()),
            GrpcAt::Length { read, value } => {
                let (read, value) = (read + 1, value << 8 | u32::from(first));
                self.at = match (read, value) {
                    (4, 0) => GrpcAt::Flag,
                    (4, _) => GrpcAt::Payload {
                        offset: 0,
                        total: u64::from(value),
                    },
                    _ => GrpcAt::Length { read, value },
                };
                self.part(1, Kind::Frame)
            }
            GrpcAt::Payload { offset, total } => self.payload(bytes.len(), offset, total),
            GrpcAt::Broken => Span::opaque(bytes.len()),
        }
    }

    fn flag(&mut self, flag: u8, available: usize) -> Span {
        self.message = matches!(flag, 0 | 1);
        if !self.message && flag & 0x80 == 0 {
            self.at = GrpcAt::Broken;
            return Span::opaque(available);
        }
        self.at = GrpcAt::Length { read: 0, value: 0 };
        Span {
            begins: self.message,
            ..self.part(1, Kind::Frame)
        }
    }

    fn payload(&mut self, available: usize, offset: u64, total: u64) -> Span {
        let len = total.saturating_sub(offset).min(available as u64);
        self.at = match offset + len {
            end if end == total => GrpcAt::Flag,
            offset => GrpcAt::Payload { offset, total },
        };
        let kind = if self.message { Kind::Data } else { Kind::Frame };
        Span {
            offset,
            total: Some(total),
            // At most what is available.
            ..self.part(len as usize, kind)
        }
    }

    fn part(&self, len: usize, kind: Kind) -> Span {
        Span {
            message: self.message,
            ends: self.message && matches!(self.at, GrpcAt::Flag),
            ..Span::outside(len, kind)
        }
    }
}

#[cfg(test)]
pub(in crate::shape) mod tests {
    use super::super::Framing;
    use super::super::tests::{messages, split};
    use super::*;

    pub(in crate::shape) fn message(flag: u8, data: &[u8]) -> Vec<u8> {
        [&[flag], &(data.len() as u32).to_be_bytes()[..], data].concat()
    }

    #[test]
    fn messages_have_a_flag_and_a_length() {
        let all = [message(0, b"one"), message(1, &[7; 70_000]), message(0, b"")];
        assert_eq!(messages(Framing::Grpc, &all.concat()), all);
    }

    #[test]
    fn trailers_of_grpc_web_are_no_message() {
        let stream = [message(0, b"one"), message(0x80, b"grpc-status:0\r\n")].concat();
        assert_eq!(messages(Framing::Grpc, &stream), [message(0, b"one")]);
    }

    #[test]
    fn an_unknown_flag_makes_the_rest_opaque() {
        let stream = [message(0, b"one"), message(9, b"two"), message(0, b"three")].concat();
        let said = split(Framing::Grpc, &[&stream]);
        assert_eq!(said.ends, [8]);
        assert!(said.bytes[8..].iter().all(|byte| byte.0 == Kind::Data && !byte.1));
    }
}
