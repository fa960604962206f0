//! What the YAML may say: loading, units, validation, errors with positions.

pub mod decode;
pub mod env;
pub mod load;
pub mod report;
pub mod units;
pub mod yaml;
