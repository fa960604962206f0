//! Content codings (RFC 9110, section 8.4), undone.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

use super::Unanswered;

/// The most codings of one body: each costs a pass over it.
const MOST: usize = 3;

/// The bytes of the buffer that Brotli decodes through.
const BUFFER: usize = 4 << 10;

/// Undoes the codings of a body, the last one first. The result has at most `limit` bytes.
///
/// # Errors
/// Why it can't be decoded.
pub(super) fn decoded(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, Unanswered> {
    let mut codings = Vec::new();
    for field in headers.get_all(header::CONTENT_ENCODING) {
        let field = String::from_utf8_lossy(field.as_bytes()).to_ascii_lowercase();
        let names = field.split(',').map(|name| name.trim().to_owned());
        codings.extend(names.filter(|name| !name.is_empty() && name != "identity"));
    }
    if codings.len() > MOST {
        return Err("has too many content encodings".into());
    }
    if body.is_empty() {
        return Ok(body);
    }
    codings
        .iter()
        .rev()
        .try_fold(body, |body, coding| decode(&body, coding, limit))
}

fn decode(body: &[u8], coding: &str, limit: usize) -> Result<Bytes, Unanswered> {
    let read = match coding {
        "gzip" | "x-gzip" => all(MultiGzDecoder::new(body), limit),
        // Many clients leave out the zlib header that RFC 9110, section 8.4.1.2, asks for.
        "deflate" => all(ZlibDecoder::new(body), limit).or_else(|_| all(DeflateDecoder::new(body), limit)),
        "br" => all(brotli::Decompressor::new(body, BUFFER), limit),
        other => return Err(format!("has the content encoding `{other}`, which is not supported").into()),
    };
    match read {
        Ok(bytes) if bytes.len() > limit => Err(too_long(limit)),
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => Err(format!("is not valid {coding}, which is its content encoding").into()),
    }
}

/// At most one byte more than `limit`.
fn all(decoder: impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    decoder.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn too_long(limit: usize) -> Unanswered {
    format!("is longer than {limit} bytes once decoded").into()
}
