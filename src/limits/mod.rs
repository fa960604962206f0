//! What all requests share and none may use up: memory for whole bodies, and processors for long computations.

pub mod aside;
pub mod bodies;
pub mod collector;
