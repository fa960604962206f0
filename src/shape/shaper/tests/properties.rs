//! What holds for any stream, any chunking and any plan.

use proptest::prelude::*;

use super::*;
use crate::shape::bucket::BURST;
use crate::shape::framing::tests::{Said, split, streams};
use crate::shape::framing::{Kind, websocket_frame};

/// A body, and how it comes.
#[derive(Clone, Debug)]
struct Coming {
    body: Vec<u8>,
    stream: Stream,
    /// The sizes of chunks, in turn.
    sizes: Vec<usize>,
    buffer: usize,
    late: Vec<u64>,
}

impl Coming {
    fn run(&self, acts: Vec<Act>) -> Ran {
        let setting = Setting {
            stream: self.stream,
            acts,
            buffer: self.buffer,
            late: self.late.clone(),
        };
        let (mut chunks, mut rest) = (Vec::new(), &self.body[..]);
        for size in self.sizes.iter().cycle() {
            let (chunk, after) = rest.split_at(rest.len().min(*size));
            chunks.push(chunk);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        setting.run(&chunks)
    }

    fn said(&self) -> Said {
        split(self.stream.framing, &[&self.body])
    }

    /// The same bytes, in other chunks.
    fn in_one(&self) -> Coming {
        Coming {
            sizes: vec![1 << 20],
            buffer: 1 << 20,
            late: vec![0],
            ..self.clone()
        }
    }
}

prop_compose! {
    fn coming()(
        body in streams(),
        framing in prop::sample::select(vec![
            Framing::Opaque, Framing::Events, Framing::Lines, Framing::WebSocket, Framing::Grpc,
        ]),
        known in any::<bool>(),
        sizes in prop::collection::vec(1_usize..200, 1..5),
        buffer in 1_usize..300,
        late in prop::collection::vec(0_u64..3000, 1..4),
    ) -> Coming {
        let websocket = framing == Framing::WebSocket;
        let stream = Stream {
            framing,
            protocol: if websocket { Protocol::WebSocket } else { Protocol::Http11 },
            length: (known && !websocket).then_some(body.len() as u64),
            ..STREAM
        };
        Coming { body, stream, sizes, buffer, late }
    }
}

fn positions() -> impl Strategy<Value = After> {
    prop_oneof![
        (0_u64..400).prop_map(After::Bytes),
        (0_u32..1_000_001).prop_map(After::Share),
        (0_u64..9).prop_map(After::Messages),
    ]
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn picks() -> impl Strategy<Value = Pick> {
    prop_oneof![
        (1_u64..4).prop_map(every),
        (0_u32..1_000_001, any::<u64>()).prop_map(|(ppm, seed)| Pick::Share { ppm, seed }),
    ]
}

/// Acts that leave the bytes as they are.
pub(super) fn gentle() -> impl Strategy<Value = Act> {
    prop_oneof![
        prop::sample::select(vec![1, 7, 1024, 20_480, 1 << 30, u64::MAX]).prop_map(pace),
        (1_usize..300, millis(0..500)).prop_map(|(bytes, gap)| pieces(bytes, gap)),
        (1_usize..300, 0_usize..300, any::<u64>(), millis(0..500))
            .prop_map(|(bytes, vary, seed, gap)| Act::Dribble(Dribble::Chunk { bytes, vary, seed, gap })),
        (1_u64..20, millis(0..9000)).prop_map(|(chunks, time)| Act::Dribble(Dribble::Over { chunks, time })),
        millis(0..9000).prop_map(Act::Delay),
        millis(0..9000).prop_map(Act::DelayEnd),
        (0_u64..100).prop_map(|step| Act::DelayMessages(Arc::new(Rising(step)))),
        (0_u64..100).prop_map(|step| Act::DelayChunks(Arc::new(Rising(step)))),
        (positions(), 0_u64..9000).prop_map(|(after, limit)| stall(after, Some(limit), Finish::Natural)),
    ]
}

fn flips() -> impl Strategy<Value = Act> {
    let ppm = prop_oneof![Just(0_u32), 0_u32..1_000_001];
    (ppm, prop::option::of(picks()), any::<u64>())
        .prop_map(|(ppm, messages, seed)| Act::Corrupt(Corruption { ppm, messages, seed }))
}

/// The prefix that a cut leaves, by the rule of [`Shaper`]; `None`: all.
fn prefix(coming: &Coming, after: After) -> Option<usize> {
    let (said, length) = (coming.said(), coming.body.len());
    let at = match after {
        After::Bytes(at) => usize::try_from(at).unwrap(),
        After::Share(ppm) => length * ppm as usize / 1_000_000,
        After::Messages(0) => 0,
        After::Messages(n) => *said.ends.get(n as usize - 1)?,
    };
    let more = coming.stream.length.is_none() || at < length;
    (more && at <= length).then_some(at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bytes_out_are_bytes_in(
        coming in coming(),
        acts in prop::collection::vec(gentle(), 0..5),
    ) {
        let acts: Vec<Act> = acts.into_iter().filter(|act| coming.stream.accepts(act).is_ok()).collect();
        let ran = coming.run(acts);
        prop_assert_eq!(ran.bytes(), coming.body);
        prop_assert!(matches!(ran.end, Finish::Natural));
    }

    #[test]
    fn acts_that_are_not_accepted_harm_nothing(
        coming in coming(),
        acts in prop::collection::vec(gentle(), 0..5),
    ) {
        prop_assert_eq!(coming.run(acts).bytes(), coming.body);
    }

    #[test]
    fn a_cut_yields_exactly_the_stated_prefix(
        coming in coming(),
        after in positions(),
        acts in prop::collection::vec(gentle(), 0..3),
    ) {
        let cut = cut(after, Finish::Close);
        prop_assume!(matches!(coming.stream.accepts(&cut), Ok(()) | Err("body too short")));
        let acts = acts.into_iter().filter(|act| coming.stream.accepts(act).is_ok());
        let ran = coming.run(std::iter::once(cut).chain(acts).collect());
        let expect = prefix(&coming, after);
        prop_assert_eq!(&ran.bytes()[..], &coming.body[..expect.unwrap_or(coming.body.len())]);
        prop_assert_eq!(matches!(ran.end, Finish::Close), expect.is_some());
        prop_assert_eq!(ran.took_effect.contains(&0), expect.is_some());
        prop_assert_eq!(ran.missed.contains(&(0, "body too short")), expect.is_none());
    }

    #[test]
    fn a_clean_cut_has_the_stated_length(coming in coming(), after in positions()) {
        let cut = cut(after, Finish::Clean(Clean::default()));
        prop_assume!(matches!(coming.stream.accepts(&cut), Ok(()) | Err("body too short")));
        let acts = vec![(0, cut.clone())];
        let told = Shaper::new(&coming.stream, acts, 9, |_, pace| Arc::new(Bucket::new(pace.rate))).length();
        let sent = coming.run(vec![cut]).bytes().len() as u64;
        match told {
            Length::Exactly(length) => prop_assert_eq!(length, sent),
            Length::Same => prop_assert!(coming.stream.length.is_none_or(|length| length == sent)),
            Length::Unknown => prop_assert!(matches!(after, After::Messages(_))),
        }
    }

    #[test]
    fn a_clean_cut_of_a_websocket_ends_between_frames(
        frames in prop::collection::vec((0_usize..200, any::<bool>()), 1..6),
        at in 0_u64..500,
        sizes in prop::collection::vec(1_usize..200, 1..5),
    ) {
        let frames: Vec<_> = frames
            .iter()
            .map(|(len, ping)| websocket_frame(if *ping { 0x89 } else { 0x82 }, &vec![7; (*len).min(125)]))
            .collect();
        let stream = Stream { framing: Framing::WebSocket, protocol: Protocol::WebSocket, ..STREAM };
        let coming = Coming { body: frames.concat(), stream, sizes, buffer: 99, late: vec![0] };
        let out = coming.run(vec![cut(After::Bytes(at), Finish::Clean(Clean::default()))]).bytes();
        let ends = frames.iter().scan(0, |end, frame| {
            *end += frame.len();
            Some(*end)
        });
        let end = std::iter::once(0).chain(ends).find(|end| *end as u64 >= at);
        let close = if end.is_some() { close_frame(1001, "", false) } else { Vec::new() };
        let expect = [&coming.body[..end.unwrap_or(coming.body.len())], &close].concat();
        prop_assert_eq!(out, expect);
    }

    #[test]
    fn flips_keep_the_length_the_frames_and_do_not_depend_on_chunks(
        coming in coming(),
        flips in prop::collection::vec(flips(), 1..3),
        acts in prop::collection::vec(gentle(), 0..2),
    ) {
        let acts: Vec<Act> = flips
            .into_iter()
            .chain(acts)
            .filter(|act| coming.stream.accepts(act).is_ok())
            .collect();
        let (out, again) = (coming.run(acts.clone()).bytes(), coming.in_one().run(acts).bytes());
        prop_assert_eq!(&out, &again);
        prop_assert_eq!(out.len(), coming.body.len());
        for ((before, after), said) in coming.body.iter().zip(&out).zip(coming.said().bytes) {
            prop_assert!(said.0 != Kind::Frame || before == after);
            prop_assert!(!said.2 || before == after || !matches!(after, b'\r' | b'\n') || coming.stream.framing == Framing::WebSocket);
        }
    }

    #[test]
    fn picked_messages_vanish_and_others_come_twice(
        coming in coming(),
        drop in prop::option::of(picks()),
        repeat in prop::option::of(picks()),
        acts in prop::collection::vec(gentle(), 0..2),
    ) {
        prop_assume!(coming.stream.framing != Framing::Opaque);
        let coming = Coming { buffer: 1 << 16, ..coming };
        let said = coming.said();
        let (mut expect, mut message, mut copied) = (Vec::new(), Vec::new(), false);
        let mut number = 0;
        let picks = |pick: &Option<Pick>, number| pick.is_some_and(|pick| pick.picks(number));
        for at in 0..=coming.body.len() {
            if said.ends.contains(&at) {
                if copied {
                    expect.append(&mut message);
                }
                copied = false;
            }
            let Some(byte) = coming.body.get(at) else { break };
            if said.begins.contains(&at) {
                number += 1;
                message.clear();
                copied = picks(&repeat, number - 1) && !picks(&drop, number - 1);
            }
            if !said.bytes[at].1 {
                expect.push(*byte);
            } else if !picks(&drop, number - 1) {
                expect.push(*byte);
                message.push(*byte);
            }
        }
        // A last line ends with the stream.
        let mut splitter = crate::shape::framing::Splitter::new(coming.stream.framing);
        let mut rest = &coming.body[..];
        while !rest.is_empty() {
            rest = &rest[splitter.next(rest).len..];
        }
        if let Some(end) = splitter.finish().filter(|_| copied) {
            expect.extend(end);
            expect.append(&mut message);
        }
        let acts = drop.map(Act::Drop).into_iter().chain(repeat.map(Act::Duplicate)).chain(acts);
        let acts: Vec<Act> = acts.filter(|act| coming.stream.accepts(act).is_ok()).collect();
        prop_assert_eq!(coming.run(acts).bytes(), expect);
    }

    #[test]
    fn a_rate_is_never_exceeded_beyond_the_burst(
        coming in coming(),
        rate in prop::sample::select(vec![1_u64, 50, 1000, 30_000]),
        acts in prop::collection::vec(gentle(), 0..2),
    ) {
        let acts = acts.into_iter().filter(|act| coming.stream.accepts(act).is_ok());
        let ran = coming.run(std::iter::once(pace(rate)).chain(acts).collect());
        for from in 0..ran.sent.len() {
            let mut sum = 0.0;
            for (at, piece) in &ran.sent[from..] {
                sum += piece.len() as f64;
                // The burst, what a late timer has not caught up, and the piece whose time begins.
                let allowed = (*at - ran.sent[from].0 + BURST + Duration::from_millis(3)).as_secs_f64() * rate as f64;
                prop_assert!(sum <= allowed + (rate as f64 / 40.0).max(1.0) + 1.0, "{sum} > {allowed}");
            }
        }
    }
}
