//! From what is typed to what is usable. Everything that can be wrong is found here, all of it at once.

mod ejection;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use http::uri::Authority;
use xxhash_rust::xxh3::Xxh3;

use super::balance::Balancer;
use super::peer::{Endpoint, HostHeader, Settings, Timeouts};
use super::target::{Place, Target, parse_address};
use super::{Http, Upstream};
use crate::config::report::{Diagnostic, Span};
use crate::config::units::Time;
use crate::config::upstream::{Protocol, TimeoutsSpec, UpstreamSpec};

/// More endpoints than this are taken for a mistake, and would make each choice slow.
const ENDPOINTS_MAX: usize = 1_000;

impl Upstream {
    /// Checks `spec` and reads the files that it names; relative names start at `base_dir`. `span` is where the upstream
    /// is declared, for errors that concern no single key. `now` is the monotonic time.
    ///
    /// # Errors
    ///
    /// All that is wrong.
    pub fn build(
        name: &str,
        span: Span,
        spec: &UpstreamSpec,
        base_dir: &Path,
        now: Instant,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut builder = Builder {
            spec,
            base_dir,
            problems: Vec::new(),
            hash: Xxh3::new(),
        };
        let http = builder.target(name, span, now);
        if !builder.problems.is_empty() {
            return Err(builder.problems);
        }
        Ok(Self {
            fingerprint: builder.hash.digest(),
            http: http.map(Arc::new),
        })
    }
}

struct Builder<'a> {
    spec: &'a UpstreamSpec,
    base_dir: &'a Path,
    problems: Vec<Diagnostic>,
    /// Of everything that makes this upstream what it is.
    hash: Xxh3,
}

impl Builder<'_> {
    /// `None` for a fake and for a TCP server, and where something is wrong.
    fn target(&mut self, name: &str, span: Span, now: Instant) -> Option<Http> {
        self.hash.update(name.as_bytes());
        self.hash.update(self.base_dir.as_os_str().as_encoded_bytes());
        self.hash.update(&serde_json::to_vec(self.spec).unwrap_or_default());
        self.exactly_one_target(name, span)?;
        let spec = self.spec;
        if spec.fake.is_some() {
            self.refuse_http_keys("a fake answers in process", true);
            return None;
        }
        if let Some(address) = &spec.address {
            self.refuse_http_keys("`address` is a TCP server", false);
            if let Err(message) = parse_address(&address.value, self.base_dir) {
                self.fail(address.span, message)?;
            }
            return None;
        }
        self.http(now)
    }

    /// Adds an error; `None` is what the failed part yields.
    fn fail<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.problems.push(Diagnostic::error(span, message));
        None
    }

    fn exactly_one_target(&mut self, name: &str, span: Span) -> Option<()> {
        let spec = self.spec;
        let given: Vec<(&str, Span)> = [
            ("url", spec.url.as_ref().map(|one| one.span)),
            ("endpoints", spec.endpoints.as_ref().map(|one| one.span)),
            (
                "original_destination",
                spec.original_destination.as_ref().map(|one| one.span),
            ),
            ("fake", spec.fake.as_ref().map(|one| one.span)),
            ("address", spec.address.as_ref().map(|one| one.span)),
        ]
        .into_iter()
        .filter_map(|(key, span)| Some((key, span?)))
        .collect();
        match given.as_slice() {
            [_] => Some(()),
            [] => {
                let problem = Diagnostic::error(span, format!("upstream `{name}` has no target"))
                    .help("give it one of `url`, `endpoints`, `original_destination`, `fake` and `address`");
                self.problems.push(problem);
                None
            }
            [(first, at), others @ ..] => {
                for (key, span) in others {
                    let message =
                        format!("upstream `{name}` has `{first}` and `{key}`, but it can have one target only");
                    let problem = Diagnostic::error(*span, message).also(*at, "the other target");
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    /// Keys that mean something for HTTP over a network only.
    fn refuse_http_keys(&mut self, because: &str, timeouts_too: bool) {
        let spec = self.spec;
        let keys = [
            ("balance", spec.balance.as_ref().map(|one| one.span)),
            ("ejection", spec.ejection.as_ref().map(|one| one.span)),
            ("protocol", spec.protocol.as_ref().map(|one| one.span)),
            ("host", spec.host.as_ref().map(|one| one.span)),
            ("tls", spec.tls.as_ref().map(|one| one.span)),
            (
                "timeouts",
                spec.timeouts.as_ref().filter(|_| timeouts_too).map(|one| one.span),
            ),
        ];
        for (key, span) in keys {
            if let Some(span) = span {
                let message = format!("`{key}` has no meaning here: {because}");
                self.problems.push(Diagnostic::error(span, message));
            }
        }
    }

    fn http(&mut self, now: Instant) -> Option<Http> {
        let spec = self.spec;
        let targets = self.targets();
        // Without a target it is open whether `tls` fits, so the rest is checked for itself.
        let tls_spoken = targets
            .as_ref()
            .and_then(|targets| targets.first())
            .map(|(_, target)| target.tls);
        let len = targets.as_ref().map_or(0, Vec::len);
        let protocol = self.protocol(tls_spoken);
        let tls = self.tls(tls_spoken);
        let host = self.host(tls_spoken);
        let timeouts = self.timeouts();
        let limits = self.limits(len);
        let settings = Settings {
            group_key: self.hash.digest(),
            protocol: protocol?,
            tls: tls?,
            host: host?,
            timeouts: timeouts?,
        };
        let mut endpoints = Vec::with_capacity(len);
        for (span, target) in targets? {
            match Endpoint::new(&target, &settings) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(message) => self.problems.push(Diagnostic::error(span, message)),
            }
        }
        let balance = spec.balance.as_ref().map(|one| one.value).unwrap_or_default();
        let statuses = spec
            .ejection
            .as_ref()
            .map(|one| one.statuses.iter().map(|status| status.value).collect());
        let original = spec.original_destination.is_some();
        Some(Http {
            original: original.then_some(settings.timeouts.connect),
            balancer: Balancer::new(balance, endpoints.len(), limits?, now),
            endpoints: endpoints.into(),
            failing_statuses: statuses.unwrap_or_default(),
        })
    }

    /// The endpoints, each with the place where it is written; never empty.
    fn targets(&mut self) -> Option<Vec<(Span, Target)>> {
        let spec = self.spec;
        if let Some(original) = &spec.original_destination {
            self.several_only("an original destination");
            if !original.value {
                return self.fail(original.span, "an original destination is either `true` or left out");
            }
            let target = Target {
                place: Place::Original,
                tls: false,
            };
            return Some(vec![(original.span, target)]);
        }
        let urls = match (&spec.url, &spec.endpoints) {
            (Some(url), _) => {
                self.several_only("`url`");
                std::slice::from_ref(url)
            }
            (None, Some(urls)) if urls.value.is_empty() => {
                return self.fail(urls.span, "`endpoints` is empty; list at least one URL");
            }
            (None, Some(urls)) if urls.value.len() > ENDPOINTS_MAX => {
                let message = format!("{} endpoints are too many: at most {ENDPOINTS_MAX}", urls.value.len());
                return self.fail(urls.span, message);
            }
            (None, Some(urls)) => urls.value.as_slice(),
            (None, None) => return None,
        };
        let mut targets: Vec<(Span, Target)> = Vec::with_capacity(urls.len());
        for url in urls {
            match Target::parse(&url.value, self.base_dir) {
                Ok(target) => targets.push((url.span, target)),
                Err(message) => self.problems.push(Diagnostic::error(url.span, message)),
            }
        }
        let (first_span, first) = targets.first()?;
        if let Some((span, _)) = targets.iter().find(|(_, target)| target.tls != first.tls) {
            let message = "the endpoints of an upstream are either all https:// or none is";
            let problem = Diagnostic::error(*span, message).also(*first_span, "the first endpoint");
            self.problems.push(problem);
        }
        (targets.len() == urls.len()).then_some(targets)
    }

    fn several_only(&mut self, what: &str) {
        let spec = self.spec;
        let keys = [
            ("balance", spec.balance.as_ref().map(|one| one.span)),
            ("ejection", spec.ejection.as_ref().map(|one| one.span)),
        ];
        for (key, span) in keys {
            if let Some(span) = span {
                let message = format!("`{key}` needs several endpoints, and {what} is one");
                self.problems
                    .push(Diagnostic::error(span, message).help("list them: `endpoints: [URL, URL]`"));
            }
        }
    }

    /// `Some(None)`: the client's.
    fn protocol(&mut self, tls: Option<bool>) -> Option<Option<Protocol>> {
        let Some(protocol) = &self.spec.protocol else {
            let fixed = self.spec.original_destination.is_none();
            return Some(fixed.then(Protocol::default));
        };
        let span = protocol.span;
        match (protocol.value, tls) {
            (Protocol::H2c, Some(true)) => self.fail(
                span,
                "`protocol: h2c` is HTTP/2 without TLS, and the URL is https://; write `h2`",
            ),
            (Protocol::H2, Some(false)) => self.fail(
                span,
                "`protocol: h2` is HTTP/2 over TLS, and the URL is not https://; write `h2c`",
            ),
            (Protocol::Auto, Some(false)) => self.fail(
                span,
                "`protocol: auto` lets TLS choose, and the URL is not https://; write `http1` or `h2c`",
            ),
            (protocol, _) => Some(Some(protocol)),
        }
    }

    fn host(&mut self, tls: Option<bool>) -> Option<HostHeader> {
        let Some(host) = &self.spec.host else {
            let tls = tls.unwrap_or(false);
            return Some(if tls {
                HostHeader::Upstream
            } else {
                HostHeader::Preserve
            });
        };
        match host.value.as_str() {
            "preserve" => Some(HostHeader::Preserve),
            "upstream" => Some(HostHeader::Upstream),
            name => {
                let authority = name.parse::<Authority>().ok().filter(|_| !name.contains('@'));
                match authority.and_then(|_| HeaderValue::from_str(name).ok()) {
                    Some(value) => Some(HostHeader::Fixed(value)),
                    None => {
                        let message = format!(
                            "`{name}` is not a host; write `preserve`, `upstream`, or a name such as shop.example.com"
                        );
                        self.fail(host.span, message)
                    }
                }
            }
        }
    }

    fn timeouts(&mut self) -> Option<Timeouts> {
        let default = TimeoutsSpec::default();
        let spec = self.spec.timeouts.as_ref().map_or(&default, |one| &one.value);
        let unless_zero = |time: Time| Some(time.get()).filter(|time| !time.is_zero());
        let minute = Time::from_millis(60_000);
        let connect = spec.connect.as_ref().map_or(Time::from_millis(5_000), |one| one.value);
        if connect == Time::ZERO {
            let span = spec.connect.as_ref().map_or(Span::NOWHERE, |one| one.span);
            return self.fail(
                span,
                "`connect: 0` would let no connection succeed; write a time such as 5s",
            );
        }
        Some(Timeouts {
            connect: connect.get(),
            read: unless_zero(spec.read.unwrap_or(minute)),
            write: unless_zero(spec.write.unwrap_or(minute)),
            idle: spec.idle.unwrap_or(Time::from_millis(4_000)).get(),
        })
    }
}
