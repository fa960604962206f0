//! squall: a reverse proxy that injects latency and faults, exactly as asked.
//!
//! # The life of a request
//!
//! ```text
//! proxy::listen      accepts; connection rules, TLS; reads a request's head off the connection
//!   proxy::exchange  takes one view of the configuration in force
//!     rule::decide   match, draw, limits: a Plan, pure data
//!     proxy::execute waits (racing the client's leaving) and endings; each fault is counted once
//!     proxy::upstream or fake    asked over the network, or in process
//!     pumps          request and response move at the same time, through a shape::Shaper where the plan has one
//!   settle           counted, measured, logged
//! ```
//!
//! # Where things are
//!
//! The rooms stand in storeys, the highest first: each imports only those below it, and a test holds that.
//!
//! | room | what |
//! |---|---|
//! | [`cli`] | one file for each subcommand |
//! | [`admin`] | the side port |
//! | [`watch`] | reloads when files change |
//! | [`server`] | starts, reloads, drains |
//! | [`explain`] | what would happen to a request, and why |
//! | [`config`] | a file and what it includes, assembled into the [`config::snapshot`] in force |
//! | [`proxy`] | sockets, connections, the loop between clients and upstreams; listeners and upstreams as they are typed |
//! | [`fake`] | fake upstreams, answered in process |
//! | [`rule`] | rules as they are typed; which requests, which of those, and the plan; no socket, no clock, no random source |
//! | [`fault`] | one file for each fault: docs, YAML, what it becomes at load, what it does to a request |
//! | [`shape`] | bytes in motion: bandwidth, truncate, stall, corrupt; no socket, no clock |
//! | [`metrics`] | every metric and label |
//! | [`draw`] | every random decision, a function of seed, rule and key; the keys of requests |
//! | [`grpc`] | gRPC's statuses |
//! | [`yaml`] | reading YAML: positions, decoding, diagnostics, variables, units; no word of squall |
//!
//! `src/README.md` says how to find one's way, and how to add a fault step by step.
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
