//! squall: a reverse proxy that injects latency and faults, exactly as asked.
//!
//! `src/README.md` has the map of the rooms, the life of a request, and how to add a fault step by step.
//!
//! # Invariants
//!
//! 1. No matching rule: heads, bodies, trailers and interim responses pass as they came, both ways; squall adds nothing.
//! 2. A request sees one configuration. A bad reload keeps the old one, is logged and counted, and no request is lost.
//! 3. The same configuration, seed, key and head: the same plan. A draw reads no clock and no shared state.
//! 4. Each injection is counted exactly once, and the client can see which it was: in a field of the response, where there is one.
//! 5. squall's own failure never looks injected, an injected one never looks natural.
//! 6. Delays, queues, remembered keys, connections and requests held are bounded; `bounds:` in the configuration says how.
//! 7. Metric labels come from the configuration alone, never from traffic.
//! 8. Traffic, a control request or a configuration cannot panic the process.
//! 9. The admin side is on loopback by default and asks for a token elsewhere; it refuses other origins and foreign Hosts.

pub mod admin;
pub mod cli;
pub mod config;
pub mod draw;
pub mod explain;
pub mod fake;
pub mod fault;
pub mod grpc;
pub mod metrics;
pub mod proxy;
pub mod rule;
pub mod server;
pub mod shape;
pub mod watch;
pub mod yaml;
