//! The proxy, tried from outside: a real squall in this process, scripted upstreams, and clients on plain sockets.
//!
//! Only the configuration, the sockets, [`squall::server::Server`] and the metrics page are used, so that these tests
//! hold for any way of carrying a request. One theme a file; `support` has the harness.
//!
//! A test that is ignored asserts what the RFCs ask for where the proxy does something else; the reason says what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

mod abort;
mod bodies;
mod both_ways;
mod choosing;
mod connections;
mod corrupt;
mod delay;
mod early_answers;
mod endings;
mod expect;
mod grpc;
mod heads;
mod interim;
mod leaving;
mod limits;
mod messages;
mod pace;
mod reload;
mod rewrite;
mod switches;
mod tcp;
mod templates;
mod trailers;
mod truncate;
mod upgrades;
mod upstream_failures;
mod websocket;
