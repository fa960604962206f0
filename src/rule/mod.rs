//! Which requests a rule hits, and what then happens to them.

pub mod decide;
pub mod draw;
pub mod explain;
pub mod head;
pub mod index;
pub mod matcher;
pub mod plan;
pub mod remembered;
pub mod requested;
pub mod stage;
pub mod state;
pub mod text;
pub mod when;
