//! Addresses to listen on, as typed: an IP address with a port, or the path of a unix socket.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
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

/// Whether a name, in lower case and without a final dot, always means this machine: `localhost`, or one below it (RFC 6761,
/// section 6.3).
pub fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

impl AddressSpec {
    /// Whether not both can be listened on. An address of all interfaces includes each of its family. Port 0 is a free one.
    pub fn overlaps(&self, other: &AddressSpec) -> bool {
        let (AddressSpec::Tcp(one), AddressSpec::Tcp(two)) = (self, other) else {
            return self == other;
        };
        let all = one.ip().is_unspecified() || two.ip().is_unspecified();
        let same = one.ip() == two.ip() || (all && one.is_ipv4() == two.is_ipv4());
        same && one.port() == two.port() && one.port() != 0
    }
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
        let address = tcp(text).ok_or_else(|| format!("`{text}` is not a valid address to listen on: {}", help(text)));
        address.map(AddressSpec::Tcp)
    }
}

/// An IP address and a port, or the short forms of it: `localhost:8080` and `:8080`.
fn tcp(text: &str) -> Option<SocketAddr> {
    let full = match text.split_once(':') {
        Some(("localhost", port)) => Cow::from(format!("127.0.0.1:{port}")),
        Some(("", port)) => Cow::from(format!("0.0.0.0:{port}")),
        _ => Cow::from(text),
    };
    full.parse().ok()
}

/// What to write instead of a text that is not an address.
fn help(text: &str) -> String {
    let (_, plain) = text.split_once("://").unwrap_or(("", text));
    let plain = plain.trim_end_matches('/');
    let (host, port) = plain.rsplit_once(':').unwrap_or((plain, ""));
    let is_host = |host: &str| host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if plain != text && tcp(plain).is_some() {
        format!("write `{plain}`")
    } else if plain.parse::<u16>().is_ok() {
        format!("write `127.0.0.1:{plain}`")
    } else if let Ok(address) = plain.trim_matches(['[', ']']).parse::<IpAddr>() {
        format!("the port is missing: write `{}`", SocketAddr::new(address, 8080))
    } else if port.is_empty() && is_host(host) {
        format!("the port is missing: write `{host}:8080`")
    } else if host == "*" && port.parse::<u16>().is_ok() {
        format!("write `0.0.0.0:{port}`")
    } else if is_host(host) && port.bytes().all(|digit| digit.is_ascii_digit()) {
        "the port must be from 0 to 65535".to_owned()
    } else {
        "use an IP address and a port such as 127.0.0.1:8080 or [::1]:8080, or unix:/run/squall.sock".to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_all_interfaces_includes_each_of_its_family() {
        for (one, two, overlap) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "0.0.0.0:81", false),
            ("[::]:80", "[::1]:80", true),
            // Whether they can depends on the system.
            ("[::]:80", "0.0.0.0:80", false),
            ("0.0.0.0:0", "0.0.0.0:0", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
        ] {
            let [first, second]: [AddressSpec; 2] = [one, two].map(|text| text.parse().unwrap());
            assert_eq!(first.overlaps(&second), overlap, "{one} {two}");
            assert_eq!(second.overlaps(&first), overlap, "{two} {one}");
        }
    }

    #[test]
    fn what_to_write_instead() {
        for (text, end) in [
            ("7341", "write `127.0.0.1:7341`"),
            ("localhost", "the port is missing: write `localhost:8080`"),
            ("localhost:", "the port is missing: write `localhost:8080`"),
            ("127.0.0.1", "the port is missing: write `127.0.0.1:8080`"),
            ("::1", "the port is missing: write `[::1]:8080`"),
            ("[::1]", "the port is missing: write `[::1]:8080`"),
            ("*:80", "write `0.0.0.0:80`"),
            ("127.0.0.1:99999", "the port must be from 0 to 65535"),
            ("localhost:99999", "the port must be from 0 to 65535"),
            ("http://localhost:8080/", "write `localhost:8080`"),
            ("http://127.0.0.1", "the port is missing: write `127.0.0.1:8080`"),
            ("shop.example:80", "or unix:/run/squall.sock"),
            ("", "or unix:/run/squall.sock"),
            ("99999", "or unix:/run/squall.sock"),
        ] {
            let message = text.parse::<AddressSpec>().unwrap_err();
            assert!(message.ends_with(end), "{text}: {message}");
        }
        for text in ["localhost:1", ":1", "[::1]:0", "127.0.0.1:8080", "unix:a"] {
            assert!(text.parse::<AddressSpec>().is_ok(), "{text}");
        }
    }
}
