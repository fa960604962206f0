//! Calls of the admin API, and what comes of them.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use crate::cli::client::AdminArgs;
use crate::cli::output::print;
use crate::cli::{INTERNAL, USAGE};
use crate::files;

/// Exit code of what squall refuses.
const REFUSED: u8 = 1;
/// The largest response that is read, in bytes.
const MOST: usize = 256 << 20;
/// The largest file that is sent, in bytes: as large as the API takes.
const LARGEST: usize = 4 << 20;

/// Why a command has failed, and its exit code.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) code: u8,
    pub(super) message: String,
}

/// How a command ended.
pub(super) type Done = Result<ExitCode, Failed>;

impl Failed {
    /// The command line, or what it names, is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Failed {
        Failed {
            code: USAGE,
            message: format!("error: {}", message.into()),
        }
    }

    pub(super) fn internal(message: impl Into<String>) -> Failed {
        Failed {
            code: INTERNAL,
            message: format!("error: {}", message.into()),
        }
    }
}

/// The admin API of the squall that runs, and how to print its responses.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) admin: AdminArgs,
    pub(super) json: bool,
    pub(super) space: Option<String>,
}

/// A response that is not a refusal.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    text: String,
}

impl Answer {
    /// The response as it came.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The response as JSON; null if it has no body.
    pub(super) fn json(&self) -> Result<Value, Failed> {
        if self.text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.text).map_err(|error| {
            Failed::internal(format!(
                "squall's response is not JSON, as that of another version may be: {error}"
            ))
        })
    }
}

impl Api {
    /// Asks, and reads the whole response.
    pub(super) async fn call(&self, method: Method, target: &str, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        let body = self.open(method, target, body).await?;
        let (status, body) = body;
        Ok(Answer {
            status,
            text: text_of(body).await?,
        })
    }

    /// Sends JSON, and reads the whole response.
    pub(super) async fn send(&self, method: Method, target: &str, body: &Value) -> Result<Answer, Failed> {
        self.call(method, target, body.to_string()).await
    }

    /// Asks, and returns the body of a response that is not a refusal, to be read as it arrives.
    pub(super) async fn open(
        &self,
        method: Method,
        target: &str,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, Incoming), Failed> {
        let accept = if self.json { "application/json" } else { "text/plain" };
        let response = self.admin.send(method, target, accept, body).await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok((status, response.into_body()));
        }
        let text = text_of(response.into_body()).await?;
        let hint = if status == StatusCode::UNAUTHORIZED {
            "\nhelp: pass the token with --token, or in SQUALL_TOKEN"
        } else {
            ""
        };
        if self.json {
            print(&text);
        }
        Err(Failed {
            code: REFUSED,
            message: format!("{}{hint}", text.trim_end()),
        })
    }

    fn unreachable(&self, error: &io::Error) -> Failed {
        Failed::internal(format!(
            "can't reach the admin API at {}: {error}\nhelp: is squall running, and is that its `admin.address`? Set another one \
             with --admin, or in SQUALL_ADMIN",
            self.admin.place()
        ))
    }

    /// Prints a response as it came if that is wanted, or else what `shown` makes of it.
    pub(super) fn print(&self, answer: &Answer, shown: impl FnOnce(&Value) -> String) -> Done {
        if self.json {
            return Ok(print(answer.text()));
        }
        Ok(print(&shown(&answer.json()?)))
    }

    /// The place of a rule.
    pub(super) fn rule(&self, name: &str, more: &[(&str, &str)]) -> String {
        self.in_space(&format!("/api/v1/rules/{}", encoded(name)), more)
    }

    /// A place with a query, in which the space is named if there is one.
    pub(super) fn in_space(&self, path: &str, more: &[(&str, &str)]) -> String {
        let space = self.space.as_deref().map(|space| ("space", space));
        let pairs = more.iter().copied().chain(space);
        let query: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", query.join("&"))
        }
    }
}

/// A text as a part of a URL.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn text_of(body: Incoming) -> Result<String, Failed> {
    let read = Limited::new(body, MOST).collect().await;
    let bytes = read.map_err(|error| Failed::internal(format!("squall's response broke off: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes.to_bytes()).into_owned())
}

/// Reads a file, or standard input for `-`.
pub(super) fn read(file: &Path) -> Result<String, Failed> {
    let (name, bytes) = if file.as_os_str() == "-" {
        (
            "standard input".to_owned(),
            files::read_at_most(io::stdin().lock(), LARGEST),
        )
    } else {
        (file.display().to_string(), files::read(file, LARGEST))
    };
    let bytes = bytes.map_err(|error| Failed::usage(format!("can't read {name}: {error}")))?;
    String::from_utf8(bytes).map_err(|_| Failed::usage(format!("{name} is not UTF-8 text")))
}
