//! `squall healthcheck`: asks a running squall whether it is ready, for images that have neither shell nor curl.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use tokio::time::timeout;

use super::client::{AdminArgs, place};
use super::output::{fail, print};
use super::run::runtime;
use crate::config::load::{Disk, Start, load_tree};
use crate::config::snapshot::DEFAULT_ADMIN;
use crate::proxy::net::address::AddressSpec;
use crate::yaml::env::Lookup;

/// Exit code of a squall that is not ready or not running: the only failure code that docker defines for health checks.
const UNHEALTHY: u8 = 1;
/// The longest time limit.
const MAX_SECONDS: u64 = 3600;

/// Ask a running squall whether it is ready
///
/// Sends GET /readyz to the admin API. Exits with 0 if squall is ready, and with 1 if it is not, or does not respond.
#[derive(Debug, clap::Args)]
pub struct HealthcheckArgs {
    /// The configuration file whose admin address is checked. Without it, or where it names none: 127.0.0.1:9900
    #[arg(short, long, value_name = "FILE", env = "SQUALL_CONFIG")]
    config: Option<PathBuf>,
    /// The admin API, in place of the file's: http://127.0.0.1:9900, or unix:/run/squall.sock
    #[arg(short, long, visible_alias = "address", value_name = "URL", env = "SQUALL_ADMIN", value_parser = place)]
    admin: Option<String>,
    /// The timeout of the whole check in seconds, from 1 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS))]
    timeout: u64,
}

/// Asks the admin API once whether it is ready.
pub fn run(args: HealthcheckArgs) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let address = args
        .admin
        .or_else(|| address_in(args.config.as_deref()?, &environment))
        .unwrap_or_else(|| DEFAULT_ADMIN.to_owned());
    let address = reachable(address);
    match ask(&address, Duration::from_secs(args.timeout)) {
        Ok(200) => print("ready\n"),
        Ok(status) => fail(UNHEALTHY, &format!("unhealthy: {address} responded with {status}")),
        Err(error) => fail(UNHEALTHY, &format!("unhealthy: {address}: {error}")),
    }
}

/// Reads `admin.address` from the file. The rest of the file may be bad: a running squall keeps its last good
/// configuration and stays healthy while the file is being edited.
fn address_in(file: &Path, environment: &Lookup<'_>) -> Option<String> {
    let tree = load_tree(Start::Path(file), &Disk::default(), environment);
    let admin = tree.documents.first()?.get("admin")?;
    // The address may stand alone.
    let address = admin.get("address").unwrap_or(admin);
    let address: AddressSpec = address.text()?.parse().ok()?;
    Some(address.to_string())
}

/// Replaces the unspecified address by loopback.
fn reachable(address: String) -> String {
    match address.parse::<SocketAddr>() {
        Ok(tcp) if tcp.ip().is_unspecified() => {
            let loopback = match tcp.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            SocketAddr::new(loopback, tcp.port()).to_string()
        }
        _ => address,
    }
}

/// The status of `GET /readyz`, with `limit` for the whole exchange.
fn ask(address: &str, limit: Duration) -> io::Result<u16> {
    let admin = AdminArgs::at(address);
    let asking = admin.send(Method::GET, "/readyz", "text/plain", "");
    runtime(Some(1))?.block_on(async { Ok(timeout(limit, asking).await??.status().as_u16()) })
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use super::*;

    /// Listens, answers one connection with `answer`, and keeps it open for `open`.
    fn server(answer: &'static [u8], open: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let count = stream.read(&mut request).unwrap();
            assert!(request[..count].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer).unwrap();
            std::thread::sleep(open);
        });
        address
    }

    #[test]
    fn the_status_is_read() {
        let limit = Duration::from_secs(20);
        let ready = server(b"HTTP/1.1 200 OK\r\n\r\nready\n", Duration::ZERO);
        assert_eq!(ask(&ready, limit).unwrap(), 200);
        let unready = server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Duration::ZERO);
        assert_eq!(ask(&unready, limit).unwrap(), 503);
    }

    #[test]
    fn the_end_of_the_answer_is_not_waited_for() {
        let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", Duration::from_secs(60));
        let began = Instant::now();
        assert_eq!(ask(&address, Duration::from_secs(30)).unwrap(), 200);
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn silent_server_times_out() {
        let address = server(b"HTTP/1.1 2", Duration::from_secs(60));
        let error = ask(&address, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_reply_that_is_not_http_is_unhealthy() {
        for answer in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 2", b"", b"HTTP/1.1 x00 OK\r\n\r\n"] {
            assert!(ask(&server(answer, Duration::ZERO), Duration::from_secs(20)).is_err());
        }
    }

    #[test]
    fn a_refused_connection_is_an_error() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ask(&free.to_string(), Duration::from_secs(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn unix_sockets_are_asked_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        assert_eq!(
            ask(&format!("unix:{}", path.display()), Duration::from_secs(20)).unwrap(),
            200
        );
    }

    #[test]
    fn wildcards_are_asked_on_loopback() {
        for (given, asked) in [
            ("0.0.0.0:9900", "127.0.0.1:9900"),
            ("[::]:9900", "[::1]:9900"),
            ("10.1.2.3:9900", "10.1.2.3:9900"),
            ("squall:9900", "squall:9900"),
            ("unix:/x", "unix:/x"),
        ] {
            assert_eq!(reachable(given.to_owned()), asked);
        }
    }

    #[test]
    fn the_address_is_read_from_a_file_that_is_otherwise_bad() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("squall.yaml");
        let port = |name: &str| (name == "PORT").then(|| "9977".to_owned());
        std::fs::write(&file, "admin: {address: '0.0.0.0:${PORT}'}\nrulez: [nonsense: {}]\n").unwrap();
        assert_eq!(address_in(&file, &port), Some("0.0.0.0:9977".to_owned()));
        std::fs::write(&file, "admin: 127.0.0.1:9911\n").unwrap();
        assert_eq!(address_in(&file, &port), Some("127.0.0.1:9911".to_owned()));
        std::fs::write(&file, "listeners: {}\n").unwrap();
        assert_eq!(address_in(&file, &port), None);
        assert_eq!(address_in(&folder.path().join("none.yaml"), &port), None);
    }
}
