//! A pump between a source and a sink that take their time: nothing is lost, repeated or forgotten.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What one poll of a side comes to.
#[derive(Clone, Debug)]
enum Turn {
    /// It has to be asked again; the task is woken at once.
    Later,
    /// This many bytes.
    Bytes(usize),
}

/// Gives bytes as its turns say.
struct Giver {
    body: Bytes,
    turns: VecDeque<Turn>,
    trailers: Option<HeaderMap>,
}

impl Source for Giver {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        match self.turns.pop_front() {
            Some(Turn::Later) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ if self.body.is_empty() => Poll::Ready(Ok(self.trailers.take().map(Part::Trailers))),
            Some(Turn::Bytes(count)) => {
                let piece = self.body.split_to(count.clamp(1, self.body.len()));
                Poll::Ready(Ok(Some(Part::Data(piece))))
            }
            None => Poll::Ready(Ok(Some(Part::Data(std::mem::take(&mut self.body))))),
        }
    }
}

/// Takes bytes as its turns say.
#[derive(Default)]
struct Taker {
    got: Vec<u8>,
    flushed: usize,
    turns: VecDeque<Turn>,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Taker {
    fn pauses(&mut self, cx: &mut Context<'_>) -> bool {
        let pauses = matches!(self.turns.front(), Some(Turn::Later));
        if pauses {
            self.turns.pop_front();
            cx.waker().wake_by_ref();
        }
        pauses
    }
}

impl Sink for Taker {
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>> {
        assert!(!self.ended, "bytes behind the end");
        while !bytes.is_empty() {
            if self.pauses(cx) {
                return Poll::Pending;
            }
            let count = match self.turns.pop_front() {
                Some(Turn::Bytes(count)) => count.clamp(1, bytes.len()),
                _ => bytes.len(),
            };
            self.got.extend_from_slice(&bytes.split_to(count));
        }
        Poll::Ready(Ok(true))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        if self.pauses(cx) {
            return Poll::Pending;
        }
        self.trailers = trailers.cloned();
        self.ended = true;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.flushed = self.got.len();
        Poll::Ready(Ok(()))
    }
}

fn turns() -> impl Strategy<Value = VecDeque<Turn>> {
    let turn = prop_oneof![Just(Turn::Later), (0_usize..5000).prop_map(Turn::Bytes)];
    prop::collection::vec(turn, 0..40).prop_map(VecDeque::from)
}

/// Runs a pump to its end; one that nobody wakes fails here.
fn run(pump: &mut Pump, source: &mut Giver, sink: &mut Taker) -> Result<Finish, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ended = std::future::poll_fn(|cx| pump.poll(cx, source, sink));
        tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap()
    })
}

proptest! {
    #[test]
    fn bytes_and_trailers_pass_whole_and_once(
        body: Vec<u8>,
        ahead in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 0..3),
        given in turns(),
        taken in turns(),
        with_trailers: bool,
    ) {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("1"));
        let trailers = with_trailers.then_some(trailers);
        let wanted = [ahead.concat(), body.clone()].concat();
        let mut source = Giver { body: body.into(), turns: given, trailers: trailers.clone() };
        let mut sink = Taker { turns: taken, ..Taker::default() };
        let ahead = ahead.into_iter().map(Bytes::from).collect();
        let mut pump = Pump::with(Lane::default(), ahead, Rest::Source);
        let finish = run(&mut pump, &mut source, &mut sink);
        prop_assert!(matches!(finish, Ok(Finish::Natural)));
        prop_assert!(pump.is_over() && sink.ended);
        prop_assert_eq!(sink.got, wanted);
        prop_assert_eq!(sink.trailers, trailers);
    }

    /// Whenever the first sink breaks, a second one gets all of it, or is never asked because there was too much.
    #[test]
    fn a_rewound_pump_sends_the_same_again(
        body in prop::collection::vec(any::<u8>(), 0..100_000),
        given in turns(),
        polls in 0_usize..30,
    ) {
        let mut source = Giver { body: body.clone().into(), turns: given, trailers: None };
        let mut pump = Pump::new(Lane::default());
        pump.keep();
        let mut first = Taker { turns: VecDeque::from(vec![Turn::Later; 3]), ..Taker::default() };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..polls {
            if pump.is_over() {
                break;
            }
            let _pending_or_over = pump.poll(&mut cx, &mut source, &mut first);
        }
        if pump.rewind() {
            let mut second = Taker::default();
            prop_assert!(run(&mut pump, &mut source, &mut second).is_ok());
            prop_assert_eq!(second.got, body);
        } else {
            prop_assert!(body.len() > REPLAY, "it was little enough to keep");
        }
    }
}

#[test]
fn parts_are_flushed_before_waiting_for_more() {
    let mut source = Giver {
        body: Bytes::from_static(b"hello"),
        // Asked once for what may be joined, and once for the next part.
        turns: VecDeque::from([Turn::Bytes(5), Turn::Later, Turn::Later]),
        trailers: None,
    };
    let mut sink = Taker::default();
    let mut pump = Pump::new(Lane::default());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(pump.poll(&mut cx, &mut source, &mut sink).is_pending());
    assert_eq!((pump.waits(), sink.flushed), (Waits::Source, 5));
}

#[test]
fn an_error_of_the_source_follows_the_parts_before_it() {
    let error = Error::explain(pingora::ErrorType::ConnectionClosed, "cut");
    let ahead = [Bytes::from_static(b"half")].into();
    let mut pump = Pump::with(Lane::default(), ahead, Rest::Failure(Some(error)));
    let mut source = Giver {
        body: Bytes::new(),
        turns: VecDeque::new(),
        trailers: None,
    };
    let mut sink = Taker::default();
    assert!(matches!(run(&mut pump, &mut source, &mut sink), Err(Broken::Source(_))));
    assert_eq!((&sink.got[..], sink.ended), (&b"half"[..], false));
}
