//! Which hosts may be asked, and at which addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::proxy::net::address::is_local_name;
use crate::proxy::net::own;
use crate::rule::spec::TextSpec;
use crate::rule::text::{self, Text};

/// A list of hosts that may be asked.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct Allow {
    entries: Vec<Allowed>,
    /// As typed, for messages.
    typed: String,
}

/// Some hosts that may be asked, at one port or at all.
#[derive(Debug)]
struct Allowed {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    /// This machine.
    Loopback,
    /// Hosts by name, wherever they are, except on this machine and at link-local addresses.
    Named(Text),
    /// Whatever is at these addresses.
    Network(IpNet),
}

impl Allow {
    /// The list of all entries; with none of them, this machine.
    ///
    /// # Errors
    /// For each entry that is wrong, its position and a sentence.
    pub(in crate::proxy::upstream) fn new(typed: &[&str]) -> Result<Allow, Vec<(usize, String)>> {
        let all = if typed.is_empty() { &["loopback"] } else { typed };
        let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
        for (at, entry) in all.iter().enumerate() {
            match Allowed::parse(entry) {
                Ok(entry) => entries.push(entry),
                Err(message) => mistakes.push((at, message)),
            }
        }
        let typed = all.join(", ");
        if mistakes.is_empty() {
            Ok(Allow { entries, typed })
        } else {
            Err(mistakes)
        }
    }

    /// Whether a name may be looked up at all: otherwise a client could ask any name of the DNS.
    pub(super) fn knows(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        self.of_port(port).any(|entry| match &entry.hosts {
            Hosts::Loopback => is_local_name(&host),
            Hosts::Named(name) => name.matches(&host),
            Hosts::Network(_) => true,
        })
    }

    /// Checks an address of a host.
    ///
    /// # Errors
    /// Why it may not be connected to, in words.
    pub(in crate::proxy::upstream) fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        let (host, ip) = (bare(host), address.ip().to_canonical());
        if own::is_own(address) {
            return Err(format!("{address} is squall itself"));
        }
        let named = || self.of_port(address.port()).any(|entry| entry.names(&host));
        let allows = |entry: &Allowed| match &entry.hosts {
            Hosts::Loopback => ip.is_loopback() && (is_local_name(&host) || host.parse::<IpAddr>().is_ok() || named()),
            Hosts::Named(name) => name.matches(&host) && !ip.is_loopback() && !is_special(ip),
            Hosts::Network(network) => network.contains(&ip),
        };
        // Connecting to no address in particular reaches this machine.
        if !ip.is_unspecified() && !ip.is_multicast() && self.of_port(address.port()).any(allows) {
            return Ok(());
        }
        let what = match host.parse::<IpAddr>() {
            Ok(_) => address.to_string(),
            Err(_) => format!("{host} is at {address}, which"),
        };
        Err(format!("{what} may not be forwarded to: {self}"))
    }

    fn of_port(&self, port: u16) -> impl Iterator<Item = &Allowed> {
        self.entries
            .iter()
            .filter(move |entry| entry.port.is_none_or(|own| own == port))
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`hosts` allows {}", self.typed)
    }
}

impl Allowed {
    fn parse(typed: &str) -> Result<Allowed, String> {
        if let Some((_, rest)) = typed.split_once("://") {
            let host = rest.split('/').next().unwrap_or(rest);
            return Err(format!("`{typed}` is a URL, but hosts are meant: use `{host}`"));
        }
        let of_network = |network| Allowed {
            hosts: Hosts::Network(network),
            port: None,
        };
        let address = typed
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(typed);
        if let Ok(network) = typed.parse::<IpNet>() {
            return Ok(of_network(network));
        }
        if let Ok(ip) = address.parse::<IpAddr>() {
            return Ok(of_network(ip.into()));
        }
        if let Ok(address) = typed.parse::<SocketAddr>() {
            let port = Some(address.port());
            return Ok(Allowed {
                port,
                ..of_network(address.ip().into())
            });
        }
        let (host, port) = match typed.split_once(':') {
            Some((host, port)) => {
                let number = port.parse().ok().filter(|port| *port > 0);
                let wrong = || format!("`{port}` is not a valid port: use a number from 1 to 65535");
                (host, Some(number.ok_or_else(wrong)?))
            }
            None => (typed, None),
        };
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-._*?".contains(c);
        if host.is_empty() || !host.chars().all(is_of_name) {
            return Err(format!(
                "`{typed}` is not a host: use `loopback`, a name such as `api.example.com` or `*.internal`, or a network such as \
                `10.0.0.0/8`"
            ));
        }
        let hosts = if host == "loopback" || is_local_name(host) {
            Hosts::Loopback
        } else {
            Hosts::Named(Text::compile(&TextSpec::Plain(bare(host)), text::Place::Host)?)
        };
        Ok(Allowed { hosts, port })
    }

    fn names(&self, host: &str) -> bool {
        matches!(&self.hosts, Hosts::Named(name) if name.matches(host))
    }
}

/// A host name in lower case, without a final dot.
fn bare(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether an address is that of a link, where clouds keep the credentials of a machine, or broadcasts.
fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
