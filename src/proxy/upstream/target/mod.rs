//! Parses the address of an endpoint: `http://10.0.0.1:80`, `https://shop.internal`, `unix:/run/app.sock`,
//! `127.0.0.1:5432`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Place;
use super::prefix::check_prefix;

/// The longest path that fits into a Unix socket's address on every system that squall runs on (`sun_path` of Linux
/// holds 108 bytes with the closing zero, that of macOS 104).
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TargetAddress {
    /// An address that needs no look-up.
    Ip(SocketAddr),
    /// A name that DNS or the hosts file knows, and a port.
    Name(String, u16),
    /// A Unix domain socket.
    Unix(PathBuf),
    /// The original destination of a redirected connection.
    Original,
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Original => f.write_str("original destination"),
        }
    }
}

impl TargetAddress {
    /// The host as a certificate names it: without the brackets of IPv6 and without a final dot (RFC 6066 section 3).
    /// `None` for a Unix socket and for an original destination.
    pub(super) fn host(&self) -> Option<String> {
        match self {
            Self::Ip(address) => Some(address.ip().to_string()),
            Self::Name(host, _) => Some(host.trim_end_matches('.').to_owned()),
            Self::Unix(_) | Self::Original => None,
        }
    }
}

/// The address of an HTTP endpoint, and whether it uses TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpTarget {
    /// The server, without the scheme.
    pub(super) place: TargetAddress,
    /// Whether the scheme is `https`.
    pub(super) tls: bool,
    /// The prefix of all paths, without a final slash; empty without one.
    pub(super) base: String,
}

impl HttpTarget {
    /// Reads `http://HOST[:PORT][/BASE]`, `https://…` or `unix:PATH`. A relative socket path starts at `base_dir`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong and what would be valid.
    pub(super) fn parse(url: &str, base_dir: &Path) -> Result<Self, String> {
        if url.is_empty() {
            return Err("the upstream's URL is empty: use http://HOST:PORT".to_owned());
        }
        if let Some(path) = url.strip_prefix("unix:") {
            let place = unix(path, base_dir)?;
            return Ok(Self {
                place,
                tls: false,
                base: String::new(),
            });
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("`{url}` needs a scheme: use http://{url} or https://{url}"));
        };
        let (tls, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, 80),
            "https" => (true, 443),
            other => return Err(unknown_scheme(other, rest)),
        };
        let (authority, base) = authority_and_base(rest)?;
        let place = host_and_port(authority, Some(port))?;
        Ok(Self { place, tls, base })
    }

    /// The beginning of its URLs; `None` for a Unix socket and for an original destination.
    pub(super) fn place(&self) -> Option<Place> {
        let secure = self.tls;
        let authority = self.authority(None)?;
        Some(Place { secure, authority })
    }

    /// `name`, or else the URL's own host, as a `Host` header, with the port unless it is the scheme's default (RFC 9110,
    /// section 7.2). `None` for a Unix socket and for an original destination without a name.
    pub(super) fn authority(&self, name: Option<&str>) -> Option<String> {
        let port = match &self.place {
            TargetAddress::Ip(address) => address.port(),
            TargetAddress::Name(_, port) => *port,
            TargetAddress::Unix(_) | TargetAddress::Original => return name.map(str::to_owned),
        };
        let with_port = name.map_or_else(|| self.place.to_string(), |name| format!("{name}:{port}"));
        let default = if self.tls { ":443" } else { ":80" };
        Some(with_port.strip_suffix(default).unwrap_or(&with_port).to_owned())
    }
}

/// Reads the address of a plain TCP server: `HOST:PORT` or `unix:PATH`.
///
/// # Errors
///
/// A sentence that says what is wrong and what would be valid.
pub(super) fn parse_address(address: &str, base_dir: &Path) -> Result<TargetAddress, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        return unix(path, base_dir);
    }
    if address.contains("://") {
        return Err(format!(
            "`{address}` is a URL, but `address` needs HOST:PORT of a TCP server: for an HTTP server use `url`"
        ));
    }
    host_and_port(address, None)
}

fn unix(path: &str, base_dir: &Path) -> Result<TargetAddress, String> {
    // Also accept the URL style `unix:///run/app.sock`.
    let path = path
        .strip_prefix("//")
        .filter(|path| path.starts_with('/'))
        .unwrap_or(path);
    if path.is_empty() || path.contains('\0') {
        return Err("a Unix socket needs a path, such as unix:/run/app.sock".to_owned());
    }
    let path = base_dir.join(path);
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "the socket path {} is too long: use at most {SOCKET_PATH_BYTES_MAX} bytes",
            path.display()
        ));
    }
    Ok(TargetAddress::Unix(path))
}

fn unknown_scheme(scheme: &str, rest: &str) -> String {
    let hint = match scheme {
        "h2c" | "grpc" | "h2" => format!("use http://{rest} and `protocol: h2c`"),
        "grpcs" => format!("use https://{rest} and `protocol: h2`"),
        "ws" => format!("WebSockets start as HTTP: use http://{rest}"),
        "wss" => format!("WebSockets start as HTTP: use https://{rest}"),
        "tcp" => format!("for a TCP server use `address: {rest}`"),
        _ => "use http://, https:// or unix:".to_owned(),
    };
    format!("`{scheme}` is not a valid scheme of an upstream: {hint}")
}

/// The authority of a URL without its scheme, and the prefix of paths that follows it.
fn authority_and_base(rest: &str) -> Result<(&str, String), String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if authority.contains('@') {
        return Err("an upstream's URL can't have a user and password: send an authorization header".to_owned());
    }
    if let Some(at) = after.find(['?', '#']) {
        let (base, after) = after.split_at(at);
        let part = if after.starts_with('?') {
            "a query"
        } else {
            "a fragment"
        };
        return Err(format!(
            "an upstream's URL can't have {part} (`{after}`): each request has its own. Use `…{authority}{base}`"
        ));
    }
    match after.trim_end_matches('/') {
        "" => Ok((authority, String::new())),
        _ => Ok((authority, check_prefix("the path of an upstream's URL", after)?)),
    }
}

fn host_and_port(authority: &str, default_port: Option<u16>) -> Result<TargetAddress, String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or_else(|| format!("`{authority}` needs the closing bracket of an IPv6 address"))?;
        if !port.is_empty() && !port.starts_with(':') {
            return Err(format!("only a port can follow `[{host}]`, not `{port}`"));
        }
        let address: Ipv6Addr = host
            .parse()
            .map_err(|_| format!("`{host}` is not a valid IPv6 address"))?;
        let port = read_port(port, default_port, authority)?;
        return Ok(TargetAddress::Ip((address, port).into()));
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    if port.matches(':').count() > 1 {
        return Err(format!(
            "`{authority}` needs brackets around the IPv6 address, as in [::1]:80"
        ));
    }
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    let port = read_port(port, default_port, authority)?;
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(TargetAddress::Ip((address, port).into()));
    }
    check_name(host)?;
    Ok(TargetAddress::Name(host.to_owned(), port))
}

/// Reads a port after its colon; `default` if there is none.
fn read_port(port: &str, default: Option<u16>, whole: &str) -> Result<u16, String> {
    let Some(text) = port.strip_prefix(':') else {
        return default.ok_or_else(|| format!("`{whole}` needs a port: use HOST:PORT"));
    };
    // `parse` alone would take `+80`.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| digits && *port > 0)
        .ok_or_else(|| format!("`{text}` is not a valid port: use a number from 1 to 65535"))
}

/// A host name that can be looked up (RFC 1123 section 2.1, with the underscore that container names have).
fn check_name(host: &str) -> Result<(), String> {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let valid = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !host.is_ascii() {
        return Err(format!("`{host}` is not ASCII: use the name's xn-- form"));
    }
    if host.len() > 253 || !labels.split('.').all(valid) {
        return Err(format!("`{host}` is not a valid host name or IP address"));
    }
    // A name whose last label is a number is a mistyped IPv4 address: no such name exists (WHATWG URL, "ends in a
    // number").
    let last = labels.rsplit('.').next().unwrap_or(labels);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{host}` is not a valid IPv4 address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
