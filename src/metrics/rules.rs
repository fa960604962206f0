//! The metrics of rules, and of their faults by where they happen.
//!
//! Series belong to a rule's name: rules of the same name in several spaces share them, and a changed rule counts on in those of
//! its predecessor. They come into being on first use, at the latest by a scrape, since thousands of rules would take longer to
//! register than to compile; and they go with the last rule of their name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{counters, gauges, histograms};

/// The labels of fault counters.
const OF_FAULTS: &[&str] = &["rule", "fault", "listener", "upstream"];

/// Why a fault could not be applied: all values of the label `reason`.
pub const SKIP_REASONS: [&str; 31] = [
    "not a gRPC request",
    "too many held",
    "too many bodies held",
    "no body",
    "no messages",
    "length unknown",
    "length known",
    "body too short",
    "body too large",
    "message too large",
    "not HTTP",
    "not HTTP/1.1",
    "not HTTP/1",
    "not chunked",
    "not JSON",
    "encoded",
    "no TLS",
    "another certificate",
    "a fake has no network",
    "a stream",
    "body broke off",
    "body too slow",
    "body unread",
    "no match",
    "not sent",
    "partial content",
    "patch failed",
    "replacing took too long",
    "switched off",
    "template failed",
    "upgraded",
];

/// Where a fault happens, as labels: names of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The listener. Those that the API opens for spaces count as the listener that they are copies of.
    pub listener: Arc<str>,
    /// The upstream that the request or connection goes to; empty where that is not known yet.
    pub upstream: Arc<str>,
}

impl Site {
    /// The site of an upstream of a listener.
    pub fn new(listener: &str, upstream: &str) -> Arc<Site> {
        Arc::new(Site {
            listener: listener.into(),
            upstream: upstream.into(),
        })
    }
}

/// Where rules come from. A change of one layer leaves the rules of the other alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The configuration file.
    File,
    /// Toxiproxy's API.
    Toxiproxy,
}

/// A rule whose active requests are exported.
pub trait CountedRule: std::fmt::Debug + Send + Sync {
    /// The rule's metrics.
    fn metrics(&self) -> &RuleMetrics;

    /// The number of requests under the rule's faults now.
    fn active(&self) -> u32;
}

/// A rule in force, and where its faults may happen.
#[derive(Debug, Clone)]
pub struct Counted {
    /// A rule that is decided now.
    pub rule: Arc<dyn CountedRule>,
    /// Where series of its faults are to be from the start, so that Prometheus sees the first one as an increase.
    pub sites: Arc<[Arc<Site>]>,
}

/// The metrics of one rule.
#[derive(Debug)]
pub struct RuleMetrics {
    rule: Arc<str>,
    /// The names of the rule's faults, by position.
    faults: Box<[&'static str]>,
    families: Arc<Families>,
    /// Those of the rule's name, resolved on first use.
    series: OnceLock<Arc<RuleSeries>>,
}

/// The metrics of all rules.
#[derive(Debug)]
pub(super) struct AllRules {
    families: Arc<Families>,
    /// The rules in force by layer. Locked for changes and scrapes only.
    layers: Mutex<Layers>,
}

#[derive(Debug, Default)]
struct Layers {
    all: BTreeMap<Layer, Vec<Counted>>,
    /// Whether all of them have the series that are to be there from the start.
    prepared: bool,
}

#[derive(Debug)]
struct Families {
    matched: IntCounterVec,
    injected: IntCounterVec,
    shadowed: IntCounterVec,
    skipped: IntCounterVec,
    delay_seconds: HistogramVec,
    active: IntGaugeVec,
    /// The series that there are, by rule. Locked on the first use of a rule, and for changes.
    known: Mutex<HashMap<Arc<str>, Arc<RuleSeries>>>,
}

/// The series of all rules of one name.
#[derive(Debug)]
struct RuleSeries {
    matched: IntCounter,
    delay_seconds: Histogram,
    /// As of the last scrape.
    active: IntGauge,
    faults: RwLock<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    /// By fault and site: a few, which are compared one by one.
    all: Vec<FaultSeries>,
    /// The last rule of the name is gone, and its series with it: a request that still has it must bring none back.
    gone: bool,
}

#[derive(Debug)]
struct FaultSeries {
    fault: &'static str,
    site: Arc<Site>,
    injected: IntCounter,
    shadowed: IntCounter,
}

impl FaultSeries {
    fn is_of(&self, fault: &str, site: &Arc<Site>) -> bool {
        self.fault == fault && (Arc::ptr_eq(&self.site, site) || self.site == *site)
    }
}

impl AllRules {
    pub(super) fn new(registry: &Registry) -> Result<AllRules, prometheus::Error> {
        let families = Families {
            matched: counters(
                registry,
                "squall_rules_matched_total",
                "Requests that a rule matched, hit or not.",
                &["rule"],
            )?,
            injected: counters(
                registry,
                "squall_faults_injected_total",
                "Faults injected, by rule, fault, listener and upstream.",
                OF_FAULTS,
            )?,
            shadowed: counters(
                registry,
                "squall_faults_shadowed_total",
                "Faults that shadow rules decided on but did not inject.",
                OF_FAULTS,
            )?,
            skipped: counters(
                registry,
                "squall_faults_skipped_total",
                "Faults that could not be applied, by rule, fault, listener, upstream and reason.",
                &[OF_FAULTS, &["reason"]].concat(),
            )?,
            delay_seconds: histograms(
                registry,
                "squall_injected_delay_seconds",
                "Time that a rule's faults made a request wait.",
                &["rule"],
            )?,
            active: gauges(
                registry,
                "squall_faults_active",
                "Requests under a rule's faults now.",
                &["rule"],
            )?,
            known: Mutex::default(),
        };
        Ok(AllRules {
            families: Arc::new(families),
            layers: Mutex::default(),
        })
    }

    pub(super) fn rule(&self, rule: &Arc<str>, faults: impl Iterator<Item = &'static str>) -> RuleMetrics {
        RuleMetrics {
            rule: Arc::clone(rule),
            faults: faults.collect(),
            families: Arc::clone(&self.families),
            series: OnceLock::new(),
        }
    }

    /// Notes the rules of a layer. Removes the series of those that are gone, so that changes don't accumulate them.
    pub(super) fn replace(&self, layer: Layer, rules: Vec<Counted>) {
        let mut layers = self.layers.lock();
        layers.prepared = false;
        let before = layers.all.insert(layer, rules).unwrap_or_default();
        let present = layers.all.values().flatten();
        let present: HashSet<&str> = present.map(|counted| &*counted.rule.metrics().rule).collect();
        for counted in &before {
            let rule = counted.rule.metrics();
            // A request that still has the rule counts on in the series that are there now: resolved later, they would be new
            // ones.
            rule.series();
            if !present.contains(&*rule.rule) {
                self.families.forget(&rule.rule);
            }
        }
    }

    /// Creates the series that are to be there, and sets the gauges. Gives the names of the rules that have matched something.
    /// Takes a second and more after a change of thousands of rules.
    pub(super) fn prepare(&self) -> HashSet<Arc<str>> {
        let (rules, prepared) = {
            let mut layers = self.layers.lock();
            let rules: Vec<Counted> = layers.all.values().flatten().cloned().collect();
            (rules, std::mem::replace(&mut layers.prepared, true))
        };
        // Rules of the same name in several spaces share their series.
        let mut active: HashMap<&Arc<str>, (&RuleSeries, i64)> = HashMap::new();
        for Counted { rule, sites } in &rules {
            let metrics = rule.metrics();
            if !prepared {
                metrics.prepare(sites);
            }
            let (_, sum) = active.entry(&metrics.rule).or_insert((metrics.series(), 0));
            *sum += i64::from(rule.active());
        }
        for (series, active) in active.values() {
            series.active.set(*active);
        }
        let matched = active.iter().filter(|(_, (series, _))| series.matched.get() > 0);
        matched.map(|(name, _)| Arc::clone(name)).collect()
    }
}

impl Families {
    fn series(&self, rule: &Arc<str>) -> Arc<RuleSeries> {
        let mut known = self.known.lock();
        let series = known.entry(Arc::clone(rule)).or_insert_with(|| {
            Arc::new(RuleSeries {
                matched: self.matched.with_label_values(&[&**rule]),
                delay_seconds: self.delay_seconds.with_label_values(&[&**rule]),
                active: self.active.with_label_values(&[&**rule]),
                faults: RwLock::default(),
            })
        });
        Arc::clone(series)
    }

    fn forget(&self, rule: &str) {
        let Some(series) = self.known.lock().remove(rule) else {
            return;
        };
        let mut faults = series.faults.write();
        faults.gone = true;
        // Errors mean that a series does not exist.
        let _ = self.matched.remove_label_values(&[rule]);
        let _ = self.delay_seconds.remove_label_values(&[rule]);
        let _ = self.active.remove_label_values(&[rule]);
        for one in faults.all.drain(..) {
            let labels = [rule, one.fault, &*one.site.listener, &*one.site.upstream];
            let _ = self.injected.remove_label_values(&labels);
            let _ = self.shadowed.remove_label_values(&labels);
            for reason in SKIP_REASONS {
                let [rule, fault, listener, upstream] = labels;
                let _ = self
                    .skipped
                    .remove_label_values(&[rule, fault, listener, upstream, reason]);
            }
        }
    }
}

impl RuleMetrics {
    /// Counts a request that the rule matched.
    pub fn matched(&self) {
        self.series().matched.inc();
    }

    /// Counts a fault that was injected, by its position in the rule.
    pub fn injected(&self, fault: usize, site: &Arc<Site>) {
        self.count(fault, site, |series| series.injected.inc());
    }

    /// Counts a fault that a shadow rule decided.
    pub fn shadowed(&self, fault: usize, site: &Arc<Site>) {
        self.count(fault, site, |series| series.shadowed.inc());
    }

    /// Counts a fault that could not be applied.
    pub fn skipped(&self, fault: usize, site: &Arc<Site>, reason: &'static str) {
        self.count(fault, site, |series| {
            let labels = [&*self.rule, series.fault, &*site.listener, &*site.upstream, reason];
            self.families.skipped.with_label_values(&labels).inc();
        });
    }

    /// The name of the rule's fault at this position.
    pub fn fault_name(&self, fault: usize) -> &'static str {
        self.faults.get(fault).copied().unwrap_or("unknown")
    }

    /// Observes an injected wait.
    pub fn delayed(&self, time: Duration) {
        self.series().delay_seconds.observe(time.as_secs_f64());
    }

    /// Counts in the series of a fault at a site, which may be new. Its lock is held meanwhile, so that what is counted is not
    /// removed at the same time, to come back.
    fn count(&self, fault: usize, site: &Arc<Site>, count: impl Fn(&FaultSeries)) {
        let Some(fault) = self.faults.get(fault) else { return };
        let series = self.series();
        let faults = series.faults.read();
        if let Some(one) = faults.all.iter().find(|one| one.is_of(fault, site)) {
            count(one);
            return;
        }
        drop(faults);
        if let Some(one) = self.add(&mut series.faults.write(), fault, site) {
            count(one);
        }
    }

    fn prepare(&self, sites: &[Arc<Site>]) {
        let mut faults = self.series().faults.write();
        for site in sites {
            for fault in &self.faults {
                self.add(&mut faults, fault, site);
            }
        }
    }

    /// The series of a fault at a site, which is added if it is new; `None` once the rule is gone.
    fn add<'f>(&self, faults: &'f mut Faults, fault: &'static str, site: &Arc<Site>) -> Option<&'f FaultSeries> {
        let known = faults.all.iter().position(|one| one.is_of(fault, site));
        if known.is_some() || faults.gone {
            return known.and_then(|at| faults.all.get(at));
        }
        let labels = [&*self.rule, fault, &*site.listener, &*site.upstream];
        faults.all.push(FaultSeries {
            fault,
            site: Arc::clone(site),
            injected: self.families.injected.with_label_values(&labels),
            shadowed: self.families.shadowed.with_label_values(&labels),
        });
        faults.all.last()
    }

    fn series(&self) -> &RuleSeries {
        self.series.get_or_init(|| self.families.series(&self.rule))
    }
}
