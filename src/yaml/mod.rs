//! Reading YAML: text to a tree that knows where each value stands, and the tree to typed values, with every error at its
//! place. What the keys mean is the business of the rooms above.

pub mod decode;
pub mod env;
pub mod forms;
pub mod report;
pub mod tree;
pub mod units;
