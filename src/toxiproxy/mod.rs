//! Toxiproxy's HTTP API: proxies for TCP connections, and toxics on them, as the clients of Toxiproxy 2.12 know them.
//!
//! ```text
//! route ─> api ─> asked, toxic ─> rules: one rule for each toxic, compiled by squall's own rules
//!                     │               │
//!                  proxies: the state ┴─> running: the data path, which takes rules while connections are open
//! ```
//!
//! What differs from Toxiproxy on purpose is listed in `config/README.md`. The API has no token, as the original has none:
//! whoever reaches its port may open ports of this machine, and connect to whatever the machine reaches. It is on loopback
//! unless told otherwise, and refuses browsers.

mod api;
mod asked;
mod counters;
mod json;
mod kind;
mod listen;
mod proxies;
mod refusal;
mod route;
mod rules;
mod running;
mod toxic;

use std::sync::Arc;

use self::json::Json;
use self::proxies::Proxies;
use self::rules::Rules;
use self::running::{Engine, Tcp};
use crate::admin;
use crate::config::root::{BoundsSpec, LogSpec};
use crate::metrics::Metrics;
use crate::proxy::net::address::AddressSpec;
use crate::proxy::tcp::view::ConnectionLog;
use crate::rule::switch::Switches;

/// The version of the API, which clients ask for.
pub const VERSION: &str = "2.12.0";

/// The settings of the API.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The seed of all draws.
    pub seed: u64,
    /// Whether `/metrics` counts the bytes of proxies.
    pub proxy_metrics: bool,
    /// Whether `/metrics` has figures of the process.
    pub runtime_metrics: bool,
    /// What each proxy may use.
    pub limits: Limits,
}

/// What each proxy may use, and what it logs.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most open connections of a proxy.
    pub connections: usize,
    /// The most connections of all proxies that are held in injected waits.
    pub held: u32,
    /// The bytes of each connection and direction that may wait.
    pub buffer: usize,
    /// Which connections are logged.
    pub log: ConnectionLog,
}

impl Limits {
    /// The bounds and the log of a configuration.
    pub fn new(bounds: &BoundsSpec, log: &LogSpec) -> Limits {
        Limits {
            connections: usize::try_from(bounds.connections.get()).unwrap_or(usize::MAX),
            held: bounds.held.get(),
            buffer: usize::try_from(bounds.buffer.value.get()).unwrap_or(usize::MAX),
            log: ConnectionLog {
                access: log.access,
                opened: log.opened,
                sample_ppm: log.sample.ppm(),
            },
        }
    }
}

/// Opens the port of the API. The host is a name or an address, or empty for every address; port 0 takes a free one.
///
/// # Errors
/// The host or the port is none, or it can't be listened on; in words.
pub async fn bind(host: &str, port: &str) -> Result<admin::Bound, String> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let place = listen::find(&format!("{host}:{port}")).await?;
    let open = async |address| admin::bind(&AddressSpec::Tcp(address)).await;
    let bound = match (open(place.address).await, place.on_ipv4()) {
        (Err(error), Some(other)) if listen::is_without_ipv6(&error) => open(other).await,
        (bound, _) => bound,
    };
    bound.map_err(|error| place.refused(&error))
}

/// Why the proxies of a configuration file can't be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PopulateError {
    /// The file is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The system refuses something, such as an address to listen on.
    #[error("{0}")]
    System(String),
}

/// The API and its proxies. Dropping it, and the router, stops all proxies.
#[derive(Debug, Clone)]
pub struct Toxiproxy(Shared);

#[derive(Debug)]
struct Api {
    settings: Settings,
    proxies: Proxies,
}

type Shared = Arc<Api>;

impl Api {
    fn has_metrics(&self) -> bool {
        self.settings.proxy_metrics || self.settings.runtime_metrics
    }
}

impl Toxiproxy {
    /// An API without proxies. Its toxics are counted in `metrics`, and do nothing while `switches` are off.
    pub fn new(settings: Settings, metrics: Arc<Metrics>, switches: Arc<Switches>) -> Toxiproxy {
        let engine = Tcp::new(settings.limits, Arc::clone(&metrics), switches);
        Toxiproxy::with(Box::new(engine), settings, metrics)
    }

    fn with(engine: Box<dyn Engine>, settings: Settings, metrics: Arc<Metrics>) -> Toxiproxy {
        let rules = Rules::new(settings.seed, metrics);
        Toxiproxy(Arc::new(Api {
            settings,
            proxies: Proxies::new(rules, engine),
        }))
    }

    /// Creates the proxies of a configuration file: a JSON array, as in the body of `POST /populate`. Gives their number.
    ///
    /// # Errors
    /// Why a proxy can't be created. Those before it run.
    pub async fn populate(&self, text: &[u8]) -> Result<usize, PopulateError> {
        let body = Json::first(text).map_err(PopulateError::Configuration)?;
        match self.0.proxies.populate(&body).await {
            (_, Some(refusal)) if refusal.status.is_client_error() => {
                Err(PopulateError::Configuration(refusal.message))
            }
            (_, Some(refusal)) => Err(PopulateError::System(refusal.message)),
            (proxies, None) => Ok(proxies.len()),
        }
    }

    /// A router with all endpoints, which keeps the proxies running.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .fallback(api::answer)
            .with_state(Arc::clone(&self.0))
    }
}
