//! Bytes that are changed: flips, and bodies that are not what they say.

use bytes::{Bytes, BytesMut};

use super::corruptions::{Corruptions, flip};
use super::notes::Notes;
use crate::shape::framing::Span;
use crate::shape::{Act, Malformed, Stream};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What no JSON text begins with (RFC 8259, section 2).
const NOT_JSON: u8 = b'#';

/// What no encoded body begins with: gzip begins with 1f, zlib with x8 (RFC 1950, section 2.2), zstd with 28, and for
/// Brotli this is the one window size that is invalid (RFC 7932, section 9.1).
const NOT_ENCODED: u8 = 0x11;

#[derive(Debug, Default)]
pub(super) struct Change {
    flips: Corruptions,
    json: Option<Json>,
    /// The action that corrupts the first two bytes.
    encoding: Option<usize>,
    /// Bytes that have been looked at.
    seen: u64,
    /// What to do to the bytes that were looked at since the last [`Change::apply`].
    marks: Vec<(usize, Mark)>,
}

#[derive(Debug)]
struct Json {
    action: usize,
    done: bool,
}

/// What becomes of a byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// Flipped, as text or not, by these random bits.
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

    /// A message begins.
    pub(super) fn begin(&mut self, number: u64) {
        self.flips.begin(number);
    }

    /// Looks at the next bytes, which will be at `at` of those that [`Change::apply`] gets.
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

    /// Changes the bytes that were looked at; copies them only if there is something to change.
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

    /// The stream has come to its natural end.
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
