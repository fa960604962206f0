//! The ports that this process listens on, so that nobody reaches them through it: the admin API trusts this machine.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use parking_lot::RwLock;

/// The open ports of all listeners and APIs. Locked for one look or one change, never across an await.
static OPEN: RwLock<Vec<SocketAddr>> = RwLock::new(Vec::new());

/// An open port, which is this process's own until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnPort(SocketAddr);

impl OwnPort {
    /// Notes that this process listens on an address.
    pub(crate) fn new(address: SocketAddr) -> OwnPort {
        let address = canonical(address);
        OPEN.write().push(address);
        OwnPort(address)
    }
}

impl Drop for OwnPort {
    fn drop(&mut self) {
        let mut open = OPEN.write();
        if let Some(at) = open.iter().position(|address| *address == self.0) {
            open.swap_remove(at);
        }
    }
}

/// Whether a connection to this address would reach this process.
pub(crate) fn is_own(address: SocketAddr) -> bool {
    let address = canonical(address);
    let reaches = |open: &SocketAddr| {
        open.port() == address.port()
            && (open.ip() == address.ip() || open.ip().is_unspecified() && is_of_this_machine(address.ip()))
    };
    OPEN.read().iter().any(reaches)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Only addresses of this machine can be bound. Nothing is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_own_while_it_is_open() {
        // Ports that no test listens on.
        let at = |text: &str| is_own(text.parse().unwrap());
        let one = OwnPort::new("127.0.0.1:1".parse().unwrap());
        let all = OwnPort::new("[::]:2".parse().unwrap());
        assert!(at("127.0.0.1:1") && at("[::ffff:127.0.0.1]:1"));
        assert!(!at("127.0.0.2:1") && !at("127.0.0.1:3"));
        assert!(
            at("127.0.0.2:2") && at("[::1]:2") && !at("192.0.2.1:2"),
            "every address of this machine"
        );
        drop((one, all));
        assert!(!at("127.0.0.1:1") && !at("[::1]:2"));
    }
}
