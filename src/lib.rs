//! squall: a reverse proxy that injects latency and faults, exactly as asked.
//!
//! `src/README.md` has the map of the rooms, the life of a request, and how to add a fault step by step.
//!
//! # Invariants
//!
//! 1. Without a matching rule, heads, bodies, trailers and interim responses pass unchanged both ways; squall adds nothing. Only paths
//!    of routes, and redirects and cookies that name the upstream, are mapped.
//! 2. A request sees one configuration. A bad reload keeps the old one, is logged and counted, and no request is lost.
//! 3. Equal configuration, seed, key, head and body give equal plans. A draw reads no clock and no shared state.
//! 4. Each injected fault is counted exactly once, and shown in a field of the response, if there is one.
//! 5. squall's own failures never look injected, and injected ones never look natural.
//! 6. Delays, queues, remembered keys, connections, held requests and collected bodies are bounded, by `bounds:` in the configuration.
//! 7. Metric labels come from the configuration alone, never from traffic.
//! 8. Traffic, a control request or a configuration cannot panic the process.
//! 9. The admin API is on loopback by default and needs a token elsewhere; it refuses other origins and foreign Hosts.

pub mod admin;
pub mod cli;
pub mod config;
pub mod content;
pub mod cors;
pub mod draw;
pub mod events;
pub mod explain;
pub mod fake;
pub mod fault;
pub mod files;
pub mod grpc;
pub mod guards;
pub mod histogram;
pub mod journal;
pub mod limits;
pub mod metrics;
pub mod peers;
pub mod proxy;
pub mod rule;
pub mod scenario;
pub mod server;
pub mod shape;
pub mod toxiproxy;
pub mod traffic;
pub mod watch;
pub mod yaml;
