//! `squall.echo.v1.Echo`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, try_unfold};
use prost::Message as _;
use tokio::time::Instant;

use super::messages::{Messages, decode};
use super::proto::{EchoMessage, EchoSummary};
use crate::grpc::{GrpcCode, GrpcStatus};

/// The most messages of `Repeat`.
const COUNT_LIMIT: u32 = 10_000_000;

/// Gives the message back as its bytes are, so that fields that squall does not know come back too.
pub(super) async fn echo(mut messages: Messages) -> Result<Bytes, GrpcStatus> {
    let message = messages.only().await?;
    read(&message)?;
    Ok(message)
}

/// Counts messages and their bytes.
pub(super) async fn collect(mut messages: Messages) -> Result<Bytes, GrpcStatus> {
    let mut summary = EchoSummary::default();
    while let Some(message) = messages.next().await? {
        read(&message)?;
        summary.messages = summary.messages.saturating_add(1);
        summary.bytes += message.len() as u64;
    }
    Ok(summary.encode_to_vec().into())
}

/// Gives each message back at once.
pub(super) fn chat(messages: Messages) -> impl Stream<Item = Result<Bytes, GrpcStatus>> {
    try_unfold(messages, |mut messages| async move {
        let Some(message) = messages.next().await? else {
            return Ok(None);
        };
        read(&message)?;
        Ok(Some((message, messages)))
    })
}

/// Gives the message back as often as it says, each time with its number.
pub(super) fn repeat(messages: Messages) -> impl Stream<Item = Result<Bytes, GrpcStatus>> {
    try_unfold(Repeat::Asked(messages), |state| async move {
        let mut repeating = match state {
            Repeat::Asked(mut messages) => Repeating::new(messages.only().await?)?,
            Repeat::Repeating(repeating) => repeating,
        };
        let message = repeating.next().await?;
        Ok(message.map(|message| (message, Repeat::Repeating(repeating))))
    })
}

enum Repeat {
    Asked(Messages),
    Repeating(Repeating),
}

struct Repeating {
    message: Bytes,
    asked: EchoMessage,
    sent: u32,
    began: Instant,
}

impl Repeating {
    fn new(message: Bytes) -> Result<Repeating, GrpcStatus> {
        let asked: EchoMessage = decode(message.clone())?;
        if asked.count > COUNT_LIMIT {
            let text = format!("`count` must be at most {COUNT_LIMIT}");
            return Err(GrpcStatus::new(GrpcCode::INVALID_ARGUMENT, &text));
        }
        Ok(Repeating {
            message,
            asked,
            sent: 0,
            began: Instant::now(),
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, GrpcStatus> {
        if self.sent >= self.asked.count {
            return asked_status(&self.asked).map(|()| None);
        }
        // Counted from the first, so that the times don't drift.
        let every = Duration::from_millis(self.asked.every_ms.into());
        let due = self.began.checked_add(every.saturating_mul(self.sent));
        if let Some(due) = due.filter(|_| !every.is_zero()) {
            tokio::time::sleep_until(due).await;
        }
        self.sent += 1;
        let number = EchoMessage {
            number: self.sent,
            ..EchoMessage::default()
        };
        // Protobuf merges messages that follow each other (Encoding, "Last One Wins").
        let mut message = BytesMut::from(self.message.as_ref());
        message.extend_from_slice(&number.encode_to_vec());
        Ok(Some(message.freeze()))
    }
}

/// Reads a message, and fails with the status that it asks for.
fn read(message: &Bytes) -> Result<(), GrpcStatus> {
    asked_status(&decode(message.clone())?)
}

fn asked_status(message: &EchoMessage) -> Result<(), GrpcStatus> {
    let code = GrpcCode::from_number(message.status.into());
    match code.map_err(|text| GrpcStatus::new(GrpcCode::INVALID_ARGUMENT, &text))? {
        GrpcCode::OK => Ok(()),
        code => Err(GrpcStatus::new(code, &message.status_message)),
    }
}
