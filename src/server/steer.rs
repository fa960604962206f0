//! Changes of the configuration in force through the API.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use super::{Failure, Server};
use crate::config::layer::draft::Switched;
use crate::config::layer::{Draft, Refusal};
use crate::config::snapshot::Snapshot;

/// How long the expiry of rules waits if there is nothing to expire.
const IDLE: Duration = Duration::from_secs(3600);

/// How long expiry waits after it was refused, as by a squall that is stopping.
const REFUSED: Duration = Duration::from_secs(1);

/// A change that was made.
#[derive(Debug)]
pub struct Changed<T> {
    /// The configuration in force since then.
    pub snapshot: Arc<Snapshot>,
    /// What the change has to say.
    pub value: T,
}

impl Server {
    /// Changes what the API has added to the file, all of it or nothing. One change follows another; requests in flight keep
    /// the rules that they began with.
    ///
    /// # Errors
    /// What `change` says, or [`Refusal::System`] if an address can't be opened. Nothing has changed then.
    pub async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<Changed<T>, Refusal> {
        let server = Arc::clone(self);
        aside(move || server.change_now(change)).await
    }

    /// Tries a change, and puts nothing into force. The snapshot is what would be.
    ///
    /// # Errors
    /// As for [`Server::change`], except that no address is opened.
    pub async fn try_change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<Changed<T>, Refusal> {
        let server = Arc::clone(self);
        aside(move || {
            let previous = server.snapshot();
            let mut draft = Draft::new(&previous, Instant::now(), server.metrics());
            let value = change(&mut draft)?;
            let next = draft.finish().map(Arc::new);
            Ok(Changed {
                snapshot: next.unwrap_or(previous),
                value,
            })
        })
        .await
    }

    fn change_now<T>(&self, change: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal>) -> Result<Changed<T>, Refusal> {
        let _turn = self.changing.lock();
        let previous = self.snapshot();
        let mut draft = Draft::new(&previous, Instant::now(), self.metrics());
        let value = change(&mut draft)?;
        let switched = draft.take_switched();
        let snapshot = match draft.finish() {
            None => previous,
            Some(next) => {
                let next = self.put_into_force(next).map_err(refusal)?;
                self.let_go(&previous, &next);
                self.follow_spaces(&previous, &next);
                next
            }
        };
        // Before the next change, so that switches follow each other as their revisions do.
        for (rule, to) in &switched {
            match to {
                Switched::To(to) => {
                    self.switch(rule, *to);
                }
                Switched::AsConfigured => self.switch_as_configured(rule),
            }
        }
        Ok(Changed { snapshot, value })
    }

    /// Gives new spaces a journal, and takes that of those that are gone.
    fn follow_spaces(&self, previous: &Snapshot, next: &Snapshot) {
        let (before, after) = (previous.layer.spaces(), next.layer.spaces());
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            self.journal().open(name);
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            self.journal().close(name);
        }
    }

    /// Removes what has outlived its time.
    ///
    /// # Errors
    /// As for [`Server::change`].
    async fn expire(self: &Arc<Self>) -> Result<(), Refusal> {
        let Changed { snapshot, value } = self.change(|draft| Ok(draft.expire())).await?;
        let (rules, spaces) = value;
        for rule in rules {
            tracing::info!(
                rule = &*rule.name,
                space = rule.space.as_deref(),
                "the time of a rule is over"
            );
            self.events().tell(
                "rule",
                || json!({"rule": &*rule.name, "space": rule.space, "what": "expired", "revision": snapshot.revision}),
            );
        }
        for space in spaces {
            tracing::info!(space = &*space, "the time of a space is over");
            self.events().tell(
                "space",
                || json!({"space": &*space, "what": "expired", "revision": snapshot.revision}),
            );
        }
        Ok(())
    }
}

/// Works on a thread of its own: compiling a rule takes time that requests should not wait for.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let broken = |error| Refusal::System(format!("the change broke off: {error}"));
    spawn_blocking(work).await.map_err(broken)?
}

fn refusal(failure: Failure) -> Refusal {
    match failure {
        Failure::Stopping => Refusal::Stopping,
        failure @ Failure::Bind { .. } => Refusal::Conflict(failure.to_string()),
        failure => Refusal::System(failure.to_string()),
    }
}

/// Removes rules and spaces when their time is over, for as long as the server exists.
pub(super) async fn expire(server: Weak<Server>) {
    loop {
        let Some(strong) = server.upgrade() else { return };
        let (next, told) = (strong.snapshot().layer.next_expiry(), Arc::clone(&strong.expiring));
        drop(strong);
        let until = next.unwrap_or_else(|| Instant::now() + IDLE);
        // A change in between has left its permit, so that it looks again at once.
        let is_due = tokio::select! {
            () = sleep_until(until.into()) => true,
            () = told.notified() => false,
        };
        if is_due && let Some(server) = server.upgrade() {
            let refused = server.expire().await.is_err();
            drop(server);
            if refused {
                // It stays due, and would be tried again at once, for as long as a drain lasts.
                sleep(REFUSED).await;
            }
        }
    }
}
