//! Draws, squall's random decisions.
//!
//! A draw is a function of (seed, rule name, key) and of nothing else. It reads no clock and no shared random state, so it
//! does not depend on concurrency, on other rules or on other requests: equal seeds and keys give equal faults in any order
//! of arrival.
//!
//! ```text
//! Seed ─┐
//! rule ─┴─ RuleSeed ─┐                      ┌─ stream(Percentage, 0) → does the rule fire?
//! kind ─┐            ├─ Draw ─ one per ─────┼─ stream(Choose, 0)     → which outcome?
//! key  ─┴─ KeyHash ──┘         request      └─ stream(Delay, i)      → how long does fault i take?
//! ```
//!
//! Each arrow is XXH3-64 over fields of fixed width, little endian, so different inputs never have equal encodings. The
//! streams of one draw are domain-separated by [`Purpose`] and index: whether a rule fires is independent of how long it
//! delays. **The returned values are a promise**, pinned by golden tests: a changed value would silently change every
//! replayed run.

pub mod head;
pub mod key;
pub mod remembered;

use std::fmt;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The whole in parts per million: a threshold of this much always fires.
pub const PPM_WHOLE: u32 = 1_000_000;

/// The seed of a whole run, from the configuration, the command line, or the operating system's entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of one rule. It hashes the name, so compute it once, when the rule is loaded.
    pub fn rule(self, name: &str) -> RuleSeed {
        RuleSeed(xxh3_64_with_seed(name.as_bytes(), self.0))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The seed of one rule: [`Seed`] and the rule's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleSeed(u64);

impl RuleSeed {
    /// The draw that this rule makes for this key.
    pub fn draw(self, key: KeyHash) -> Draw {
        Draw(hash_pair(self.0, key.0))
    }
}

/// The hash of what tells requests apart in a rule: the ordinal, a header's value, the client's address…
///
/// The kind goes into the hash, so a client `7` and a path `7` are different keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The key of the nth request of a rule, the default where a rule names no key.
    pub fn ordinal(ordinal: u64) -> Self {
        Self::of("ordinal", &ordinal.to_le_bytes())
    }

    /// A key of a kind (`header:idempotency-key`, `client`, `path`…) with its value in bytes.
    pub fn of(kind: &str, bytes: &[u8]) -> Self {
        Self(xxh3_64_with_seed(bytes, xxh3_64(kind.as_bytes())))
    }

    /// The hash itself, for a bounded table of remembered keys.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// What a stream of a draw decides. The numbers are part of the promise: never reuse or renumber one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Purpose {
    /// Whether the rule fires.
    Percentage = 1,
    /// Which outcome of `choose` is taken.
    Choose = 2,
    /// How long a delay is; the index is the fault's position in its rule.
    Delay = 3,
    /// The innovations of correlated delays; the index is the fault's position in its rule.
    Correlation = 4,
    /// Which bytes of a body are changed, and to what; the index is the fault's position in its rule.
    Corrupt = 5,
    /// Which messages of a stream are picked; the index is the fault's position in its rule.
    Messages = 6,
    /// How long the messages of a stream wait; the index is the fault's position in its rule for the seed of a stream, and
    /// 0 for the messages' own draws.
    MessageDelay = 7,
    /// How large the pieces of a body are; the index is the fault's position in its rule.
    Pieces = 8,
    /// The random data of a template; the index is the fault's position in its rule.
    Template = 9,
}

/// One request's random decision in one rule. Shown as 16 hexadecimal digits, as in the `Squall-Fault` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Draw(u64);

impl Draw {
    /// The 64 random bits for one purpose. Streams of different purposes or indexes are independent of one another.
    pub fn stream(self, purpose: Purpose, index: u32) -> u64 {
        hash_pair(self.0, u64::from(purpose as u32) << 32 | u64::from(index))
    }

    /// A uniform number in the open interval (0, 1), see [`unit_open`].
    pub fn unit(self, purpose: Purpose, index: u32) -> f64 {
        unit_open(self.stream(purpose, index))
    }

    /// The number that is compared with the rule's percentage, in parts per million: 0 to 999,999.
    pub fn percentage_ppm(self) -> u32 {
        ppm(self.stream(Purpose::Percentage, 0))
    }

    /// Whether a rule with this threshold fires. At [`PPM_WHOLE`] or more it always does, at 0 never. Raising the threshold
    /// only adds keys: a key that is hit at 10 % is still hit at 20 %.
    pub fn fires(self, threshold_ppm: u32) -> bool {
        self.percentage_ppm() < threshold_ppm
    }

    /// A number below the sum of the weights of `choose`, or 0 where that sum is 0.
    pub fn choose(self, weights_sum: u64) -> u64 {
        below(self.stream(Purpose::Choose, 0), weights_sum)
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Maps 64 random bits to 0..1,000,000. No value is likelier than another by more than one part in 10^13.
pub fn ppm(bits: u64) -> u32 {
    below(bits, u64::from(PPM_WHOLE)) as u32
}

/// Maps 64 random bits to 0..bound by a 128-bit multiplication and shift (Lemire, "Fast Random Integer Generation in an
/// Interval", without its rejection step: the bias is at most bound / 2^64). A bound of 0 gives 0.
pub fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// Maps 64 random bits to a number strictly between 0 and 1, from 2^-53 to 1 - 2^-53 in steps of 2^-52, symmetric around
/// one half. Quantile functions may be infinite at the ends, so these are left out. 52 bits and not 53, because
/// 2^53 - 0.5 does not fit an `f64` and would round to exactly 1.
pub fn unit_open(bits: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 52) as f64;
    ((bits >> 12) as f64 + 0.5) * STEP
}

/// XXH3-64 of two numbers, written as 16 bytes, little endian.
fn hash_pair(first: u64, second: u64) -> u64 {
    xxh3_64(&(u128::from(second) << 64 | u128::from(first)).to_le_bytes())
}

#[cfg(test)]
mod tests;
