//! The proxy under test, in process, and its metrics page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use squall::config::Source;
use squall::metrics::{Metrics, Series};
use squall::server::{Failure, Server};

use super::client::Client;
use super::message::{Request, Response};
use super::upstream::Upstream;
use super::wire::Wire;
use super::{LIMIT, Protocol};

/// A running squall with one listener, `web`.
pub(crate) struct Squall {
    pub(crate) server: Arc<Server>,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Squall {
    /// In front of an upstream, without rules.
    pub(crate) fn before(upstream: &Upstream) -> Squall {
        Squall::with_rules(upstream, "[]")
    }

    /// In front of an upstream, with one rule `r` that has these faults and matches all paths that start with `/fault`.
    pub(crate) fn with_fault(upstream: &Upstream, faults: &str) -> Squall {
        Squall::with_rules(upstream, &fault_rule(faults))
    }

    /// In front of an upstream, with rules in YAML's flow style.
    pub(crate) fn with_rules(upstream: &Upstream, rules: &str) -> Squall {
        Squall::start(&configuration(upstream, "{}", rules))
    }

    /// In front of an upstream with other limits of waiting, without rules.
    pub(crate) fn with_timeouts(upstream: &Upstream, timeouts: &str) -> Squall {
        Squall::start(&configuration(upstream, timeouts, "[]"))
    }

    /// With a whole configuration.
    pub(crate) fn start(configuration: &str) -> Squall {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("squall.yaml");
        std::fs::write(&file, configuration).expect("a file");
        let metrics = Metrics::new().expect("metrics");
        let server = Server::start(Source::File(file), Some(42), metrics).unwrap_or_else(|failure| panic!("{failure}"));
        let address = server.addresses()[0].1.parse().expect("an address");
        Squall {
            server,
            address,
            folder,
        }
    }

    /// Changes the configuration and reloads it.
    pub(crate) async fn reload(&self, configuration: &str) -> Result<(), Failure> {
        std::fs::write(self.folder.path().join("squall.yaml"), configuration).expect("a file");
        self.server.reload().await.map(drop)
    }

    /// Connects a client.
    pub(crate) async fn client(&self, protocol: Protocol) -> Client {
        Client::connect(protocol, self.address).await
    }

    /// Connects a socket.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends one request over a connection of its own.
    pub(crate) async fn ask(&self, protocol: Protocol, request: &Request) -> Response {
        self.client(protocol).await.ask(request).await
    }

    /// The sum of a metric's series that have all these labels, as `name="value"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.server.metrics_page(Series::All);
        let wanted = |line: &&str| {
            let series = line.rsplit_once(' ').map_or("", |(series, _)| series);
            let own = series == name || series.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
            own && labels.iter().all(|label| series.contains(label))
        };
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        page.lines().filter(wanted).filter_map(value).sum()
    }

    /// Waits until a metric has a value: squall counts a request after the client has its answer.
    pub(crate) async fn until(&self, name: &str, labels: &[&str], value: f64) {
        let deadline = Instant::now() + LIMIT;
        while self.metric(name, labels) != value {
            let now = self.metric(name, labels);
            assert!(
                Instant::now() < deadline,
                "{name} {labels:?} is {now} instead of {value}:\n{}",
                self.page()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The metrics that are about requests, without those that are 0.
    fn page(&self) -> String {
        let page = self.server.metrics_page(Series::All);
        let counts = |line: &&str| line.starts_with("squall_") && !line.contains("_bucket") && !line.ends_with(" 0");
        page.lines().filter(counts).collect::<Vec<_>>().join("\n")
    }

    /// Waits until one request, and no other, was counted with a status; 0: no answer was sent.
    pub(crate) async fn counted(&self, status: u16) {
        let status = format!("status=\"{status}\"");
        self.until("squall_requests_total", &[&status], 1.0).await;
        assert_eq!(self.metric("squall_requests_total", &[]), 1.0, "{}", self.page());
    }

    /// Waits until rule `r` has injected a fault once, and nothing was skipped or left behind.
    pub(crate) async fn injected(&self, fault: &str) {
        let fault = format!("fault=\"{fault}\"");
        self.until("squall_faults_injected_total", &["rule=\"r\"", &fault], 1.0)
            .await;
        self.until("squall_faults_active", &[], 0.0).await;
        self.until("squall_requests_held", &[], 0.0).await;
        assert_eq!(self.metric("squall_faults_skipped_total", &[]), 0.0, "{}", self.page());
    }

    /// Waits until a fault was skipped once for a reason, and was not injected.
    pub(crate) async fn skipped(&self, fault: &str, reason: &str) {
        let labels = [format!("fault=\"{fault}\""), format!("reason=\"{reason}\"")];
        self.until("squall_faults_skipped_total", &[&labels[0], &labels[1]], 1.0)
            .await;
        assert_eq!(
            self.metric("squall_faults_injected_total", &[&labels[0]]),
            0.0,
            "{}",
            self.page()
        );
    }

    /// Waits until so many clients have left before their answer was complete.
    pub(crate) async fn clients_gone(&self, count: u32) {
        self.until("squall_clients_gone_total", &[], f64::from(count)).await;
    }

    /// Fails if a client was counted as gone.
    #[track_caller]
    pub(crate) fn assert_nobody_gone(&self) {
        assert_eq!(self.metric("squall_clients_gone_total", &[]), 0.0, "{}", self.page());
    }
}

/// A rule `r` for all paths that start with `/fault`.
pub(crate) fn fault_rule(faults: &str) -> String {
    format!("[{{name: r, match: {{path: {{prefix: /fault}}}}, faults: [{faults}]}}]")
}

/// A configuration with the listener `web`, the upstream `origin`, and rules.
pub(crate) fn configuration(upstream: &Upstream, timeouts: &str, rules: &str) -> String {
    let protocol = match upstream.protocol {
        Protocol::H1 => "http1",
        Protocol::H2 => "h2c",
    };
    format!(
        "listeners: {{web: {{address: \"127.0.0.1:0\", upstream: origin}}}}\n\
         upstreams: {{origin: {{url: \"http://{}\", protocol: {protocol}, timeouts: {timeouts}}}}}\n\
         rules: {rules}\n",
        upstream.address
    )
}
