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
use self::running::Engine;
use crate::metrics::Metrics;

/// The version of the API, which clients ask for.
pub const VERSION: &str = "2.12.0";

/// The settings of the API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// The seed of all draws.
    pub seed: u64,
    /// Whether `/metrics` counts the bytes of proxies.
    pub proxy_metrics: bool,
    /// Whether `/metrics` has figures of the process.
    pub runtime_metrics: bool,
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
    pub async fn populate(&self, text: &[u8]) -> Result<usize, String> {
        let body = Json::first(text)?;
        match self.0.proxies.populate(&body).await {
            (_, Some(refusal)) => Err(refusal.message),
            (proxies, None) => Ok(proxies.len()),
        }
    }

    /// All endpoints.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .fallback(api::answer)
            .with_state(Arc::clone(&self.0))
    }
}
