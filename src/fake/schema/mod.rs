//! JSON schemas, as OpenAPI documents and the clients of language models write them, and values that fit them.

mod check;
mod generate;
mod keywords;
mod limits;
mod pattern;
mod references;

pub(super) use self::check::Checker;
pub(super) use self::generate::Maker;
pub(super) use self::keywords::{Below, below, exclude_bounds};
pub(super) use self::limits::{STEP, StepCounter};
pub(super) use self::references::{is_marked, pointer, property, reference, resolve, target};
