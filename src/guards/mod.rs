//! Conditions that stop injection, as they are typed, and what natural traffic looks like lately.
//!
//! Nothing is measured unless a condition asks for it.

pub mod natural;
pub mod spec;
pub mod window;
