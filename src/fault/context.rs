//! What compiling a fault may look at.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use crate::yaml::units::Time;

/// What compiling a fault may look at besides its own YAML.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The folder that relative paths start from: the one of the file that the rule stands in.
    pub folder: &'a Path,
    /// Reads a file that the configuration names.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
    /// Keys that a `quota` may remember.
    pub keys: NonZeroUsize,
    /// The longest single wait.
    pub longest_wait: Duration,
    /// The name of the rule.
    pub rule: &'a str,
}

impl Context<'_> {
    /// Checks a single wait that the configuration states.
    ///
    /// # Errors
    /// It is longer than any may be.
    pub fn check_wait(&self, what: &str, wait: Duration) -> Result<(), String> {
        if wait > self.longest_wait {
            Err(format!(
                "{what} of {} is longer than the longest allowed wait, {}",
                Time::saturating(wait),
                Time::saturating(self.longest_wait)
            ))
        } else {
            Ok(())
        }
    }
}
