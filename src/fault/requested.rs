//! Faults that callers ask for with Envoy's headers (Envoy's documentation, "HTTP fault injection filter").
//!
//! `x-envoy-fault-delay-request` (milliseconds), `x-envoy-fault-abort-request` (a status, 200 to 599),
//! `x-envoy-fault-abort-grpc-request` (a gRPC status, 0 to 16), `x-envoy-fault-throughput-response` (KiB/s, from 1), and
//! `…-percentage` of each (0 to 100), which can only lower the rule's own.
//!
//! The rule's own settings are the strongest fault that a caller can get: the longest delay and the lowest rate.

use std::num::NonZeroU64;
use std::time::Duration;

use http::StatusCode;

use super::answer::ResponseStatus;
use crate::draw::PPM_WHOLE;
use crate::draw::head::Head;
use crate::grpc::GrpcCode;

/// The faults that a caller asks for. Values that Envoy would refuse count as absent.
#[derive(Debug, Default)]
pub struct Requested {
    /// How long to delay the request.
    pub delay: Option<Duration>,
    /// The status of an injected response.
    pub abort: Option<StatusCode>,
    /// The gRPC status of an injected response.
    pub abort_grpc: Option<GrpcCode>,
    /// The rate of the response body, in bytes per second.
    pub response_rate: Option<NonZeroU64>,
    delay_ppm: Option<u32>,
    abort_ppm: Option<u32>,
    response_rate_ppm: Option<u32>,
}

impl Requested {
    /// Reads the headers of a request.
    pub fn of(head: &Head<'_>) -> Requested {
        let number = |name: &str| -> Option<i64> { head.headers.get(name)?.to_str().ok()?.trim().parse().ok() };
        let ppm = |name: &str| number(name).map(|percent| percent.clamp(0, 100) as u32 * 10_000);
        let millis = number("x-envoy-fault-delay-request").and_then(|millis| u64::try_from(millis).ok());
        let kibibytes = number("x-envoy-fault-throughput-response");
        let grpc = number("x-envoy-fault-abort-grpc-request").filter(|_| head.is_grpc());
        Requested {
            delay: millis.map(Duration::from_millis),
            delay_ppm: ppm("x-envoy-fault-delay-request-percentage"),
            abort: number("x-envoy-fault-abort-request")
                .and_then(|status| ResponseStatus::try_from(status).ok())
                .map(ResponseStatus::get),
            abort_grpc: grpc.and_then(|code| GrpcCode::from_number(code).ok()),
            abort_ppm: ppm("x-envoy-fault-abort-request-percentage"),
            response_rate: kibibytes
                .and_then(|kibibytes| u64::try_from(kibibytes).ok())
                .and_then(|kibibytes| NonZeroU64::new(kibibytes.saturating_mul(1024))),
            response_rate_ppm: ppm("x-envoy-fault-throughput-response-percentage"),
        }
    }

    /// The share that asks for a delay, in parts per million; `None` if this request does not.
    pub fn delay_share(&self) -> Option<u32> {
        self.delay.map(|_| self.delay_ppm.unwrap_or(PPM_WHOLE))
    }

    /// The share that asks for an error, in parts per million; `None` if this request does not.
    pub fn abort_share(&self) -> Option<u32> {
        let asked = self.abort.is_some() || self.abort_grpc.is_some();
        asked.then(|| self.abort_ppm.unwrap_or(PPM_WHOLE))
    }

    /// The share that asks for a slow response, in parts per million; `None` if this request does not.
    pub fn rate_share(&self) -> Option<u32> {
        self.response_rate.map(|_| self.response_rate_ppm.unwrap_or(PPM_WHOLE))
    }
}
