//! One file per fault.

pub mod delay;
pub mod distribution;
