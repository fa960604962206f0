//! The fields of forms.

use percent_encoding::percent_decode;

use super::{Fields, essence, multipart};

/// The most fields, or parts of a multipart form, that are read.
const MOST: usize = 1000;

/// The fields of a form of this media type.
pub(super) fn fields(media_type: &str, body: &[u8]) -> Fields {
    if essence(media_type) != "multipart/form-data" {
        return urlencoded(body);
    }
    multipart::boundary(media_type).map_or_else(Fields::new, |boundary| multipart(body, &boundary))
}

fn urlencoded(body: &[u8]) -> Fields {
    let pieces = body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    let pair = |piece: &[u8]| {
        let mut halves = piece.splitn(2, |byte| *byte == b'=');
        let mut half = || text(halves.next().unwrap_or_default());
        (half(), half())
    };
    pieces.take(MOST).map(pair).collect()
}

fn text(encoded: &[u8]) -> String {
    let spaced: Vec<u8> = encoded
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    String::from_utf8_lossy(&percent_decode(&spaced).collect::<Vec<_>>()).into_owned()
}

/// The fields of a form in parts, without files. A malformed one has none.
fn multipart(body: &[u8], boundary: &str) -> Fields {
    let parts = multipart::parts(body, boundary, MOST).unwrap_or_default();
    let fields = parts.into_iter().filter(|part| part.filename.is_none());
    fields
        .map(|part| (part.name, String::from_utf8_lossy(part.content).into_owned()))
        .collect()
}
