//! What tells rules apart.

use std::fmt;
use std::sync::Arc;

/// The longest name of a space, in bytes.
const MAX_SPACE: usize = 100;

/// A rule's name within its space. Tests in different spaces may use the same names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// The space; `None` for the rules of everybody.
    pub space: Option<Arc<str>>,
    /// The name within the space.
    pub name: Arc<str>,
}

impl RuleId {
    /// The id of a rule of a space, or of everybody.
    pub fn new(space: Option<&str>, name: &str) -> RuleId {
        RuleId {
            space: space.map(Arc::from),
            name: name.into(),
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.space {
            None => write!(f, "`{}`", self.name),
            Some(space) => write!(f, "`{}` in the space `{space}`", self.name),
        }
    }
}

/// Checks the name of a space, which requests carry in header fields and in `baggage`.
///
/// # Errors
/// A sentence that says what is valid.
pub fn check_space(name: &str) -> Result<(), String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if !name.is_empty() && name.len() <= MAX_SPACE && name.bytes().all(known) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not a valid name of a space: use letters, digits and -_.: (at most {MAX_SPACE})"
    ))
}
