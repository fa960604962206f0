//! `stop_when`, as typed: conditions that stop a rule, or everything.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::yaml::decode::Spanned;
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::{Percentage, Time};

/// A condition that stops the rule that it belongs to, or at the top level everything, until it is told otherwise. It has exactly
/// one key besides `name`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardSpec {
    /// The name in messages, metrics and the admin API. Absent: the condition's key, and the rule.
    pub name: Option<Spanned<String>>,
    /// Upstreams fail by themselves too often: responses with a status from 500, and requests and connections without a response.
    /// What squall injects does not count.
    pub errors: Option<Spanned<ErrorsForm>>,
    /// The median of natural times to the response head is too long.
    pub p50: Option<Spanned<SlownessForm>>,
    /// The 90th percentile of natural times to the response head is too long.
    pub p90: Option<Spanned<SlownessForm>>,
    /// The 95th percentile of natural times to the response head is too long.
    pub p95: Option<Spanned<SlownessForm>>,
    /// The 99th percentile of natural times to the response head is too long.
    pub p99: Option<Spanned<SlownessForm>>,
    /// A page does not respond with a status from 200 to 299.
    pub health: Option<Spanned<HealthSpec>>,
    /// An instant query of Prometheus comes true.
    pub prometheus: Option<Spanned<PrometheusSpec>>,
}

/// `errors: {above: 5%}`
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorsSpec {
    /// The largest share that is still well.
    pub above: Percentage,
    /// The time over which it is measured, from 1s to 1h. Default: 30s.
    pub over: Option<Spanned<Time>>,
    /// With fewer requests in that time nothing is concluded. Default: 20.
    pub at_least: Option<NonZeroU32>,
}

/// `p99: {above: 2s}`
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlownessSpec {
    /// The longest time that is still well.
    pub above: Time,
    /// The time over which it is measured, from 1s to 1h. Default: 30s.
    pub over: Option<Spanned<Time>>,
    /// With fewer requests in that time nothing is concluded. Default: 20.
    pub at_least: Option<NonZeroU32>,
}

/// `errors: 5%`, or the long form.
#[derive(Debug, Clone)]
pub struct ErrorsForm(pub ErrorsSpec);

/// `p99: 2s`, or the long form.
#[derive(Debug, Clone)]
pub struct SlownessForm(pub SlownessSpec);

impl ShortForm for ErrorsForm {
    type Long = ErrorsSpec;
    const EXPECTING: &'static str = "a share such as 5%, or a map such as {above: 5%, over: 30s}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let form = |above| {
            ErrorsForm(ErrorsSpec {
                above,
                over: None,
                at_least: None,
            })
        };
        let above = scalar.text()?.parse::<Percentage>();
        Some(above.map(form).map_err(|error| error.to_string()))
    }

    fn from_long(long: ErrorsSpec) -> Result<Self, String> {
        Ok(ErrorsForm(long))
    }
}

impl ShortForm for SlownessForm {
    type Long = SlownessSpec;
    const EXPECTING: &'static str = "a time such as 2s, or a map such as {above: 2s, over: 30s}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let form = |above| {
            SlownessForm(SlownessSpec {
                above,
                over: None,
                at_least: None,
            })
        };
        let above = scalar.text()?.parse::<Time>();
        Some(above.map(form).map_err(|error| error.to_string()))
    }

    fn from_long(long: SlownessSpec) -> Result<Self, String> {
        Ok(SlownessForm(long))
    }
}

short_form!(ErrorsForm, ErrorsSpec, "ErrorsForm", {
    "type": ["string", "number"],
    "pattern": "^[0-9]+(\\.[0-9]+)? ?%?$|\\$\\{",
    "minimum": 0,
    "maximum": 100,
});
short_form!(SlownessForm, SlownessSpec, "SlownessForm", {
    "type": ["string", "number"],
    "pattern": "^(0|([0-9]+(\\.[0-9]+)? ?(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h|d) ?)+)$|\\$\\{",
    "minimum": 0,
    "maximum": 0,
});

/// `health: {url: "http://127.0.0.1:8080/health"}`
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSpec {
    /// The page: http:// or https://. It is asked directly, without any rule.
    pub url: Spanned<String>,
    /// The time from one check to the next, from 100ms. Default: 1s.
    pub every: Option<Spanned<Time>>,
    /// How long a check may take. Default: 1s.
    pub timeout: Option<Time>,
    /// How many checks in a row must fail. Default: 3.
    pub failures: Option<NonZeroU32>,
}

/// `prometheus: {url: "http://127.0.0.1:9090", query: …}`
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSpec {
    /// The server: http:// or https://, and the path before `/api/v1`, if it has one.
    pub url: Spanned<String>,
    /// The query. It is true if it gives any series, as for an alert, or a scalar other than 0.
    pub query: Spanned<String>,
    /// The time from one query to the next, from 100ms. Default: 5s.
    pub every: Option<Spanned<Time>>,
    /// How long a query may take. Default: 2s.
    pub timeout: Option<Time>,
    /// How many queries in a row must fail for `on_error`. Default: 3.
    pub failures: Option<NonZeroU32>,
    /// What happens when Prometheus can't be asked. Default: stop, since nobody would notice that the condition came true.
    #[serde(default)]
    pub on_error: OnError,
}

/// What happens when a condition can't be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It counts as true.
    #[default]
    Stop,
    /// It counts as false.
    Ignore,
}
