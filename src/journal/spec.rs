//! The journal's settings, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ring::Bounds;
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::ByteSize;

/// The range of `requests`.
const REQUESTS: std::ops::RangeInclusive<u32> = 1..=100_000;

/// The range of `bytes`.
const BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 30);

/// `journal: off`, or the long form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JournalSpec(JournalLong);

/// The long form of the journal's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JournalLong {
    /// `false`: no request is kept, and `verify` can't tell anything. Default: true.
    enabled: bool,
    /// The most requests that are kept, for each space; beyond it the oldest is dropped, and counted. From 1 to 100000; default:
    /// 1000.
    requests: u32,
    /// The most memory that these take, for each space; beyond it the oldest is dropped, and counted. From 64KiB to 1GiB;
    /// default: 8MiB.
    bytes: ByteSize,
}

impl Default for JournalLong {
    fn default() -> Self {
        JournalLong {
            enabled: true,
            requests: 1000,
            bytes: ByteSize::from_bytes(8 << 20),
        }
    }
}

impl JournalSpec {
    /// The bounds of each ring; `None` if the journal is off.
    pub fn bounds(&self) -> Option<Bounds> {
        let long = &self.0;
        long.enabled.then(|| Bounds {
            requests: long.requests as usize,
            bytes: usize::try_from(long.bytes.get()).unwrap_or(usize::MAX),
        })
    }
}

impl ShortForm for JournalSpec {
    type Long = JournalLong;
    const EXPECTING: &'static str = "`off`, `on`, or a map such as {requests: 10000, bytes: 64MiB}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let enabled = match scalar {
            Scalar::Bool(enabled) => enabled,
            Scalar::Str("on") => true,
            Scalar::Str("off") => false,
            Scalar::Str(other) => return Some(Err(format!("`{other}` is not valid: use {}", Self::EXPECTING))),
            Scalar::Null | Scalar::Int(_) | Scalar::Float(_) => return None,
        };
        Some(Ok(JournalSpec(JournalLong {
            enabled,
            ..JournalLong::default()
        })))
    }

    fn from_long(long: JournalLong) -> Result<Self, String> {
        if !REQUESTS.contains(&long.requests) {
            return Err("`requests` must be from 1 to 100000; to keep none, use `journal: off`".into());
        }
        if !BYTES.contains(&long.bytes.get()) {
            return Err("`bytes` must be from 64KiB to 1GiB".into());
        }
        Ok(JournalSpec(long))
    }
}

short_form!(
    JournalSpec,
    JournalLong,
    "Journal",
    {"enum": ["on", "off", true, false]}
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::testing::read;

    #[test]
    fn both_forms_are_read_and_bounded() {
        let bounds = |text: &str| read::<JournalSpec>(text).map(|spec| spec.bounds());
        assert_eq!(bounds("off"), Ok(None));
        assert_eq!(bounds("false"), Ok(None));
        assert_eq!(bounds("on"), Ok(JournalSpec::default().bounds()));
        let small = Bounds {
            requests: 10,
            bytes: 1 << 20,
        };
        assert_eq!(bounds("{requests: 10, bytes: 1MiB}"), Ok(Some(small)));
        for bad in [
            "{requests: 0}",
            "{requests: 100001}",
            "{bytes: 1KiB}",
            "{bytes: 2GiB}",
            "never",
            "7",
        ] {
            assert!(bounds(bad).is_err(), "{bad}");
        }
    }
}
