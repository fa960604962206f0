//! Compiles a configuration to a [`Snapshot`], the only step that can fail. A request sees exactly one snapshot.

mod arrange;
mod changes;
mod grpc;
mod listeners;
mod routes;
mod sites;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guard::{self, Guard};
use super::layer::ApiLayer;
use super::masks::Masks;
use super::root::ConfigSpec;
use crate::cors::Cors;
use crate::cors::spec::CorsSpec;
use crate::draw::Seed;
use crate::fake::declared::TEMPLATES;
use crate::fake::{self, spec::FakeSpec};
use crate::files::{Named, Seen};
use crate::guards::natural::Natural;
use crate::metrics::Metrics;
use crate::proxy::exchange::view::{Target, View};
use crate::proxy::listen::accept::ListenerTimeouts;
use crate::proxy::listen::gate::ConnectionView;
use crate::proxy::listen::spec::ListenerSpec;
use crate::proxy::net::address::AddressSpec;
use crate::proxy::tcp::view::TcpView;
use crate::proxy::tls::{FaultAuthority, ServerTls};
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::spec::UpstreamForm;
use crate::rule::compile::{self, Setting};
use crate::rule::decide::Rule;
use crate::rule::overall::Overall;
use crate::rule::sets::RuleSets;
use crate::rule::when::Limits;
use crate::yaml::decode::{Gaps, Spanned};
use crate::yaml::report::{Diagnostic, Report, Sources, Span};
use crate::yaml::tree::{identity, identity_hash};

/// The default address of the admin API.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:9900";

/// The default address of Toxiproxy's API.
const DEFAULT_TOXIPROXY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8474));

/// The most worker threads; more are a mistake.
const MAX_THREADS: usize = 1024;

/// The range of `bounds.buffer`, in bytes.
const MIN_BUFFER: u64 = 1024;
const MAX_BUFFER: u64 = 64 * 1024 * 1024;

/// The least of `bounds.bodies`, in bytes: the default `limit` of the faults that collect a body.
const MIN_BODIES: u64 = 1024 * 1024;

/// A compiled configuration, ready to be put into force: the file's, and what the API has added to it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The file as typed, for showing.
    pub spec: Arc<ConfigSpec>,
    /// Counts the changes of the configuration in force, whoever makes them.
    pub revision: u64,
    /// A hash of the whole configuration, to tell two configurations apart.
    pub hash: String,
    /// The seed of all draws.
    pub seed: Seed,
    /// Where and how the admin API listens.
    pub admin: Admin,
    /// Where Toxiproxy's API listens; `None` if it is not served.
    pub toxiproxy: Option<AddressSpec>,
    /// The file's listeners, in its order, then those of spaces.
    pub listeners: Vec<Listener>,
    /// The rules in force, in the order of their decisions.
    pub rules: Vec<Arc<Rule>>,
    /// The file's rules, in its order, each with the revision of its last change.
    pub file_rules: Vec<(Arc<Rule>, u64)>,
    /// What the API has added.
    pub layer: Arc<ApiLayer>,
    /// What all rules together do. Kept by reloads.
    pub overall: Arc<Overall>,
    /// The limits on all rules together.
    pub limits: Limits,
    /// The conditions that stop a rule, or everything: of the file, and of the API's rules.
    pub guards: Vec<Arc<Guard>>,
    /// Those of the file.
    pub file_guards: Vec<Arc<Guard>>,
    /// What upstreams do by themselves, for those conditions. Kept by reloads.
    pub natural: Arc<Natural>,
    targets: Arc<Targets>,
    /// The authority that issues faulty certificates.
    pub authority: Arc<FaultAuthority>,
    /// Warnings about the configuration.
    pub warnings: Arc<Report>,
    /// Hides secrets where the configuration is shown.
    pub masks: Arc<Masks>,
    /// Those that hide the secrets of the file.
    pub(in crate::config) file_masks: Arc<Masks>,
    /// The files that the configuration was read from, and those that it names: certificates, bodies, samples.
    pub seen: Arc<Seen>,
    /// Those of them that the file's rules name. Only these may rules of the API name too: the others are private keys, say, or the
    /// configuration itself.
    pub rule_files: Arc<Vec<PathBuf>>,
}

/// The admin API of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address that it listens on.
    pub address: AddressSpec,
    /// The token that callers must send; `None` if none is needed.
    pub token: Option<String>,
}

/// A listener and its rules.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The listener's name; that of a space's has its space behind an `@`.
    pub name: Arc<str>,
    /// The name of the listener in the file that it is, or that it is a copy of.
    pub of: Arc<str>,
    /// The space that the API opened it for.
    pub space: Option<Arc<str>>,
    /// The address that it listens on.
    pub address: AddressSpec,
    /// Whether it is open; otherwise it refuses connections.
    pub enabled: bool,
    /// The listener's certificates; `None` without TLS.
    pub tls: Option<ServerTls>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxied: bool,
    /// How long its clients may take.
    pub timeouts: ListenerTimeouts,
    /// The view of new connections.
    pub connection: Arc<ConnectionView>,
    /// What its connections are for.
    pub kind: ListenerKind,
}

/// What a listener's connections are for.
#[derive(Debug, Clone)]
pub enum ListenerKind {
    /// HTTP: the view of requests.
    Http(Arc<View>),
    /// Bytes of any protocol: the view of connections.
    Tcp(Arc<TcpView>),
}

/// The inputs of loading besides the files.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// A seed from the command line or the environment, which overrides the file's.
    pub seed: Option<u64>,
    /// The seed of configurations that set none.
    pub default_seed: u64,
    /// The configuration that this one replaces. Unchanged parts keep their state.
    pub previous: Option<&'a Snapshot>,
    /// The time of loading.
    pub now: Instant,
    /// The metrics that rules and listeners register with.
    pub metrics: &'a Metrics,
}

impl Listener {
    /// The names of all upstreams that its requests go to.
    pub fn upstreams(&self) -> Vec<&Arc<str>> {
        let mut all: Vec<&Arc<str>> = match &self.kind {
            ListenerKind::Http(view) => view.all_routes().map(|route| &route.upstream).collect(),
            ListenerKind::Tcp(view) => vec![&view.metrics.site.upstream],
        };
        let mut seen = HashSet::new();
        all.retain(|name| !name.is_empty() && seen.insert(Arc::clone(name)));
        all
    }

    /// The name of its own upstream; empty if it has only routes.
    pub fn upstream(&self) -> &Arc<str> {
        match &self.kind {
            ListenerKind::Http(view) => &view.own.upstream,
            ListenerKind::Tcp(view) => &view.metrics.site.upstream,
        }
    }

    /// The rules that are decided for its requests, or for its connections if it has no requests.
    pub fn rules(&self) -> &RuleSets {
        match &self.kind {
            ListenerKind::Http(view) => &view.rules,
            ListenerKind::Tcp(view) => &view.rules,
        }
    }

    /// The longest injected wait.
    pub fn longest_wait(&self) -> Duration {
        match &self.kind {
            ListenerKind::Http(view) => view.bounds.longest,
            ListenerKind::Tcp(view) => view.bounds.longest,
        }
    }
}

impl<'a> Inputs<'a> {
    /// Inputs of a first load, with the file's seed, or 0 if it sets none.
    pub fn new(metrics: &'a Metrics, now: Instant) -> Self {
        Inputs {
            seed: None,
            default_seed: 0,
            previous: None,
            now,
            metrics,
        }
    }
}

impl Snapshot {
    /// Checks and compiles a configuration. With gaps, left by parts with errors, the rest is only checked.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn build(
        spec: ConfigSpec,
        sources: Arc<Sources>,
        gaps: &Gaps,
        mut seen: Seen,
        mut diagnostics: Vec<Diagnostic>,
        inputs: Inputs<'_>,
    ) -> Result<Snapshot, Report> {
        let seed = Seed(inputs.seed.or(spec.seed).unwrap_or(inputs.default_seed));
        let hash = format!("{:016x}", identity_hash(&spec, seed, 0));
        let mut build = Build {
            spec: &spec,
            sources: &sources,
            gaps,
            seed,
            inputs,
            files: Named::default(),
            rule_files: Named::default(),
            natural: previous_or_new(inputs.previous.map(|previous| &previous.natural)),
            diagnostics: &mut diagnostics,
        };
        let admin = build.admin();
        build.threads();
        build.buffer();
        build.bodies();
        let targets = build.targets();
        let overall = previous_or_new(inputs.previous.map(|previous| &previous.overall));
        let limits = build.limits();
        let file_rules = compile::compile(&mut build.rules_context(&overall));
        build.doubt_grpc();
        let file_guards = build.guards();
        let natural = Arc::clone(&build.natural);
        let authority = build.authority();
        let listeners = authority.as_ref().map(|authority| build.listeners(&targets, authority));
        let of_rules = build.rule_files.into_seen();
        let rule_files = of_rules.files().cloned().collect();
        seen.extend(build.files.into_seen());
        seen.extend(of_rules);
        let seen = Arc::new(seen);
        let report = Report::new(diagnostics, sources);
        let (Some(authority), Some(listeners), false) = (authority, listeners, report.has_errors()) else {
            return Err(report.with_seen(seen));
        };
        let toxiproxy = spec.toxiproxy.as_ref().map(|spec| {
            let address = spec.value.0.address.as_ref().map(|address| address.value.clone());
            address.unwrap_or(AddressSpec::Tcp(DEFAULT_TOXIPROXY))
        });
        let loaded = Snapshot {
            spec: Arc::new(spec),
            revision: 0,
            hash,
            seed,
            admin,
            toxiproxy,
            listeners,
            rules: Vec::new(),
            file_rules: file_rules.into_iter().map(|rule| (rule, 0)).collect(),
            layer: Arc::default(),
            overall,
            limits,
            guards: Vec::new(),
            file_guards,
            natural,
            targets: Arc::new(targets),
            authority,
            warnings: Arc::new(report),
            masks: Arc::default(),
            file_masks: Arc::default(),
            seen,
            rule_files: Arc::new(rule_files),
        };
        Ok(loaded.arranged(inputs.previous))
    }

    /// The settings that differ in `next` but take effect only at the next start.
    pub fn needs_restart(&self, next: &Snapshot) -> Vec<&'static str> {
        let threads = self.spec.threads != next.spec.threads;
        let level = (self.spec.log.format, self.spec.log.level) != (next.spec.log.format, next.spec.log.level);
        let admin = self.admin.address != next.admin.address;
        let toxiproxy = self.toxiproxy != next.toxiproxy;
        let connections = self.spec.bounds.connections != next.spec.bounds.connections;
        let all = [
            (threads, "threads"),
            (level, "log"),
            (admin, "admin.address"),
            (toxiproxy, "toxiproxy"),
            (connections, "bounds.connections"),
        ];
        let changed = all.into_iter().filter(|(changed, _)| *changed);
        changed.map(|(_, what)| what).collect()
    }

    /// Logs what is doubtful about the configuration.
    pub fn log_warnings(&self) {
        for warning in self.warnings.diagnostics() {
            let place = warning.span.and_then(|span| self.warnings.sources().locate(span));
            tracing::warn!(place, "{}", warning.message);
        }
    }

    /// A listener by name.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| &*listener.name == name)
    }

    /// All upstreams, by name.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &Arc<Target>)> {
        self.targets.iter().map(|(name, (_, target))| (name.as_str(), target))
    }

    /// The upstream of that name.
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.get(name).map(|(_, target)| target)
    }

    /// Which pages of other origins may read the responses of the fake of that name, as its own `cors` says.
    pub fn fake_cors(&self, name: &str) -> Option<Cors> {
        fake_cors(&self.spec, name).map(Cors::new)
    }
}

/// The `cors` of a fake.
fn fake_cors<'a>(spec: &'a ConfigSpec, upstream: &str) -> Option<&'a CorsSpec> {
    let fake = spec.upstreams.get(upstream)?.value.fake.as_ref()?;
    fake.value.cors.as_ref().map(|cors| &cors.value)
}

struct Build<'a> {
    spec: &'a ConfigSpec,
    sources: &'a Arc<Sources>,
    /// The parts of the spec that were left out because of errors.
    gaps: &'a Gaps,
    seed: Seed,
    inputs: Inputs<'a>,
    /// The files that it names, except in rules.
    files: Named,
    /// Those that its rules name.
    rule_files: Named,
    natural: Arc<Natural>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

type Targets = HashMap<String, (String, Arc<Target>)>;

impl Build<'_> {
    fn rules_context(&mut self, overall: &Arc<Overall>) -> compile::Context<'_> {
        let previous = self.inputs.previous.map(|previous| previous.file_rules.as_slice());
        compile::Context {
            specs: &self.spec.rules,
            sources: self.sources,
            overall: Arc::clone(overall),
            previous: previous.unwrap_or_default().iter().map(|(rule, _)| rule).collect(),
            keeps_state: false,
            files: &self.rule_files,
            now: self.inputs.now,
            metrics: self.inputs.metrics,
            diagnostics: self.diagnostics,
            gaps: self.gaps,
            setting: Setting::of(self.spec, self.seed).with_gaps(self.gaps),
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    fn admin(&mut self) -> Admin {
        let spec = self.spec.admin.as_ref().map(|admin| &admin.value.0);
        let address = spec.and_then(|admin| admin.address.as_ref());
        let token = spec
            .and_then(|admin| admin.token.as_ref())
            .map(|token| token.value.clone())
            .filter(|token| !token.is_empty());
        if let Some(address) = address
            && let AddressSpec::Tcp(tcp) = &address.value
            && !tcp.ip().is_loopback()
            && token.is_none()
            && !self.gaps.has("admin")
        {
            self.diagnostics.push(
                Diagnostic::error(
                    address.span,
                    "the admin API is reachable from other machines and has no token",
                )
                .help(format!(
                    "write `admin: {{address: \"{}\", token: \"${{SQUALL_TOKEN}}\"}}`, or listen on 127.0.0.1",
                    address.value
                )),
            );
        }
        let default = || {
            DEFAULT_ADMIN
                .parse()
                .unwrap_or(AddressSpec::Unix(PathBuf::from("squall-admin.sock")))
        };
        Admin {
            address: address.map(|address| address.value.clone()).unwrap_or_else(default),
            token,
        }
    }

    fn limits(&mut self) -> Limits {
        let Some(spec) = &self.spec.limits else {
            return Limits::default();
        };
        let limits = Limits::from(&spec.value);
        if limits.expires.is_some_and(|expires| expires.is_zero()) {
            self.error(spec.span, "no rule can ever fire: these limits expire at once");
        }
        limits
    }

    fn guards(&mut self) -> Vec<Arc<Guard>> {
        let tcp = listeners_where(self.spec, ListenerSpec::is_tcp);
        let previous = self.inputs.previous.map(|previous| previous.file_guards.as_slice());
        let mut compile = guard::Compile::new(previous.unwrap_or_default(), self.inputs.now);
        if let Some(specs) = &self.spec.stop_when {
            let before = self.diagnostics.len();
            compile.all(specs, None, self.diagnostics);
            self.gaps.forget_within(self.diagnostics, before);
        }
        for rule in &self.spec.rules {
            let before = self.diagnostics.len();
            compile.of_rule(rule, &tcp, self.diagnostics);
            self.gaps.forget_consequences(self.diagnostics, before, rule.name.span);
        }
        compile.guards
    }

    fn threads(&mut self) {
        if let Some(threads) = &self.spec.threads
            && threads.value.get() > MAX_THREADS
        {
            self.error(
                threads.span,
                format!("at most {MAX_THREADS} threads are allowed; one per processor is enough"),
            );
        }
    }

    fn buffer(&mut self) {
        let buffer = self.spec.bounds.buffer;
        if !(MIN_BUFFER..=MAX_BUFFER).contains(&buffer.value.get()) {
            self.error(buffer.span, "a buffer must be from 1KiB to 64MiB");
        }
    }

    fn bodies(&mut self) {
        let bodies = self.spec.bounds.bodies;
        if bodies.value.get() < MIN_BODIES {
            self.error(bodies.span, "the bound on bodies must be at least 1MiB");
        }
    }

    fn targets(&mut self) -> Targets {
        let mut targets = Targets::new();
        let spec = self.spec;
        let used: Vec<&str> = spec
            .listeners
            .iter()
            .flat_map(|(_, listener)| listener.upstreams().map(|name| name.value.as_str()))
            .collect();
        // A listener without its upstream is reported as an error of its own, which names the cause.
        let all_known = !used.is_empty()
            && !self.gaps.has("listeners")
            && used.iter().all(|name| spec.upstreams.get(name).is_some());
        for (name, upstream) in spec.upstreams.iter() {
            if all_known && !used.contains(&name.value.as_str()) && upstream.value.address.is_none() {
                let message = format!("no listener uses the upstream `{}`", name.value);
                self.diagnostics.push(Diagnostic::warning(name.span, message));
            }
            if let Some(fake) = &upstream.value.fake {
                self.diagnostics.extend(fake.value.doubts());
            }
            let before = self.diagnostics.len();
            // Before its files are read: a change in between is then found by the next reload.
            let identity = self.identity(upstream);
            let target = self.target(name, upstream, &identity);
            self.gaps.forget_consequences(self.diagnostics, before, name.span);
            if let Some(target) = target {
                targets.insert(name.value.clone(), (identity, target));
            }
        }
        targets
    }

    fn target(&mut self, name: &Spanned<String>, spec: &Spanned<UpstreamForm>, identity: &str) -> Option<Arc<Target>> {
        let same = self
            .inputs
            .previous
            .and_then(|previous| previous.targets.get(&name.value));
        if let Some(tls) = &spec.value.tls {
            let tls = &tls.value;
            let named = [&tls.ca, &tls.certificate, &tls.key].into_iter().flatten();
            let folder = self.folder(spec.span);
            self.files.note(named.map(|file| folder.join(&file.value)));
        }
        let upstream = match Upstream::build(
            &name.value,
            name.span,
            &spec.value,
            self.folder(spec.span),
            self.inputs.now,
        ) {
            Ok(upstream) => upstream,
            Err(mistakes) => {
                self.diagnostics.extend(mistakes);
                return None;
            }
        };
        if let Some(fake) = &spec.value.fake {
            self.files.note(self.fake_files(spec));
            return self.fake(fake, same, identity);
        }
        match same.map(|(_, target)| target) {
            // Unchanged: keep it, with its state of failing endpoints.
            Some(target) if target.fingerprint() == Some(upstream.fingerprint()) => Some(Arc::clone(target)),
            _ => Some(Arc::new(Target::Real(Arc::new(upstream)))),
        }
    }

    /// A text that is equal as long as neither the upstream nor its files change.
    fn identity(&self, spec: &Spanned<UpstreamForm>) -> String {
        let mut own = spec.value.0.clone();
        if let Some(fake) = &mut own.fake {
            // Its listeners read it anew, so that a fake need not lose its rows for it.
            fake.value.leave_out_cors();
        }
        let mut identity = identity(&own);
        for file in self.fake_files(spec) {
            let known = std::fs::metadata(&file).and_then(|data| Ok((data.len(), data.modified()?)));
            identity.push_str(&format!("{}: {known:?}", file.display()));
        }
        identity
    }

    /// The files that a fake is made from.
    fn fake_files(&self, spec: &Spanned<UpstreamForm>) -> Vec<PathBuf> {
        let fake = spec.value.fake.as_ref();
        fake.map_or_else(Vec::new, |fake| fake::files(&fake.value, self.folder(fake.span)))
    }

    fn fake(
        &mut self,
        fake: &Spanned<FakeSpec>,
        same: Option<&(String, Arc<Target>)>,
        identity: &str,
    ) -> Option<Arc<Target>> {
        // An unchanged fake keeps its stored data.
        if let Some((before, target)) = same
            && before == identity
        {
            return Some(Arc::clone(target));
        }
        let store = match fake.value.store.as_ref().map(|store| store.value.as_str()) {
            None | Some("memory") => fake::Store::Memory,
            Some(store) => {
                let file = store.strip_prefix("file:").unwrap_or(store);
                fake::Store::File(self.folder(fake.span).join(file))
            }
        };
        let context = fake::Context {
            seed: fake.value.seed.as_ref().map_or(self.seed.0, |seed| seed.value),
            store,
            folder: self.folder(fake.span),
            place: fake.span,
            warnings: RefCell::default(),
        };
        let built = fake::build(&fake.value, &context);
        let warnings = context.warnings.into_inner();
        self.diagnostics.extend(warnings);
        match built {
            Ok(router) => Some(Arc::new(Target::Fake(router))),
            Err(mistakes) => {
                self.diagnostics.extend(mistakes);
                None
            }
        }
    }

    fn folder(&self, span: Span) -> &Path {
        self.sources.directory(span.source).unwrap_or(Path::new("."))
    }

    /// The authority that issues faulty certificates. One that squall created is kept through reloads, since clients may
    /// trust it. `None` only if it can't be created or loaded.
    fn authority(&mut self) -> Option<Arc<FaultAuthority>> {
        if let Some(ca) = &self.spec.fault_ca {
            let folder = self.folder(ca.span).to_owned();
            let pair = self.pair(&folder, &ca.value.certificate.value, &ca.value.key.value);
            match FaultAuthority::load(&pair.certificate, &pair.key) {
                Ok(authority) => return Some(Arc::new(authority)),
                Err(message) => self.error(ca.span, message),
            }
        }
        let previous = self.inputs.previous.map(|previous| &previous.authority);
        if let Some(made) = previous.filter(|previous| previous.is_made()) {
            return Some(Arc::clone(made));
        }
        let made = FaultAuthority::make().map_err(|message| self.diagnostics.push(Diagnostic::error(None, message)));
        made.ok().map(Arc::new)
    }
}

/// What a reload keeps.
fn previous_or_new<T: Default>(previous: Option<&Arc<T>>) -> Arc<T> {
    previous.map(Arc::clone).unwrap_or_default()
}

impl<'a> Setting<'a> {
    /// Takes listeners that were left out, or lack a part, for ones that any rule may be for.
    pub(super) fn with_gaps(mut self, gaps: &'a Gaps) -> Setting<'a> {
        for name in gaps.names("listeners") {
            self.tcp_listeners.retain(|other| *other != name);
            self.tls_listeners.push(name);
            if !self.listeners.contains(&name) {
                self.listeners.push(name);
            }
        }
        for name in gaps.names("upstreams") {
            if !self.upstreams.contains(&name) {
                self.upstreams.push(name);
            }
        }
        self
    }

    /// What a configuration sets for all its rules.
    pub(super) fn of(spec: &'a ConfigSpec, seed: Seed) -> Setting<'a> {
        let redirected = |listener: &ListenerSpec| {
            let own = listener.upstream.as_ref();
            let upstream = own.and_then(|name| spec.upstreams.get(&name.value));
            upstream.is_some_and(|upstream| upstream.value.original_destination.is_some())
        };
        Setting {
            listeners: spec.listeners.names().collect(),
            upstreams: spec.upstreams.names().collect(),
            leads: spec
                .listeners
                .iter()
                .flat_map(|(name, listener)| listener.upstreams().map(|to| (name.value.as_str(), to.value.as_str())))
                .collect(),
            tls_listeners: listeners_where(spec, |listener| listener.tls.is_some()),
            tcp_listeners: listeners_where(spec, ListenerSpec::is_tcp),
            redirected_listeners: listeners_where(spec, redirected),
            seed,
            keys: NonZeroUsize::try_from(spec.bounds.keys).unwrap_or(NonZeroUsize::MIN),
            longest_wait: spec.bounds.delay.get(),
            templates: &TEMPLATES,
        }
    }
}

/// The names of the listeners for which `holds` is true.
fn listeners_where(spec: &ConfigSpec, holds: impl Fn(&ListenerSpec) -> bool) -> Vec<&str> {
    let listeners = spec.listeners.iter().filter(|(_, listener)| holds(listener));
    listeners.map(|(name, _)| name.value.as_str()).collect()
}
