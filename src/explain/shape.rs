//! Describes the acts on bodies in words.

use std::num::NonZeroU64;
use std::time::Duration;

use super::effect::{drawn, shown};
use crate::fault::reset_code;
use crate::shape::{
    Act, After, Clean, Corruption, Direction, Dribble, Finish, Malformed, Part, Pick, Scope, Stall, Truncation,
};
use crate::yaml::units::{ByteRate, ByteSize, Percentage};

/// Describes parts in words that follow the name of the fault.
pub(super) fn words<'a>(parts: impl IntoIterator<Item = &'a Part>, longest_wait: Duration) -> String {
    let parts: Vec<String> = parts
        .into_iter()
        .map(|part| describe_part(part, longest_wait))
        .collect();
    parts.join("; ")
}

/// The wait before a body or its end, if the part is one.
pub(super) fn hold(part: &Part) -> Option<Duration> {
    match part.act {
        Act::Delay(time) | Act::DelayEnd(time) => Some(time),
        _ => None,
    }
}

/// What has to be true of a body so that the part can be applied, unless any body will do.
pub(super) fn condition(part: &Part) -> Option<String> {
    let whose = whose(part);
    let has_messages = || format!("{whose} has messages (NDJSON, events, gRPC, WebSocket)");
    match &part.act {
        Act::Stall(Stall { after, .. }) | Act::Truncate(Truncation { after, .. }) => Some(match after {
            After::Bytes(0) => format!("{whose} has a body"),
            After::Bytes(_) => format!("the body of {whose} is longer than {}", describe_position(*after)),
            After::Share(_) => format!("the length of the body of {whose} is known"),
            After::Messages(_) => has_messages(),
        }),
        Act::Dribble(Dribble::Over { .. }) => Some(format!("the length of the body of {whose} is known")),
        Act::DelayMessages(_) | Act::Drop(_) | Act::Duplicate(_) => Some(has_messages()),
        Act::Corrupt(flip) => flip.messages.as_ref().map(|_| has_messages()),
        Act::DelayEnd(_) => Some(format!("the length of the body of {whose} is not known beforehand")),
        Act::Malform(Malformed::Length(_)) => Some(format!("{whose} has a Content-Length")),
        Act::Malform(Malformed::Json) => Some(format!("{whose} has a body of JSON, not compressed")),
        Act::Malform(Malformed::Chunk) => Some(format!("{whose} has a body and is sent with HTTP/1.1")),
        Act::Malform(Malformed::StatusLine | Malformed::Header) => Some(format!("{whose} is sent with HTTP/1")),
        Act::Malform(Malformed::Encoding)
        | Act::Bandwidth(_)
        | Act::Dribble(Dribble::Chunk { .. })
        | Act::Delay(_)
        | Act::DelayChunks(_) => None,
    }
}

fn whose(part: &Part) -> &'static str {
    match part.direction {
        Direction::Response => "the response",
        Direction::Request => "the request",
    }
}

fn describe_part(part: &Part, longest_wait: Duration) -> String {
    let whose = whose(part);
    match &part.act {
        Act::Bandwidth(pace) => {
            let rate = ByteRate::from_bytes_per_second(pace.rate);
            let scope = match pace.scope {
                Scope::Request => "",
                Scope::Connection => ", shared by the requests of the connection",
                Scope::Listener(_) => ", shared by the requests of the rule at the listener",
                Scope::Rule(_) => ", shared by the requests of the rule",
            };
            format!("limits the body of {whose} to {rate}{scope}")
        }
        Act::Dribble(dribble) => format!("sends the body of {whose} {}", describe_dribble(*dribble)),
        Act::Delay(time) => {
            let time = (*time).min(longest_wait);
            format!("waits {} before the body of {whose}", drawn(time))
        }
        Act::DelayMessages(waits) => format!(
            "delays each message of {whose}, the first by {}",
            drawn(waits.nth(0, Duration::ZERO).min(longest_wait))
        ),
        Act::DelayChunks(waits) => format!(
            "delays each chunk of {whose}, the first by {}",
            drawn(waits.nth(0, Duration::ZERO).min(longest_wait))
        ),
        Act::DelayEnd(time) => {
            let time = (*time).min(longest_wait);
            format!("waits {} before the end of {whose}", drawn(time))
        }
        Act::Stall(stall) => describe_stall(stall, whose, longest_wait),
        Act::Truncate(cut) => describe_truncation(cut, whose),
        Act::Corrupt(flip) => describe_corruption(flip, whose),
        Act::Drop(pick) => format!("drops {} of {whose}", describe_pick(pick)),
        Act::Duplicate(pick) => format!("sends {} of {whose} twice", describe_pick(pick)),
        Act::Malform(malformed) => describe_malformed(*malformed, whose),
    }
}

fn describe_dribble(dribble: Dribble) -> String {
    match dribble {
        Dribble::Chunk { bytes, vary, gap, .. } => {
            let size = |bytes: usize| ByteSize::from_bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
            let sizes = match vary {
                0 => size(bytes).to_string(),
                _ => format!(
                    "{} to {}",
                    size(bytes.saturating_sub(vary).max(1)),
                    size(bytes.saturating_add(vary))
                ),
            };
            if gap.is_zero() {
                return format!("in pieces of {sizes}, without a gap");
            }
            format!("in pieces of {sizes}, {} apart", shown(gap))
        }
        Dribble::Over { chunks, time } => format!("in {chunks} pieces over {}", shown(time)),
    }
}

fn describe_stall(stall: &Stall, whose: &str, longest_wait: Duration) -> String {
    let what = match stall.after {
        After::Bytes(0) => format!("stops {whose} before its body"),
        after => format!("stops {whose} after {}", describe_position(after)),
    };
    let (time, until) = match stall.limit {
        Some(limit) => (limit.min(longest_wait), "for"),
        None => (longest_wait, "until the client disconnects, for at most"),
    };
    let then = match &stall.then {
        Finish::Natural => "continues".to_owned(),
        Finish::Clean(_) => "ends it".to_owned(),
        Finish::Close => "closes the connection".to_owned(),
        Finish::Reset(code) => describe_reset(*code),
    };
    let loss = if stall.discard { ", discarding what arrives" } else { "" };
    format!("{what} {until} {}{loss}, then {then}", shown(time))
}

fn describe_truncation(cut: &Truncation, whose: &str) -> String {
    let after = describe_position(cut.after);
    match &cut.end {
        Finish::Natural => format!("ends the body of {whose} after {after}"),
        Finish::Close => format!("cuts the body of {whose} after {after} and closes the connection"),
        Finish::Reset(code) => format!("cuts the body of {whose} after {after} and {}", describe_reset(*code)),
        Finish::Clean(clean) => format!(
            "ends the body of {whose} after {after} as if it were complete{}",
            describe_clean(clean)
        ),
    }
}

fn describe_clean(clean: &Clean) -> String {
    let mut text = String::new();
    if let Some(grpc) = &clean.grpc {
        text += &format!("; a gRPC call with the status {} (`{}`)", grpc.code, grpc.message);
    }
    if let Some((code, reason)) = &clean.websocket {
        text += &if reason.is_empty() {
            format!("; a WebSocket with the close code {code}")
        } else {
            format!("; a WebSocket with the close code {code} (`{reason}`)")
        };
    }
    text
}

fn describe_reset(code: u32) -> String {
    format!(
        "resets the connection, or over HTTP/2 the stream with {}",
        reset_code::name(code)
    )
}

fn describe_corruption(flip: &Corruption, whose: &str) -> String {
    match (&flip.messages, flip.ppm) {
        (None, ppm) => format!("changes {} of the bytes of {whose}", Percentage::from_ppm(ppm)),
        (Some(pick), 0) => format!("changes one byte of {} of {whose}", describe_pick(pick)),
        (Some(pick), ppm) => format!(
            "changes {} of the bytes of {} of {whose}",
            Percentage::from_ppm(ppm),
            describe_pick(pick)
        ),
    }
}

fn describe_pick(pick: &Pick) -> String {
    match pick {
        Pick::Share { ppm, .. } if *ppm >= Percentage::ALL.ppm() => "each message".to_owned(),
        Pick::Share { ppm, .. } => format!("{} of the messages", Percentage::from_ppm(*ppm)),
        Pick::Every(NonZeroU64::MIN) => "each message".to_owned(),
        Pick::Every(every) => format!("1 in {every} messages"),
    }
}

fn describe_malformed(malformed: Malformed, whose: &str) -> String {
    match malformed {
        Malformed::Chunk => format!("gives {whose} a chunk whose size is not a number"),
        Malformed::StatusLine => format!("gives {whose} a malformed status line"),
        Malformed::Header => format!("gives {whose} a malformed header field"),
        Malformed::Json => format!("makes the JSON of {whose} invalid"),
        Malformed::Encoding => format!("makes the body of {whose} differ from its Content-Encoding"),
        Malformed::Length(difference) => {
            let way = if difference < 0 { "small" } else { "large" };
            let bytes = ByteSize::from_bytes(difference.unsigned_abs());
            format!("makes the Content-Length of {whose} {bytes} too {way}")
        }
    }
}

fn describe_position(after: After) -> String {
    match after {
        After::Bytes(bytes) => ByteSize::from_bytes(bytes).to_string(),
        After::Share(ppm) => Percentage::from_ppm(ppm).to_string(),
        After::Messages(1) => "1 message".to_owned(),
        After::Messages(count) => format!("{count} messages"),
    }
}
