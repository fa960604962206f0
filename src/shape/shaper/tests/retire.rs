//! Rules that are removed or changed while their stream goes on.

use proptest::prelude::*;

use super::*;

const TCP: Stream = Stream::of_connection(Direction::Response);

fn shaper(acts: Vec<Act>) -> Shaper {
    let acts = acts.into_iter().enumerate().collect();
    Shaper::new(&TCP, acts, 65536, |_, pace| Arc::new(Bucket::new(pace.rate)))
}

/// The bytes that are sent without waiting, and the step after them.
fn drain(shaper: &mut Shaper, now: Instant) -> (Vec<u8>, Step) {
    let mut sent = Vec::new();
    loop {
        match shaper.step(now) {
            Step::Send(bytes) => sent.extend(bytes),
            step => return (sent, step),
        }
    }
}

#[test]
fn what_was_taken_in_passes_on_at_once() {
    let gap = Duration::from_secs(9);
    for act in [
        Act::Delay(gap),
        pace(1),
        pieces(1, gap),
        Act::DelayChunks(Arc::new(Rising(9000))),
        stall(After::Bytes(2), None, Finish::Close),
        stall(After::Bytes(0), Some(9000), Finish::Reset(2)),
    ] {
        let (mut shaper, now) = (shaper(vec![act.clone()]), Instant::now());
        shaper.push("abc".into());
        let (mut sent, step) = drain(&mut shaper, now);
        assert!(matches!(step, Step::Wait(_) | Step::Stalled(_)), "{act:?} {step:?}");
        shaper.push("def".into());
        let later = now + Duration::from_secs(1);
        shaper.retire();
        let (rest, step) = drain(&mut shaper, later);
        sent.extend(rest);
        assert!(matches!(step, Step::More), "{act:?} {step:?}");
        assert_eq!((&sent[..], shaper.sent()), (&b"abcdef"[..], 6), "{act:?}");
        shaper.push("g".into());
        shaper.end();
        let (rest, step) = drain(&mut shaper, later);
        assert_eq!(rest, b"g");
        assert!(matches!(step, Step::End(Finish::Natural)), "{act:?} {step:?}");
        let pauses = matches!(act, Act::Delay(_) | Act::DelayChunks(_) | Act::Stall(_));
        assert_eq!(shaper.held(0), Duration::from_secs(u64::from(pauses)), "{act:?}");
        assert_eq!(shaper.took_effect(), Some(0));
    }
}

#[test]
fn an_end_that_waits_passes_on_at_once() {
    let (mut shaper, now) = (shaper(vec![Act::DelayEnd(Duration::from_secs(9))]), Instant::now());
    shaper.end();
    assert!(matches!(shaper.step(now), Step::Wait(_)));
    shaper.retire();
    assert!(matches!(shaper.step(now), Step::End(Finish::Natural)));
}

#[test]
fn cuts_and_changes_end_with_their_rule_unless_they_were_reached() {
    let flip = Act::Corrupt(Corruption {
        ppm: 1_000_000,
        messages: None,
        seed: 0,
    });
    let now = Instant::now();
    let mut gone = shaper(vec![cut(After::Bytes(2), Finish::Close), flip]);
    gone.push("a".into());
    assert_ne!(drain(&mut gone, now).0, b"a");
    gone.retire();
    gone.push("bcd".into());
    assert_eq!(drain(&mut gone, now).0, b"bcd");
    let mut over = shaper(vec![cut(After::Bytes(2), Finish::Close)]);
    over.push("abc".into());
    assert!(matches!(drain(&mut over, now).1, Step::End(Finish::Close)));
    over.retire();
    assert!(matches!(over.step(now), Step::End(Finish::Close)));
}

/// The head of an HTTP message has announced the length up to a clean end.
#[test]
fn a_clean_end_stays_whose_length_was_announced() {
    let clean = || Finish::Clean(Clean::default());
    let stream = Stream { length: Some(9), ..TCP };
    for (act, waits) in [
        (cut(After::Bytes(4), clean()), false),
        (stall(After::Bytes(4), None, clean()), false),
        (stall(After::Bytes(4), None, clean()), true),
    ] {
        let now = Instant::now();
        let acts = vec![
            (0, act.clone()),
            (1, Act::Delay(Duration::from_secs(u64::from(!waits)))),
        ];
        let mut shaper = Shaper::new(&stream, acts, 65536, |_, pace| Arc::new(Bucket::new(pace.rate)));
        assert!(matches!(shaper.length(), Length::Exactly(4)), "{act:?}");
        shaper.push("abcdefghi".into());
        let (mut sent, step) = drain(&mut shaper, now);
        assert!(matches!(step, Step::Wait(_) | Step::Stalled(None)), "{act:?} {step:?}");
        shaper.retire();
        let (rest, step) = drain(&mut shaper, now);
        sent.extend(rest);
        assert_eq!(sent, b"abcd", "{act:?}");
        assert!(matches!(step, Step::End(Finish::Clean(_))), "{act:?} {step:?}");
    }
}

#[test]
fn positions_count_on() {
    let now = Instant::now();
    let (mut first, close) = (shaper(vec![cut(After::Bytes(9), Finish::Close)]), || Finish::Close);
    first.push("abcd".into());
    drain(&mut first, now);
    let mut longer = shaper(vec![cut(After::Bytes(6), close())]).continuing(first.sent());
    longer.push("efgh".into());
    let (sent, step) = drain(&mut longer, now);
    assert_eq!((&sent[..], longer.sent()), (&b"ef"[..], 6));
    assert!(matches!(step, Step::End(Finish::Close)));
    let mut past = shaper(vec![cut(After::Bytes(3), close())]).continuing(first.sent());
    assert!(
        matches!(past.step(now), Step::End(Finish::Close)),
        "without another byte"
    );
    assert_eq!(past.took_effect(), Some(0));
}

proptest! {
    #[test]
    fn no_byte_is_lost_whenever_the_rule_goes(
        acts in prop::collection::vec(super::properties::gentle(), 0..4),
        chunks in prop::collection::vec(1_usize..50, 1..20),
        steps in 0_usize..60,
    ) {
        let acts = acts.into_iter().filter(|act| TCP.accepts(act).is_ok()).collect();
        let (mut shaper, mut now) = (shaper(acts), Instant::now());
        let body: Vec<u8> = (0..chunks.iter().sum::<usize>()).map(|at| at as u8).collect();
        let (mut rest, mut sizes, mut sent) = (&body[..], chunks.iter(), Vec::new());
        for turn in 0.. {
            if turn == steps {
                shaper.retire();
            }
            let retired = turn >= steps;
            match shaper.step(now) {
                Step::Send(bytes) => sent.extend(bytes),
                Step::Wait(at) | Step::Stalled(Some(at)) => {
                    prop_assert!(!retired, "waits after its rule was removed");
                    now = at;
                }
                Step::Stalled(None) => prop_assert!(!retired),
                Step::End(end) => {
                    prop_assert!(matches!(end, Finish::Natural));
                    break;
                }
                Step::More => {
                    prop_assert_eq!(shaper.sent(), sent.len() as u64);
                    match sizes.next() {
                        Some(size) => {
                            let (chunk, after) = rest.split_at(*size);
                            shaper.push(Bytes::copy_from_slice(chunk));
                            rest = after;
                        }
                        None => shaper.end(),
                    }
                }
            }
        }
        prop_assert_eq!(sent, body);
    }
}
