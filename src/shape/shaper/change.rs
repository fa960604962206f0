//! Changes of bytes: corruption, and bodies made invalid as JSON or as their content encoding.

use bytes::{Bytes, BytesMut};

use super::corruptions::{Corruptions, flip};
use super::notes::Notes;
use crate::shape::framing::Span;
use crate::shape::{Act, Malformed, Stream};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A byte that no JSON text begins with (RFC 8259, section 2).
const NOT_JSON: u8 = b'#';

/// A byte that no encoded body begins with: gzip begins with 1f, zlib with x8 (RFC 1950, section 2.2), zstd with 28, and in
/// Brotli this is the one invalid window size (RFC 7932, section 9.1).
const NOT_ENCODED: u8 = 0x11;

#[derive(Debug, Default)]
pub(super) struct Change {
    flips: Corruptions,
    json: Option<Json>,
    /// The action that changes the first two bytes, to break the content encoding.
    encoding: Option<usize>,
    /// The number of bytes looked at.
    seen: u64,
    /// Changes to the bytes that were looked at since the last [`Change::apply`], by offset.
    marks: Vec<(usize, Mark)>,
}

#[derive(Debug)]
struct Json {
    action: usize,
    done: bool,
}

/// A change of one byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// Flip bits, chosen by `random`.
    Flip {
        text: bool,
        random: u64,
    },
    Invert,
    Is(u8),
}

impl Change {
    pub(super) fn new(acts: &[(usize, Act)], stream: &Stream) -> Change {
        let mut change = Change::default();
        for (action, act) in acts {
            match act {
                Act::Corrupt(flip) => change.flips.add(*action, flip),
                Act::Malform(Malformed::Json) => {
                    change.json = Some(Json {
                        action: *action,
                        done: false,
                    });
                }
                Act::Malform(Malformed::Encoding) if stream.encoded => change.encoding = Some(*action),
                _ => {}
            }
        }
        change
    }

    pub(super) fn is_needed(&self) -> bool {
        !self.flips.is_empty() || self.json.is_some() || self.encoding.is_some()
    }

    /// Notes the beginning of a message.
    pub(super) fn begin(&mut self, number: u64) {
        self.flips.begin(number);
    }

    /// Looks at the next bytes, which will be at offset `at` in the call of [`Change::apply`].
    pub(super) fn look(&mut self, bytes: &[u8], span: &Span, at: usize, notes: &mut Notes) {
        self.flips.look(bytes.len(), span, at, &mut self.marks, notes);
        if let Some(action) = self.encoding {
            for (index, mark) in [Mark::Is(NOT_ENCODED), Mark::Invert].into_iter().enumerate() {
                let here = (index as u64).checked_sub(self.seen).map(|skip| skip as usize);
                if let Some(skip) = here.filter(|skip| *skip < bytes.len()) {
                    self.marks.push((at + skip, mark));
                    notes.take_effect(action);
                }
            }
        }
        if let Some(json) = self.json.as_mut().filter(|json| !json.done) {
            let first = bytes.iter().zip(self.seen..).position(|(byte, seen)| {
                let bom = usize::try_from(seen).ok().and_then(|seen| BOM.get(seen));
                bom != Some(byte) && !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
            });
            if let Some(first) = first {
                json.done = true;
                self.marks.push((at + first, Mark::Is(NOT_JSON)));
                notes.take_effect(json.action);
            }
        }
        self.seen = self.seen.saturating_add(bytes.len() as u64);
    }

    /// Changes the bytes that were looked at. Copies them only if there is something to change.
    pub(super) fn apply(&mut self, bytes: Bytes) -> Bytes {
        if self.marks.is_empty() {
            return bytes;
        }
        let mut changed = bytes
            .try_into_mut()
            .unwrap_or_else(|bytes| BytesMut::from(bytes.as_ref()));
        for (at, mark) in self.marks.drain(..) {
            if let Some(byte) = changed.get_mut(at) {
                match mark {
                    Mark::Flip { text, random } => *byte = flip(*byte, text, random),
                    Mark::Invert => *byte = !*byte,
                    Mark::Is(other) => *byte = other,
                }
            }
        }
        changed.freeze()
    }

    /// Reports the acts that had nothing to act on, at the natural end of the stream.
    pub(super) fn missed(&self, notes: &mut Notes) {
        self.flips.missed(notes);
        if let Some(json) = &self.json {
            notes.miss(json.action, if self.seen == 0 { "no body" } else { "not JSON" });
        }
        if let Some(action) = self.encoding {
            notes.miss(action, "no body");
        }
    }
}
