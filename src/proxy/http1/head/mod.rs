//! Heads of HTTP/1 messages: parsed strictly, and written as they were received.
//!
//! Fields keep their order and the case of their names. Repeated fields are grouped behind the first of them, as a header
//! map keeps them, which does not change the meaning (RFC 9110, section 5.3).

use std::mem::MaybeUninit;

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Version};
use pingora::http::{HeaderNameVariant, RequestHeader, ResponseHeader, header_value_from_raw};
use pingora::protocols::http::authority::validate_request_authority;
use smallvec::SmallVec;

use super::Malformed;

/// The most bytes of a head.
const MAX_HEAD: usize = 1 << 20;

/// The most fields of a head.
const MAX_FIELDS: usize = 256;

/// A field's name and value in the buffer, as ranges.
type Ranges = SmallVec<[(std::ops::Range<usize>, std::ops::Range<usize>); 32]>;

/// Parses a request head and removes it from `input`; `None` if it is incomplete.
///
/// # Errors
/// The head is malformed, too large, or could be read in another way by the upstream.
pub(crate) fn parse_request(input: &mut BytesMut) -> Result<Option<RequestHeader>, Malformed> {
    if !has_end(input) {
        return incomplete(input, true);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, input, &mut fields);
    if parsed == Err(httparse::Error::Version) {
        lower_version(input, true)?;
        return parse_request(input);
    }
    let httparse::Status::Complete(length @ ..=MAX_HEAD) = parsed.map_err(of_parser)? else {
        return incomplete(input, true);
    };
    let target = request.path.unwrap_or_default().as_bytes();
    let malformed_target = |_| Malformed::bad("the request target is malformed");
    let mut head = RequestHeader::build(request.method.unwrap_or_default(), target, Some(request.headers.len()))
        .map_err(malformed_target)?;
    head.set_version(version(request.version));
    let ranges = ranges(input, request.headers);
    let bytes = input.split_to(length).freeze();
    for (name, value) in ranges {
        let value = HeaderValue::from_maybe_shared(bytes.slice(value)).map_err(|_| FIELD)?;
        head.append_header(bytes.slice(name), value).map_err(|_| FIELD)?;
    }
    check_host(&head)?;
    // The authority of an absolute target counts, whatever Host says (RFC 9112, section 3.2.2).
    if let Some(authority) = authority_of(head.raw_path()).filter(|_| head.headers.contains_key(HOST)) {
        let authority = HeaderValue::from_bytes(authority).map_err(|_| FIELD)?;
        head.insert_header(HOST, authority).map_err(|_| FIELD)?;
    }
    check_request(&head)?;
    if head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH) {
        // The coding counts (RFC 9112, section 6.3); the connection is closed afterwards, see `keeps_alive`.
        head.remove_header(&CONTENT_LENGTH);
        head.insert_header(CONNECTION, "close").map_err(|_| FIELD)?;
    }
    if let Some(length) = repeated_length(&head.headers)? {
        head.insert_header(CONTENT_LENGTH, length).map_err(|_| FIELD)?;
    }
    Ok(Some(head))
}

/// Takes a response's head out of `input`; `None` if it is not complete.
///
/// # Errors
/// The head is malformed.
pub(crate) fn parse_response(input: &mut BytesMut) -> Result<Option<ResponseHeader>, Malformed> {
    if !has_end(input) {
        return incomplete(input, false);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    // Old servers send these, and clients accept them (RFC 9112, sections 5.1 and 5.2).
    let parsed = httparse::ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut response, input, &mut fields);
    if parsed == Err(httparse::Error::Version) {
        lower_version(input, false)?;
        return parse_response(input);
    }
    let httparse::Status::Complete(length @ ..=MAX_HEAD) = parsed.map_err(of_parser)? else {
        return incomplete(input, false);
    };
    let mut head = ResponseHeader::build(response.code.unwrap_or_default(), Some(response.headers.len()))
        .map_err(|_| Malformed::bad("the status code is malformed"))?;
    head.set_version(version(response.version));
    head.set_reason_phrase(response.reason).map_err(|_| FIELD)?;
    let ranges = ranges(input, response.headers);
    let bytes = input.split_to(length).freeze();
    for (name, value) in ranges {
        let value = header_value_from_raw(bytes.slice(value));
        head.append_header(bytes.slice(name), value).map_err(|_| FIELD)?;
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        head.remove_header(&CONTENT_LENGTH);
    }
    if let Some(length) = repeated_length(&head.headers)? {
        head.insert_header(CONTENT_LENGTH, length).map_err(|_| FIELD)?;
    }
    Ok(Some(head))
}

/// The length, if it is stated more than once: it is then sent on only once (RFC 9110, section 8.6).
fn repeated_length(fields: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next();
    if lengths.next().is_some() || first.is_some_and(|length| length.as_bytes().contains(&b',')) {
        super::body::length(fields)
    } else {
        Ok(None)
    }
}

const FIELD: Malformed = Malformed::bad("a header field is malformed");

/// Whether the empty line that ends a head was received. httparse starts from scratch each time, so it is called only then.
fn has_end(input: &[u8]) -> bool {
    let mut rest = input;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return true;
        }
    }
    false
}

/// Reads a later minor version, which httparse does not know, as HTTP/1.1 (RFC 9110, section 2.5).
///
/// # Errors
/// The version is of another major version, or malformed.
fn lower_version(input: &mut [u8], request: bool) -> Result<(), Malformed> {
    let begin = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let line = input.get_mut(begin..).unwrap_or_default();
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let line = line.get_mut(..end.unwrap_or_default()).unwrap_or_default();
    let version = if request {
        line.rsplit_mut(|byte| *byte == b' ').next()
    } else {
        line.split_mut(|byte| *byte == b' ').next()
    };
    match version {
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9']) => {
            *minor = b'1';
            Ok(())
        }
        Some([b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.', b'0'..=b'9']) => Err(Malformed {
            status: 505,
            reason: "the version is not HTTP/1",
        }),
        _ => Err(of_parser(httparse::Error::Version)),
    }
}

/// Checks that a connection has ended without a further head. Empty lines don't begin one (RFC 9112, section 2.2).
///
/// # Errors
/// A head has begun (RFC 9112, section 8).
pub(crate) fn check_absent(input: &[u8]) -> Result<(), Malformed> {
    if input.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        Ok(())
    } else {
        Err(Malformed::bad("the connection ended before the end of the head"))
    }
}

fn incomplete<T>(input: &[u8], request: bool) -> Result<Option<T>, Malformed> {
    if input.len() <= MAX_HEAD {
        return Ok(None);
    }
    let status = if request && !input.contains(&b'\n') { 414 } else { 431 };
    let reason = "the head is too large";
    Err(Malformed { status, reason })
}

fn of_parser(error: httparse::Error) -> Malformed {
    let bad = Malformed::bad;
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => FIELD,
        httparse::Error::NewLine => bad("a line of the head ends without CR LF"),
        httparse::Error::Status => bad("the status line is malformed"),
        httparse::Error::Token => bad("the start line is malformed"),
        httparse::Error::TooManyHeaders => Malformed {
            status: 431,
            reason: "there are too many header fields",
        },
        httparse::Error::Version => bad("the version is not HTTP/1"),
    }
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

fn ranges(input: &[u8], fields: &[httparse::Header<'_>]) -> Ranges {
    let start = input.as_ptr() as usize;
    let range = |part: &[u8]| {
        let from = part.as_ptr() as usize - start;
        from..from + part.len()
    };
    fields
        .iter()
        .map(|field| (range(field.name.as_bytes()), range(field.value)))
        .collect()
}

/// Refuses a Host that is repeated, or that is not `uri-host [ ":" port ]` (RFC 9112, section 3.2). An empty one is valid.
fn check_host(head: &RequestHeader) -> Result<(), Malformed> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(()) };
    if hosts.next().is_some() {
        return Err(Malformed::bad("there is more than one Host field"));
    }
    // `to_str` and what follows allocate nothing, unlike `http::uri::Authority`: this runs for each request.
    if host.is_empty() || host.to_str().is_ok_and(is_host_and_port) {
        Ok(())
    } else {
        Err(Malformed::bad("the Host field is not a host and a port"))
    }
}

/// Whether a text is a host, and a port or none (RFC 3986, sections 3.2.2 and 3.2.3).
fn is_host_and_port(text: &str) -> bool {
    let (valid, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            let is_of_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            (!address.is_empty() && address.bytes().all(is_of_address), port)
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            (!name.is_empty() && name.bytes().all(is_of_name), port)
        }
    };
    let valid_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.is_empty() || (digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.parse::<u16>().is_ok())
        }
    };
    valid && valid_port
}

/// The authority of a target in absolute form (RFC 9112, section 3.2.2).
pub(crate) fn authority_of(target: &[u8]) -> Option<&[u8]> {
    let without = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = without(b"http://").or_else(|| without(b"https://"))?;
    rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()
}

/// Refuses requests that two recipients could read in two ways.
fn check_request(head: &RequestHeader) -> Result<(), Malformed> {
    let target = head.raw_path();
    let origin = target.starts_with(b"/") || target == b"*" && head.method == Method::OPTIONS;
    // SSDP uses an asterisk with other methods.
    let known = origin || target == b"*" || authority_of(target).is_some();
    if !(known || head.method == Method::CONNECT) {
        return Err(Malformed::bad("the request target is neither a path nor a URL"));
    }
    validate_request_authority(head)
        .map_err(|_| Malformed::bad("the Host field and the request target don't name one valid authority"))?;
    if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return Err(Malformed::bad("the Host field is missing"));
    }
    if head.headers.contains_key(CONNECTION) && has_token(&head.headers, &CONNECTION, "host") {
        // A recipient that removes what is nominated would remove the Host (RFC 9110, section 7.6.1).
        return Err(Malformed::bad("Connection can't nominate Host"));
    }
    if head.headers.contains_key(TRANSFER_ENCODING) && head.version == Version::HTTP_10 {
        // Its framing must be treated as faulty (RFC 9112, section 6.1).
        return Err(Malformed::bad("HTTP/1.0 can't have a Transfer-Encoding"));
    }
    Ok(())
}

/// Whether chunked is the last transfer coding, so that it marks the end of the body (RFC 9112, section 6.3).
pub(crate) fn is_chunked(fields: &HeaderMap) -> bool {
    let last = fields.get_all(TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|value| value.as_bytes().rsplit(|byte| *byte == b',').next());
    coding.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Whether a body has a transfer coding other than chunked. Only HTTP/1.1 can carry it.
pub(crate) fn is_transfer_coded(fields: &HeaderMap) -> bool {
    tokens(fields, &TRANSFER_ENCODING).any(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
}

/// Whether a list field contains a token, ignoring case.
pub(crate) fn has_token(fields: &HeaderMap, name: &HeaderName, token: impl AsRef<[u8]>) -> bool {
    tokens(fields, name).any(|other| other.eq_ignore_ascii_case(token.as_ref()))
}

/// Whether the sender of a request waits for a 100 before it sends the body (RFC 9110, section 10.1.1).
pub(crate) fn expects_continue(fields: &HeaderMap) -> bool {
    let expect = fields.get(EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The tokens of a list field (RFC 9110, section 5.6.1).
pub(crate) fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let values = fields.get_all(name).into_iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Whether the connection persists after this message (RFC 9112, section 9.3).
pub(crate) fn keeps_alive(version: Version, fields: &HeaderMap) -> bool {
    // The common case first: most heads have no `Connection`.
    if !fields.contains_key(CONNECTION) {
        return version == Version::HTTP_11;
    }
    if has_token(fields, &CONNECTION, "close") {
        false
    } else {
        version == Version::HTTP_11 || has_token(fields, &CONNECTION, "keep-alive")
    }
}

/// What happens to a field when a head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    /// Write it unchanged.
    Pass,
    /// Leave it out.
    Drop,
    /// Write it with another name and value.
    Become(&'a str, &'a [u8]),
}

/// Writes a request head. `fate` decides about each field; the fields in `extra` follow.
pub(crate) fn write_request<'a>(
    head: &RequestHeader,
    buffer: &mut BytesMut,
    mut fate: impl FnMut(&[u8]) -> Fate<'a>,
    extra: &[(&str, &[u8])],
) {
    buffer.reserve(1024);
    buffer.put_slice(head.method.as_str().as_bytes());
    buffer.put_u8(b' ');
    buffer.put_slice(origin_form(head));
    buffer.put_slice(b" HTTP/1.1\r\n");
    // Writing a field never fails.
    let _ = head.map(|name, value| field(buffer, &name, value, &mut fate));
    end(buffer, extra);
}

/// Reduces the absolute form of a target, which only proxies receive (RFC 9112, section 3.2.2), to a path, or to an asterisk
/// where an OPTIONS has none (section 3.2.4).
pub(crate) fn origin_form(head: &RequestHeader) -> &[u8] {
    let target = head.raw_path();
    if head.method == Method::OPTIONS && authority_of(target).is_some_and(|authority| target.ends_with(authority)) {
        return b"*";
    }
    if target.starts_with(b"/") || head.method == Method::CONNECT || target == b"*" {
        return target;
    }
    match head.uri.path_and_query() {
        Some(path) => path.as_str().as_bytes(),
        None => b"/",
    }
}

/// Writes a response head. `fate` decides about each field; the fields in `extra` follow.
pub(crate) fn write_response<'a>(
    head: &ResponseHeader,
    buffer: &mut BytesMut,
    mut fate: impl FnMut(&[u8]) -> Fate<'a>,
    extra: &[(&str, &[u8])],
) {
    buffer.reserve(1024);
    // A proxy sends its own version, not the upstream's (RFC 9110, section 2.5).
    buffer.put_slice(b"HTTP/1.1 ");
    buffer.put_slice(head.status.as_str().as_bytes());
    buffer.put_u8(b' ');
    buffer.put_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    buffer.put_slice(b"\r\n");
    // Writing a field never fails.
    let _ = head.map(|name, value| field(buffer, &name, value, &mut fate));
    end(buffer, extra);
}

fn field<'a>(
    buffer: &mut BytesMut,
    name: &HeaderNameVariant<'_>,
    value: &HeaderValue,
    fate: &mut impl FnMut(&[u8]) -> Fate<'a>,
) -> pingora::Result<()> {
    let name = match name {
        HeaderNameVariant::Case(name) => name.as_slice(),
        HeaderNameVariant::Titled(name) => name.as_bytes(),
    };
    match fate(name) {
        Fate::Pass => line(buffer, name, value.as_bytes()),
        Fate::Become(name, value) => line(buffer, name.as_bytes(), value),
        Fate::Drop => {}
    }
    Ok(())
}

fn line(buffer: &mut BytesMut, name: &[u8], value: &[u8]) {
    buffer.reserve(name.len() + value.len() + 4);
    buffer.put_slice(name);
    buffer.put_slice(b": ");
    buffer.put_slice(value);
    buffer.put_slice(b"\r\n");
}

fn end(buffer: &mut BytesMut, extra: &[(&str, &[u8])]) {
    for (name, value) in extra {
        line(buffer, name.as_bytes(), value);
    }
    buffer.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
