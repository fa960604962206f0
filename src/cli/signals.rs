//! The signals of `squall run`, heard on a thread of their own, which does nothing else: neither loading nor traffic can
//! keep it busy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

/// How long the process may take to end by itself after a second signal.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// What the signals so far ask for.
pub(super) struct Signals {
    reloads: Arc<Notify>,
    stops: watch::Receiver<u64>,
}

impl Signals {
    /// Begins to listen. From then on a signal ends the process only as the caller of [`Signals::stop`] sees fit, but the
    /// second one in any case.
    pub(super) fn listen() -> io::Result<Signals> {
        let reloads = Arc::new(Notify::new());
        let (stop, stops) = watch::channel(0);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let streams = {
            let _entered = runtime.enter();
            [
                signal(SignalKind::hangup())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            ]
        };
        let reload = Arc::clone(&reloads);
        std::thread::Builder::new()
            .name("squall-signals".into())
            .spawn(move || runtime.block_on(hear(streams, &reload, &stop)))?;
        Ok(Signals { reloads, stops })
    }

    /// Waits for a SIGHUP. Several ones that nobody waited for count as one.
    pub(super) async fn reload(&self) {
        self.reloads.notified().await;
    }

    /// Waits until SIGTERM and SIGINT came so often in total.
    pub(super) async fn stop(&self, times: u64) {
        // Fails once the thread has ended, which it does only with the process.
        let _ = self.stops.clone().wait_for(|stops| *stops >= times).await;
    }
}

async fn hear([mut hangup, mut terminate, mut interrupt]: [Signal; 3], reload: &Notify, stop: &watch::Sender<u64>) {
    loop {
        // Not biased: `recv` loses no signal when it is dropped, so the next turn sees the others.
        tokio::select! {
            _ = hangup.recv() => {
                reload.notify_one();
                continue;
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_modify(|stops| *stops += 1);
        if *stop.borrow() == 2 {
            let end = || {
                std::thread::sleep(LAST_WORDS);
                // Whatever keeps the process from ending, a second signal ends it.
                std::process::exit(0);
            };
            // Without a further thread there is nothing to wait for either.
            if std::thread::Builder::new().spawn(end).is_err() {
                std::process::exit(0);
            }
        }
    }
}
