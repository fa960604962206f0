//! Faults that callers ask for with Envoy's headers (Envoy's documentation, "HTTP fault injection filter").
//!
//! `x-envoy-fault-delay-request` (milliseconds), `x-envoy-fault-abort-request` (a status, 200 to 599),
//! `x-envoy-fault-abort-grpc-request` (a gRPC status, 0 to 16), `x-envoy-fault-throughput-response` (KiB/s, from 1), and
//! `…-percentage` of each (0 to 100), which can only lower the rule's own.
//!
//! What the rule says is the strongest fault that a caller can get: the longest delay and the slowest rate.

use std::num::NonZeroU64;
use std::time::Duration;

use http::StatusCode;

use super::when::Reason;
use crate::draw::Draw;
use crate::draw::head::Head;
use crate::fault::Fault;
use crate::fault::abort::parse_status;
use crate::grpc::GrpcCode;

/// What a caller asks for. Values that Envoy would not take count as absent.
#[derive(Debug, Default)]
pub struct Requested {
    /// How long to wait.
    pub delay: Option<Duration>,
    /// The status to answer with.
    pub abort: Option<StatusCode>,
    /// The status to answer a gRPC call with.
    pub abort_grpc: Option<GrpcCode>,
    /// The rate of the response's body, in bytes a second.
    pub response_rate: Option<NonZeroU64>,
    delay_ppm: Option<u32>,
    abort_ppm: Option<u32>,
    response_rate_ppm: Option<u32>,
}

impl Requested {
    /// Reads the headers.
    pub fn of(head: &Head<'_>) -> Requested {
        let number = |name: &str| -> Option<i64> { head.headers.get(name)?.to_str().ok()?.trim().parse().ok() };
        let ppm = |name: &str| number(name).map(|percent| percent.clamp(0, 100) as u32 * 10_000);
        let millis = number("x-envoy-fault-delay-request").and_then(|millis| u64::try_from(millis).ok());
        let kibibytes = number("x-envoy-fault-throughput-response");
        let grpc = number("x-envoy-fault-abort-grpc-request").filter(|_| head.is_grpc());
        Requested {
            delay: millis.map(Duration::from_millis),
            delay_ppm: ppm("x-envoy-fault-delay-request-percentage"),
            abort: number("x-envoy-fault-abort-request").and_then(|status| parse_status(status).ok()),
            abort_grpc: grpc.and_then(|code| GrpcCode::from_number(code).ok()),
            abort_ppm: ppm("x-envoy-fault-abort-request-percentage"),
            response_rate: kibibytes
                .and_then(|kibibytes| u64::try_from(kibibytes).ok())
                .and_then(|kibibytes| NonZeroU64::new(kibibytes.saturating_mul(1024))),
            response_rate_ppm: ppm("x-envoy-fault-throughput-response-percentage"),
        }
    }

    /// Whether the request gets this fault of a rule with the percentage `ppm`: one draw, against the smaller percentage.
    pub fn grants(&self, fault: &Fault, draw: Draw, ppm: u32) -> bool {
        match self.share_of(fault) {
            Some(asked) => draw.fires(asked.min(ppm)),
            None => false,
        }
    }

    /// Why the request gets none of these faults, if so.
    pub fn check<'a>(&self, faults: impl Iterator<Item = &'a Fault>, draw: Draw, ppm: u32) -> Result<(), Reason> {
        let largest = faults
            .filter_map(|fault| self.share_of(fault))
            .max()
            .ok_or(Reason::NotRequested)?
            .min(ppm);
        match draw.fires(largest) {
            true => Ok(()),
            false => Err(Reason::Percentage {
                drawn: draw.percentage_ppm(),
                ppm: largest,
            }),
        }
    }

    /// The share of such requests that want the fault, in parts per million; `None` where this one does not ask for it.
    fn share_of(&self, fault: &Fault) -> Option<u32> {
        let all = crate::draw::PPM_WHOLE;
        match fault {
            Fault::Delay(_) => self.delay.map(|_| self.delay_ppm.unwrap_or(all)),
            Fault::Abort(abort) => {
                let asked = self.abort_grpc.is_some() || (self.abort.is_some() && abort.answer.is_some());
                asked.then(|| self.abort_ppm.unwrap_or(all))
            }
            Fault::Bandwidth(bandwidth) => {
                let asked = self.response_rate.is_some() && bandwidth.response().is_some();
                asked.then(|| self.response_rate_ppm.unwrap_or(all))
            }
            _ => None,
        }
    }
}
