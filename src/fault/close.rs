//! `close: {}`: the connection is closed without a response.
//!
//! HTTP/1.1: the client sees the end of the connection (FIN, over TLS without close_notify) in place of a status line.
//! HTTP/2: the whole connection ends, with all its streams; use `reset` to end a single stream.
//!
//! `before: connection`: a FIN as soon as the connection is accepted. `before: handshake`: a FIN after the ClientHello.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::before::Before;
use super::context::Context;
use super::effect::Ending;
use super::kind::{AlwaysEnds, Spec};

/// `close: {}`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseSpec {
    /// `request` (default): the upstream never sees the request. `response`: after the upstream's response, which is lost.
    /// `connection`: as soon as it is accepted. `handshake`: in place of the TLS handshake.
    #[serde(default)]
    pub before: Before,
}

impl Spec for CloseSpec {
    type Fault = AlwaysEnds;

    fn moment(&self) -> Before {
        self.before
    }

    fn compile(&self, _: &Context<'_>) -> Result<AlwaysEnds, String> {
        Ok(AlwaysEnds {
            ending: Ending::Close,
            before: self.before.one_of("close", &Before::ENDINGS)?,
        })
    }
}
