//! The top level of the configuration, as typed, with everything but listeners, upstreams and rules.

use std::num::{NonZeroU32, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::apis::{AdminForm, ToxiproxyForm};
use crate::guards::spec::GuardSpec;
use crate::journal::spec::JournalSpec;
use crate::limits::bodies::Budget;
use crate::proxy::listen::spec::{ListenerSpec, PairSpec};
use crate::proxy::record::RevealSpec;
use crate::proxy::upstream::spec::UpstreamForm;
use crate::rule::spec::{LimitsSpec, RuleSpec};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::forms::OneOrMany;
use crate::yaml::units::{ByteSize, Share, Time};

/// A whole configuration: one file and what it includes.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "squall configuration", extend("patternProperties" = {"^x-": true}))]
pub struct ConfigSpec {
    /// More files with `listeners`, `upstreams` and `rules`: paths or globs, relative to this file.
    pub include: Option<OneOrMany<String>>,
    /// The seed of all random draws: the same seed gives the same faults. Absent: drawn at start, logged, and exported
    /// as a metric.
    pub seed: Option<u64>,
    /// The number of worker threads. Absent: one for each processor.
    pub threads: Option<Spanned<NonZeroUsize>>,
    /// The admin API: metrics, health, reloading. An address, or a map.
    pub admin: Option<Spanned<AdminForm>>,
    /// Toxiproxy's HTTP API: an address, or a map. Absent: not served.
    pub toxiproxy: Option<Spanned<ToxiproxyForm>>,
    /// The log on standard error.
    #[serde(default)]
    pub log: LogSpec,
    /// How squall shows what it injected.
    #[serde(default)]
    pub reveal: RevealSpec,
    /// How squall stops.
    #[serde(default)]
    pub shutdown: ShutdownSpec,
    /// How many of the last requests are kept, for queries and for `verify`: `off`, or a map. Absent: 1000 for each space.
    pub journal: Option<JournalSpec>,
    /// Limits on what squall uses.
    #[serde(default)]
    pub bounds: BoundsSpec,
    /// Limits on what all rules together do.
    pub limits: Option<Spanned<LimitsSpec>>,
    /// Conditions that stop all injection until it is told otherwise.
    pub stop_when: Option<Spanned<Vec<Spanned<GuardSpec>>>>,
    /// The authority that issues the certificates of the fault `certificate`. Absent: one is made at each start, and the
    /// admin API gives its certificate at `/api/v1/ca.pem`.
    pub fault_ca: Option<Spanned<PairSpec>>,
    /// The addresses that squall listens on, by name.
    #[serde(default)]
    pub listeners: Named<ListenerSpec>,
    /// Where requests go, by name.
    #[serde(default)]
    pub upstreams: Named<Spanned<UpstreamForm>>,
    /// The rules, tried in this order.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

/// An included file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = {"^x-": true}))]
pub struct FragmentSpec {
    /// More listeners, by name.
    #[serde(default)]
    pub listeners: Named<ListenerSpec>,
    /// More upstreams, by name.
    #[serde(default)]
    pub upstreams: Named<Spanned<UpstreamForm>>,
    /// More rules; they come after those of the including file.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

/// The log on standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSpec {
    /// The form of the lines: `text`, `logfmt` or `json`.
    pub format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`.
    pub level: LogLevel,
    /// Whether each request gets a line, and each connection of a TCP listener when it ends.
    pub access: bool,
    /// The share of requests and of connections that get a line; those with an injected fault or a server error always do.
    pub sample: Share,
    /// Whether a connection of a TCP listener gets a line when it begins, too.
    pub opened: bool,
}

impl Default for LogSpec {
    fn default() -> Self {
        LogSpec {
            format: LogFormat::Text,
            level: LogLevel::Info,
            access: true,
            sample: Share::ALL,
            opened: false,
        }
    }
}

/// The log's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Short, coloured lines on a terminal; elsewhere as `logfmt`.
    Text,
    /// Pairs of keys and values, separated by spaces.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Errors and warnings.
    Warn,
    /// Also events, requests included.
    Info,
    /// Also details of how events came about.
    Debug,
    /// Everything.
    Trace,
}

/// How squall stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSpec {
    /// How long requests in flight may take to finish after SIGTERM. Default: 8s, within docker's 10s.
    pub grace: Time,
}

/// Limits on what squall uses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BoundsSpec {
    /// Open connections of each listener; beyond it new ones wait. Default: 10000.
    pub connections: NonZeroU32,
    /// Keys remembered for each rule with `attempts` and each `quota`; beyond it the least recently used is forgotten.
    /// Default: 65536.
    pub keys: NonZeroU32,
    /// Requests held in injected waits at once; beyond it a request passes without the wait, and is counted. Default:
    /// 20000.
    pub held: NonZeroU32,
    /// The longest single injected wait. Default: 1h.
    pub delay: Time,
    /// How much of a throttled, delayed or stalled body is kept in memory, for each request and direction; beyond it
    /// the sender waits. From 1KiB to 64MiB; default: 64KiB.
    pub buffer: Spanned<ByteSize>,
    /// How much memory whole bodies may take, of all requests together: those that `rewrite` and `duplicate` collect, and those
    /// that fakes read. Beyond it such a fault is skipped, and counted; a fake responds with 503. A JSON patch takes
    /// about ten times the body. At least 1MiB; default: 128MiB.
    pub bodies: Spanned<ByteSize>,
}

impl Default for ShutdownSpec {
    fn default() -> Self {
        ShutdownSpec {
            grace: Time::from_millis(8_000),
        }
    }
}

impl BoundsSpec {
    /// [`BoundsSpec::bodies`] as a number of bytes in memory.
    pub fn most_bodies(&self) -> usize {
        usize::try_from(self.bodies.value.get()).unwrap_or(usize::MAX)
    }
}

impl Default for BoundsSpec {
    fn default() -> Self {
        BoundsSpec {
            connections: nonzero(10_000),
            keys: nonzero(65_536),
            held: nonzero(20_000),
            delay: Time::from_millis(3_600_000),
            buffer: Spanned::from(ByteSize::from_bytes(64 * 1024)),
            bodies: Spanned::from(ByteSize::from_bytes(Budget::DEFAULT as u64)),
        }
    }
}

const fn nonzero(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}
