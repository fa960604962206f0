//! `goaway: {}`: the request gets its response, and is the last one of its connection.
//!
//! Servers do this when they shut down gracefully, or limit the requests of a connection. Clients must open another
//! connection, and must not take the end of this one for an error.
//!
//! | protocol | what the client sees |
//! |---|---|
//! | HTTP/1.1, HTTP/1.0 | `Connection: close` on the response, and a FIN after it (RFC 9112, section 9.6) |
//! | HTTP/2, gRPC | the response, and GOAWAY with NO_ERROR (RFC 9113, section 6.8); other streams go on to their ends |
//! | WebSocket | skipped with "upgraded": a tunnel has no request after it |
//!
//! It combines with every other fault: the response may be delayed, changed or injected.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use super::context::Context;
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest, Spec};

/// `goaway: {}`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoAwaySpec {}

impl Spec for GoAwaySpec {
    type Fault = GoAwaySpec;

    fn compile(&self, _: &Context<'_>) -> Result<GoAwaySpec, String> {
        Ok(*self)
    }
}

impl Fault for GoAwaySpec {
    fn effects(&self, _: &HitRequest<'_, '_>) -> Effects {
        smallvec![Effect::GoAway]
    }
}
