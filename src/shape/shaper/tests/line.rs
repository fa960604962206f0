//! Delayed chunks, which arrive by a timetable.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const TCP: Stream = Stream::of_connection(Direction::Response);

/// Waits of these milliseconds, in turn.
#[derive(Debug)]
struct Drawn(Vec<u64>);

impl Waits for Drawn {
    fn nth(&self, n: u64, _: Duration) -> Duration {
        Duration::from_millis(self.0[n as usize % self.0.len()])
    }
}

/// Waits as long as the stream has lasted.
#[derive(Debug)]
struct Elapsed;

impl Waits for Elapsed {
    fn nth(&self, _: u64, elapsed: Duration) -> Duration {
        elapsed
    }
}

/// A sender's timetable, and when the shaper is asked.
#[derive(Clone, Debug)]
struct Timetable {
    acts: Vec<Act>,
    /// When each chunk arrives, in milliseconds from the one before, and its bytes.
    chunks: Vec<(u64, usize)>,
    /// When the end comes after the last chunk.
    end: u64,
    /// The times of further steps in milliseconds, in order.
    steps: Vec<u64>,
    /// By how many microseconds each timer comes late.
    late: u64,
    buffer: usize,
}

#[derive(Debug, PartialEq)]
struct Delivered {
    /// When each piece left in milliseconds, and its bytes.
    sent: Vec<(u64, usize)>,
    bytes: Vec<u8>,
    ended: u64,
    held: Duration,
    /// The most bytes that were taken in and not sent yet.
    most: usize,
}

impl Timetable {
    fn new(acts: Vec<Act>, chunks: &[(u64, usize)]) -> Timetable {
        Timetable {
            acts,
            chunks: chunks.to_vec(),
            end: 0,
            steps: Vec::new(),
            late: 0,
            buffer: 65536,
        }
    }

    /// The time of each chunk and of the end.
    fn arrivals(&self) -> Vec<u64> {
        let gaps = self.chunks.iter().map(|(gap, _)| *gap).chain([self.end]);
        gaps.scan(0, |at, gap| {
            *at += gap;
            Some(*at)
        })
        .collect()
    }

    fn body(&self) -> Vec<u8> {
        let total: usize = self.chunks.iter().map(|(_, len)| len).sum();
        (0..total).map(|at| (at * 7) as u8).collect()
    }

    fn run(&self) -> Delivered {
        let acts = self.acts.iter().cloned().enumerate().collect();
        let mut shaper = Shaper::new(&TCP, acts, self.buffer, |_, pace| Arc::new(Bucket::new(pace.rate)));
        let begin = Instant::now();
        let ms = |millis: u64| begin + Duration::from_millis(millis);
        let body = Bytes::from(self.body());
        let mut rest = body.clone();
        let chunks = self.chunks.iter().map(|(_, len)| rest.split_to(*len));
        let mut coming: VecDeque<_> = self
            .arrivals()
            .into_iter()
            .map(ms)
            .zip(chunks.map(Some).chain([None]))
            .collect();
        let mut steps: VecDeque<Instant> = self.steps.iter().map(|at| ms(*at)).collect();
        let (mut now, mut out) = (begin, Vec::new());
        let (mut taken, mut given, mut most) = (0, 0, 0);
        for _ in 0..100_000 {
            while coming.front().is_some_and(|(at, _)| *at <= now) && shaper.room() > 0 {
                match coming.pop_front().unwrap().1 {
                    Some(bytes) => {
                        taken += bytes.len();
                        shaper.push(bytes);
                    }
                    None => shaper.end(),
                }
            }
            most = most.max(taken - given);
            let until = match shaper.step(now) {
                Step::Send(piece) => {
                    given += piece.len();
                    out.push((now, piece));
                    continue;
                }
                Step::Wait(until) => {
                    assert!(until > now, "no progress");
                    Some(until + Duration::from_micros(self.late))
                }
                Step::More => None,
                Step::End(_) => {
                    let millis = |at: Instant| at.duration_since(begin).as_millis() as u64;
                    return Delivered {
                        sent: out.iter().map(|(at, piece)| (millis(*at), piece.len())).collect(),
                        bytes: out.iter().flat_map(|(_, piece)| piece.to_vec()).collect(),
                        ended: millis(now),
                        held: shaper.held(0),
                        most,
                    };
                }
                step => panic!("{step:?}"),
            };
            steps.retain(|at| *at > now);
            let next = [
                until,
                coming.front().map(|(at, _)| *at).filter(|at| *at > now),
                steps.front().copied(),
            ];
            now = next.into_iter().flatten().min().expect("something is to come");
        }
        panic!("does not end");
    }
}

fn delay(millis: &[u64]) -> Act {
    Act::DelayChunks(Arc::new(Drawn(millis.to_vec())))
}

#[test]
fn chunks_wait_at_once_and_the_end_waits_behind_them() {
    let delivered = Timetable::new(vec![delay(&[200])], &[(0, 5), (10, 6), (10, 7), (400, 8)]).run();
    assert_eq!(delivered.sent, [(200, 5), (210, 6), (220, 7), (620, 8)]);
    assert_eq!(delivered.ended, 620);
    // Something was under way from 0 to 220 and from 420 to 620.
    assert_eq!(delivered.held.as_millis(), 420);
    let closing = Timetable {
        end: 100,
        ..Timetable::new(vec![delay(&[200])], &[(0, 5)])
    };
    assert_eq!(closing.run().ended, 300);
    let empty = Timetable::new(vec![delay(&[200])], &[]).run();
    assert_eq!((empty.ended, empty.held.as_millis()), (200, 200));
}

#[test]
fn a_shorter_wait_does_not_overtake_a_longer_one() {
    let delivered = Timetable::new(vec![delay(&[300, 0, 50, 400])], &[(0, 1), (100, 2), (100, 3)]).run();
    assert_eq!(delivered.sent, [(300, 1), (300, 2), (300, 3)]);
    assert_eq!(delivered.ended, 600);
}

#[test]
fn delays_add_up_and_come_before_everything_else() {
    let acts = vec![delay(&[100]), delay(&[50, 20]), Act::Delay(Duration::from_millis(30))];
    assert_eq!(
        Timetable::new(acts, &[(0, 1), (100, 1)]).run().sent,
        [(180, 1), (220, 1)]
    );
}

#[test]
fn waits_may_follow_the_clock() {
    let delivered = Timetable::new(vec![Act::DelayChunks(Arc::new(Elapsed))], &[(0, 1), (100, 1)]).run();
    assert_eq!(delivered.sent, [(0, 1), (200, 1)]);
}

#[test]
fn a_fast_sender_stays_fast_and_a_full_line_holds_it_up() {
    let chunks = vec![(1, 1000); 100];
    let delivered = Timetable::new(vec![delay(&[5000])], &chunks).run();
    assert_eq!((delivered.sent[0].0, delivered.ended), (5001, 5100));
    let small = Timetable {
        buffer: 1000,
        ..Timetable::new(vec![delay(&[5000])], &chunks)
    };
    let delivered = small.run();
    assert!((16_000..17_000).contains(&delivered.most), "{}", delivered.most);
    assert!(delivered.ended > 30_000);
    // Tiny chunks count for more than their bytes.
    let tiny = Timetable {
        buffer: 1000,
        ..Timetable::new(vec![delay(&[5000])], &vec![(0, 1); 1000])
    };
    assert!(tiny.run().most < 2 * 16_000 / 64);
}

#[test]
fn a_slow_link_behind_the_line_holds_the_sender_up() {
    let slow = Timetable {
        buffer: 1000,
        ..Timetable::new(vec![delay(&[10]), pace(1000)], &vec![(20, 500); 20])
    };
    let delivered = slow.run();
    assert!(delivered.most <= 2500, "{}", delivered.most);
    assert_eq!(delivered.bytes, slow.body());
}

#[test]
fn what_was_held_is_known_when_waits_end_early() {
    let acts = vec![(0, delay(&[1000]))];
    let mut shaper = Shaper::new(&TCP, acts, 99, |_, pace| Arc::new(Bucket::new(pace.rate)));
    let (now, later) = (Instant::now(), Duration::from_millis(300));
    shaper.push("abc".into());
    assert!(matches!(shaper.step(now), Step::Wait(_)));
    shaper.release();
    assert!(matches!(shaper.step(now + later), Step::Send(bytes) if bytes == "abc"));
    shaper.push("def".into());
    assert!(matches!(shaper.step(now + later * 9), Step::Send(bytes) if bytes == "def"));
    assert_eq!(shaper.held(0), later);
}

prop_compose! {
    fn timetables()(
        waits in prop::collection::vec(prop::collection::vec(0_u64..500, 1..5), 1..3),
        chunks in prop::collection::vec((0_u64..100, 1_usize..50), 0..30),
        end in 0_u64..100,
        mut steps in prop::collection::vec(0_u64..5000, 0..20),
        late in 0_u64..3000,
    ) -> (Vec<Vec<u64>>, Timetable) {
        steps.sort_unstable();
        let acts = waits.iter().map(|waits| delay(waits)).collect();
        (waits, Timetable { end, steps, late, ..Timetable::new(acts, &chunks) })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn chunks_leave_when_they_are_due((waits, timetable) in timetables()) {
        let on_time = Timetable { late: 0, ..timetable.clone() }.run();
        let mut last = 0;
        let due: Vec<u64> = timetable.arrivals().iter().enumerate().map(|(n, at)| {
            let wait: u64 = waits.iter().map(|waits| waits[n % waits.len()]).sum();
            last = last.max(at + wait);
            last
        }).collect();
        let (end, chunks) = due.split_last().unwrap();
        prop_assert_eq!(on_time.ended, *end);
        let sent: Vec<_> = chunks.iter().zip(&timetable.chunks).map(|(due, (_, len))| (*due, *len)).collect();
        prop_assert_eq!(&on_time.sent, &sent);
        prop_assert_eq!(&on_time.bytes, &timetable.body());
        prop_assert!(on_time.held <= Duration::from_millis(on_time.ended));
        // Further steps and late timers change nothing, or make single chunks late.
        let asked_less = Timetable { steps: Vec::new(), late: 0, ..timetable.clone() }.run();
        prop_assert_eq!(&asked_less, &on_time);
        let late = timetable.run();
        prop_assert_eq!((&late.bytes, late.held), (&on_time.bytes, on_time.held));
        for (late, due) in late.sent.iter().zip(&sent) {
            prop_assert!(due.0 <= late.0 && late.0 <= due.0 + 3, "{:?} {:?}", late, due);
        }
    }

    #[test]
    fn a_full_line_loses_nothing(
        (_, timetable) in timetables(),
        buffer in 1_usize..100,
        acts in prop::collection::vec(super::properties::gentle(), 0..3),
    ) {
        let acts = acts.into_iter().filter(|act| TCP.accepts(act).is_ok() && !matches!(act, Act::Stall(_)));
        let acts = timetable.acts.iter().cloned().chain(acts).collect();
        let timetable = Timetable { acts, buffer, ..timetable };
        prop_assert_eq!(timetable.run().bytes, timetable.body());
    }
}
