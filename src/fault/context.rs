//! The context in which a fault is compiled.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::template::Templates;
use crate::yaml::units::Time;

/// The input of compiling a fault besides its own YAML.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The folder that relative paths start from: that of the file with the rule.
    pub folder: &'a Path,
    /// Reads a file that the configuration names, up to a limit in bytes.
    pub read: &'a dyn Fn(&Path, usize) -> std::io::Result<Bytes>,
    /// The most keys that a `quota` remembers.
    pub keys: NonZeroUsize,
    /// The longest single wait.
    pub longest_wait: Duration,
    /// Compiles the templates of injected responses.
    pub templates: &'a dyn Templates,
    /// The name of the rule.
    pub rule: &'a str,
}

impl Context<'_> {
    /// Checks a wait in the configuration.
    ///
    /// # Errors
    /// It is longer than the longest wait allowed.
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
