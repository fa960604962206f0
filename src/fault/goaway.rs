//! `goaway: {}`: the request is answered, and no other follows on its connection.
//!
//! What a server does that is shut down gracefully, or that limits how many requests a connection carries. Clients must
//! open another connection, and must not take the end of this one for an error.
//!
//! | protocol | what the client sees |
//! |---|---|
//! | HTTP/1.1, HTTP/1.0 | `Connection: close` on the response, and a FIN after it (RFC 9112, section 9.6) |
//! | HTTP/2, gRPC | the response, and GOAWAY with NO_ERROR (RFC 9113, section 6.8); other streams go on to their ends |
//! | WebSocket | skipped with "upgraded": a tunnel has no request after it |
//!
//! It goes with any other fault: the answer may be late, changed, or one of squall's own.

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
