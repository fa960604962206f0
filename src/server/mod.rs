//! The running server: starts listeners, reloads the configuration, changes it by API, and drains at the end.

mod steer;

mod guards;
mod switches;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

pub use self::guards::GuardRefusal;
use crate::config::guard::Guard;
use crate::config::snapshot::{self, Inputs, ListenerKind, Snapshot};
use crate::config::{self, Source};
use crate::events::Events;
use crate::files::Seen;
use crate::journal::Journal;
use crate::journal::spec::JournalSpec;
use crate::limits::bodies::{Bodies, Budget};
use crate::metrics::{Metrics, Series};
use crate::proxy::exchange::Squall;
use crate::proxy::execute::hold::Holder;
use crate::proxy::listen::accept::{self, Bound, Entrance, Listener, ListenerOptions, Service};
use crate::proxy::listen::gate::Gate;
use crate::proxy::listen::intercept::Intercepting;
use crate::proxy::net::address::AddressSpec;
use crate::proxy::tcp::Relay;
use crate::proxy::upstream::Connector;
use crate::rule::switch::Switches;
use crate::traffic::Traffic;
use crate::yaml::report::Report;

pub use self::steer::Changed;

/// The longest time that loading a configuration may take in a reload.
const LOADING_TIME: Duration = Duration::from_secs(60);

/// Where the configurations of one process come from.
#[derive(Debug, Clone)]
pub struct Origin {
    source: Source,
    seed: Option<u64>,
    default_seed: u64,
    metrics: Arc<Metrics>,
}

/// A running squall: its listeners and the configuration in force.
#[derive(Debug)]
pub struct Server {
    origin: Origin,
    holder: Arc<Holder>,
    connector: Arc<Connector>,
    bodies: Arc<Bodies>,
    events: Arc<Events>,
    traffic: Arc<Traffic>,
    journal: Arc<Journal>,
    /// Guards that were added through the API. Locked for changes and looks, never across an await.
    added_guards: Mutex<Vec<Arc<Guard>>>,
    current: ArcSwap<Snapshot>,
    /// Changed by reloads and by the drain. Locked together with `leaving` only in this order, never across an await.
    listeners: Mutex<HashMap<Place, Running>>,
    /// Listeners that a reload removed and that still have requests in flight.
    leaving: Mutex<Vec<Arc<Listener>>>,
    /// Held during a reload, so that there is one at a time, and until a load that took too long ends, so that those don't
    /// pile up. tokio's lock, since others wait for it without blocking.
    reloading: Arc<AsyncMutex<()>>,
    /// Held while one configuration takes the place of another.
    changing: Mutex<()>,
    /// What the last load has read.
    seen: ArcSwap<Seen>,
    /// Why the last reload was refused; `None` if it was not. Locked for a look or a change.
    refused: Mutex<Option<String>>,
    /// Told when something may vanish earlier than before.
    expiring: Arc<Notify>,
}

/// Identifies a listening socket across reloads: by address, and for port 0 by name too.
type Place = (AddressSpec, Option<Arc<str>>);

#[derive(Debug)]
struct Running {
    name: Arc<str>,
    listener: Arc<Listener>,
    service: Service,
}

/// A reload that is in force.
#[derive(Debug)]
pub struct Reloaded {
    /// The configuration that is in force now.
    pub snapshot: Arc<Snapshot>,
    /// What is different in the file, in words.
    pub changes: String,
}

/// Why a server did not start, or did not reload.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is bad.
    #[error("{0}")]
    Configuration(Report),
    /// An address cannot be listened on.
    #[error("can't listen on {address} ({what}): {}", bind_reason(error))]
    Bind {
        /// What for: a listener's name.
        what: String,
        /// The address.
        address: AddressSpec,
        /// The operating system's reason.
        error: io::Error,
    },
    /// Loading took too long.
    #[error(
        "loading the configuration takes longer than {} s: is a file on a file system that does not respond?",
        .0.as_secs_f64()
    )]
    Slow(Duration),
    /// An earlier reload that took too long has not ended.
    #[error("an earlier reload is still loading its configuration")]
    Busy,
    /// A stopping squall takes no new configuration.
    #[error("squall is stopping")]
    Stopping,
    /// Something that squall needs from the system is missing.
    #[error("{0}")]
    System(String),
}

/// Why an address can't be listened on, in words that say what to do.
pub fn bind_reason(error: &io::Error) -> String {
    // A text of squall's own says it already.
    if error.raw_os_error().is_none() {
        return error.to_string();
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use: stop the process that has it, or choose another port".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: ports below 1024 need root or CAP_NET_BIND_SERVICE, a socket file a writable folder"
                .into()
        }
        _ => error.to_string(),
    }
}

impl Origin {
    /// The source's configurations, with a seed that overrides theirs, and with one drawn for those that set none.
    pub fn new(source: Source, seed: Option<u64>, metrics: Arc<Metrics>) -> Origin {
        Origin {
            source,
            seed,
            default_seed: drawn_seed(),
            metrics,
        }
    }

    /// Loads the first configuration. Blocks for as long as that takes.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn load(&self) -> Result<Snapshot, Failure> {
        crate::proxy::upstream::check_system_authorities().map_err(Failure::System)?;
        self.load_after(None)
    }

    fn load_after(&self, previous: Option<&Snapshot>) -> Result<Snapshot, Failure> {
        let inputs = Inputs {
            seed: self.seed,
            default_seed: self.default_seed,
            previous,
            now: Instant::now(),
            metrics: &self.metrics,
        };
        config::load(&self.source, inputs).map_err(Failure::Configuration)
    }
}

impl Server {
    /// Loads the configuration and opens every address. Nothing listens if anything is wrong.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn start(source: Source, seed: Option<u64>, metrics: Arc<Metrics>) -> Result<Arc<Server>, Failure> {
        let origin = Origin::new(source, seed, metrics);
        let snapshot = origin.load()?;
        Server::open(origin, snapshot)
    }

    /// Opens every address of the first configuration. Nothing listens if one can't be opened. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn open(origin: Origin, snapshot: Snapshot) -> Result<Arc<Server>, Failure> {
        let server = Server {
            holder: Holder::new(Arc::clone(&origin.metrics), Arc::default()),
            connector: Arc::default(),
            bodies: Arc::default(),
            events: Arc::default(),
            traffic: Arc::new(Traffic::new(Instant::now())),
            journal: Arc::default(),
            added_guards: Mutex::default(),
            seen: ArcSwap::new(Arc::clone(&snapshot.seen)),
            refused: Mutex::default(),
            origin,
            current: ArcSwap::from_pointee(snapshot),
            listeners: Mutex::default(),
            leaving: Mutex::default(),
            reloading: Arc::default(),
            changing: Mutex::default(),
            expiring: Arc::default(),
        };
        let snapshot = server.snapshot();
        let bound = server.bind_new(&snapshot)?;
        server.take_over(&snapshot, bound);
        let server = Arc::new(server);
        tokio::spawn(steer::expire(Arc::downgrade(&server)));
        server.watch_guards();
        Ok(server)
    }

    /// Loads and checks a configuration, and starts nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(source: &Source, seed: Option<u64>, metrics: &Metrics) -> Result<Snapshot, Report> {
        let inputs = Inputs {
            seed,
            ..Inputs::new(metrics, Instant::now())
        };
        config::load(source, inputs)
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Where the configuration comes from.
    pub fn source(&self) -> &Source {
        &self.origin.source
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.origin.metrics
    }

    /// What happens here, for those who listen.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// What clients saw in the last seconds.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The last requests of each space.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Whether it accepts nothing new, since it is about to end.
    pub fn is_stopping(&self) -> bool {
        self.holder.is_stopping()
    }

    /// The number of open connections of all listeners.
    pub fn connections(&self) -> usize {
        let listeners = self.listeners.lock();
        listeners.values().map(|running| running.listener.connections()).sum()
    }

    /// The switches of all rules, for other sources of faults that are to stop with them.
    pub fn switches(&self) -> &Arc<Switches> {
        self.holder.switches()
    }

    /// The bound on bodies in memory that the configuration in force sets.
    pub fn budget(&self) -> Budget {
        Budget::new(&self.bodies, self.snapshot().spec.bounds.most_bodies())
    }

    /// Renders the metrics page, after updating the gauges that only the server knows.
    pub fn metrics_page(&self, series: Series) -> String {
        for running in self.listeners.lock().values() {
            self.metrics()
                .connections(&running.name, running.listener.connections());
        }
        self.metrics().armed.set(i64::from(self.is_armed()));
        let bodies = i64::try_from(self.bodies.bytes()).unwrap_or(i64::MAX);
        self.metrics().bodies.set(bodies);
        // Counted by the journal itself, which spares each request a counter.
        let dropped = &self.metrics().journal_dropped;
        dropped.inc_by(self.journal.dropped().saturating_sub(dropped.get()));
        self.metrics().page(series)
    }

    /// The names and addresses of the listeners, with the real port in place of port 0.
    pub fn addresses(&self) -> Vec<(Arc<str>, String)> {
        let listeners = self.listeners.lock();
        let mut addresses: Vec<_> = listeners
            .values()
            .map(|running| (Arc::clone(&running.name), running.listener.local_addr().to_string()))
            .collect();
        addresses.sort();
        addresses
    }

    /// Reads the configuration again and puts it into force, all of it or nothing. Requests in flight keep the old one. A
    /// reload that has begun goes on if the caller drops the future.
    ///
    /// # Errors
    /// See [`Failure`]. The old configuration stays in force.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, Failure> {
        self.reload_within(LOADING_TIME).await
    }

    async fn reload_within(self: &Arc<Self>, limit: Duration) -> Result<Reloaded, Failure> {
        let server = Arc::clone(self);
        let reloading = tokio::spawn(async move {
            let result = server.load_and_switch(limit).await;
            server.report(&result);
            result
        });
        reloading.await.unwrap_or_else(|error| Err(broken_off(&error)))
    }

    /// Everything that takes time happens on blocking threads, and none of it on those that carry requests.
    async fn load_and_switch(self: &Arc<Self>, limit: Duration) -> Result<Reloaded, Failure> {
        let turn = Arc::clone(&self.reloading).lock_owned();
        let turn = timeout(limit, turn).await.map_err(|_| Failure::Busy)?;
        if self.holder.is_stopping() {
            return Err(Failure::Stopping);
        }
        let (origin, previous) = (self.origin.clone(), self.snapshot());
        let loading = spawn_blocking(move || (origin.load_after(Some(&previous)), turn));
        let loaded = timeout(limit, loading).await.map_err(|_| Failure::Slow(limit))?;
        let (snapshot, turn) = loaded.map_err(|error| broken_off(&error))?;
        match &snapshot {
            Ok(snapshot) => self.seen.store(Arc::clone(&snapshot.seen)),
            Err(Failure::Configuration(report)) => self.seen.store(Arc::clone(report.seen())),
            Err(_) => {}
        }
        let (snapshot, server) = (snapshot?, Arc::clone(self));
        let switching = spawn_blocking(move || {
            let _turn = turn;
            server.switch_to(snapshot)
        });
        switching.await.map_err(|error| broken_off(&error))?
    }

    /// What the last load has read, whether it was put into force or refused. One that took too long does not count.
    pub fn seen(&self) -> Arc<Seen> {
        self.seen.load_full()
    }

    /// Why the last reload was refused; `None` if it was not.
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }

    fn report(&self, result: &Result<Reloaded, Failure>) {
        match result {
            Ok(Reloaded { snapshot, changes }) => {
                self.metrics().reload(true);
                *self.refused.lock() = None;
                self.events.tell(
                    "reload",
                    || json!({"result": "ok", "config_hash": snapshot.hash, "changes": changes}),
                );
                tracing::info!(
                    config_hash = snapshot.hash,
                    rules = snapshot.rules.len(),
                    changes,
                    "reloaded"
                );
            }
            Err(Failure::Stopping) => {}
            Err(failure) => {
                self.metrics().reload(false);
                *self.refused.lock() = Some(failure.to_string());
                self.events
                    .tell("reload", || json!({"result": "error", "error": failure.to_string()}));
                tracing::error!("not reloaded; the old configuration stays in force: {failure}");
            }
        }
    }

    /// Puts a loaded configuration into force, with what the API has added, unless an address can't be opened.
    fn switch_to(&self, snapshot: Snapshot) -> Result<Reloaded, Failure> {
        let _turn = self.changing.lock();
        let previous = self.snapshot();
        let snapshot = snapshot.following(&previous, Instant::now(), self.metrics());
        let snapshot = self.put_into_force(snapshot)?;
        for what in previous.needs_restart(&snapshot) {
            tracing::warn!("a change of `{what}` needs a restart");
        }
        snapshot.log_warnings();
        let changes = previous.changes_to(&snapshot);
        Ok(Reloaded { snapshot, changes })
    }

    /// Takes over what can be taken over, all of it or nothing. Call it with the lock on changes.
    fn put_into_force(&self, snapshot: Snapshot) -> Result<Arc<Snapshot>, Failure> {
        if self.holder.is_stopping() {
            return Err(Failure::Stopping);
        }
        let snapshot = Arc::new(snapshot);
        let bound = self.bind_new(&snapshot)?;
        // Everything that can fail is done. The snapshot first, so that the admin API never shows older rules than
        // requests see.
        self.current.store(Arc::clone(&snapshot));
        self.take_over(&snapshot, bound);
        self.expiring.notify_one();
        if self.holder.is_stopping() {
            // The drain began meanwhile and knows nothing of new listeners. Dropping them stops them.
            self.listeners.lock().clear();
        }
        Ok(snapshot)
    }

    /// Opens the addresses that are not open yet.
    fn bind_new(&self, snapshot: &Snapshot) -> Result<HashMap<Place, Bound>, Failure> {
        let listeners = self.listeners.lock();
        let (mut opened, mut taken) = (HashMap::new(), HashMap::new());
        for listener in snapshot.listeners.iter().filter(|listener| listener.enabled) {
            let place = place(listener);
            // Of two listeners at one address, one would silently take the place of the other. In one file that is a mistake of the
            // file; here one of them is a space's.
            if let Some(other) = taken.insert(place.clone(), &listener.name) {
                let message = format!("the listener `{other}` has this address already");
                return Err(Failure::Bind {
                    what: format!("listener {}", listener.name),
                    address: listener.address.clone(),
                    error: io::Error::new(io::ErrorKind::AddrInUse, message),
                });
            }
            if listeners.contains_key(&place) {
                continue;
            }
            let bound = accept::bind(self.options(listener, snapshot)).map_err(|error| Failure::Bind {
                what: format!("listener {}", listener.name),
                address: listener.address.clone(),
                error,
            })?;
            opened.insert(place, bound);
        }
        Ok(opened)
    }

    fn options(&self, listener: &snapshot::Listener, snapshot: &Snapshot) -> ListenerOptions {
        let mut options = ListenerOptions::new(Arc::clone(&listener.name), listener.address.clone());
        options.entrance = self.entrance(listener);
        options.max_connections = snapshot.spec.bounds.connections.get() as usize;
        options
    }

    fn entrance(&self, listener: &snapshot::Listener) -> Entrance {
        let connection = Arc::clone(&listener.connection);
        Entrance {
            tls: listener.tls.clone(),
            timeouts: listener.timeouts,
            proxied: listener.proxied,
            gate: (!connection.is_empty())
                .then(|| Gate::new(connection, Arc::clone(&self.holder), Arc::clone(&self.journal))),
            intercepting: match &listener.kind {
                ListenerKind::Http(view) => Intercepting::new(view),
                ListenerKind::Tcp(_) => None,
            },
        }
    }

    /// What serves a listener's connections: what runs, with the new view, unless there is nothing yet or of another kind.
    fn service(&self, listener: &snapshot::Listener, running: Option<&Service>) -> Service {
        match (&listener.kind, running) {
            (ListenerKind::Http(view), Some(Service::Http(squall))) => {
                squall.view.store(Arc::clone(view));
                Service::Http(Arc::clone(squall))
            }
            (ListenerKind::Tcp(view), Some(Service::Tcp(relay))) => {
                relay.replace(Arc::clone(view));
                Service::Tcp(Arc::clone(relay))
            }
            (ListenerKind::Http(view), _) => Service::Http(Arc::new(Squall {
                view: Arc::new(ArcSwap::from(Arc::clone(view))),
                holder: Arc::clone(&self.holder),
                connector: Arc::clone(&self.connector),
                bodies: Arc::clone(&self.bodies),
                events: Arc::clone(&self.events),
                traffic: Arc::clone(&self.traffic),
                journal: Arc::clone(&self.journal),
            })),
            (ListenerKind::Tcp(view), _) => Service::Tcp(Relay::new(
                Arc::clone(view),
                Arc::clone(&self.holder),
                Arc::clone(&self.journal),
            )),
        }
    }

    /// Switches to a snapshot, which can't fail: kept listeners get their new view, new ones start, the others stop
    /// accepting.
    fn take_over(&self, snapshot: &Snapshot, mut bound: HashMap<Place, Bound>) {
        let journal = snapshot.spec.journal.as_ref();
        self.journal
            .configure(journal.map_or_else(|| JournalSpec::default().bounds(), JournalSpec::bounds));
        let mut listeners = self.listeners.lock();
        let mut old = std::mem::take(&mut *listeners);
        for listener in snapshot.listeners.iter().filter(|listener| listener.enabled) {
            let place = place(listener);
            let running = match (old.remove(&place), bound.remove(&place)) {
                (Some(mut running), _) => {
                    running.service = self.service(listener, Some(&running.service));
                    let service = running.service.clone();
                    running.listener.replace(service, self.entrance(listener));
                    running.name = Arc::clone(&listener.name);
                    running
                }
                (None, Some(bound)) => self.serve(listener, bound),
                (None, None) => continue,
            };
            listeners.insert(place, running);
        }
        let mut leaving = self.leaving.lock();
        leaving.retain(|listener| listener.connections() > 0);
        for running in old.into_values() {
            tracing::info!(listener = &*running.name, "no longer listening");
            // One that was removed lets its requests finish; one that was switched off is to look like a server that is down.
            match snapshot.listener(&running.name) {
                Some(listener) if !listener.enabled => running.listener.abort(),
                _ => running.listener.stop_accepting(),
            }
            self.metrics().forget_listener(&running.name);
            leaving.push(running.listener);
        }
        snapshot.overall.limit(snapshot.limits, Instant::now());
        self.guards_changed(snapshot);
        self.metrics()
            .configured(&snapshot.hash, snapshot.seed.0, snapshot.counted());
    }

    fn serve(&self, listener: &snapshot::Listener, bound: Bound) -> Running {
        let service = self.service(listener, None);
        let running = bound.serve(service.clone());
        tracing::info!(listener = &*listener.name, address = %running.local_addr(), "listening");
        Running {
            name: Arc::clone(&listener.name),
            listener: Arc::new(running),
            service,
        }
    }

    /// Stops the server: accepts no more connections, cuts injected waits short, and lets requests in flight finish within
    /// `grace`. Returns whether all of them did.
    pub async fn drain(&self, grace: Duration) -> bool {
        let mut all: Vec<Arc<Listener>> = std::mem::take(&mut *self.leaving.lock());
        all.extend(self.listeners.lock().drain().map(|(_, running)| running.listener));
        for listener in &all {
            listener.stop_accepting();
        }
        // After the listeners, so that no new connection begins without its injected waits.
        self.holder.stop();
        // Those of a reload that ended meanwhile. From now on a reload ends its own.
        let late: Vec<_> = self
            .listeners
            .lock()
            .drain()
            .map(|(_, running)| running.listener)
            .collect();
        for listener in &late {
            listener.stop_accepting();
        }
        all.extend(late);
        let drained = async {
            for listener in &all {
                listener.drained().await;
            }
        };
        let finished = timeout(grace, drained).await.is_ok();
        for listener in &all {
            listener.abort();
        }
        finished
    }
}

/// The failure of a reload whose thread panicked, or whose runtime ended.
fn broken_off(error: &JoinError) -> Failure {
    Failure::System(format!("the reload broke off: {error}"))
}

fn place(listener: &snapshot::Listener) -> Place {
    let any_port = matches!(listener.address, AddressSpec::Tcp(address) if address.port() == 0);
    (listener.address.clone(), any_port.then(|| Arc::clone(&listener.name)))
}

/// A random seed for configurations that set none. Its source is the random key of the standard library's hasher.
pub fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Short enough to be typed by hand.
    RandomState::new().hash_one(std::process::id()) % 1_000_000_000
}

#[cfg(test)]
mod tests;
