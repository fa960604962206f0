//! What upstreams do by themselves, for the conditions that watch it: failures and response times, never what squall injects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::window::{Counts, Window};

/// The conditions that watch natural traffic now. Kept by reloads.
#[derive(Debug, Default)]
pub struct Natural {
    /// Whether there are any: nobody watching is the usual case, and then a request costs no more than this.
    is_watched: AtomicBool,
    conditions: ArcSwap<Vec<Arc<Traffic>>>,
}

/// One condition's view of natural traffic.
#[derive(Debug)]
pub struct Traffic {
    /// The listeners whose traffic counts; `None`: all.
    listeners: Option<Vec<String>>,
    measure: Measure,
    began: Instant,
    /// Locked for one event or one look, never across an await.
    window: Mutex<Window>,
}

/// Which events are bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Responses with an error of the server, and requests and connections without a response.
    Errors,
    /// Response heads that took longer than this.
    SlowerThan(Duration),
}

impl Natural {
    /// Whether any condition watches.
    pub fn is_watched(&self) -> bool {
        // Relaxed: the conditions have an order of their own.
        self.is_watched.load(Ordering::Relaxed)
    }

    /// Replaces the conditions that watch.
    pub fn watch(&self, traffic: Vec<Arc<Traffic>>) {
        let is_watched = !traffic.is_empty();
        self.conditions.store(Arc::new(traffic));
        self.is_watched.store(is_watched, Ordering::Relaxed);
    }

    /// Notes a response, or a connection that was made. `error`: the server says that it has failed. `time` is the natural time to
    /// the response head, if there is one.
    pub fn answered(&self, listener: &str, error: impl FnOnce() -> bool, time: Option<Duration>) {
        if !self.is_watched() {
            return;
        }
        let error = error();
        let conditions = self.conditions.load();
        for traffic in conditions.iter().filter(|traffic| traffic.concerns(listener)) {
            match traffic.measure {
                Measure::Errors => traffic.add(error),
                Measure::SlowerThan(limit) => {
                    if let Some(time) = time {
                        traffic.add(time > limit);
                    }
                }
            }
        }
    }

    /// Notes a request or a connection without a response, after `time`.
    pub fn failed(&self, listener: &str, time: Option<Duration>) {
        let conditions = self.conditions.load();
        for traffic in conditions.iter().filter(|traffic| traffic.concerns(listener)) {
            match traffic.measure {
                Measure::Errors => traffic.add(true),
                // How long the response would have taken is only known to be longer than this.
                Measure::SlowerThan(limit) if time.is_some_and(|time| time > limit) => traffic.add(true),
                Measure::SlowerThan(_) => {}
            }
        }
    }
}

impl Traffic {
    /// Traffic of these listeners, or of all, over a time from `now` on.
    pub fn new(listeners: Option<Vec<String>>, measure: Measure, over: Duration, now: Instant) -> Traffic {
        Traffic {
            listeners,
            measure,
            began: now,
            window: Mutex::new(Window::new(over)),
        }
    }

    /// The events within the window at `now`.
    pub fn counts(&self, now: Instant) -> Counts {
        self.window.lock().counts(now.saturating_duration_since(self.began))
    }

    /// Forgets what was seen so far.
    pub fn clear(&self) {
        self.window.lock().clear();
    }

    fn concerns(&self, listener: &str) -> bool {
        self.listeners
            .as_ref()
            .is_none_or(|listeners| listeners.iter().any(|one| one == listener))
    }

    fn add(&self, bad: bool) {
        let mut window = self.window.lock();
        window.add(self.began.elapsed(), bad);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_counts_what_concerns_it() {
        let (natural, now) = (Natural::default(), Instant::now());
        assert!(!natural.is_watched());
        let watch = |listener: Option<&str>, measure| {
            let listeners = listener.map(|name| vec![name.to_owned()]);
            Arc::new(Traffic::new(listeners, measure, Duration::from_secs(60), now))
        };
        let errors = watch(Some("web"), Measure::Errors);
        let slow = watch(None, Measure::SlowerThan(Duration::from_secs(1)));
        natural.watch(vec![Arc::clone(&errors), Arc::clone(&slow)]);
        assert!(natural.is_watched());
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        natural.answered("web", || false, seconds(0));
        natural.answered("web", || true, seconds(2));
        natural.answered("other", || true, seconds(2));
        natural.answered("db", || false, None);
        natural.failed("web", seconds(0));
        natural.failed("web", seconds(5));
        assert_eq!(errors.counts(Instant::now()), Counts { all: 4, bad: 3 });
        assert_eq!(slow.counts(Instant::now()), Counts { all: 4, bad: 3 });
        slow.clear();
        assert_eq!(slow.counts(Instant::now()), Counts::default());
    }
}
