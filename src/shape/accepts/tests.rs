use std::num::NonZeroU64;
use std::time::Duration;

use super::super::{Corruption, Finish, Pick, Stall, Truncation};
use super::*;
use crate::metrics::SKIP_REASONS;

const STREAM: Stream = Stream {
    direction: Direction::Response,
    protocol: Protocol::Http11,
    framing: Framing::Opaque,
    length: None,
    body: true,
    json: false,
    encoded: false,
};

fn check(stream: Stream, act: Act, expect: Result<(), &'static str>) {
    assert_eq!(stream.accepts(&act), expect, "{act:?} on {stream:?}");
    if let Err(reason) = expect {
        assert!(SKIP_REASONS.contains(&reason), "{reason}");
    }
}

fn cut(after: After) -> Act {
    Act::Truncate(Truncation {
        after,
        end: Finish::Close,
    })
}

const PICK: Pick = Pick::Every(NonZeroU64::MIN);

#[test]
fn bodies_are_needed_except_for_heads_that_lie() {
    let none = Stream { body: false, ..STREAM };
    check(none, Act::Delay(Duration::ZERO), Err("no body"));
    check(none, cut(After::Bytes(0)), Err("no body"));
    check(none, Act::Malform(Malformed::Encoding), Err("no body"));
    check(none, Act::Malform(Malformed::StatusLine), Ok(()));
    let protocol = Protocol::WebSocket;
    check(Stream { protocol, ..none }, cut(After::Bytes(0)), Ok(()));
}

#[test]
fn messages_and_lengths_are_needed_where_they_count() {
    let flip = |messages| {
        Act::Corrupt(Corruption {
            ppm: 1,
            messages,
            seed: 0,
        })
    };
    let over = Act::Dribble(Dribble::Over {
        chunks: 2,
        time: Duration::ZERO,
    });
    let stall = Act::Stall(Stall {
        after: After::Share(1),
        limit: None,
        then: Finish::Close,
        discard: false,
    });
    let (length, framing) = (Some(9), Framing::Events);
    for act in [
        cut(After::Messages(1)),
        flip(Some(PICK)),
        Act::Drop(PICK),
        Act::Duplicate(PICK),
    ] {
        check(STREAM, act.clone(), Err("no messages"));
        check(Stream { framing, ..STREAM }, act.clone(), Ok(()));
        let encoded = true;
        check(
            Stream {
                framing,
                encoded,
                ..STREAM
            },
            act,
            Err("encoded"),
        );
    }
    for act in [cut(After::Share(1)), stall, over] {
        check(STREAM, act.clone(), Err("length unknown"));
        check(Stream { length, ..STREAM }, act, Ok(()));
    }
    check(STREAM, flip(None), Ok(()));
    let end = Act::DelayEnd(Duration::ZERO);
    check(STREAM, end.clone(), Ok(()));
    check(Stream { length, ..STREAM }, end, Err("length known"));
}

#[test]
fn positions_lie_before_a_known_end() {
    let stream = Stream {
        length: Some(9),
        framing: Framing::Lines,
        ..STREAM
    };
    for (after, expect) in [
        (After::Bytes(8), Ok(())),
        (After::Bytes(9), Err("body too short")),
        (After::Share(999_999), Ok(())),
        (After::Share(1_000_000), Err("body too short")),
        (After::Messages(99), Ok(())),
    ] {
        check(stream, cut(after), expect);
    }
    check(
        Stream {
            length: Some(0),
            ..stream
        },
        cut(After::Bytes(0)),
        Err("body too short"),
    );
    check(STREAM, cut(After::Bytes(u64::MAX)), Ok(()));
}

#[test]
fn raw_connections_have_bytes_and_nothing_else() {
    let tcp = Stream::of_connection(Direction::Request);
    for malformed in [
        Malformed::Chunk,
        Malformed::StatusLine,
        Malformed::Header,
        Malformed::Json,
        Malformed::Encoding,
        Malformed::Length(1),
    ] {
        check(tcp, Act::Malform(malformed), Err("not HTTP"));
    }
    for act in [Act::Drop(PICK), Act::Duplicate(PICK), cut(After::Messages(1))] {
        check(tcp, act, Err("no messages"));
    }
    check(tcp, cut(After::Share(1)), Err("length unknown"));
    check(tcp, cut(After::Bytes(1)), Ok(()));
    check(tcp, Act::Delay(Duration::ZERO), Ok(()));
}

#[test]
fn lies_need_what_they_lie_about() {
    for malformed in [
        Malformed::Chunk,
        Malformed::StatusLine,
        Malformed::Header,
        Malformed::Length(-1),
    ] {
        for protocol in [Protocol::Http2, Protocol::WebSocket] {
            check(
                Stream { protocol, ..STREAM },
                Act::Malform(malformed),
                Err("not HTTP/1"),
            );
        }
        let length = Some(9);
        check(Stream { length, ..STREAM }, Act::Malform(malformed), Ok(()));
    }
    check(STREAM, Act::Malform(Malformed::Length(-1)), Err("length unknown"));
    for (length, difference, expect) in [
        (9, -8, Ok(())),
        (9, -9, Err("body too short")),
        (9, -10, Err("body too short")),
        (0, -1, Err("body too short")),
        (0, 1, Ok(())),
        (9, i64::MIN, Err("body too short")),
    ] {
        let length = Some(length);
        check(
            Stream { length, ..STREAM },
            Act::Malform(Malformed::Length(difference)),
            expect,
        );
    }
    let protocol = Protocol::WebSocket;
    check(
        Stream { protocol, ..STREAM },
        Act::Malform(Malformed::Encoding),
        Err("no body"),
    );
    let protocol = Protocol::Http10;
    check(
        Stream { protocol, ..STREAM },
        Act::Malform(Malformed::Chunk),
        Err("not HTTP/1.1"),
    );
    let (json, encoded) = (true, true);
    check(STREAM, Act::Malform(Malformed::Json), Err("not JSON"));
    check(
        Stream {
            json,
            encoded,
            ..STREAM
        },
        Act::Malform(Malformed::Json),
        Err("encoded"),
    );
    check(Stream { json, ..STREAM }, Act::Malform(Malformed::Json), Ok(()));
}
