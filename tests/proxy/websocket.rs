//! WebSockets: messages pass, and each fault ends or changes them as the reference says.

use std::time::{Duration, Instant};

use super::support::message::{Answer, Body, Ending, Request};
use super::support::squall::Squall;
use super::support::upstream::Upstream;
use super::support::websocket::{ACCEPTED, CLOSE, HANDSHAKE, TEXT, frame, read};
use super::support::wire::Wire;
use super::support::{Protocol, within};

/// Accepts, reports each frame, and echoes it.
async fn echo() -> (Upstream, tokio::sync::mpsc::UnboundedReceiver<(u8, Vec<u8>)>) {
    let (report, seen) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::h1(move |_, mut wire| {
        let report = report.clone();
        async move {
            if wire.reader().head().await.is_err() {
                return;
            }
            wire.write(ACCEPTED).await;
            loop {
                let (head, ending) = wire.reader().take(6).await;
                if ending != Ending::Whole {
                    return;
                }
                let length = usize::from(head[1] & 0x7f);
                let (mut payload, ending) = wire.reader().take(length).await;
                if ending != Ending::Whole {
                    return;
                }
                for (byte, mask) in payload.iter_mut().zip(head[2..6].iter().cycle()) {
                    *byte ^= mask;
                }
                let opcode = head[0] & 0x0f;
                let _ = report.send((opcode, payload.clone()));
                wire.try_write(frame(opcode, &payload, false)).await;
                if opcode == CLOSE {
                    return;
                }
            }
        }
    })
    .await;
    (upstream, seen)
}

async fn open(squall: &Squall) -> Wire {
    let mut wire = squall.wire().await;
    wire.write(HANDSHAKE).await;
    let response = wire.response("GET").await;
    assert_eq!(response.status, 101);
    wire
}

async fn say(wire: &mut Wire, text: &str) {
    wire.write(frame(TEXT, text.as_bytes(), true)).await;
}

async fn hear(wire: &mut Wire) -> String {
    let (opcode, payload) = read(wire).await;
    assert_eq!(opcode, TEXT);
    String::from_utf8(payload).unwrap()
}

#[tokio::test]
async fn messages_pass() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::before(&upstream);
    let mut wire = open(&squall).await;
    for text in ["one", "two", "", "three"] {
        say(&mut wire, text).await;
        assert_eq!(hear(&mut wire).await, text);
    }
    let close = [0x03, 0xe8];
    wire.write(frame(CLOSE, &close, true)).await;
    assert_eq!(read(&mut wire).await, (CLOSE, close.to_vec()));
    assert_eq!(wire.end().await, (Vec::new(), Ending::Closed));
    squall.counted(101).await;
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn abort_answers_the_handshake() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{abort: {status: 503, body: no}}");
    let mut wire = squall.wire().await;
    wire.write(HANDSHAKE).await;
    wire.response("GET").await.assert(503, "no");
    squall.injected("abort").await;
    squall.counted(503).await;
}

#[tokio::test]
async fn abort_before_the_response_answers_the_handshake() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{abort: {status: 503, body: no, before: response}}");
    let mut wire = squall.wire().await;
    wire.write(HANDSHAKE).await;
    wire.response("GET").await.assert(503, "no");
    squall.injected("abort").await;
}

async fn handshake_ends(name: &str, fault: &str, ending: Ending) {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, fault);
    let mut wire = squall.wire().await;
    wire.write(HANDSHAKE).await;
    assert_eq!(wire.end().await, (Vec::new(), ending));
    squall.injected(name).await;
    squall.counted(0).await;
}

#[tokio::test]
async fn close_in_place_of_the_handshake() {
    handshake_ends("close", "{close: {}}", Ending::Closed).await;
}

#[tokio::test]
async fn reset_in_place_of_the_handshake() {
    handshake_ends("reset", "{reset: {}}", Ending::Reset).await;
}

#[tokio::test]
async fn reset_before_the_response_of_the_handshake() {
    handshake_ends("reset", "{reset: {before: response}}", Ending::Reset).await;
}

#[tokio::test]
async fn hang_in_place_of_the_handshake() {
    handshake_ends("hang", "{hang: {limit: 100ms}}", Ending::Closed).await;
}

#[tokio::test]
async fn messages_to_the_client_are_delayed() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{delay: {fixed: 50ms, before: message}}");
    let mut wire = open(&squall).await;
    let began = Instant::now();
    for text in ["one", "two", "three"] {
        say(&mut wire, text).await;
    }
    for text in ["one", "two", "three"] {
        assert_eq!(hear(&mut wire).await, text);
    }
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn dropped_messages_to_the_client_vanish() {
    let (upstream, mut seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{drop: {every: 2}}");
    let mut wire = open(&squall).await;
    for text in ["one", "two", "three"] {
        say(&mut wire, text).await;
        assert_eq!(within(seen.recv()).await.unwrap().1, text.as_bytes());
    }
    assert_eq!(hear(&mut wire).await, "one");
    assert_eq!(hear(&mut wire).await, "three");
}

#[tokio::test]
async fn dropped_messages_of_the_client_vanish() {
    let (upstream, mut seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{drop: {every: 2, direction: request}}");
    let mut wire = open(&squall).await;
    for text in ["one", "two", "three"] {
        say(&mut wire, text).await;
    }
    for text in ["one", "three"] {
        assert_eq!(within(seen.recv()).await.unwrap().1, text.as_bytes());
        assert_eq!(hear(&mut wire).await, text);
    }
}

#[tokio::test]
async fn duplicated_messages_come_twice() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{duplicate: {every: 2}}");
    let mut wire = open(&squall).await;
    for text in ["one", "two"] {
        say(&mut wire, text).await;
    }
    for text in ["one", "two", "two"] {
        assert_eq!(hear(&mut wire).await, text);
    }
}

#[tokio::test]
async fn corrupted_messages_keep_their_frames() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{corrupt: {bytes: 100%}}");
    let mut wire = open(&squall).await;
    say(&mut wire, "payload").await;
    let (opcode, payload) = read(&mut wire).await;
    assert_eq!((opcode, payload.len()), (TEXT, 7));
    assert_ne!(payload, b"payload");
}

#[tokio::test]
async fn truncation_sends_a_close_frame() {
    let (upstream, _seen) = echo().await;
    let fault = "{truncate: {after: 2 messages, end: clean, close_code: 1012, reason: restarting}}";
    let squall = Squall::with_fault(&upstream, fault);
    let mut wire = open(&squall).await;
    for text in ["one", "two", "three"] {
        say(&mut wire, text).await;
    }
    assert_eq!(hear(&mut wire).await, "one");
    assert_eq!(hear(&mut wire).await, "two");
    let (opcode, payload) = read(&mut wire).await;
    assert_eq!((opcode, &payload[..]), (CLOSE, &b"\x03\xf4restarting"[..]));
    assert_eq!(wire.end().await.0, b"");
    squall.injected("truncate").await;
    squall.counted(101).await;
    squall.assert_nobody_gone();
}

async fn truncation_ends(end: &str, ending: Ending) {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, &format!("{{truncate: {{after: 2 messages, end: {end}}}}}"));
    let mut wire = open(&squall).await;
    for text in ["one", "two", "three"] {
        say(&mut wire, text).await;
    }
    assert_eq!(hear(&mut wire).await, "one");
    assert_eq!(hear(&mut wire).await, "two");
    assert_eq!(wire.end().await, (Vec::new(), ending));
    squall.injected("truncate").await;
    squall.assert_nobody_gone();
}

#[tokio::test]
async fn truncation_closes_without_a_close_frame() {
    truncation_ends("close", Ending::Closed).await;
}

#[tokio::test]
async fn truncation_resets() {
    truncation_ends("reset", Ending::Reset).await;
}

/// The server sees the code, and so does the client, with all replies that came before.
#[tokio::test]
async fn truncation_of_the_client_closes_both_sides_properly() {
    let (upstream, mut seen) = echo().await;
    let fault = "{truncate: {after: 2 messages, end: clean, close_code: 1012, direction: request}}";
    let squall = Squall::with_fault(&upstream, fault);
    let mut wire = open(&squall).await;
    for text in ["one", "two", "three"] {
        say(&mut wire, text).await;
    }
    for text in ["one", "two"] {
        assert_eq!(within(seen.recv()).await.unwrap().1, text.as_bytes());
    }
    assert_eq!(within(seen.recv()).await.unwrap(), (CLOSE, vec![0x03, 0xf4]));
    assert_eq!(hear(&mut wire).await, "one");
    assert_eq!(hear(&mut wire).await, "two");
    let (opcode, payload) = read(&mut wire).await;
    assert_eq!((opcode, &payload[..2]), (CLOSE, &[0x03, 0xf4][..]));
    squall.injected("truncate").await;
}

#[tokio::test]
async fn stalled_messages_resume() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{stall: {after: 1 message, limit: 120ms}}");
    let mut wire = open(&squall).await;
    let began = Instant::now();
    for text in ["one", "two"] {
        say(&mut wire, text).await;
    }
    assert_eq!(hear(&mut wire).await, "one");
    assert_eq!(hear(&mut wire).await, "two");
    assert!(began.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn stalled_direction_does_not_stop_the_other() {
    let (upstream, mut seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{stall: 1 message}");
    let mut wire = open(&squall).await;
    for text in ["one", "two", "three"] {
        say(&mut wire, text).await;
        assert_eq!(within(seen.recv()).await.unwrap().1, text.as_bytes());
    }
    assert_eq!(hear(&mut wire).await, "one");
    drop(wire);
    squall.until("squall_connections", &[], 0.0).await;
    squall.until("squall_requests_held", &[], 0.0).await;
}

#[tokio::test]
async fn bandwidth_slows_messages() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{bandwidth: {response: 1KB/s}}");
    let mut wire = open(&squall).await;
    let began = Instant::now();
    for _ in 0..3 {
        say(&mut wire, &"x".repeat(98)).await;
    }
    for _ in 0..3 {
        assert_eq!(hear(&mut wire).await.len(), 98);
    }
    assert!(began.elapsed() >= Duration::from_millis(180), "{:?}", began.elapsed());
}

#[tokio::test]
async fn rewrite_of_the_status_is_skipped() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{rewrite: {status: 200}}");
    let mut wire = open(&squall).await;
    say(&mut wire, "one").await;
    assert_eq!(hear(&mut wire).await, "one");
    drop(wire);
    squall.skipped("rewrite", "upgraded").await;
}

#[tokio::test]
async fn rewrite_of_a_body_is_skipped() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{rewrite: {body: x}}");
    let mut wire = open(&squall).await;
    say(&mut wire, "one").await;
    assert_eq!(hear(&mut wire).await, "one");
    drop(wire);
    squall.skipped("rewrite", "upgraded").await;
}

#[tokio::test]
async fn client_disconnect_in_a_websocket_frees_everything() {
    let (upstream, _seen) = echo().await;
    let squall = Squall::with_fault(&upstream, "{delay: {fixed: 1ms, before: message}}");
    let mut wire = open(&squall).await;
    say(&mut wire, "one").await;
    assert_eq!(hear(&mut wire).await, "one");
    wire.reset();
    squall.until("squall_connections", &[], 0.0).await;
    squall.until("squall_faults_active", &[], 0.0).await;
}

#[tokio::test]
async fn refused_handshake_passes() {
    let refusal = Answer {
        status: 403,
        ..Answer::ok(Body::sized("no"))
    };
    let upstream = Upstream::answering(Protocol::H1, refusal).await;
    let squall = Squall::with_fault(&upstream, "{delay: 1ms}");
    let mut wire = squall.wire().await;
    wire.write(HANDSHAKE).await;
    wire.response("GET").await.assert(403, "no");
    wire.ask(&Request::get("/next")).await.assert(403, "no");
}
