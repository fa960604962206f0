//! Body framing of HTTP/1: where a body ends when read, and how it is written (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use super::head;
use super::{Malformed, Output};
use crate::proxy::body::Part;

/// The most bytes of a chunk's size line with its extensions, and of a trailer section.
const MAX_SIZE_LINE: usize = 4 * 1024;
const MAX_TRAILERS: usize = 64 * 1024;

/// The most fields of a trailer section.
const MAX_TRAILER_FIELDS: usize = 64;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By a length in bytes.
    Length(u64),
    /// By a final chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Framing {
    /// The framing of a message without a body.
    pub(crate) const NONE: Framing = Framing::Length(0);

    /// The framing of a request body (RFC 9112, section 6.3).
    ///
    /// # Errors
    /// The fields contradict each other, or name a coding that is not `chunked` last.
    pub(crate) fn of_request(fields: &HeaderMap) -> Result<Framing, Malformed> {
        if fields.contains_key(TRANSFER_ENCODING) {
            return if head::is_chunked(fields) {
                chunked(fields)
            } else {
                Err(Malformed::bad("the last transfer coding is not chunked"))
            };
        }
        Ok(Framing::Length(length(fields)?.unwrap_or(0)))
    }

    /// The framing of the body of a response to a request with `method` (RFC 9112, section 6.3).
    ///
    /// # Errors
    /// The fields contradict each other, or name `chunked` more than once.
    pub(crate) fn of_response(method: &Method, status: StatusCode, fields: &HeaderMap) -> Result<Framing, Malformed> {
        if method == Method::HEAD || has_no_content(status) {
            return Ok(Framing::NONE);
        }
        if fields.contains_key(TRANSFER_ENCODING) {
            return if head::is_chunked(fields) {
                chunked(fields)
            } else {
                Ok(Framing::UntilClose)
            };
        }
        Ok(length(fields)?.map_or(Framing::UntilClose, Framing::Length))
    }
}

/// The framing of a body whose last transfer coding is chunked, which must be applied only once (RFC 9112, section 6.1).
fn chunked(fields: &HeaderMap) -> Result<Framing, Malformed> {
    let codings = head::tokens(fields, &TRANSFER_ENCODING);
    if codings.filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count() > 1 {
        Err(Malformed::bad("chunked is applied more than once"))
    } else {
        Ok(Framing::Chunked)
    }
}

/// Whether a response with this status never has content (RFC 9110, section 6.4.1).
fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// The length that all `Content-Length` values agree on (RFC 9110, section 8.6).
///
/// # Errors
/// The fields contradict each other, or one is not a number.
pub(super) fn length(fields: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut known = None;
    for value in fields.get_all(CONTENT_LENGTH) {
        for one in value.as_bytes().split(|byte| *byte == b',') {
            let length = digits(one.trim_ascii())?;
            if known.is_some_and(|known| known != length) {
                return Err(Malformed::bad("Content-Length fields contradict each other"));
            }
            known = Some(length);
        }
    }
    Ok(known)
}

/// Parses 1*DIGIT; `parse` alone would accept a plus sign.
fn digits(text: &[u8]) -> Result<u64, Malformed> {
    let number = text.iter().all(u8::is_ascii_digit).then_some(text);
    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number.ok_or(Malformed::bad("Content-Length is not a number"))
}

/// Decodes a body from the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: BodyState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    /// This many bytes are left.
    Length(u64),
    UntilClose,
    /// A chunk's size line comes next.
    Size,
    /// This many bytes of a chunk are left.
    Chunk(u64),
    /// The line end behind a chunk comes next.
    ChunkEnd,
    /// The trailer section comes next.
    Trailers,
    Done,
}

impl Decoder {
    /// A decoder for a body that has not begun.
    pub(crate) fn new(framing: Framing) -> Decoder {
        let state = match framing {
            Framing::Length(0) => BodyState::Done,
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::Size,
            Framing::UntilClose => BodyState::UntilClose,
        };
        Decoder { state }
    }

    /// Whether the body has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    /// The number of bytes left, if the framing tells.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            BodyState::Length(left) => Some(left),
            BodyState::Done => Some(0),
            _ => None,
        }
    }

    /// Decodes the next part; `None` if more bytes are needed, or if the body [is done](Decoder::is_done).
    ///
    /// # Errors
    /// The framing is broken, so nothing that follows can be interpreted.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        loop {
            match &mut self.state {
                BodyState::Done => return Ok(None),
                BodyState::UntilClose => return Ok(take(input, &mut { u64::MAX })),
                BodyState::Length(left) | BodyState::Chunk(left) => {
                    let data = take(input, left);
                    self.state = match self.state {
                        BodyState::Length(0) => BodyState::Done,
                        BodyState::Chunk(0) => BodyState::ChunkEnd,
                        more => more,
                    };
                    return Ok(data);
                }
                BodyState::ChunkEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.state = BodyState::Size;
                    }
                    Some(_) => return Err(Malformed::bad("a chunk is longer than its size")),
                    None => return Ok(None),
                },
                BodyState::Size => match chunk_size(input)? {
                    Some(0) => self.state = BodyState::Trailers,
                    Some(size) => self.state = BodyState::Chunk(size),
                    None => return Ok(None),
                },
                BodyState::Trailers => {
                    let Some(fields) = trailers(input)? else {
                        return Ok(None);
                    };
                    self.state = BodyState::Done;
                    return Ok(Part::trailers(fields));
                }
            }
        }
    }

    /// Notes the end of the connection. Returns true if it ends the body, false if it truncates it.
    pub(crate) fn end_of_input(&mut self) -> bool {
        if self.state == BodyState::UntilClose {
            self.state = BodyState::Done;
        }
        self.is_done()
    }
}

/// Takes the available bytes, at most `left`.
fn take(input: &mut BytesMut, left: &mut u64) -> Option<Part> {
    let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    (count > 0).then(|| Part::Data(input.split_to(count).freeze()))
}

/// Reads a size line: 1*HEXDIG, then extensions, which are ignored (RFC 9112, section 7.1).
fn chunk_size(input: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let Some(end) = input.iter().take(MAX_SIZE_LINE).position(|byte| *byte == b'\n') else {
        return if input.len() < MAX_SIZE_LINE {
            Ok(None)
        } else {
            Err(Malformed::bad("a chunk's size line is too long"))
        };
    };
    let line = input.split_to(end + 1);
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return Err(Malformed::bad("a chunk's size line ends without CR"));
    };
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    // Recipients have to accept "bad whitespace" before a semicolon (RFC 9112, section 7.1.1).
    let extensions = extensions.trim_ascii();
    let is_text = |byte: &u8| *byte == b'\t' || (b' '..=b'~').contains(byte) || *byte >= 0x80;
    if !(extensions.is_empty() || extensions.starts_with(b";")) || !extensions.iter().all(is_text) {
        return Err(Malformed::bad("a chunk's size is not a hexadecimal number"));
    }
    let size = std::str::from_utf8(size).ok().filter(|size| size.len() <= 16);
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
    size.map(Some)
        .ok_or(Malformed::bad("a chunk's size is not a hexadecimal number"))
}

fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let parsed = httparse::parse_headers(input, &mut fields);
    let (length, fields) = match parsed {
        Ok(httparse::Status::Complete(parsed)) if parsed.0 <= MAX_TRAILERS => parsed,
        Ok(httparse::Status::Partial) if input.len() < MAX_TRAILERS => return Ok(None),
        Ok(_) => return Err(Malformed::bad("the trailer section is too large")),
        Err(_) => return Err(Malformed::bad("the trailer section is malformed")),
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Malformed::bad("the trailer section is malformed"));
        };
        map.append(name, value);
    }
    input.advance(length);
    Ok(Some(map))
}

/// Encodes a body into the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Encoder {
    framing: Framing,
    ended: bool,
}

impl Encoder {
    /// An encoder for a body that has not begun.
    pub(crate) fn new(framing: Framing) -> Encoder {
        Encoder { framing, ended: false }
    }

    /// How the end of the body is marked.
    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the body is complete.
    pub(crate) fn is_done(&self) -> bool {
        self.ended || self.framing == Framing::NONE
    }

    /// Writes a piece. Bytes beyond the stated length are dropped.
    pub(crate) fn data(&mut self, mut bytes: Bytes, output: &mut Output) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.framing {
            Framing::UntilClose => output.push(bytes),
            Framing::Chunked => {
                output.append(|buffer| {
                    use std::fmt::Write;
                    // Writing to memory can't fail.
                    let _ = write!(buffer, "{:X}\r\n", bytes.len());
                });
                output.push(bytes);
                output.put(b"\r\n");
            }
            Framing::Length(left) => {
                let fits = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                bytes.truncate(fits);
                *left -= fits as u64;
                output.push(bytes);
            }
        }
    }

    /// Ends the body, with trailers if it is chunked. May be called more than once. Returns false if fewer bytes were written
    /// than stated: only closing the connection can then show that the body is incomplete.
    pub(crate) fn end(&mut self, trailers: Option<&HeaderMap>, output: &mut Output) -> bool {
        let ended = std::mem::replace(&mut self.ended, true);
        match self.framing {
            Framing::Length(left) => left == 0,
            Framing::UntilClose => true,
            Framing::Chunked if ended => true,
            Framing::Chunked => {
                output.put(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    output.put(name.as_str().as_bytes());
                    output.put(b": ");
                    output.put(value.as_bytes());
                    output.put(b"\r\n");
                }
                output.put(b"\r\n");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests;
