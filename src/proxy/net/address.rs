//! Addresses to listen on, as typed: an IP address with a port, or the path of a unix socket.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::yaml::forms::string_form;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AddressSpec {
    /// An IP address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

impl FromStr for AddressSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("the socket's path is missing: unix:/run/squall.sock".into()),
                path => Ok(AddressSpec::Unix(path.into())),
            };
        }
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        let text = match text.strip_prefix(':') {
            Some(port) => Cow::from(format!("0.0.0.0:{port}")),
            None => Cow::from(text),
        };
        text.parse().map(AddressSpec::Tcp).map_err(|_| {
            let what = "use an IP address and a port such as 127.0.0.1:8080 or [::1]:8080, or unix:/run/squall.sock";
            format!("`{text}` is not a valid address to listen on: {what}")
        })
    }
}

impl std::fmt::Display for AddressSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AddressSpec::Tcp(address) => write!(f, "{address}"),
            AddressSpec::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

string_form!(
    AddressSpec,
    "Address",
    "an address such as 127.0.0.1:8080 or unix:/run/squall.sock",
    r"^unix:.+$|:[0-9]+$|\$\{"
);
