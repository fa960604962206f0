//! Which requests a rule hits, and what then happens to them.

pub mod draw;
