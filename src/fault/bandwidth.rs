//! `bandwidth: 64KiB/s`: limits the rate of a body.
//!
//! The rate counts the bytes of bodies, but not heads, chunk sizes or TLS. Bytes are sent evenly. Waiting bytes are buffered
//! up to `bounds.buffer`; then squall stops reading from the sender, so that back-pressure reaches it.
//!
//! | protocol | what happens |
//! |---|---|
//! | HTTP/1.1, HTTP/2 | the body has the rate; its length, chunks and trailers stay; on HTTP/2 each stream by itself |
//! | gRPC, SSE | the body has the rate, so a message takes as long as its bytes |
//! | WebSocket | the bytes of all frames have the rate, control frames included; `request` is what the client sends |
//! | TCP | one direction of the connection has the rate; a connection counts as one request |

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;

use super::context::Context;
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest, Spec};
use super::place::Parts;
use super::requested::Requested;
use crate::shape::{Act, Bucket, Direction, ListenerBuckets, Part, Rate, Scope};
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::ByteRate;

/// `bandwidth: 64KiB/s`: this rate for the response's body and for the request's, each by itself; or the long form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BandwidthSpec(BandwidthLong);

/// The long form of a bandwidth. At least one of `response` and `request` is given; the other is not limited.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BandwidthLong {
    /// The rate of the response's body, from 1B/s.
    response: Option<ByteRate>,
    /// The rate of the request's body, from 1B/s.
    request: Option<ByteRate>,
    /// Who shares the rate: no one, so that each request has its own (default), the requests of one downstream
    /// connection, all requests of the rule at one listener, or all requests of the rule.
    #[serde(default)]
    scope: ScopeSpec,
}

/// Who shares a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeSpec {
    /// Not shared: each request has its own.
    #[default]
    Request,
    /// The requests of one downstream connection.
    Connection,
    /// All requests of the rule at one listener; each listener has the rate to itself.
    Listener,
    /// All requests of the rule.
    Rule,
}

/// A compiled `bandwidth` fault. It owns the bucket that the requests of the rule share.
#[derive(Debug, Clone)]
pub struct Bandwidth {
    response: Option<Rate>,
    request: Option<Rate>,
}

impl BandwidthSpec {
    /// The configuration of these rates for each request by itself.
    pub fn new(response: ByteRate, request: ByteRate) -> BandwidthSpec {
        BandwidthSpec(BandwidthLong {
            response: Some(response),
            request: Some(request),
            scope: ScopeSpec::Request,
        })
    }
}

impl Spec for BandwidthSpec {
    type Fault = Bandwidth;

    /// Checks the parts, and makes the buckets of the rule.
    ///
    /// # Errors
    /// No rate is given.
    fn compile(&self, _: &Context<'_>) -> Result<Bandwidth, String> {
        let BandwidthLong {
            response,
            request,
            scope,
        } = &self.0;
        if response.is_none() && request.is_none() {
            return Err("the rate is missing: give `response`, `request` or both, such as {response: 64KiB/s}".into());
        }
        let to_rate = |rate: ByteRate| Rate {
            rate: rate.get_nonzero(),
            scope: match scope {
                ScopeSpec::Request => Scope::Request,
                ScopeSpec::Connection => Scope::Connection,
                ScopeSpec::Listener => Scope::Listener(Arc::new(ListenerBuckets::new(rate.get_nonzero()))),
                ScopeSpec::Rule => Scope::Rule(Arc::new(Bucket::new(rate.get_nonzero()))),
            },
        };
        Ok(Bandwidth {
            response: response.map(to_rate),
            request: request.map(to_rate),
        })
    }
}

impl Bandwidth {
    /// The acts on the bytes.
    pub fn parts(&self) -> Parts {
        let rates = [
            (Direction::Response, &self.response),
            (Direction::Request, &self.request),
        ];
        rates
            .into_iter()
            .filter_map(|(direction, rate)| {
                let act = Act::Bandwidth(rate.clone()?);
                Some(Part { direction, act })
            })
            .collect()
    }

    /// The rate of request bodies.
    pub fn request(&self) -> Option<&Rate> {
        self.request.as_ref()
    }

    /// The rate of response bodies.
    pub fn response(&self) -> Option<&Rate> {
        self.response.as_ref()
    }
}

impl ShortForm for BandwidthSpec {
    type Long = BandwidthLong;
    const EXPECTING: &'static str = "a rate such as 64KiB/s, or a map such as {response: 64KiB/s, request: 8KiB/s}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let rate = scalar.text()?.parse::<ByteRate>().map_err(|error| error.to_string());
        Some(rate.map(|rate| BandwidthSpec::new(rate, rate)))
    }

    fn from_long(long: BandwidthLong) -> Result<Self, String> {
        Ok(BandwidthSpec(long))
    }
}

short_form!(BandwidthSpec, BandwidthLong, "Bandwidth", {
    "description": "A rate for the response's body and for the request's, separately: 64KiB/s, 10Mbit/s",
    "type": "string",
    "pattern": "^[0-9]+(\\.[0-9]+)? ?([kKMGT]?i?B|[kKMGT]?i?bit) ?/s$|\\$\\{",
});

impl Fault for Bandwidth {
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        smallvec![self.parts().effect(hit)]
    }

    fn body(&self) -> Option<Direction> {
        self.parts().body()
    }

    fn check_requested(&self, _: &str) -> Result<(), String> {
        match self.response().map(|rate| &rate.scope) {
            Some(Scope::Request) => Ok(()),
            Some(_) => Err(
                "`requested: true` can't be combined with a shared `scope`: each caller asks for its own rate".into(),
            ),
            None => Err("`requested: true` needs `response`: callers ask for the rate of the response".into()),
        }
    }

    fn requested_share(&self, requested: &Requested) -> Option<u32> {
        requested.rate_share().filter(|_| self.response.is_some())
    }

    fn requested(&self, hit: &HitRequest<'_, '_>, requested: &Requested) -> Option<Effect> {
        // The rule's rate is the lowest that a caller can ask for.
        let rate = requested.response_rate?.max(self.response()?.rate);
        let scope = Scope::Request;
        Some(Parts::one(Direction::Response, Act::Bandwidth(Rate { rate, scope })).effect(hit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::{context, read};

    fn compile(yaml: &str) -> Result<Bandwidth, String> {
        read::<BandwidthSpec>(yaml)?.compile(&context())
    }

    fn rates(yaml: &str) -> Result<[Option<u64>; 2], String> {
        let bandwidth = compile(yaml)?;
        Ok([bandwidth.response(), bandwidth.request()].map(|rate| rate.map(|rate| rate.rate.get())))
    }

    #[test]
    fn the_short_form_is_both_ways() {
        assert_eq!(rates("64KiB/s"), Ok([Some(65536), Some(65536)]));
        assert_eq!(rates("{response: 8kbit/s}"), Ok([Some(1000), None]));
        assert_eq!(rates("{response: 1KiB/s, request: 1B/s}"), Ok([Some(1024), Some(1)]));
    }

    #[test]
    fn mistakes_say_what_would_be_valid() {
        for (yaml, part) in [
            ("64KiB", "needs a unit: 64KiB/s"),
            ("64", "needs a unit"),
            ("0B/s", "to stop, use `stall`"),
            ("{}", "the rate is missing"),
            ("{scope: rule}", "the rate is missing"),
            ("{response: 1KiB/s, scope: all}", "unknown scope `all`"),
            ("{rate: 1KiB/s}", "unknown key `rate`"),
            ("[1KiB/s]", "a rate such as 64KiB/s, or a map"),
        ] {
            let error = rates(yaml).unwrap_err();
            assert!(error.contains(part), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_listener_has_one_bucket_for_each_direction() {
        let bandwidth = compile("{response: 1KiB/s, request: 1KiB/s, scope: listener}").unwrap();
        let bucket = |rate: Option<&Rate>, listener| match rate.map(|rate| rate.scope.clone()) {
            Some(Scope::Listener(buckets)) => buckets.of(listener),
            other => panic!("{other:?}"),
        };
        let web = bucket(bandwidth.response(), "web");
        assert!(Arc::ptr_eq(&web, &bucket(bandwidth.response(), "web")));
        assert!(!Arc::ptr_eq(&web, &bucket(bandwidth.response(), "tcp")));
        assert!(!Arc::ptr_eq(&web, &bucket(bandwidth.request(), "web")));
    }

    #[test]
    fn a_rule_has_one_bucket_for_each_direction() {
        let bandwidth = compile("{response: 1KiB/s, request: 1KiB/s, scope: rule}").unwrap();
        let bucket = |rate: Option<&Rate>| match rate.map(|rate| rate.scope.clone()) {
            Some(Scope::Rule(bucket)) => bucket,
            other => panic!("{other:?}"),
        };
        let again = |bandwidth: &Bandwidth| (bucket(bandwidth.response()), bucket(bandwidth.request()));
        let (first, second) = (again(&bandwidth), again(&bandwidth));
        assert!(Arc::ptr_eq(&first.0, &second.0) && Arc::ptr_eq(&first.1, &second.1));
        assert!(!Arc::ptr_eq(&first.0, &first.1));
    }
}
