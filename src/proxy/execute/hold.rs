//! Injected waits: hold a request or a connection until its time has passed, the client disconnects, or squall stops.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::super::net::timer;
use crate::metrics::Metrics;
use crate::rule::switch::Switches;

/// Holds requests and connections in injected waits, within a bound.
#[derive(Debug)]
pub struct Holder {
    metrics: Arc<Metrics>,
    held: AtomicU32,
    stopping: watch::Sender<bool>,
    switches: Arc<Switches>,
}

/// The bounds of injected waits.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most requests and connections held at once.
    pub held: u32,
    /// The longest single wait.
    pub longest: Duration,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Held<T> {
    /// The awaited future has completed.
    Done(T),
    /// The time has passed first.
    Elapsed,
    /// The client has disconnected.
    ClientGone,
    /// squall, or the listener, is stopping.
    Cut,
    /// The rule that holds it was switched off, or the stop switch was used.
    LetGo,
    /// Nothing was waited for: too many requests are held already.
    Full,
}

/// Why a wait ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The client has disconnected.
    Client,
    /// The listener is stopping, and the client has no request in flight.
    Stopping,
}

impl Holder {
    /// Creates a holder that counts into `metrics`, and lets go as `switches` say.
    pub fn new(metrics: Arc<Metrics>, switches: Arc<Switches>) -> Arc<Holder> {
        Arc::new(Holder {
            metrics,
            held: AtomicU32::new(0),
            stopping: watch::Sender::new(false),
            switches,
        })
    }

    /// The switches that make it let go.
    pub fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }

    /// Whether [`Holder::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends all waits, present and future.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// A receiver that becomes true when all waits are to end, for code that waits outside of [`Holder::hold`].
    pub fn watch_stop(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Takes a place for a request that is held outside of [`Holder::hold`]; `None` if too many are held.
    pub fn place(holder: &Arc<Holder>, bounds: Bounds) -> Option<HeldPlace<Arc<Holder>>> {
        HeldPlace::take(Arc::clone(holder), bounds)
    }

    /// Waits for `what`, at most for the shorter of `time` and `bounds.longest`, and until `left` resolves, squall stops, or
    /// `in_force` is false, which is looked at whenever a switch changes.
    pub async fn hold<T>(
        &self,
        left: impl Future<Output = Left>,
        what: impl Future<Output = T>,
        time: Duration,
        bounds: Bounds,
        in_force: impl Fn() -> bool,
    ) -> Held<T> {
        if time.is_zero() {
            return Held::Elapsed;
        }
        let Some(_place) = HeldPlace::take(self, bounds) else {
            return Held::Full;
        };
        let mut stopping = self.stopping.subscribe();
        let mut switched = self.switches.watch();
        // A deadline beyond the range of the clock never comes.
        let deadline = Instant::now().checked_add(time.min(bounds.longest));
        let elapsed = async {
            match deadline {
                Some(deadline) => timer::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Biased: a wait that completes at its deadline, or as the client disconnects, counts as completed.
        tokio::select! {
            biased;
            done = what => Held::Done(done),
            () = elapsed => {
                if let Some(deadline) = deadline {
                    self.metrics.overshoot.observe(deadline.elapsed().as_secs_f64());
                }
                Held::Elapsed
            }
            left = left => match left {
                Left::Client => Held::ClientGone,
                Left::Stopping => {
                    self.metrics.waits_cut.inc();
                    Held::Cut
                }
            },
            _ = stopping.wait_for(|stopping| *stopping) => {
                self.metrics.waits_cut.inc();
                Held::Cut
            }
            _ = switched.wait_for(|_| !in_force()) => Held::LetGo,
        }
    }
}

/// A request's place among the held ones, freed on drop.
#[derive(Debug)]
pub struct HeldPlace<H: Deref<Target = Holder>>(H);

impl<H: Deref<Target = Holder>> HeldPlace<H> {
    fn take(holder: H, bounds: Bounds) -> Option<HeldPlace<H>> {
        // Checked and counted in one step, so that no two requests can take the last place. The count guards no other memory.
        holder
            .held
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                (held < bounds.held).then(|| held + 1)
            })
            .ok()?;
        holder.metrics.held.inc();
        Some(HeldPlace(holder))
    }
}

impl<H: Deref<Target = Holder>> Drop for HeldPlace<H> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.held.dec();
    }
}
