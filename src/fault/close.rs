//! `close: {}`: the connection ends with no reply.
//!
//! HTTP/1.1: the client sees the end of the connection (FIN, over TLS without close_notify) where a status line should
//! be. HTTP/2: the whole connection ends, with all its streams; use `reset` to end a single stream.
//!
//! `before: connection`: a FIN as soon as the connection was accepted. `before: handshake`: a FIN in answer to the
//! ClientHello.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::before::Before;
use super::context::Context;
use super::effect::Ending;
use super::kind::{AlwaysEnds, Fault, Spec};

/// `close: {}`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseSpec {
    /// `request` (default): the upstream never sees the request. `response`: it has answered, and the answer is lost.
    /// `connection`: as soon as it is accepted. `handshake`: in place of the TLS handshake.
    #[serde(default)]
    pub before: Before,
}

impl CloseSpec {
    /// Checks when it strikes.
    ///
    /// # Errors
    /// It can't strike there.
    pub fn compile(&self) -> Result<CloseSpec, String> {
        self.before.one_of("close", &Before::ENDINGS)?;
        Ok(*self)
    }
}

impl Spec for CloseSpec {
    fn moment(&self) -> Before {
        self.before
    }

    fn is_terminal(&self) -> bool {
        true
    }

    fn build(&self, _: &Context<'_>) -> Result<Box<dyn Fault>, String> {
        let checked = self.compile()?;
        Ok(Box::new(AlwaysEnds {
            ending: Ending::Close,
            before: checked.before,
        }))
    }
}
