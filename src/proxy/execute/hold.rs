//! Holding a request, or a connection, in an injected wait: until the time has come, the client has left, or squall stops.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::super::net::timer;
use crate::metrics::Metrics;

/// Holds requests, within a bound.
#[derive(Debug)]
pub struct Holder {
    metrics: Arc<Metrics>,
    held: AtomicU32,
    stopping: watch::Sender<bool>,
}

/// What bounds injected waits.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests and connections held at once, at most.
    pub held: u32,
    /// The longest single wait.
    pub longest: Duration,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Held<T> {
    /// What was waited for has come.
    Done(T),
    /// The longest time has passed without it.
    Elapsed,
    /// The client has left.
    ClientGone,
    /// squall, or the listener, is stopping.
    Cut,
    /// Too many requests are held already.
    Full,
}

/// Why a wait ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The client has left.
    Client,
    /// The listener is stopping, and nothing is owed to the client yet.
    Stopping,
}

impl Holder {
    /// A holder that counts into `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Holder> {
        Arc::new(Holder {
            metrics,
            held: AtomicU32::new(0),
            stopping: watch::Sender::new(false),
        })
    }

    /// Whether [`Holder::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends all waits, now and from now on.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Becomes true when all waits are to end; for code that holds a request elsewhere.
    pub fn watch_stop(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// A place for a request that is held elsewhere than in a wait of this holder; `None` if too many are held.
    pub fn place(holder: &Arc<Holder>, bounds: Bounds) -> Option<HeldPlace<Arc<Holder>>> {
        HeldPlace::take(Arc::clone(holder), bounds)
    }

    /// Waits for something, at most for `time` and as long as `bounds` allow, and no longer than until `left`.
    pub async fn hold<T>(
        &self,
        left: impl Future<Output = Left>,
        what: impl Future<Output = T>,
        time: Duration,
        bounds: Bounds,
    ) -> Held<T> {
        if time.is_zero() {
            return Held::Elapsed;
        }
        let Some(_place) = HeldPlace::take(self, bounds) else {
            return Held::Full;
        };
        let mut stopping = self.stopping.subscribe();
        // A deadline that the clock can't show is none.
        let deadline = Instant::now().checked_add(time.min(bounds.longest));
        let elapsed = async {
            match deadline {
                Some(deadline) => timer::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Biased: what is done by its deadline, or as the client leaves, counts as done.
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
        }
    }
}

/// One request's place among those held, given back when it is dropped.
#[derive(Debug)]
pub struct HeldPlace<H: Deref<Target = Holder>>(H);

impl<H: Deref<Target = Holder>> HeldPlace<H> {
    fn take(holder: H, bounds: Bounds) -> Option<HeldPlace<H>> {
        // Checked and counted in one step: no two requests can take the last place.
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
