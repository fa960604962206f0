//! Why a fault can't be applied to a request.

use std::fmt;
use std::sync::Arc;

/// The longest detail, in bytes.
const LONGEST: usize = 300;

/// Why a fault can't be applied to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The reason: one of [`crate::metrics::SKIP_REASONS`].
    pub reason: &'static str,
    /// What exactly is the matter, where the reason alone doesn't say it: the part that fails, and its error.
    pub detail: Option<Arc<str>>,
}

impl Skip {
    /// A reason, and what exactly is the matter. That may be worded after the request, so it is cut, and has no control characters.
    pub fn with(reason: &'static str, detail: &str) -> Skip {
        let clean: String = detail
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let cut = clean.get(..clean.floor_char_boundary(LONGEST)).unwrap_or(&clean);
        Skip {
            reason,
            detail: Some(
                if cut.len() < clean.len() {
                    format!("{cut}…")
                } else {
                    clean
                }
                .into(),
            ),
        }
    }
}

impl From<&'static str> for Skip {
    fn from(reason: &'static str) -> Skip {
        Skip { reason, detail: None }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_short_and_plain() {
        assert_eq!(Skip::with("no body", "a\r\nb").to_string(), "no body: a  b");
        assert_eq!(Skip::from("no body").to_string(), "no body");
        let long = Skip::with("no body", &"é".repeat(1000));
        assert!(long.detail.unwrap().len() <= LONGEST + 3);
    }
}
