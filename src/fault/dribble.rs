//! `dribble: {chunk: 64B, gap: 100ms}`: a body is sent in pieces with gaps between them.
//!
//! `vary: 16B` draws the size of each piece: with `chunk: 64B` from 48 to 80 bytes, from the request's draw and the piece's
//! number, so every replay gives the same pieces. `gap: 0s` slices the body without slowing it down.
//!
//! `{chunks: 10, over: 5s}` divides the body into equal pieces and spreads them evenly over a time, from the first piece to
//! the last. That needs a known length: a body without `Content-Length` is left alone, and the fault is skipped with "length
//! unknown".
//!
//! | protocol | what happens |
//! |---|---|
//! | HTTP/1.1 | each piece is one write, and with chunked coding one chunk; `Content-Length` and trailers stay |
//! | HTTP/2, gRPC | each piece is one DATA frame, so messages arrive in parts; the stream's end and its trailers stay |
//! | WebSocket, SSE | each piece is one write, even in the middle of a message |
//! | TCP | each piece is one write; `over` is skipped with "length unknown" |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::context::Context;
use super::kind::Spec;
use super::place::Parts;
use crate::shape::{Act, Direction, Dribble};
use crate::yaml::units::{ByteSize, Time};

/// `dribble: {chunk: 64B, gap: 100ms}` or `dribble: {chunks: 10, over: 5s}`
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DribbleSpec {
    /// Bytes in each piece, at least 1. Needs `gap`.
    pub chunk: Option<ByteSize>,
    /// How many bytes more or less each piece may have, at most `chunk`. Drawn for each piece, at least 1 byte. Needs `chunk`.
    pub vary: Option<ByteSize>,
    /// The time from one piece to the next; with 0s each piece is just a write of its own. Needs `chunk`.
    pub gap: Option<Time>,
    /// The number of pieces of equal size, at least 2. Needs `over`.
    #[schemars(range(min = 2))]
    pub chunks: Option<u64>,
    /// The time from the first piece to the last. Needs `chunks`.
    pub over: Option<Time>,
    /// The body of the response (default) or of the request.
    #[serde(default)]
    pub direction: Direction,
}

impl Spec for DribbleSpec {
    type Fault = Parts;

    /// Checks the parts.
    ///
    /// # Errors
    /// Neither form is complete, both are mixed, a number is too small to divide anything, sizes vary by more than the
    /// chunk, or a gap is longer than a single wait may be.
    fn compile(&self, context: &Context<'_>) -> Result<Parts, String> {
        if self.vary.is_some() && self.chunk.is_none() {
            return Err(
                "`vary` needs `chunk`, the bytes of a piece, such as {chunk: 64B, vary: 16B, gap: 100ms}".into(),
            );
        }
        let dribble = match (self.chunk, self.gap, self.chunks, self.over) {
            (Some(chunk), Some(gap), None, None) => pieces(chunk, self.vary.unwrap_or(ByteSize::from_bytes(0)), gap)?,
            (None, None, Some(chunks), Some(over)) => spread(chunks, over)?,
            (Some(_), None, None, None) => return Err("`chunk` needs `gap`, the time between two pieces".into()),
            (None, Some(_), None, None) => return Err("`gap` needs `chunk`, the bytes of a piece".into()),
            (None, None, Some(_), None) => {
                return Err("`chunks` needs `over`, the time to spread them over".into());
            }
            (None, None, None, Some(_)) => return Err("`over` needs `chunks`, the number of pieces".into()),
            (None, None, None, None) => {
                return Err("the pieces are missing: give {chunk: 64B, gap: 100ms} or {chunks: 10, over: 5s}".into());
            }
            _ => {
                return Err(
                    "two forms can't be combined: give {chunk: 64B, gap: 100ms} or {chunks: 10, over: 5s}".into(),
                );
            }
        };
        let gap = match dribble {
            Dribble::Chunk { gap, .. } => gap,
            Dribble::Over { chunks, time } => time.div_f64(chunks.saturating_sub(1).max(1) as f64),
        };
        context.check_wait("a gap", gap)?;
        Ok(Parts::one(self.direction, Act::Dribble(dribble)))
    }
}

fn pieces(chunk: ByteSize, vary: ByteSize, gap: Time) -> Result<Dribble, String> {
    if vary > chunk {
        return Err(format!(
            "`vary: {vary}` is more than the chunk of {chunk}: use at most that"
        ));
    }
    let [bytes, vary] = [chunk, vary].map(|size| usize::try_from(size.get()).unwrap_or(usize::MAX));
    match bytes {
        0 => Err("a chunk of 0B is empty: use at least 1B, or `stall` to stop".into()),
        bytes => Ok(Dribble::Chunk {
            bytes,
            vary,
            // Drawn for each request.
            seed: 0,
            gap: gap.get(),
        }),
    }
}

fn spread(chunks: u64, over: Time) -> Result<Dribble, String> {
    match (chunks, over) {
        (0 | 1, _) => Err(format!(
            "`chunks: {chunks}` can't be spread over a time: use at least 2"
        )),
        (_, Time::ZERO) => Err("`over: 0s` has no effect: use a time such as 5s".into()),
        (chunks, over) => Ok(Dribble::Over {
            chunks,
            time: over.get(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::{check, context, read};

    #[test]
    fn forms_and_mistakes() {
        check(
            |yaml| read::<DribbleSpec>(yaml)?.compile(&context()),
            &[
                (
                    "{chunk: 64B, gap: 100ms}",
                    Ok("Response Dribble(Chunk { bytes: 64, vary: 0, seed: 0, gap: 100ms })"),
                ),
                (
                    "{chunk: 64B, vary: 16B, gap: 0s}",
                    Ok("Response Dribble(Chunk { bytes: 64, vary: 16, seed: 0, gap: 0ns })"),
                ),
                ("{chunk: 64B, vary: 65B, gap: 1s}", Err("is more than the chunk of 64B")),
                ("{chunks: 10, over: 5s, vary: 1B}", Err("`vary` needs `chunk`")),
                (
                    "{chunks: 10, over: 5s, direction: request}",
                    Ok("Request Dribble(Over { chunks: 10, time: 5s })"),
                ),
                (
                    "{chunks: 4, over: 3h}",
                    Ok("Response Dribble(Over { chunks: 4, time: 10800s })"),
                ),
                ("{}", Err("the pieces are missing")),
                ("{chunk: 64B}", Err("`chunk` needs `gap`")),
                ("{gap: 1s}", Err("`gap` needs `chunk`")),
                ("{chunks: 3}", Err("`chunks` needs `over`")),
                ("{over: 3s}", Err("`over` needs `chunks`")),
                (
                    "{chunk: 64B, chunks: 10, gap: 1s, over: 5s}",
                    Err("two forms can't be combined"),
                ),
                ("{chunk: 64B, over: 5s}", Err("two forms can't be combined")),
                ("{chunk: 0B, gap: 1s}", Err("is empty")),
                (
                    "{chunk: 1B, gap: 2h}",
                    Err("a gap of 2h is longer than the longest allowed wait, 1h"),
                ),
                ("{chunks: 3, over: 3h}", Err("a gap of 1h30m is longer")),
                ("{chunks: 1, over: 5s}", Err("use at least 2")),
                ("{chunks: 2, over: 0s}", Err("`over: 0s` has no effect")),
                ("64B", Err("expected a map with keys such as `chunk`")),
            ],
        );
    }
}
