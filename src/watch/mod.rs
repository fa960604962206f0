//! Watches the configuration's files, and reloads when their contents have changed.
//!
//! The kernel reports changes by name: of the files, of names that a glob may match, and of every folder and link on the
//! way to them. So it notices a save by rename, the swap of Kubernetes' `..data` link, and a replaced folder. An event is
//! only a reason to look: only changed contents count, so touching a file reloads nothing.
//!
//! What counts is what the last load has read, and noted before it read it ([`Seen`]). Loading depends on nothing else that
//! changes: so a change is never missed, however it falls between a look and a load, and a refused configuration is loaded
//! again exactly when one of its files is different.
//!
//! Some file systems report nothing (folders shared with a virtual machine, network mounts), so the files are also polled
//! every two seconds, and every second without inotify.

mod kernel;
mod look;
mod way;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use self::kernel::Kernel;
use self::look::Eye;
use crate::config::Source;
use crate::files::Seen;
use crate::server::Server;

/// A change is acted on when nothing has happened for this long, so that a save in several steps counts as one.
const QUIET: Duration = Duration::from_millis(30);
/// The longest time from the first event until a change is acted on.
const LATEST: Duration = Duration::from_millis(200);
/// How often files are polled although the kernel reported nothing.
const SLOW: Duration = Duration::from_secs(2);
/// How often files are polled without the kernel's help.
const POLL: Duration = Duration::from_secs(1);

/// Watches until it is dropped, which aborts its task.
#[derive(Debug)]
pub struct Watcher {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reloads `server` whenever the contents of the files change that it has last read: those of the configuration in force or,
/// after a refused reload, those that led to its mistakes. Needs a tokio runtime.
///
/// # Errors
/// The configuration is not a regular file: the demo, a pipe, or a file that is gone.
pub fn start(server: Arc<Server>) -> io::Result<Watcher> {
    let Source::File(main) = server.source() else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the demo is not in a file"));
    };
    let wake = Arc::new(Notify::new());
    let eye = Eye::open(main.clone(), server.seen(), Kernel::new(Arc::clone(&wake)))?;
    Ok(Watcher {
        task: tokio::spawn(follow(eye, wake, server)),
    })
}

/// What is watched: whatever loads files.
trait Loads: Send + Sync + 'static {
    /// What the last load has read.
    fn seen(&self) -> Arc<Seen>;

    /// Loads again.
    fn load(&self) -> impl Future<Output = ()> + Send;
}

impl Loads for Arc<Server> {
    fn seen(&self) -> Arc<Seen> {
        Server::seen(self)
    }

    async fn load(&self) {
        // A server that is stopping must not open new listeners.
        if !self.is_stopping() {
            // It logs and counts the result.
            drop(self.reload().await);
        }
    }
}

async fn follow(mut eye: Eye, wake: Arc<Notify>, loader: impl Loads) {
    // Once at the start, since the files may have changed since they were loaded.
    wake.notify_one();
    loop {
        let period = if eye.is_told() { SLOW } else { POLL };
        if timeout(period, wake.notified()).await.is_ok() {
            settle(&wake).await;
        }
        // On the blocking pool: reading may take long on a network file system.
        let loaded = loader.seen();
        let looked = spawn_blocking(move || {
            let changed = eye.look(&loaded);
            (eye, loaded, changed)
        });
        let (loaded, changed);
        (eye, loaded, changed) = match looked.await {
            Ok(looked) => looked,
            Err(error) => return tracing::error!("the configuration is no longer watched: {error}"),
        };
        if changed {
            loader.load().await;
            // Look once more, since files may have changed meanwhile. What could not be loaded in time has its turn later.
            if !Arc::ptr_eq(&loaded, &loader.seen()) {
                wake.notify_one();
            }
        }
    }
}

/// Waits until no further event arrives for [`QUIET`], at most for [`LATEST`].
async fn settle(wake: &Notify) {
    let latest = Instant::now() + LATEST;
    loop {
        let until = latest.min(Instant::now() + QUIET);
        if timeout_at(until, wake.notified()).await.is_err() || Instant::now() >= latest {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
