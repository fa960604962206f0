//! Where a body ends, and how it is written (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use super::head;
use super::{Malformed, Output};
use crate::proxy::body::Part;

/// Bytes of one chunk's size line, its extensions included, and of a trailer section.
const MAX_SIZE_LINE: usize = 4 * 1024;
const MAX_TRAILERS: usize = 64 * 1024;

/// Fields of a trailer section.
const MAX_TRAILER_FIELDS: usize = 64;

/// How a body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By this many bytes.
    Length(u64),
    /// By a last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Framing {
    /// No body.
    pub(crate) const NONE: Framing = Framing::Length(0);

    /// How a request's body ends (RFC 9112, section 6.3).
    ///
    /// # Errors
    /// The fields contradict each other, or name a coding that is not `chunked` last.
    pub(crate) fn of_request(fields: &HeaderMap) -> Result<Framing, Malformed> {
        if fields.contains_key(TRANSFER_ENCODING) {
            let chunks =
                head::tokens(fields, &TRANSFER_ENCODING).filter(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            return match head::is_chunked(fields) {
                true if chunks.count() > 1 => Err(Malformed::bad("chunked is applied more than once")),
                true => Ok(Framing::Chunked),
                false => Err(Malformed::bad("the last transfer coding is not chunked")),
            };
        }
        Ok(Framing::Length(length(fields)?.unwrap_or(0)))
    }

    /// How the body of a response to a request with this method ends.
    ///
    /// # Errors
    /// Lengths that contradict each other.
    pub(crate) fn of_response(method: &Method, status: StatusCode, fields: &HeaderMap) -> Result<Framing, Malformed> {
        if method == Method::HEAD || has_no_content(status) {
            return Ok(Framing::NONE);
        }
        if fields.contains_key(TRANSFER_ENCODING) {
            return Ok(match head::is_chunked(fields) {
                true => Framing::Chunked,
                false => Framing::UntilClose,
            });
        }
        Ok(length(fields)?.map_or(Framing::UntilClose, Framing::Length))
    }
}

/// Whether a response with this status never has content (RFC 9110, section 6.4.1).
fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// The one length that all `Content-Length` fields agree on (RFC 9110, section 8.6).
///
/// # Errors
/// They don't, or one is not a number.
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

/// 1*DIGIT: neither a sign nor blanks, which `parse` would take.
fn digits(text: &[u8]) -> Result<u64, Malformed> {
    let number = text.iter().all(u8::is_ascii_digit).then_some(text);
    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number.ok_or(Malformed::bad("Content-Length is not a number"))
}

/// Takes a body out of the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Decoder { state }
    }

    /// Whether the body has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes are left, where the framing tells.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// The next part; `None` if more bytes are needed, or if the body [is done](Decoder::is_done).
    ///
    /// # Errors
    /// The framing is broken: nothing that follows can be trusted.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        loop {
            match &mut self.state {
                State::Done => return Ok(None),
                State::UntilClose => return Ok(take(input, &mut { u64::MAX })),
                State::Length(left) | State::Chunk(left) => {
                    let data = take(input, left);
                    self.state = match self.state {
                        State::Length(0) => State::Done,
                        State::Chunk(0) => State::ChunkEnd,
                        more => more,
                    };
                    return Ok(data);
                }
                State::ChunkEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    Some(_) => return Err(Malformed::bad("a chunk is longer than its size")),
                    None => return Ok(None),
                },
                State::Size => match chunk_size(input)? {
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Chunk(size),
                    None => return Ok(None),
                },
                State::Trailers => {
                    let Some(fields) = trailers(input)? else {
                        return Ok(None);
                    };
                    self.state = State::Done;
                    return Ok((!fields.is_empty()).then_some(Part::Trailers(fields)));
                }
            }
        }
    }

    /// The connection has ended. True if that is the body's end, false if the body is cut.
    pub(crate) fn end_of_input(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }
}

/// Takes what has come of the bytes that are left.
fn take(input: &mut BytesMut, left: &mut u64) -> Option<Part> {
    let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    (count > 0).then(|| Part::Data(input.split_to(count).freeze()))
}

/// Reads a size line: 1*HEXDIG, then extensions, which mean nothing here (RFC 9112, section 7.1).
fn chunk_size(input: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let Some(end) = input.iter().take(MAX_SIZE_LINE).position(|byte| *byte == b'\n') else {
        return match input.len() < MAX_SIZE_LINE {
            true => Ok(None),
            false => Err(Malformed::bad("a chunk's size line is too long")),
        };
    };
    let line = input.split_to(end + 1);
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return Err(Malformed::bad("a chunk's size line ends without CR"));
    };
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    // Blanks before a semicolon are "bad whitespace", which recipients have to parse (section 7.1.1).
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
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) if input.len() < MAX_TRAILERS => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(Malformed::bad("the trailer section is too large")),
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

/// Writes a body into the bytes of a connection.
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

    /// How the body's end is told.
    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether nothing more is to be written.
    pub(crate) fn is_done(&self) -> bool {
        self.ended || self.framing == Framing::NONE
    }

    /// Writes a piece. What goes beyond the stated length is left out.
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

    /// Ends the body, with trailers where the framing has room for them; may be called more than once. False if less was
    /// written than stated: then only the end of the connection can tell that something is missing.
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
mod tests {
    use proptest::prelude::*;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a decoder makes of bytes that come in pieces of this size: the body, the trailers, and whether it is done.
    fn decode(framing: Framing, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap, bool), &'static str> {
        let mut decoder = Decoder::new(framing);
        let mut input = BytesMut::new();
        let (mut body, mut fields) = (Vec::new(), HeaderMap::new());
        for piece in bytes.chunks(piece.max(1)) {
            input.extend_from_slice(piece);
            while let Some(part) = decoder.decode(&mut input).map_err(|malformed| malformed.reason)? {
                match part {
                    Part::Data(data) => body.extend_from_slice(&data),
                    Part::Trailers(trailers) => fields = trailers,
                }
            }
        }
        Ok((body, fields, decoder.is_done()))
    }

    fn encode(framing: Framing, pieces: &[Vec<u8>], trailers: Option<&HeaderMap>) -> (Vec<u8>, bool) {
        let mut encoder = Encoder::new(framing);
        let mut output = Output::default();
        for piece in pieces {
            encoder.data(piece.clone().into(), &mut output);
        }
        let whole = encoder.end(trailers, &mut output);
        let mut sent = std::io::Cursor::new(Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(output.poll_flush(&mut sent, &mut cx), Poll::Ready(Ok(()))));
        (sent.into_inner(), whole)
    }

    #[track_caller]
    fn refused(bytes: &str, reason: &str) {
        for piece in [1, 1000] {
            let error = decode(Framing::Chunked, bytes.as_bytes(), piece).unwrap_err();
            assert!(error.contains(reason), "{bytes:?}: {error}");
        }
    }

    /// RFC 9112, section 7.1: `chunk-size = 1*HEXDIG`.
    #[test]
    fn a_chunk_without_a_size_is_not_a_last_chunk() {
        refused("5\r\nhello\r\n\r\n5\r\nworld\r\n0\r\n\r\n", "not a hexadecimal number");
        for line in [
            "\r\n",
            ";\r\n",
            " 5\r\n",
            "-5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5 6\r\n",
            "5;a=\x00\r\n",
            "11111111111111111\r\n",
        ] {
            refused(line, "not a hexadecimal number");
        }
        refused("5\n", "without CR");
        refused("5\r\nhellothere", "longer than its size");
        refused("0\r\nno field\r\n\r\n", "trailer section is malformed");
        refused("0\r\na: b\rc: d\r\n\r\n", "trailer section is malformed");
        refused(&"5".repeat(5000), "too long");
        refused(&format!("0\r\n{}", "a: b\r\n".repeat(20_000)), "trailer section");
    }

    #[test]
    fn chunks_extensions_and_trailers_are_understood() {
        let bytes = b"5 ; a=\"b c\"\r\nhello\r\n00006\r\n world\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\nGET /";
        for piece in 1..bytes.len() {
            let (body, fields, done) = decode(Framing::Chunked, bytes, piece).unwrap();
            assert_eq!((&body[..], done), (&b"hello world"[..], true));
            assert_eq!(fields.get_all("x-sum").iter().count(), 2);
        }
    }

    #[test]
    fn only_an_unframed_body_ends_with_its_connection() {
        for (framing, whole) in [
            (Framing::UntilClose, true),
            (Framing::Chunked, false),
            (Framing::Length(3), false),
        ] {
            assert_eq!(Decoder::new(framing).end_of_input(), whole);
        }
        assert!(Decoder::new(Framing::NONE).end_of_input());
    }

    #[test]
    fn a_body_is_as_long_as_its_length_says() {
        assert_eq!(
            encode(Framing::Length(3), &[b"abcd".to_vec()], None),
            (b"abc".to_vec(), true)
        );
        assert_eq!(
            encode(Framing::Length(3), &[b"ab".to_vec()], None),
            (b"ab".to_vec(), false)
        );
    }

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn framing_is_read_as_rfc_9112_says() {
        let request = |lines: &[_]| Framing::of_request(&fields(lines)).map_err(|malformed| malformed.status);
        assert_eq!(request(&[]), Ok(Framing::NONE));
        assert_eq!(request(&[("content-length", "5")]), Ok(Framing::Length(5)));
        assert_eq!(
            request(&[("content-length", "5, 5"), ("content-length", "5")]),
            Ok(Framing::Length(5))
        );
        assert_eq!(request(&[("transfer-encoding", "gzip, Chunked")]), Ok(Framing::Chunked));
        for bad in ["5, 6", "+5", "", "5 5", "-1", "0x5", "99999999999999999999"] {
            assert_eq!(request(&[("content-length", bad)]), Err(400), "{bad}");
        }
        assert_eq!(request(&[("transfer-encoding", "chunked, gzip")]), Err(400));

        let response = |method, status: u16, lines: &[_]| {
            let status = StatusCode::from_u16(status).unwrap();
            Framing::of_response(&method, status, &fields(lines)).unwrap()
        };
        let length = [("content-length", "5")];
        assert_eq!(response(Method::GET, 200, &length), Framing::Length(5));
        assert_eq!(response(Method::HEAD, 200, &length), Framing::NONE);
        assert_eq!(response(Method::GET, 304, &length), Framing::NONE);
        assert_eq!(
            response(Method::GET, 204, &[("transfer-encoding", "chunked")]),
            Framing::NONE
        );
        assert_eq!(response(Method::GET, 200, &[]), Framing::UntilClose);
        assert_eq!(
            response(Method::GET, 200, &[("transfer-encoding", "gzip")]),
            Framing::UntilClose
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4000), 0..8),
            step in 1_usize..3000,
            with_trailers: bool,
        ) {
            let body = pieces.concat();
            let trailers = fields(&[("x-a", "1"), ("x-b", "2")]);
            let trailers = with_trailers.then_some(&trailers);
            for framing in [Framing::Chunked, Framing::Length(body.len() as u64), Framing::UntilClose] {
                let (wire, whole) = encode(framing, &pieces, trailers);
                prop_assert!(whole);
                let (got, fields, done) = decode(framing, &wire, step).unwrap();
                prop_assert_eq!(&got, &body);
                prop_assert_eq!(done, framing != Framing::UntilClose);
                prop_assert_eq!(fields.len(), if with_trailers && framing == Framing::Chunked { 2 } else { 0 });
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>, piece in 1_usize..20) {
            let _any = decode(Framing::Chunked, &bytes, piece);
        }
    }
}
