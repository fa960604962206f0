//! How much work it is to hold a value against a schema.
//!
//! A document can ask for more than there is time or stack for, and the `jsonschema` crate bounds neither.

use std::cell::Cell;

use jsonschema::{Keyword, ValidationError};
use serde_json::Value;

/// How many schemas one value is held against in all. What lies beyond counts as fitting.
const STEPS_LIMIT: u32 = 100_000;

/// How much of the stack, in bytes, is used up at most: what nests deeper counts as fitting. Threads have 2 MiB.
const STACK_LIMIT: usize = 1 << 20;

/// A keyword that fails once a limit is reached.
pub(in crate::fake) const STEP: &str = "squall-step";

thread_local! {
    /// The steps that are left for the value that this thread checks, and where its stack was when it began.
    static LEFT: Cell<(u32, usize)> = const { Cell::new((0, 0)) };
}

/// Counts the schemas that a value is held against, as the keyword [`STEP`].
pub(in crate::fake) struct StepCounter;

impl StepCounter {
    /// Begins with another value.
    pub(in crate::fake) fn begin() {
        LEFT.set((STEPS_LIMIT, stack()));
    }
}

impl<'i> Keyword<'i> for StepCounter {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) {
            Ok(())
        } else {
            Err(ValidationError::custom("a limit is reached"))
        }
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        is_within_limits()
    }
}

/// Takes one more step, if there is one left.
pub(super) fn is_within_limits() -> bool {
    let (left, start) = LEFT.get();
    LEFT.set((left.saturating_sub(1), start));
    left > 0 && start.abs_diff(stack()) < STACK_LIMIT
}

/// About where the stack ends.
fn stack() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(&here).addr()
}
