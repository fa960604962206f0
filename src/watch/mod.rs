//! Watches the configuration's files, and reloads when their contents have changed.
//!
//! The kernel reports changes by name: of the files, of names that a glob may match, and of every folder and link on the
//! way to them. So it notices a save by rename, the swap of Kubernetes' `..data` link, and a replaced folder. An event is
//! only a reason to look: only changed contents count, so touching a file reloads nothing.
//!
//! Some file systems report nothing (folders shared with a virtual machine, network mounts), so the files are also polled
//! every two seconds, and every second without inotify.

mod kernel;
mod look;
mod way;

use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use self::kernel::Kernel;
use self::look::Eye;
use crate::config::Source;
use crate::metrics::Metrics;
use crate::server::{Failure, Server};

/// A change is acted on when nothing has happened for this long, so that a save in several steps counts as one.
const QUIET: Duration = Duration::from_millis(30);
/// The longest time from the first event until a change is acted on.
const LATEST: Duration = Duration::from_millis(200);
/// How often files are polled although the kernel reported nothing.
const SLOW: Duration = Duration::from_secs(2);
/// How often files are polled without the kernel's help.
const POLL: Duration = Duration::from_secs(1);
/// A file that changed this recently may have changed since the configuration was loaded.
const RECENT_SECONDS: u64 = 10;

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

/// Reloads `server` whenever the contents of its files change. The set of watched files follows each reload. After a failed
/// one it includes the files of the bad configuration, so that a correction is noticed. Needs a tokio runtime.
///
/// # Errors
/// The configuration is not a regular file: the demo, a pipe, or a file that is gone.
pub fn start(server: Arc<Server>) -> io::Result<Watcher> {
    let Source::File(main) = server.source() else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the demo is not in a file"));
    };
    let main = main.clone();
    look::check(&main)?;
    let wake = Arc::new(Notify::new());
    let (waking, others) = (Arc::clone(&wake), Vec::clone(&server.snapshot().files));
    // On the blocking pool: the first look reads and parses every file.
    let opening = spawn_blocking(move || Eye::open(main, others, Kernel::new(waking)));
    let task = async move {
        let mut eye = match opening.await {
            Ok(Ok(eye)) => eye,
            Ok(Err(error)) => return tracing::warn!("not watching the configuration: {error}"),
            Err(error) => return tracing::error!("not watching the configuration: {error}"),
        };
        if loaded_before(&server, eye.files()).await {
            let failed = server.reload().await.err();
            eye.also(files(&server, failed.as_ref()));
        }
        let reload = || async {
            // `reload` logs and counts the result. A server that is stopping must not open new listeners.
            if !server.is_stopping() {
                let failed = server.reload().await.err();
                return files(&server, failed.as_ref());
            }
            files(&server, None)
        };
        follow(eye, wake, reload).await;
    };
    Ok(Watcher {
        task: tokio::spawn(task),
    })
}

/// The files to watch besides the YAML: those of the configuration in force, and those of a refused one.
fn files(server: &Server, failed: Option<&Failure>) -> Vec<PathBuf> {
    let mut files = Vec::clone(&server.snapshot().files);
    if let Some(Failure::Configuration(report)) = failed {
        files.extend_from_slice(report.files());
    }
    files
}

/// Calls `on_change` whenever the contents of `main`, of a file that it includes, or of one of the `others` change. It
/// returns the `others` to watch from then on. Needs a tokio runtime.
///
/// # Errors
/// `main` is not a regular file.
pub fn watch<F, O>(main: PathBuf, others: Vec<PathBuf>, on_change: F) -> io::Result<Watcher>
where
    F: Fn() -> O + Send + 'static,
    O: Future<Output = Vec<PathBuf>> + Send,
{
    let wake = Arc::new(Notify::new());
    let eye = Eye::open(main, others, Kernel::new(Arc::clone(&wake)))?;
    Ok(Watcher {
        task: tokio::spawn(async move { follow(eye, wake, on_change).await }),
    })
}

async fn follow<F, O>(mut eye: Eye, wake: Arc<Notify>, on_change: F)
where
    F: Fn() -> O,
    O: Future<Output = Vec<PathBuf>>,
{
    loop {
        let period = if eye.is_told() { SLOW } else { POLL };
        if timeout(period, wake.notified()).await.is_ok() {
            settle(&wake).await;
        }
        // On the blocking pool: reading may take long on a network file system.
        let looked = spawn_blocking(move || {
            let changed = eye.look();
            (eye, changed)
        });
        let changed;
        (eye, changed) = match looked.await {
            Ok(looked) => looked,
            Err(error) => return tracing::error!("the configuration is no longer watched: {error}"),
        };
        if changed {
            eye.also(on_change().await);
            // Look once more, since files may have changed during the reload.
            wake.notify_one();
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

/// Whether the files changed between loading and watching. Reads them again only if one of them is recent.
async fn loaded_before(server: &Arc<Server>, files: Vec<PathBuf>) -> bool {
    let server = Arc::clone(server);
    let differs = move || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        // ctime, not mtime: a rename or a copy that preserves times leaves mtime in the past.
        let changed = |file: &PathBuf| file.metadata().ok().and_then(|found| u64::try_from(found.ctime()).ok());
        if !files
            .iter()
            .any(|file| changed(file).is_none_or(|changed| now.abs_diff(changed) <= RECENT_SECONDS))
        {
            return false;
        }
        // Separate metrics, so that names in a configuration that is not in force yet are not exported.
        let Ok(metrics) = Metrics::new() else { return false };
        let loaded = server.snapshot();
        let found = Server::check(server.source(), Some(loaded.seed.0), &metrics);
        found.map_or(true, |found| found.hash != loaded.hash)
    };
    spawn_blocking(differs).await.unwrap_or(false)
}

#[cfg(test)]
mod tests;
