//! Each act by itself, and some together.

use super::*;
use crate::shape::framing::{grpc_message, websocket_frame};

const EVENTS: &[u8] = b"data: a\n\n: hello\n\ndata: b\n\ndata: c\n\n";

fn events() -> Stream {
    let framing = Framing::Events;
    Stream { framing, ..STREAM }
}

fn websocket() -> Stream {
    Stream {
        framing: Framing::WebSocket,
        protocol: Protocol::WebSocket,
        ..STREAM
    }
}

fn long(length: u64) -> Stream {
    Stream {
        length: Some(length),
        ..STREAM
    }
}

fn run(stream: Stream, acts: Vec<Act>, body: &[u8]) -> Ran {
    Setting::new(stream, acts).run(&[body])
}

fn flip(ppm: u32, messages: Option<Pick>) -> Act {
    Act::Corrupt(Corruption { ppm, messages, seed: 7 })
}

/// What differs between a body and what came out, as position and mask.
fn differences(body: &[u8], ran: &Ran) -> Vec<(usize, u8)> {
    let out = ran.bytes();
    assert_eq!(out.len(), body.len());
    (0..body.len())
        .filter(|&at| out[at] != body[at])
        .map(|at| (at, out[at] ^ body[at]))
        .collect()
}

#[test]
fn chunks_leave_with_gaps() {
    let gap = Duration::from_millis(100);
    let act = pieces(4, gap);
    let ran = Setting::new(STREAM, vec![act.clone()]).run(&[b"ab", b"cdefg", b"h", b"ij"]);
    assert_eq!(ran.millis(), [(0, 4), (100, 4), (200, 2)]);
    // Together with a rate the gaps may be longer.
    let ran = run(STREAM, vec![act.clone(), pace(20)], b"abcdefghij");
    assert_eq!(ran.millis().last(), Some(&(450, 1)));
    // Timers that are late do not add up, and gaps stay gaps.
    let late = Setting {
        late: vec![2000],
        ..Setting::new(STREAM, vec![act])
    };
    let ran = late.run(&[&[0; 40]]);
    assert_eq!(ran.sent.last().unwrap().0, Duration::from_millis(902));
}

#[test]
fn sizes_of_chunks_vary_by_number_and_seed() {
    let sizes = |seed, chunks: &[&[u8]]| {
        let (bytes, vary, gap) = (64, 16, Duration::from_millis(100));
        let act = Act::Dribble(Dribble::Chunk { bytes, vary, seed, gap });
        let ran = Setting::new(STREAM, vec![act]).run(chunks);
        assert_eq!(ran.sent[1].0, gap);
        ran.sent.iter().map(|(_, piece)| piece.len()).collect::<Vec<_>>()
    };
    let body = &[0; 64_000][..];
    let once = sizes(7, &[body]);
    let (last, whole) = once.split_last().unwrap();
    assert!(*last <= 80 && whole.iter().all(|size| (48..=80).contains(size)));
    assert!(whole.contains(&48) && whole.contains(&80));
    let mean = whole.iter().sum::<usize>() as f64 / whole.len() as f64;
    // The deviation is 9.5, that of the mean 0.3: 4 of them.
    assert!((mean - 64.0).abs() < 1.2, "{mean}");
    assert_eq!(once, sizes(7, &[body]));
    assert_ne!(once, sizes(8, &[body]));
}

#[test]
fn pieces_may_follow_at_once_and_have_a_byte_at_least() {
    let (bytes, vary, seed, gap) = (2, 2, 1, Duration::ZERO);
    let ran = run(
        STREAM,
        vec![Act::Dribble(Dribble::Chunk { bytes, vary, seed, gap })],
        &[0; 100],
    );
    assert!(ran.sent.len() > 30 && ran.ended.is_zero());
    assert!(ran.sent.iter().all(|(_, piece)| (1..=4).contains(&piece.len())));
}

#[test]
fn a_body_is_spread_over_a_time() {
    let time = Duration::from_secs(9);
    let act = Act::Dribble(Dribble::Over { chunks: 10, time });
    let ran = run(long(95), vec![act.clone()], &[0; 95]);
    assert_eq!(ran.sent.len(), 10);
    assert_eq!(ran.millis()[1], (1000, 10));
    assert_eq!(ran.millis()[9], (9000, 5));
    // Fewer bytes than pieces: from the first to the last all the same.
    let ran = run(long(4), vec![act.clone()], b"abcd");
    assert_eq!(ran.millis(), [(0, 1), (3000, 1), (6000, 1), (9000, 1)]);
    assert_eq!(run(long(1), vec![act], b"a").millis(), [(0, 1)]);
}

#[test]
fn a_hold_comes_before_the_first_byte_or_the_end() {
    let acts = vec![Act::Delay(Duration::from_millis(100))];
    let ran = run(STREAM, acts.clone(), b"ab");
    assert_eq!(
        (ran.millis(), ran.took_effect, ran.held.as_millis()),
        (vec![(100, 2)], vec![0], 100)
    );
    let ran = run(STREAM, acts.clone(), b"");
    assert_eq!((ran.sent.len(), ran.ended.as_millis()), (0, 100));
    // And before a cut.
    let acts = [acts, vec![cut(After::Bytes(0), Finish::Close)]].concat();
    assert_eq!(run(STREAM, acts, b"ab").ended.as_millis(), 100);
}

#[test]
fn the_end_waits_once_everything_before_it_was_sent() {
    let acts = vec![Act::DelayEnd(Duration::from_millis(100))];
    let ran = run(STREAM, acts.clone(), b"ab");
    assert_eq!((ran.millis(), ran.ended.as_millis()), (vec![(0, 2)], 100));
    assert_eq!((ran.took_effect, ran.held.as_millis()), (vec![0], 100));
    assert_eq!(run(STREAM, acts.clone(), b"").ended.as_millis(), 100);
    let paced = [acts.clone(), vec![pace(20)]].concat();
    assert_eq!(run(STREAM, paced, &[0; 11]).ended.as_millis(), 600);
    let cut = [acts, vec![cut(After::Bytes(1), Finish::Close)]].concat();
    let ran = run(STREAM, cut, b"ab");
    assert_eq!((ran.ended.as_millis(), ran.took_effect), (0, vec![1]));
}

#[test]
fn messages_wait_one_after_the_other() {
    let ran = run(events(), vec![Act::DelayMessages(Arc::new(Rising(100)))], EVENTS);
    // The comment is no message, and leaves with the one before it.
    assert_eq!(ran.millis(), [(100, 18), (300, 9), (600, 9)]);
    assert_eq!(ran.held.as_millis(), 600);
    let late = Duration::from_secs(3);
    let mut shaper = Shaper::new(
        &events(),
        vec![(0, Act::DelayMessages(Arc::new(Rising(100))))],
        99,
        |_, pace| Arc::new(Bucket::new(pace.rate)),
    );
    let now = Instant::now();
    assert!(matches!(shaper.step(now), Step::More));
    shaper.push("data: a\n\n".into());
    assert!(matches!(shaper.step(now + late), Step::Wait(at) if at == now + late + Duration::from_millis(100)));
}

#[test]
fn control_frames_wait_behind_messages() {
    let body = [
        websocket_frame(0x82, b"one"),
        websocket_frame(0x89, b""),
        websocket_frame(0x82, b"two"),
    ];
    let ran = run(
        websocket(),
        vec![Act::DelayMessages(Arc::new(Rising(10)))],
        &body.concat(),
    );
    assert_eq!(ran.millis(), [(10, 7), (30, 5)]);
}

#[test]
fn stalls_end_as_they_say() {
    let resume = stall(After::Bytes(2), Some(500), Finish::Natural);
    let ran = run(STREAM, vec![resume.clone()], b"abcd");
    assert_eq!(ran.millis(), [(0, 2), (500, 2)]);
    assert_eq!((ran.held.as_millis(), ran.took_effect), (500, vec![0]));
    let close = stall(After::Share(500_000), Some(500), Finish::Close);
    let ran = run(long(4), vec![close], b"abcd");
    assert_eq!(ran.millis(), [(0, 2)]);
    assert!(matches!(ran.end, Finish::Close));
    assert_eq!(ran.ended.as_millis(), 500);
    let ever = stall(After::Messages(1), None, Finish::Reset(2));
    let ran = run(events(), vec![ever], EVENTS);
    assert!(ran.stalled && matches!(ran.end, Finish::Reset(2)));
    assert_eq!(ran.bytes(), b"data: a\n\n");
    // A stall before the first byte needs no byte.
    let acts = vec![(0, stall(After::Bytes(0), Some(500), Finish::Natural))];
    let mut shaper = Shaper::new(&STREAM, acts, 9, |_, pace| Arc::new(Bucket::new(pace.rate)));
    assert!(matches!(shaper.step(Instant::now()), Step::Stalled(Some(_))));
    assert_eq!((shaper.took_effect(), shaper.took_effect()), (Some(0), None));
    // One after the other, and a stall before a cut.
    let acts = vec![cut(After::Bytes(2), Finish::Close), resume.clone(), resume];
    let ran = run(STREAM, acts, b"abcd");
    assert_eq!((ran.ended.as_millis(), ran.took_effect), (1000, vec![1, 2, 0]));
}

#[test]
fn the_earliest_cut_wins() {
    let acts = vec![
        cut(After::Bytes(5), Finish::Close),
        cut(After::Bytes(3), Finish::Reset(8)),
    ];
    let ran = run(STREAM, acts, b"abcdef");
    assert_eq!(ran.bytes(), b"abc");
    assert!(matches!(ran.end, Finish::Reset(8)));
    assert_eq!((ran.took_effect, ran.missed), (vec![1], vec![]));
}

#[test]
fn a_cut_needs_more_to_come_where_the_length_is_known() {
    for (length, at, cuts) in [
        (Some(4), 4, false),
        (Some(4), 9, false),
        (Some(4), 3, true),
        (None, 9, false),
        (None, 4, true),
        (Some(0), 0, false),
        (None, 0, true),
    ] {
        let body = &b"abcd"[..length.unwrap_or(4) as usize];
        let stream = Stream { length, ..STREAM };
        let ran = run(stream, vec![cut(After::Bytes(at), Finish::Close)], body);
        assert_eq!(ran.took_effect.len() == 1, cuts, "{length:?} {at}");
        assert_eq!(ran.missed, if cuts { vec![] } else { vec![(0, "body too short")] });
    }
    // Nothing waits for the byte behind the position.
    let acts = vec![(0, cut(After::Bytes(2), Finish::Close))];
    let mut shaper = Shaper::new(&long(4), acts, 9, |_, pace| Arc::new(Bucket::new(pace.rate)));
    shaper.push("ab".into());
    assert!(matches!(shaper.step(Instant::now()), Step::Send(_)));
    assert!(matches!(shaper.step(Instant::now()), Step::End(Finish::Close)));
}

#[test]
fn a_cut_after_messages_is_right_behind_them() {
    let ran = run(events(), vec![cut(After::Messages(2), Finish::Close)], EVENTS);
    assert_eq!(ran.bytes(), &EVENTS[..27]);
    let messages = [grpc_message(0, b"one"), grpc_message(0, b""), grpc_message(1, b"two")];
    let framing = Framing::Grpc;
    let acts = vec![cut(After::Messages(2), Finish::Clean(Clean::default()))];
    let ran = run(Stream { framing, ..STREAM }, acts, &messages.concat());
    assert_eq!(ran.bytes(), messages[..2].concat());
    assert!(matches!(ran.end, Finish::Clean(_)));
}

#[test]
fn a_clean_cut_closes_a_websocket() {
    let clean = Finish::Clean(Clean {
        grpc: None,
        websocket: Some((1011, "why".into())),
    });
    let (frame, close) = (websocket_frame(0x82, b"hello"), b"\x88\x05\x03\xf3why");
    let ran = run(
        websocket(),
        vec![cut(After::Messages(1), clean.clone())],
        &[frame.clone(), frame.clone()].concat(),
    );
    assert_eq!(ran.bytes(), [&frame[..], close].concat());
    // Within a frame its end comes first.
    let ran = run(
        websocket(),
        vec![cut(After::Bytes(9), clean)],
        &[frame.clone(), frame.clone(), frame.clone()].concat(),
    );
    assert_eq!(ran.bytes(), [&frame[..], &frame, close].concat());
    // And one that is not clean cuts where it says.
    let ran = run(websocket(), vec![cut(After::Bytes(9), Finish::Close)], &frame.repeat(3));
    assert_eq!(ran.bytes(), &frame.repeat(3)[..9]);
    // Towards a server it is masked.
    let direction = Direction::Request;
    let acts = vec![cut(After::Messages(0), Finish::Clean(Clean::default()))];
    let ran = run(
        Stream {
            direction,
            ..websocket()
        },
        acts,
        &frame,
    );
    assert_eq!(ran.bytes(), close_frame(1001, "", true));
}

#[test]
fn lengths_are_known_before_the_body() {
    let clean = || Finish::Clean(Clean::default());
    let check = |length, acts: Vec<Act>, expect| {
        let stream = Stream { length, ..STREAM };
        let acts = acts.into_iter().enumerate().collect();
        let shaper = Shaper::new(&stream, acts, 9, |_, pace| Arc::new(Bucket::new(pace.rate)));
        assert_eq!(shaper.length(), expect);
    };
    check(Some(9), vec![], Length::Same);
    check(Some(9), vec![cut(After::Share(500_000), clean())], Length::Exactly(4));
    check(Some(9), vec![cut(After::Bytes(9), clean())], Length::Same);
    check(Some(9), vec![cut(After::Bytes(4), Finish::Close)], Length::Same);
    check(None, vec![cut(After::Bytes(4), clean())], Length::Same);
    check(Some(9), vec![cut(After::Messages(1), clean())], Length::Unknown);
    check(Some(9), vec![cut(After::Messages(1), Finish::Close)], Length::Same);
    check(Some(9), vec![Act::Drop(every(2))], Length::Unknown);
    check(Some(9), vec![flip(9, None)], Length::Same);
    check(
        Some(9),
        vec![stall(After::Bytes(3), Some(1), clean())],
        Length::Exactly(3),
    );
    let both = |first, second| {
        vec![
            cut(After::Bytes(first), clean()),
            cut(After::Bytes(second), Finish::Close),
        ]
    };
    check(Some(9), both(3, 4), Length::Exactly(3));
    check(Some(9), both(4, 3), Length::Same);
}

#[test]
fn messages_vanish() {
    let ran = run(events(), vec![Act::Drop(every(2))], EVENTS);
    assert_eq!(ran.bytes(), b"data: a\n\n: hello\n\ndata: c\n\n");
    assert_eq!(ran.took_effect, [0]);
    // What vanishes is not counted by a cut.
    let acts = vec![Act::Drop(every(2)), cut(After::Messages(2), Finish::Close)];
    let ran = run(events(), acts, &EVENTS.repeat(2));
    assert_eq!(ran.bytes(), b"data: a\n\n: hello\n\ndata: c\n\n");
    // Control frames between fragments pass.
    let parts = [
        websocket_frame(0x02, b"one"),
        websocket_frame(0x89, b"ping"),
        websocket_frame(0x80, b"two"),
    ];
    let ran = run(websocket(), vec![Act::Drop(every(1))], &parts.concat());
    assert_eq!(ran.bytes(), parts[1]);
}

#[test]
fn messages_come_twice() {
    let ran = run(events(), vec![Act::Duplicate(every(2))], EVENTS);
    assert_eq!(ran.bytes(), b"data: a\n\n: hello\n\ndata: b\n\ndata: b\n\ndata: c\n\n");
    let parts = [
        websocket_frame(0x02, b"one"),
        websocket_frame(0x89, b"ping"),
        websocket_frame(0x80, b"two"),
    ];
    let ran = run(websocket(), vec![Act::Duplicate(every(1))], &parts.concat());
    assert_eq!(
        ran.bytes(),
        [parts.concat(), parts[0].clone(), parts[2].clone()].concat()
    );
    // A last line has no end, but it is a message.
    let framing = Framing::Lines;
    let ran = run(Stream { framing, ..STREAM }, vec![Act::Duplicate(every(2))], b"{}\n[1]");
    assert_eq!(ran.bytes(), b"{}\n[1]\n[1]");
    // Copies are waited for, and counted.
    let acts = vec![
        Act::Duplicate(every(1)),
        Act::DelayMessages(Arc::new(Rising(10))),
        cut(After::Messages(3), Finish::Close),
    ];
    let ran = run(events(), acts, EVENTS);
    assert_eq!(ran.millis()[0], (10, 9));
    assert_eq!(ran.bytes(), b"data: a\n\ndata: a\n\n: hello\n\ndata: b\n\n");
    assert_eq!(ran.ended.as_millis(), 60);
}

#[test]
fn a_message_that_is_too_large_comes_once() {
    let setting = Setting {
        buffer: 8,
        ..Setting::new(events(), vec![Act::Duplicate(every(1))])
    };
    let ran = setting.run(&EVENTS.chunks(3).collect::<Vec<_>>());
    assert_eq!(ran.bytes(), EVENTS);
    assert_eq!((ran.took_effect, ran.missed), (vec![], vec![(0, "message too large")]));
}

#[test]
fn a_share_of_bytes_is_flipped() {
    let body = vec![b'x'; 1_000_000];
    let found = differences(&body, &run(STREAM, vec![flip(10_000, None)], &body));
    // Five standard deviations of a binomial distribution.
    assert!((9500..10_500).contains(&found.len()), "{}", found.len());
    let all = differences(&body, &run(STREAM, vec![flip(1_000_000, None)], &body));
    assert_eq!(all.len(), body.len());
}

#[test]
fn line_ends_stay_line_ends() {
    let body = EVENTS.repeat(50);
    let ran = run(events(), vec![flip(1_000_000, None)], &body);
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let out = ran.bytes();
    assert!(
        body.iter()
            .zip(&out)
            .all(|(a, b)| is_end(a) == is_end(b) && (is_end(a) || a != b))
    );
    assert!(out.is_ascii());
}

#[test]
fn one_byte_of_each_picked_message_is_flipped() {
    let found = differences(EVENTS, &run(events(), vec![flip(0, Some(every(1)))], EVENTS));
    let at: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [6, 24, 33]);
    let found = differences(EVENTS, &run(events(), vec![flip(0, Some(every(3)))], EVENTS));
    assert_eq!(found.len(), 1);
    // Somewhere in the payload, never in the header.
    let message = grpc_message(0, &[b'x'; 100]);
    let framing = Framing::Grpc;
    let body = message.repeat(100);
    let acts = vec![flip(0, Some(every(1)))];
    let found = differences(&body, &run(Stream { framing, ..STREAM }, acts, &body));
    assert_eq!(found.len(), 100);
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(n, (at, _))| at / 105 == n && at % 105 >= 5)
    );
    let places: std::collections::HashSet<usize> = found.iter().map(|(at, _)| at % 105).collect();
    assert!(places.len() > 20);
}

#[test]
fn a_share_within_picked_messages_is_flipped() {
    let frames = [websocket_frame(0x82, &[0; 100]), websocket_frame(0x89, &[0; 100])].concat();
    let body = frames.repeat(4);
    let acts = vec![flip(1_000_000, Some(every(2)))];
    let found = differences(&body, &run(websocket(), acts, &body));
    let at: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
    let second = |n: usize| (204 * n + 2)..(204 * n + 102);
    assert_eq!(at, second(1).chain(second(3)).collect::<Vec<_>>());
}

#[test]
fn bodies_are_not_what_they_say() {
    let json = Stream { json: true, ..STREAM };
    let acts = || vec![Act::Malform(Malformed::Json)];
    for (body, expect) in [
        (&b" \n{\"a\":1}"[..], &b" \n#\"a\":1}"[..]),
        (b"\xef\xbb\xbf [1]", b"\xef\xbb\xbf #1]"),
        (b"1", b"#"),
    ] {
        let ran = Setting::new(json, acts()).run(&body.chunks(1).collect::<Vec<_>>());
        assert_eq!((ran.bytes(), ran.took_effect), (expect.to_vec(), vec![0]));
    }
    assert_eq!(run(json, acts(), b" \n").missed, [(0, "not JSON")]);
    let encoded = Stream {
        encoded: true,
        ..STREAM
    };
    let ran = Setting::new(encoded, vec![Act::Malform(Malformed::Encoding)]).run(&[b"\x1f", b"\x8b\x08"]);
    assert_eq!((ran.bytes(), ran.took_effect), (b"\x11\x74\x08".to_vec(), vec![0]));
    // The head lies, and that is not the shaper's.
    let ran = run(
        STREAM,
        vec![Act::Malform(Malformed::Encoding), Act::Malform(Malformed::Chunk)],
        b"ab",
    );
    assert_eq!(
        (ran.bytes(), ran.took_effect, ran.missed),
        (b"ab".to_vec(), vec![], vec![])
    );
}

#[test]
fn acts_without_anything_to_act_on_are_reported() {
    let stream = Stream {
        framing: Framing::Lines,
        ..STREAM
    };
    let acts = vec![
        pace(9),
        Act::Drop(every(1)),
        flip(9, None),
        flip(0, Some(every(1))),
        cut(After::Bytes(9), Finish::Close),
    ];
    let mut missed = run(stream, acts, b"").missed;
    missed.sort_unstable();
    let expect = ["no body", "no messages", "no body", "no messages", "body too short"];
    assert_eq!(missed, expect.into_iter().enumerate().collect::<Vec<_>>());
    for (_, reason) in missed {
        assert!(crate::metrics::SKIP_REASONS.contains(&reason));
    }
}

#[test]
fn streams_with_broken_framing_pass() {
    let body = [websocket_frame(0x82, b"one"), vec![0x83, 1, 2, 3], vec![0x82; 99]].concat();
    let acts = vec![Act::Drop(every(1)), Act::DelayMessages(Arc::new(Rising(1)))];
    let ran = run(websocket(), acts, &body);
    assert_eq!(ran.bytes(), &body[5..]);
}
