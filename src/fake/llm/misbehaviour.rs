//! Trouble on demand: models whose names ask for errors, streams that break, and silence.

use std::time::Duration;

use http::StatusCode;

/// How long `error-hang` and `error-stall` keep a client that does not disconnect.
pub(super) const HANG: Duration = Duration::from_secs(3600);

/// Trouble that a caller asks for, by the model's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misbehaviour {
    /// The request is refused with this status.
    Status(StatusCode),
    /// The stream holds an error.
    Stream,
    /// The stream breaks off.
    Cut,
    /// The stream stays open, and nothing more comes.
    Stall,
    /// The request is never answered.
    Hang,
    /// Nothing that the fake knows, by the model's name.
    Unknown(String),
}

impl Misbehaviour {
    /// Whether the request is never answered at all.
    pub(super) fn hangs(&self, streamed: bool) -> bool {
        *self == Self::Hang || *self == Self::Stall && !streamed
    }

    /// What is said of a model whose name asks for no error that there is.
    pub(super) fn unknown(&self) -> Option<String> {
        let Self::Unknown(model) = self else { return None };
        Some(format!(
            "The fake has no model `{model}`: use `error-400` to `error-599`, `error-stream`, `error-cut`, `error-stall` or \
            `error-hang`."
        ))
    }

    /// The status with which a request is refused at once; `failing` stands for trouble in a stream where there is none.
    pub(super) fn refusal(&self, streamed: bool, failing: u16) -> Option<StatusCode> {
        match self {
            Self::Status(status) => Some(*status),
            Self::Stream | Self::Cut if !streamed => StatusCode::from_u16(failing).ok(),
            _ => None,
        }
    }

    pub(super) fn of(model: &str) -> Option<Self> {
        match model.strip_prefix("error-")? {
            "stream" => Some(Self::Stream),
            "cut" => Some(Self::Cut),
            "stall" => Some(Self::Stall),
            "hang" => Some(Self::Hang),
            status => {
                let known = StatusCode::from_bytes(status.as_bytes()).ok();
                let known = known.filter(|status| (400..=599).contains(&status.as_u16()));
                Some(known.map_or_else(|| Self::Unknown(model.to_owned()), Self::Status))
            }
        }
    }
}
