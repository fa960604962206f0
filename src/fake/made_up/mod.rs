//! Made-up people, places, things and texts, as a function of a seed.

pub(super) mod dice;
pub(super) mod fields;
pub(super) mod phrases;
pub(super) mod words;
