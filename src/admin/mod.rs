//! The admin API: metrics, health, reloading, and questions about the configuration in force.
//!
//! On loopback or a unix socket it is open to local programs but not to web pages; elsewhere it needs a token (see
//! `guard`). Requests are checked against the configuration in force at that moment, so a reload may change the token.
//! `/healthz` and `/readyz` need no token, and reveal nothing else.
//!
//! Everything that callers can make it hold is bounded: the number and age of connections, and the time and size of heads
//! and bodies.

mod api;
mod armed;
mod bind;
mod body;
mod conditions;
mod dashboard;
mod events;
mod explain;
pub(crate) mod guard;
mod guards;
mod journal;
mod openapi;
mod pages;
mod params;
mod problem;
mod rules;
mod scenarios;
mod scrape;
mod serve;
mod spaces;
mod stats;

use std::sync::Arc;
use std::time::Instant;

use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post, put};
use tokio::sync::Semaphore;

pub use self::bind::{Bound, bind};
pub use self::serve::{serve, serve_router, serve_until};
use crate::proxy::net::address::AddressSpec;
use crate::scenario::plays::Plays;
use crate::server::Server;

/// The largest body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// The largest body with a whole layer of rules, in bytes.
const MAX_LAYER_BYTES: usize = 4 << 20;

/// The state of the request handlers.
#[derive(Debug)]
struct Context {
    server: Arc<Server>,
    /// The real address of the admin API. The configuration in force may name another one, for the next start.
    address: AddressSpec,
    started: Instant,
    scrapes: scrape::Scrapes,
    /// Places for event streams.
    streams: Arc<Semaphore>,
    ticker: stats::Ticker,
    plays: Arc<Plays>,
}

type Shared = axum::extract::State<Arc<Context>>;

/// All endpoints, for the address in the configuration in force.
pub fn router(server: Arc<Server>) -> axum::Router {
    let address = server.snapshot().admin.address.clone();
    router_at(server, address)
}

fn router_at(server: Arc<Server>, address: AddressSpec) -> axum::Router {
    let context = Arc::new(Context {
        server,
        address,
        started: Instant::now(),
        scrapes: scrape::Scrapes::new(),
        streams: Arc::new(Semaphore::new(events::MOST_STREAMS)),
        ticker: stats::Ticker::default(),
        plays: Arc::default(),
    });
    axum::Router::new()
        .route("/", get(pages::index))
        .route("/dashboard", get(dashboard::page))
        .route("/dashboard/{file}", get(dashboard::file))
        .route("/metrics", get(scrape::metrics))
        .route("/healthz", get(pages::health))
        .route("/readyz", get(pages::ready))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/armed", get(armed::show).put(armed::change))
        .route("/api/v1/config", get(api::config))
        .route("/api/v1/guards", get(guards::list))
        .route("/api/v1/guards/{name}", put(guards::put).delete(guards::delete))
        .route("/api/v1/guards/{name}/reset", post(guards::reset))
        .route("/api/v1/rules", get(rules::list))
        .route(
            "/api/v1/rules/{name}",
            get(rules::show)
                .put(rules::put)
                .patch(rules::patch)
                .delete(rules::remove),
        )
        .route("/api/v1/rules/{name}/reset", post(rules::reset))
        .route("/api/v1/reset", post(rules::reset_all))
        .route("/api/v1/order", put(rules::order))
        .route(
            "/api/v1/layers/api",
            get(rules::layer).put(rules::put_layer).delete(rules::clear_layer),
        )
        .route("/api/v1/spaces", get(spaces::list))
        .route(
            "/api/v1/spaces/{id}",
            get(spaces::show).put(spaces::put).delete(spaces::remove),
        )
        .route("/api/v1/upstreams", get(spaces::upstreams))
        .route("/api/v1/ca.pem", get(api::ca))
        .route("/api/v1/reload", post(api::reload))
        .route("/api/v1/explain", get(explain::query).post(explain::posted))
        .route("/api/v1/stats", get(stats::stats))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/journal", get(journal::list).delete(journal::clear))
        .route("/api/v1/journal/{id}", get(journal::one))
        .route("/api/v1/verify", post(journal::verify))
        .route("/api/v1/scenarios", get(scenarios::list).post(scenarios::start))
        .route("/api/v1/scenarios/{id}", get(scenarios::show))
        .route("/api/v1/scenarios/{id}/report", get(scenarios::report))
        .route("/api/v1/scenarios/{id}/{order}", post(scenarios::order))
        .route_layer(from_fn(params::check))
        .fallback(pages::unknown)
        .method_not_allowed_fallback(pages::wrong_method)
        .layer(from_fn_with_state(Arc::clone(&context), guard::guard))
        .layer(from_fn(guard::mark))
        .with_state(context)
}

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod tests;
