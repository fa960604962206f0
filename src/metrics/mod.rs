//! Every metric and label of squall.
//!
//! Label values come from the configuration alone, never from traffic: names of listeners, upstreams, rules and faults, and
//! statuses as numbers. Handles are resolved once, so that a request needs no look-up: those of listeners when a configuration
//! is loaded, those of rules on first use.

mod rules;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::{Counter, MetricFamily};
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use self::rules::AllRules;
pub use self::rules::{Counted, CountedRule, Layer, RuleMetrics, SKIP_REASONS, Site};

/// Buckets in seconds, from a fast response on loopback to the longest plausible wait.
const DURATIONS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Buckets in seconds for what timers add to a wait.
const OVERSHOOTS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.1, 1.0,
];

/// The status label of a request that got no response: the client disconnected, or squall ended the connection on purpose.
pub const NO_STATUS: u16 = 0;

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    upstream_seconds: HistogramVec,
    upstream_errors: IntCounterVec,
    rules: AllRules,
    clients_gone: IntCounterVec,
    passed_on: IntCounterVec,
    connections: IntGaugeVec,
    tcp_connections: IntCounterVec,
    tcp_bytes: IntCounterVec,
    info: IntGaugeVec,
    /// The time that timers added to injected waits.
    pub overshoot: Histogram,
    /// How often guards have stopped injection, by guard.
    pub guard_trips: IntCounterVec,
    guard_tripped: IntGaugeVec,
    /// The names of the guards that have series. Locked for changes only.
    guards: Mutex<HashSet<Box<str>>>,
    /// 1 while rules are decided, 0 while the stop switch keeps squall from injecting anything.
    pub armed: IntGauge,
    /// Requests held in injected waits now.
    pub held: IntGauge,
    /// Bytes of whole bodies in memory now, as of the last scrape.
    pub bodies: IntGauge,
    /// Injected waits that were cut short because squall was stopping.
    pub waits_cut: IntCounter,
    /// Reloads that took effect.
    reloads_ok: IntCounter,
    /// Reloads that were refused.
    reloads_failed: IntCounter,
    /// Whether the last load or reload went well, and when one did.
    reloaded: IntGauge,
    reloaded_at: Gauge,
    /// Lines of the log that were dropped.
    pub log_lines_dropped: IntCounter,
    /// Requests that were dropped from the journal, as of the last scrape.
    pub journal_dropped: IntCounter,
}

/// The metrics of one listener and its upstream.
#[derive(Debug)]
pub struct ListenerMetrics {
    requests: IntCounterVec,
    /// The listener and the upstream.
    pub site: Arc<Site>,
    /// Counters by status, resolved on first use: 0 for no response, then 100 to 999.
    by_status: Box<[OnceLock<IntCounter>]>,
    /// Requests whose client disconnected before the response was complete.
    pub clients_gone: IntCounter,
    /// Redirected connections that were not HTTP.
    pub passed_on: IntCounter,
    /// The time from the request head to the end of the response.
    pub request_seconds: Histogram,
    /// The time from sending a request to the upstream to its response head.
    pub upstream_seconds: Histogram,
    /// Requests that the upstream failed to respond to.
    pub upstream_errors: IntCounter,
}

/// The metrics of a TCP listener and its upstream.
#[derive(Clone, Debug)]
pub struct TcpMetrics {
    /// The listener and the upstream.
    pub site: Arc<Site>,
    /// Connections that were accepted.
    pub connections: IntCounter,
    /// Bytes from clients that were sent to the upstream.
    pub bytes_in: IntCounter,
    /// Bytes from the upstream that were sent to clients.
    pub bytes_out: IntCounter,
    /// Connections that the upstream refused or broke.
    pub upstream_errors: IntCounter,
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// Two metrics have the same name, which is a mistake in this file.
    pub fn new() -> Result<Arc<Metrics>, prometheus::Error> {
        let registry = Registry::new();
        let reloads = counters(
            &registry,
            "squall_reloads_total",
            "Reloads of the configuration, by result.",
            &["result"],
        )?;
        let metrics = Metrics {
            requests: counters(
                &registry,
                "squall_requests_total",
                "Requests by listener, upstream and status; status 0 means that no response was sent.",
                &["listener", "upstream", "status"],
            )?,
            request_seconds: histograms(
                &registry,
                "squall_request_duration_seconds",
                "Time from a request's head to the end of its response, injected waits included.",
                &["listener"],
            )?,
            upstream_seconds: histograms(
                &registry,
                "squall_upstream_duration_seconds",
                "Natural time: from sending a request to the upstream until the head of its response.",
                &["upstream"],
            )?,
            upstream_errors: counters(
                &registry,
                "squall_upstream_errors_total",
                "Requests and TCP connections that failed at the upstream (not reached, interrupted or timed out); injected faults don't count.",
                &["upstream"],
            )?,
            rules: AllRules::new(&registry)?,
            clients_gone: counters(
                &registry,
                "squall_clients_gone_total",
                "Requests whose client disconnected before the response was complete.",
                &["listener"],
            )?,
            passed_on: counters(
                &registry,
                "squall_connections_passed_on_total",
                "Redirected connections passed through to their original destination unread because they were not \
                HTTP.",
                &["listener"],
            )?,
            connections: gauges(&registry, "squall_connections", "Open connections.", &["listener"])?,
            tcp_connections: counters(
                &registry,
                "squall_tcp_connections_total",
                "Connections that TCP listeners accepted.",
                &["listener", "upstream"],
            )?,
            tcp_bytes: counters(
                &registry,
                "squall_tcp_bytes_total",
                "Bytes passed on by TCP listeners, while connections are open: request to the upstream, response to clients.",
                &["listener", "upstream", "direction"],
            )?,
            info: gauges(
                &registry,
                "squall_info",
                "Always 1: version, hash of the configuration, seed of all draws.",
                &["version", "config_hash", "seed"],
            )?,
            overshoot: registered(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "squall_timer_overshoot_seconds",
                        "Time by which timers overran injected waits.",
                    )
                    .buckets(OVERSHOOTS.to_vec()),
                )?,
            )?,
            guard_trips: counters(
                &registry,
                "squall_guard_trips_total",
                "How often a guard has stopped its rule, or everything.",
                &["guard"],
            )?,
            guard_tripped: gauges(
                &registry,
                "squall_guard_tripped",
                "1 while a guard keeps its rule, or everything, stopped.",
                &["guard"],
            )?,
            guards: Mutex::default(),
            armed: registered(
                &registry,
                IntGauge::new(
                    "squall_armed",
                    "1 while faults may be injected, 0 after the stop switch was used.",
                )?,
            )?,
            held: registered(
                &registry,
                IntGauge::new("squall_requests_held", "Requests held in injected waits now.")?,
            )?,
            bodies: registered(
                &registry,
                IntGauge::new(
                    "squall_bodies_bytes",
                    "Bytes of whole bodies in memory now: collected by faults, or read by fakes.",
                )?,
            )?,
            waits_cut: registered(
                &registry,
                IntCounter::new(
                    "squall_waits_cut_total",
                    "Injected waits that were cut short because squall was stopping.",
                )?,
            )?,
            log_lines_dropped: registered(
                &registry,
                IntCounter::new(
                    "squall_log_lines_dropped_total",
                    "Lines of the log that were dropped because they could not be written in time.",
                )?,
            )?,
            journal_dropped: registered(
                &registry,
                IntCounter::new(
                    "squall_journal_dropped_total",
                    "Requests that were dropped from the journal to stay within its bounds.",
                )?,
            )?,
            reloads_ok: reloads.with_label_values(&["ok"]),
            reloads_failed: reloads.with_label_values(&["error"]),
            reloaded: registered(
                &registry,
                IntGauge::new(
                    "squall_config_last_reload_successful",
                    "1 if the configuration in force is what its file says, 0 since a reload was refused.",
                )?,
            )?,
            reloaded_at: registered(
                &registry,
                Gauge::new(
                    "squall_config_last_reload_success_timestamp_seconds",
                    "When the configuration was last loaded or reloaded, in seconds since 1970.",
                )?,
            )?,
            registry,
        };
        metrics.armed.set(1);
        metrics.loaded();
        register_process(&metrics.registry)?;
        Ok(Arc::new(metrics))
    }

    /// Counts a reload, and notes how it went: from a gauge an alert sees it that missed the moment.
    pub fn reload(&self, ok: bool) {
        if ok {
            self.reloads_ok.inc();
            self.loaded();
        } else {
            self.reloads_failed.inc();
            self.reloaded.set(0);
        }
    }

    /// How many reloads went well, and how many were refused.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads_ok.get(), self.reloads_failed.get())
    }

    fn loaded(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.reloaded.set(1);
        self.reloaded_at.set(now.as_secs_f64());
    }

    /// Creates the metrics of a listener and its upstream.
    pub fn listener(&self, listener: &str, upstream: &str) -> ListenerMetrics {
        ListenerMetrics {
            requests: self.requests.clone(),
            site: Site::new(listener, upstream),
            by_status: (0..=900).map(|_| OnceLock::new()).collect(),
            clients_gone: self.clients_gone.with_label_values(&[listener]),
            passed_on: self.passed_on.with_label_values(&[listener]),
            request_seconds: self.request_seconds.with_label_values(&[listener]),
            upstream_seconds: self.upstream_seconds.with_label_values(&[upstream]),
            upstream_errors: self.upstream_errors.with_label_values(&[upstream]),
        }
    }

    /// Creates the metrics of a TCP listener and its upstream.
    pub fn tcp(&self, listener: &str, upstream: &str) -> TcpMetrics {
        let bytes = |direction| self.tcp_bytes.with_label_values(&[listener, upstream, direction]);
        TcpMetrics {
            site: Site::new(listener, upstream),
            connections: self.tcp_connections.with_label_values(&[listener, upstream]),
            bytes_in: bytes("request"),
            bytes_out: bytes("response"),
            upstream_errors: self.upstream_errors.with_label_values(&[upstream]),
        }
    }

    /// Creates the metrics of a rule. `faults` are the names of its faults, by position.
    pub fn rule(&self, rule: &Arc<str>, faults: impl Iterator<Item = &'static str>) -> RuleMetrics {
        self.rules.rule(rule, faults)
    }

    /// Notes the configuration in force: its hash, its seed, and the rules of its layer.
    pub fn configured(&self, hash: &str, seed: u64, rules: Vec<Counted>) {
        self.info.reset();
        self.info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), hash, &seed.to_string()])
            .set(1);
        self.replace_rules(Layer::File, rules);
    }

    /// Notes the rules of a layer. Removes the series of those that are gone, so that changes don't accumulate them.
    pub fn replace_rules(&self, layer: Layer, rules: Vec<Counted>) {
        self.rules.replace(layer, rules);
    }

    /// Notes which guards there are, and whether each has stopped something. Removes the series of those that are gone.
    pub fn guards<'a>(&self, guards: impl Iterator<Item = (&'a str, bool)>) {
        let mut known = self.guards.lock();
        let mut gone = std::mem::take(&mut *known);
        for (name, tripped) in guards {
            gone.remove(name);
            known.insert(name.into());
            // From the start, so that a first increase is seen.
            self.guard_trips.with_label_values(&[name]);
            self.guard_tripped(name, tripped);
        }
        for name in gone {
            // Errors mean that a series does not exist.
            let _ = self.guard_trips.remove_label_values(&[&*name]);
            let _ = self.guard_tripped.remove_label_values(&[&*name]);
        }
    }

    /// Notes whether a guard keeps its rule, or everything, stopped.
    pub fn guard_tripped(&self, guard: &str, tripped: bool) {
        self.guard_tripped.with_label_values(&[guard]).set(i64::from(tripped));
    }

    /// Sets the number of a listener's open connections.
    pub fn connections(&self, listener: &str, open: usize) {
        self.connections
            .with_label_values(&[listener])
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Removes the series of a listener.
    pub fn forget_listener(&self, listener: &str) {
        let _ = self.connections.remove_label_values(&[listener]);
    }

    /// The page that Prometheus scrapes (text format 0.0.4). Blocks for a second and more if there are thousands of rules.
    pub fn page(&self, series: Series) -> String {
        let matched = self.rules.prepare();
        let mut families = self.registry.gather();
        refine_cpu_seconds(&mut families);
        if series == Series::Matched {
            for family in &mut families {
                family.mut_metric().retain(|metric| {
                    let rule = metric.get_label().iter().find(|label| label.name() == "rule");
                    rule.is_none_or(|rule| matched.contains(rule.value()))
                });
            }
            families.retain(|family| !family.get_metric().is_empty());
        }
        let mut page = Vec::new();
        // Encoding fails only for families that are empty, without a name or of mixed types, which these are not.
        let _ = TextEncoder::new().encode(&families, &mut page);
        String::from_utf8(page).unwrap_or_default()
    }
}

/// Sets the CPU time to the nanosecond: the library counts whole seconds, so that rates over short times are steps.
fn refine_cpu_seconds(families: &mut [MetricFamily]) {
    let family = families
        .iter_mut()
        .find(|family| family.name() == "process_cpu_seconds_total");
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    for metric in family.into_iter().flat_map(|family| family.mut_metric()) {
        let mut counter = Counter::default();
        counter.set_value(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
        metric.set_counter(counter);
    }
}

/// The series of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// All of them.
    All,
    /// Without those of rules that have matched nothing yet.
    Matched,
}

impl ListenerMetrics {
    /// The counter of a status; [`NO_STATUS`] for requests without a response.
    pub fn requests(&self, status: u16) -> Option<&IntCounter> {
        let at = if status == NO_STATUS {
            0
        } else {
            usize::from(status.clamp(100, 999)) - 99
        };
        let slot = self.by_status.get(at)?;
        Some(slot.get_or_init(|| {
            let status = if at == 0 { 0 } else { at + 99 };
            let Site { listener, upstream } = &*self.site;
            self.requests
                .with_label_values(&[&**listener, &**upstream, status.to_string().as_str()])
        }))
    }
}

/// Registers the figures of the process: memory, CPU time, file descriptors. The library reads them from `/proc`, so that other
/// systems than Linux have none.
///
/// # Errors
/// They are registered already.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "there is nothing to register")
)]
pub fn register_process(registry: &Registry) -> Result<(), prometheus::Error> {
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(())
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
    registered(
        registry,
        HistogramVec::new(HistogramOpts::new(name, help).buckets(DURATIONS.to_vec()), labels)?,
    )
}
