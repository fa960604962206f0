//! `drop: 10%`: messages of a stream are dropped.
//!
//! | protocol | what happens |
//! |---|---|
//! | HTTP/1.1, HTTP/2 | whole lines of NDJSON, and the `Content-Length`; a body without messages is skipped with "no messages", a compressed one with "encoded" |
//! | gRPC | whole messages with their prefix; the status stays |
//! | WebSocket | whole messages with all their frames, but no control frames. The client's offer of extensions (compression) is removed |
//! | SSE | whole events with the blank line that ends them |
//! | TCP | skipped with "no messages" |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::context::Context;
use super::kind::Spec;
use super::place::{self, Parts};
use crate::shape::{Act, Direction};
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::Share;

/// `drop: 10%`, `drop: {messages: 10%, direction: request}` or `drop: {every: 3}`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropSpec(MessagesLong);

/// Which messages of which direction.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagesLong {
    /// A share of the messages, each drawn by itself.
    pub messages: Option<Share>,
    /// Another word for `messages`.
    pub events: Option<Share>,
    /// Every nth message: with 3 the third, the sixth…
    #[schemars(range(min = 1))]
    pub every: Option<u64>,
    /// The stream to the client (`response`, default) or to the upstream (`request`).
    pub direction: Option<Direction>,
}

impl Spec for DropSpec {
    type Fault = Parts;

    /// Checks the parts.
    ///
    /// # Errors
    /// It says no messages, or two things at once, or a share or a number of 0.
    fn compile(&self, _: &Context<'_>) -> Result<Parts, String> {
        let long = &self.0;
        let picked = place::pick(long.messages, long.events, long.every)?
            .ok_or("the messages are missing: give `messages` or `every`, such as {messages: 10%} or {every: 3}")?;
        Ok(Parts::one(long.direction.unwrap_or_default(), Act::Drop(picked)))
    }
}

impl ShortForm for DropSpec {
    type Long = MessagesLong;
    const EXPECTING: &'static str = "a share of the messages such as 10%, or a map such as {every: 3}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let share = scalar.text()?.parse::<Share>().map_err(|error| error.to_string());
        Some(share.map(|share| {
            DropSpec(MessagesLong {
                messages: Some(share),
                ..MessagesLong::default()
            })
        }))
    }

    fn from_long(long: MessagesLong) -> Result<Self, String> {
        Ok(DropSpec(long))
    }
}

short_form!(DropSpec, MessagesLong, "Drop", {
    "description": "A share of the messages: 10%",
    "type": "string",
    "pattern": "^[0-9]+(\\.[0-9]+)? ?%$|\\$\\{",
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::{check, context, read};

    #[test]
    fn forms_and_mistakes() {
        check(
            |yaml| read::<DropSpec>(yaml)?.compile(&context()),
            &[
                ("10%", Ok("Response Drop(Share { ppm: 100000, seed: 0 })")),
                ("12.5%", Ok("Response Drop(Share { ppm: 125000, seed: 0 })")),
                ("12.5", Err("the share `12.5` needs a percent sign: 12.5%")),
                ("{messages: 0.1}", Err("needs a percent sign: 0.1% or 10%")),
                (
                    "{events: 10%, direction: request}",
                    Ok("Request Drop(Share { ppm: 100000, seed: 0 })"),
                ),
                ("{every: 3}", Ok("Response Drop(Every(3))")),
                ("{}", Err("the messages are missing")),
                ("{direction: request}", Err("the messages are missing")),
                ("0%", Err("0% of the messages has no effect")),
                ("{every: 0}", Err("`every: 0` is not valid")),
                ("{every: 3, messages: 10%}", Err("can't be combined")),
                ("{messages: 10%, events: 10%}", Err("mean the same")),
                ("101%", Err("from 0 to 100")),
                ("3 events", Err("is not a valid percentage")),
                ("", Err("a share of the messages such as 10%")),
            ],
        );
    }
}
