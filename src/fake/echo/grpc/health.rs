//! `grpc.health.v1.Health` (gRPC, "Health Checking Protocol"). Everything is always healthy; faults are for rules.

use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};
use prost::Message as _;

use super::descriptors;
use super::messages::{Messages, decode};
use super::proto::{HealthCheckRequest, HealthCheckResponse};
use crate::grpc::{GrpcCode, GrpcStatus};

const SERVING: i32 = 1;
const SERVICE_UNKNOWN: i32 = 3;

/// The health of a service, or with an empty name that of the server.
pub(super) async fn check(mut messages: Messages) -> Result<Bytes, GrpcStatus> {
    let asked: HealthCheckRequest = decode(messages.only().await?)?;
    match status_of(&asked) {
        SERVING => Ok(response(SERVING)),
        _ => Err(GrpcStatus::new(
            GrpcCode::NOT_FOUND,
            &format!("unknown service {}", asked.service),
        )),
    }
}

/// The health now. It never changes, so nothing follows until the client leaves.
pub(super) fn watch(messages: Messages) -> impl Stream<Item = Result<Bytes, GrpcStatus>> {
    try_unfold(Some(messages), |messages| async move {
        let Some(mut messages) = messages else {
            return std::future::pending().await;
        };
        let asked: HealthCheckRequest = decode(messages.only().await?)?;
        Ok(Some((response(status_of(&asked)), None)))
    })
}

fn status_of(asked: &HealthCheckRequest) -> i32 {
    let known = asked.service.is_empty() || descriptors::services().any(|service| service == asked.service);
    if known { SERVING } else { SERVICE_UNKNOWN }
}

fn response(status: i32) -> Bytes {
    HealthCheckResponse { status }.encode_to_vec().into()
}
