//! Stalls that throw away what arrives.

use super::*;

const TCP: Stream = Stream::of_connection(Direction::Request);

fn discarding(after: u64, limit: Option<u64>, then: Finish) -> Act {
    Act::Stall(Stall {
        after: After::Bytes(after),
        limit: limit.map(Duration::from_millis),
        then,
        discard: true,
    })
}

fn shaper(acts: Vec<Act>) -> Shaper {
    let acts = acts.into_iter().enumerate().collect();
    Shaper::new(&TCP, acts, 9, |_, pace| Arc::new(Bucket::new(pace.rate)))
}

#[test]
fn the_sender_goes_on_and_nothing_is_kept() {
    let (mut shaper, now) = (
        shaper(vec![discarding(3, Some(1000), Finish::Reset(2))]),
        Instant::now(),
    );
    shaper.push("abcdef".into());
    assert!(!shaper.discards());
    assert!(matches!(shaper.step(now), Step::Send(bytes) if bytes == "abc"));
    assert!(matches!(shaper.step(now), Step::Stalled(Some(_))));
    assert!(shaper.discards());
    for _ in 0..1000 {
        assert!(shaper.room() > 0);
        shaper.push("ghijkl".into());
        assert!(matches!(shaper.step(now), Step::Stalled(Some(_))));
        assert_eq!(shaper.flow.source.natural(), 0);
    }
    let later = now + Duration::from_secs(1);
    assert!(matches!(shaper.step(later), Step::End(Finish::Reset(2))));
    assert_eq!((shaper.sent(), shaper.held(0).as_millis()), (3, 1000));
}

#[test]
fn the_natural_end_ends_the_stall() {
    let now = Instant::now();
    let line = Act::DelayChunks(Arc::new(Rising(9000)));
    for acts in [
        vec![discarding(0, None, Finish::Close)],
        vec![discarding(0, None, Finish::Close), line],
    ] {
        let mut shaper = shaper(acts);
        shaper.push("abc".into());
        assert!(matches!(shaper.step(now), Step::Stalled(None)));
        shaper.push("def".into());
        shaper.end();
        assert!(matches!(shaper.step(now), Step::End(Finish::Close)));
        assert!(std::iter::from_fn(|| shaper.took_effect()).any(|action| action == 0));
        assert_eq!(shaper.room(), 0);
    }
}

#[test]
fn a_removed_rule_can_not_resume_the_stream() {
    let (mut shaper, now) = (shaper(vec![discarding(0, None, Finish::Close)]), Instant::now());
    assert!(matches!(shaper.step(now), Step::Stalled(None)));
    shaper.retire();
    assert!(shaper.discards());
    assert!(matches!(shaper.step(now), Step::End(Finish::Close)));
}

#[test]
fn a_skipped_stall_discards_nothing() {
    let (mut shaper, now) = (shaper(vec![discarding(1, None, Finish::Close)]), Instant::now());
    shaper.push("abc".into());
    assert!(matches!(shaper.step(now), Step::Send(bytes) if bytes == "a"));
    assert!(matches!(shaper.step(now), Step::Stalled(None)));
    assert_eq!(shaper.skip_stall(), Some(0));
    assert!(!shaper.discards());
    assert!(matches!(shaper.step(now), Step::Send(bytes) if bytes == "bc"));
}
