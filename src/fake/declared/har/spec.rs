//! `har:`, as it is typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::yaml::decode::Spanned;
use crate::yaml::forms::{Scalar, ShortForm, short_form};

/// A recording as a source of routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HarSpec(pub HarLong);

/// A recording with its options.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HarLong {
    /// The HAR 1.2 file, relative to this one: at most 64 MiB.
    pub file: Spanned<String>,
    /// Whether responses take as long as when they were recorded: `wait` until the head, `receive` for the body. Default:
    /// true.
    pub timing: Option<bool>,
    /// How many times faster than recorded, 0.01 to 1000. Default: 1.
    pub speed: Option<Spanned<f64>>,
    /// The parts of a request that must match the recording. Default: method, path and query.
    #[serde(rename = "match")]
    pub parts: Option<Spanned<Vec<HarPart>>>,
    /// What follows once all responses to a request have been sent: the `last` again, or the first, in a `cycle`.
    /// Default: last.
    pub repeat: Option<HarRepeat>,
    /// Only recordings of this host, with its port if it has one: `api.example.com`. Default: all hosts.
    pub host: Option<Spanned<String>>,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HarPart {
    /// GET, POST and so on.
    Method,
    /// The path.
    Path,
    /// The query, in any order.
    Query,
    /// The body: of a form its fields in any order, of anything else its bytes.
    Body,
}

/// What follows the last response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HarRepeat {
    /// The last again.
    #[default]
    Last,
    /// The first.
    Cycle,
}

impl ShortForm for HarSpec {
    type Long = HarLong;
    const EXPECTING: &'static str = "a HAR file, or a map such as {file: recorded.har, timing: false}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let file = Spanned::nowhere(scalar.text()?);
        Some(Ok(Self(HarLong {
            file,
            ..HarLong::default()
        })))
    }

    fn from_long(long: HarLong) -> Result<Self, String> {
        Ok(Self(long))
    }
}

short_form!(HarSpec, HarLong, "Har", {"description": "A HAR file, relative to this one", "type": "string"});
