//! `hang: {}`: the request is accepted, but gets no response.
//!
//! The connection stays open until the client disconnects, `limit` has passed, or squall stops, and is then closed.
//! `before: connection`: nothing that the client sends is read. `before: handshake`: the ClientHello gets no reply; the
//! listener's time limit of a handshake does not apply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::before::Before;
use super::context::Context;
use super::effect::Ending;
use super::kind::{AlwaysEnds, Spec};
use crate::yaml::units::Time;

/// `hang: {}` or `hang: {limit: 5m}`
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HangSpec {
    /// After this time the connection is closed. Absent: only `bounds.delay` ends it.
    pub limit: Option<Time>,
    /// `request` (default): when its head arrives. `connection`: as soon as it is accepted. `handshake`: when TLS
    /// begins.
    #[serde(default)]
    pub before: Before,
}

impl Spec for HangSpec {
    type Fault = AlwaysEnds;

    fn moment(&self) -> Before {
        self.before
    }

    fn compile(&self, _: &Context<'_>) -> Result<AlwaysEnds, String> {
        let valid = [Before::Request, Before::Connection, Before::Handshake];
        Ok(AlwaysEnds {
            ending: Ending::Hang(self.limit.map(Time::get)),
            before: self.before.one_of("hang", &valid)?,
        })
    }
}
