//! squall: a reverse proxy that injects latency and faults, exactly as asked.

pub mod admin;
pub mod cli;
pub mod config;
pub mod fake;
pub mod fault;
pub mod metrics;
pub mod proxy;
pub mod rule;
pub mod server;
