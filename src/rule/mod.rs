//! Rules: their configuration, which requests they hit, and the plan of what then happens.

pub mod beside;
pub mod body;
pub mod compile;
mod connection;
mod covers;
pub mod decide;
pub mod doubts;
pub mod glob;
pub mod id;
pub mod index;
pub mod matcher;
pub mod overall;
pub mod plan;
pub mod rate;
pub mod sets;
pub mod spec;
pub mod stage;
pub mod state;
pub mod switch;
pub mod text;
pub mod when;
