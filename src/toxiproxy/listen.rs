//! Addresses to listen on as Go reads them: `localhost:6379`, `:6379`, `[::]:6379`, a name; and its errors.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long a look-up of a name may take.
const LOOKUP_TIME: Duration = Duration::from_secs(5);

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The address as Go writes it, without a host for every address of this machine: `:6379`.
    text: String,
    /// The address to open. Every address, of either family, is `[::]`.
    pub(super) address: SocketAddr,
}

impl Place {
    fn new(host: Option<IpAddr>, port: u16) -> Place {
        let host = host.map(|host| host.to_canonical());
        let open = match host {
            None => Ipv6Addr::UNSPECIFIED.into(),
            Some(host) if host.is_unspecified() => Ipv6Addr::UNSPECIFIED.into(),
            Some(host) => host,
        };
        Place {
            text: host.map_or_else(|| format!(":{port}"), |host| SocketAddr::new(host, port).to_string()),
            address: SocketAddr::new(open, port),
        }
    }

    /// Whether this is where a proxy listens that shows `shown`. A port that the system picked is never the same.
    pub(super) fn is(&self, shown: &str) -> bool {
        let known = shown
            .parse()
            .map(|known: SocketAddr| Place::new(Some(known.ip()), known.port()));
        self.text == shown || known.is_ok_and(|known| known.address == self.address && self.address.port() != 0)
    }

    /// The same place on a machine without IPv6; `None` if it is one address.
    pub(super) fn on_ipv4(&self) -> Option<SocketAddr> {
        let port = self.address.port();
        let every = self.address.ip().is_unspecified();
        every.then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
    }

    /// Go's error for an address that can't be opened.
    pub(super) fn refused(&self, error: &io::Error) -> String {
        format!("listen tcp {}: bind: {}", self.text, reason(error))
    }
}

/// Whether an address could not be opened because the machine lacks IPv6.
pub(super) fn is_without_ipv6(error: &io::Error) -> bool {
    let unsupported = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(unsupported)
}

/// The system's reason for an error, in small letters and without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// A host and a port, split.
struct Split<'a> {
    host: &'a str,
    port: u16,
}

impl Split<'_> {
    /// Splits as Go's `net.SplitHostPort` does. An empty text is port 0 of every address.
    fn of(listen: &str) -> Result<Split<'_>, String> {
        let wrong = |what: &str| Err(format!("address {listen}: {what}"));
        if listen.is_empty() {
            return Ok(Split { host: "", port: 0 });
        }
        let Some((host, port)) = listen.rsplit_once(':') else {
            return wrong("missing port in address");
        };
        let host = match host.strip_prefix('[') {
            Some(open) => match open.strip_suffix(']') {
                Some(host) => host,
                None if open.contains(']') => return wrong("missing port in address"),
                None => return wrong("missing ']' in address"),
            },
            None if host.contains(':') => return wrong("too many colons in address"),
            None => host,
        };
        if let Some(bracket) = host.chars().chain(port.chars()).find(|c| matches!(c, '[' | ']')) {
            return wrong(&format!("unexpected '{bracket}' in address"));
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match (port, digits, port.parse()) {
            ("", ..) => Ok(Split { host, port: 0 }),
            (_, true, Ok(port)) => Ok(Split { host, port }),
            (_, true, Err(_)) => Err(format!("address {port}: invalid port")),
            (_, false, _) => Err(format!("lookup tcp/{port}: unknown port")),
        }
    }
}

/// A name that has to be looked up first, which nobody must wait for under a lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unresolved(pub(super) String);

/// The addresses of names that were looked up for one request.
#[derive(Debug, Default)]
pub(super) struct Addresses(HashMap<String, Result<Place, String>>);

impl Addresses {
    /// The address of a text, or Go's reason why there is none.
    ///
    /// # Errors
    /// It has a name that was not looked up yet; see [`Addresses::look_up`].
    pub(super) fn get(&self, listen: &str) -> Result<Result<Place, String>, Unresolved> {
        let split = match Split::of(listen) {
            Ok(split) => split,
            Err(wrong) => return Ok(Err(wrong)),
        };
        match (split.host, split.host.parse::<IpAddr>()) {
            ("", _) => Ok(Ok(Place::new(None, split.port))),
            (_, Ok(host)) => Ok(Ok(Place::new(Some(host), split.port))),
            _ => self.0.get(listen).cloned().ok_or_else(|| Unresolved(listen.to_owned())),
        }
    }

    /// Looks a name up. Prefers IPv4, as Go does.
    pub(super) async fn look_up(&mut self, Unresolved(listen): Unresolved) {
        let found = match Split::of(&listen) {
            Ok(split) => look_up(&split).await,
            Err(wrong) => Err(wrong),
        };
        self.0.insert(listen, found);
    }
}

/// The address of a text, after looking up its name if it has one.
///
/// # Errors
/// Go's reason why there is none.
pub(super) async fn find(listen: &str) -> Result<Place, String> {
    let mut addresses = Addresses::default();
    loop {
        match addresses.get(listen) {
            Ok(found) => return found,
            Err(name) => addresses.look_up(name).await,
        }
    }
}

async fn look_up(split: &Split<'_>) -> Result<Place, String> {
    let found: Vec<IpAddr> = match timeout(LOOKUP_TIME, lookup_host((split.host, split.port))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) => Vec::new(),
        Err(_) => return Err(format!("lookup {}: i/o timeout", split.host)),
    };
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.map(|host| Place::new(Some(*host), split.port))
        .ok_or_else(|| format!("lookup {}: no such host", split.host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(listen: &str) -> Result<Place, String> {
        Addresses::default().get(listen).unwrap()
    }

    #[test]
    fn addresses_are_read_as_in_go() {
        let check = |listen: &str, text: &str, address: &str| {
            let place = get(listen).unwrap();
            assert_eq!(
                (place.text.as_str(), place.address.to_string().as_str()),
                (text, address)
            );
        };
        check("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80");
        check(":26379", ":26379", "[::]:26379");
        check("", ":0", "[::]:0");
        check("127.0.0.1:", "127.0.0.1:0", "127.0.0.1:0");
        check("[::]:1234", "[::]:1234", "[::]:1234");
        check("0.0.0.0:1", "0.0.0.0:1", "[::]:1");
        check("[::1]:5", "[::1]:5", "[::1]:5");
        check("[::ffff:127.0.0.1]:5", "127.0.0.1:5", "127.0.0.1:5");
    }

    #[test]
    fn mistakes_are_those_of_go() {
        let check = |listen: &str, message: &str| assert_eq!(get(listen), Err(message.to_owned()), "{listen}");
        check("local373", "address local373: missing port in address");
        check("a:b:1", "address a:b:1: too many colons in address");
        check("[::1:80", "address [::1:80: missing ']' in address");
        check("[::1]80:", "address [::1]80:: missing port in address");
        check("a]:80", "address a]:80: unexpected ']' in address");
        check("a:70000", "address 70000: invalid port");
        check("a:http", "lookup tcp/http: unknown port");
        check("a:-1", "lookup tcp/-1: unknown port");
    }

    #[test]
    fn the_same_place_is_recognised() {
        let check = |listen: &str, shown: &str, same: bool| {
            assert_eq!(get(listen).unwrap().is(shown), same, "{listen} {shown}");
        };
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check(":80", "[::]:80", true);
        check("0.0.0.0:80", "[::]:80", true);
        check("[::]:80", "0.0.0.0:80", true);
        check("127.0.0.1:80", "[::]:80", false);
        check("127.0.0.1:0", "127.0.0.1:40000", false);
        check("127.0.0.1:0", "localhost:0", false);
    }

    #[tokio::test]
    async fn names_are_looked_up_first() {
        let mut addresses = Addresses::default();
        let unresolved = addresses.get("localhost:81").unwrap_err();
        addresses.look_up(unresolved).await;
        let place = addresses.get("localhost:81").unwrap().unwrap();
        assert_eq!(place.address, "127.0.0.1:81".parse().unwrap());
        let unresolved = addresses.get("nobody.invalid:81").unwrap_err();
        addresses.look_up(unresolved).await;
        let refused = addresses.get("nobody.invalid:81").unwrap().unwrap_err();
        assert!(refused.starts_with("lookup nobody.invalid: "), "{refused}");
    }

    #[test]
    fn errors_of_the_system_are_in_the_words_of_go() {
        let refused = get(":80").unwrap().refused(&io::Error::from_raw_os_error(98));
        assert_eq!(refused, "listen tcp :80: bind: address already in use");
    }
}
