//! Which requests a rule hits, and what then happens to them.

pub mod compile;
pub mod decide;
mod early;
pub mod index;
pub mod matcher;
pub mod plan;
pub mod spec;
pub mod stage;
pub mod state;
pub mod text;
pub mod when;
