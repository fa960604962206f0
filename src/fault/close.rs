//! `close: {}`: the connection ends with no reply.
//!
//! HTTP/1.1: the client sees the end of the connection (FIN, over TLS without close_notify) where a status line should
//! be. HTTP/2: the whole connection ends, with all its streams; use `reset` to end a single stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Before;

/// `close: {}`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseSpec {
    /// `request` (default): the upstream never sees the request. `response`: it has answered, and the answer is lost.
    #[serde(default)]
    pub before: Before,
}
