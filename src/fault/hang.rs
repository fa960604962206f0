//! `hang: {}`: the request is accepted and never answered.
//!
//! The connection stays open until the client leaves, `limit` has passed, or squall stops. Then it is closed with no reply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::Time;

/// `hang: {}` or `hang: {limit: 5m}`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HangSpec {
    /// After this time the connection is closed. Absent: only `bounds.delay` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Time>,
}
