//! Builds an [`Upstream`] from its configuration, and reports everything that is wrong at once.

mod ejection;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::uri::Authority;
use pingora::upstreams::peer::ALPN;
use xxhash_rust::xxh3::Xxh3;

use super::balance::Balancer;
use super::forward::{Allow, Forward};
use super::peer::{Endpoint, HostHeader, Settings, Timeouts};
use super::server::TcpServer;
use super::target::{HttpTarget, TargetAddress, parse_address};
use super::{Http, Place, Upstream};
use crate::proxy::upstream::spec::{Balance, ForwardSpec, Protocol, UpstreamSpec};
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span};
use crate::yaml::units::Time;

/// The most endpoints of an upstream: more would make each choice slow, and are probably a mistake.
const ENDPOINTS_MAX: usize = 1_000;

impl Upstream {
    /// Checks `spec` and reads the files that it names, relative to `base_dir`. `span` is where the upstream is declared, for
    /// errors that concern no single key. `now` is the monotonic time.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn build(
        name: &str,
        span: Span,
        spec: &UpstreamSpec,
        base_dir: &Path,
        now: Instant,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut builder = Builder {
            spec,
            span,
            base_dir,
            problems: Vec::new(),
            hash: Xxh3::new(),
        };
        let built = builder.target(name, now);
        if !builder.problems.is_empty() {
            return Err(builder.problems);
        }
        let (http, tcp) = match built {
            Some(Built::Http(http)) => (Some(Arc::new(http)), None),
            Some(Built::Tcp(server)) => (None, Some(Arc::new(server))),
            None => (None, None),
        };
        Ok(Self {
            fingerprint: builder.hash.digest(),
            http,
            tcp,
        })
    }
}

/// What an upstream was built to, unless it is a fake.
enum Built {
    Http(Http),
    Tcp(TcpServer),
}

struct Builder<'a> {
    spec: &'a UpstreamSpec,
    /// Where the upstream is declared.
    span: Span,
    base_dir: &'a Path,
    problems: Vec<Diagnostic>,
    /// Hash of the whole configuration of the upstream, including its certificates.
    hash: Xxh3,
}

impl Builder<'_> {
    /// Builds the target; `None` for a fake, and on errors.
    fn target(&mut self, name: &str, now: Instant) -> Option<Built> {
        self.hash.update(name.as_bytes());
        self.hash.update(self.base_dir.as_os_str().as_encoded_bytes());
        self.hash.update(&serde_json::to_vec(self.spec).unwrap_or_default());
        self.exactly_one_target(name)?;
        let spec = self.spec;
        if spec.fake.is_some() {
            self.refuse_http_keys("a fake runs inside squall");
            let others = [
                ("tls", span_of(&spec.tls)),
                ("proxy_protocol", span_of(&spec.proxy_protocol)),
            ];
            for (key, span) in given(others) {
                self.refuse(key, span, "a fake runs inside squall");
            }
            if let Some(timeouts) = &spec.timeouts {
                self.refuse("timeouts", timeouts.span, "a fake runs inside squall");
            }
            return None;
        }
        if let Some(address) = &spec.address {
            return self.tcp(address).map(Built::Tcp);
        }
        self.http(now).map(Built::Http)
    }

    fn tcp(&mut self, address: &Spanned<String>) -> Option<TcpServer> {
        self.refuse_http_keys("`address` is a TCP server");
        let spec = self.spec;
        if let Some(maps) = &spec.map_back {
            self.refuse("map_back", maps.span, "`address` is a TCP server");
        }
        if let Some(timeouts) = &spec.timeouts {
            let given = [
                ("read", timeouts.read),
                ("stream", timeouts.stream),
                ("write", timeouts.write),
                ("idle", timeouts.idle),
            ];
            for (key, _) in given.into_iter().filter(|(_, time)| time.is_some()) {
                self.refuse(key, timeouts.span, "of the timeouts, a TCP server has only `connect`");
            }
        }
        let place = match parse_address(&address.value, self.base_dir) {
            Ok(place) => place,
            Err(message) => return self.fail(address.span, message),
        };
        let tls = match &spec.tls {
            None => None,
            Some(tls) => {
                let settings = self.tls(Some(true), &ALPN::H1)?;
                match settings.server(place.host()) {
                    Ok(server) => Some((settings.client.of_bytes(), server)),
                    Err(message) => return self.fail(tls.span, message),
                }
            }
        };
        let connect = self.timeouts().connect;
        self.problems
            .is_empty()
            .then(|| TcpServer::new(place, tls, connect).with_header(spec.proxy_protocol.as_deref().copied()))
    }

    /// Adds an error. The returned default is never used, since errors fail the build.
    fn fail<T: Default>(&mut self, span: Span, message: impl Into<String>) -> T {
        self.problems.push(Diagnostic::error(span, message));
        T::default()
    }

    fn exactly_one_target(&mut self, name: &str) -> Option<()> {
        let spec = self.spec;
        let mut targets = given([
            ("url", span_of(&spec.url)),
            ("endpoints", span_of(&spec.endpoints)),
            ("forward", span_of(&spec.forward)),
            ("original_destination", span_of(&spec.original_destination)),
            ("fake", span_of(&spec.fake)),
            ("address", span_of(&spec.address)),
        ]);
        let Some((first, at)) = targets.next() else {
            let problem = Diagnostic::error(self.span, format!("the upstream `{name}` has no target"))
                .help("give one of `url`, `endpoints`, `forward`, `original_destination`, `fake` and `address`");
            self.problems.push(problem);
            return None;
        };
        for (key, span) in targets {
            let message = format!(
                "in the upstream `{name}`, `{first}` can't be combined with `{key}`: it can have only one target"
            );
            let problem = Diagnostic::error(span, message).also(at, "the other target");
            self.problems.push(problem);
        }
        self.problems.is_empty().then_some(())
    }

    /// Refuses keys that only have an effect on HTTP over the network.
    fn refuse_http_keys(&mut self, because: &str) {
        let spec = self.spec;
        let keys = given([
            ("balance", span_of(&spec.balance)),
            ("ejection", span_of(&spec.ejection)),
            ("protocol", span_of(&spec.protocol)),
            ("host", span_of(&spec.host)),
        ]);
        for (key, span) in keys {
            self.refuse(key, span, because);
        }
    }

    fn refuse(&mut self, key: &str, span: Span, because: &str) {
        self.fail(span, format!("`{key}` has no effect here: {because}"))
    }

    fn http(&mut self, now: Instant) -> Option<Http> {
        let spec = self.spec;
        if let Some(version) = &spec.proxy_protocol {
            let because = "requests of several clients share the connections to an HTTP server";
            self.refuse("proxy_protocol", version.span, because);
        }
        if let Some(forward) = &spec.forward {
            return self.forward(forward, now);
        }
        let targets = self.targets();
        // Without a valid target it is unknown whether `tls` fits, but the rest can still be checked.
        let first = targets.as_ref().and_then(|targets| targets.first());
        let tls = first.map(|(_, target)| target.tls);
        let limits = self.limits(targets.as_ref().map_or(0, Vec::len));
        let protocol = self.protocol(tls);
        let alpn = alpn(protocol);
        let settings = Settings {
            tls: self.tls(tls, &alpn),
            alpn,
            follows_client: protocol.is_none(),
            host: self.host(tls),
            timeouts: self.timeouts(),
            allow: None,
            // After `self.tls`, so that the hash includes the certificates.
            group_key: self.hash.digest(),
        };
        if !self.problems.is_empty() {
            return None;
        }
        let mut endpoints = Vec::new();
        let targets = targets?;
        let base = targets.first().map(|(_, target)| target.base.as_str().into());
        let places = targets.iter().filter_map(|(_, target)| target.place());
        let places: Box<[Place]> = places.collect();
        for (span, target) in targets {
            match Endpoint::new(&target, &settings) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(message) => self.fail(span, message),
            }
        }
        let statuses = spec.ejection.iter().flat_map(|ejection| &ejection.statuses);
        let balance = spec.balance.as_deref().copied().unwrap_or_default();
        let original = spec.original_destination.is_some();
        Some(Http {
            base: base.unwrap_or_default(),
            places,
            original: original.then_some(settings.timeouts.connect),
            forward: None,
            balancer: Balancer::new(balance, endpoints.len(), limits, now),
            endpoints: endpoints.into(),
            stream: settings.timeouts.stream,
            failing_statuses: statuses.map(|status| status.value).collect(),
        })
    }

    /// What forwards requests to the hosts that they name themselves.
    fn forward(&mut self, spec: &Spanned<ForwardSpec>, now: Instant) -> Option<Http> {
        self.several_only("a host that each request names");
        let hosts = spec.value.hosts.as_ref();
        let typed: Vec<&str> = hosts
            .iter()
            .flat_map(|hosts| &hosts.value.0)
            .map(String::as_str)
            .collect();
        if let Some(protocol) = &self.spec.protocol
            && protocol.value != Protocol::Http1
        {
            self.fail(
                protocol.span,
                "requests are forwarded over HTTP/1.1: leave out `protocol`",
            )
        }
        let allow = Allow::new(&typed).map_err(|mistakes| {
            for (_, message) in mistakes {
                self.fail(hosts.map_or(spec.span, |hosts| hosts.span), message)
            }
        });
        let alpn = ALPN::H1;
        let settings = Settings {
            tls: self.tls(Some(true), &alpn),
            alpn,
            follows_client: false,
            host: self.host(None),
            timeouts: self.timeouts(),
            allow: None,
            group_key: self.hash.digest(),
        };
        let allow = Arc::new(allow.ok().filter(|_| self.problems.is_empty())?);
        let settings = Settings {
            allow: Some(Arc::clone(&allow)),
            ..settings
        };
        Some(Http {
            endpoints: Box::default(),
            base: Box::default(),
            places: Box::default(),
            original: None,
            stream: settings.timeouts.stream,
            balancer: Balancer::new(Balance::default(), 1, None, now),
            forward: Some(Box::new(Forward::new(allow, settings))),
            failing_statuses: Box::default(),
        })
    }

    /// The endpoints, each with its position; never empty.
    fn targets(&mut self) -> Option<Vec<(Span, HttpTarget)>> {
        let spec = self.spec;
        if let Some(original) = &spec.original_destination {
            self.several_only("an original destination");
            if !original.value {
                return self.fail(original.span, "`original_destination` must be `true`, or left out");
            }
            let target = HttpTarget {
                place: TargetAddress::Original,
                tls: false,
                base: String::new(),
            };
            return Some(vec![(original.span, target)]);
        }
        let urls = match (&spec.url, &spec.endpoints) {
            (Some(url), _) => {
                self.several_only("`url`");
                std::slice::from_ref(url)
            }
            (None, Some(urls)) if urls.is_empty() => {
                return self.fail(urls.span, "`endpoints` is empty: list at least one URL");
            }
            (None, Some(urls)) if urls.len() > ENDPOINTS_MAX => {
                let message = format!("{} endpoints are too many: use at most {ENDPOINTS_MAX}", urls.len());
                return self.fail(urls.span, message);
            }
            (None, Some(urls)) => urls.value.as_slice(),
            (None, None) => return None,
        };
        let mut targets: Vec<(Span, HttpTarget)> = Vec::with_capacity(urls.len());
        for url in urls {
            match HttpTarget::parse(&url.value, self.base_dir) {
                Ok(target) => targets.push((url.span, target)),
                Err(message) => self.fail(url.span, message),
            }
        }
        let (first_span, first) = targets.first()?;
        if let Some((span, _)) = targets.iter().find(|(_, target)| target.tls != first.tls) {
            let message = "https:// endpoints can't be combined with others in one upstream";
            let problem = Diagnostic::error(*span, message).also(*first_span, "the first endpoint");
            self.problems.push(problem);
        }
        if let Some((span, _)) = targets.iter().find(|(_, target)| target.base != first.base) {
            let message = "the endpoints of one upstream serve the same: their URLs must have the same path";
            let problem = Diagnostic::error(*span, message).also(*first_span, "the first endpoint");
            self.problems.push(problem);
        }
        (targets.len() == urls.len()).then_some(targets)
    }

    fn several_only(&mut self, what: &str) {
        let spec = self.spec;
        for (key, span) in given([
            ("balance", span_of(&spec.balance)),
            ("ejection", span_of(&spec.ejection)),
        ]) {
            let message = format!("`{key}` needs several endpoints, but {what} is one");
            let problem = Diagnostic::error(span, message).help("list them: `endpoints: [URL, URL]`");
            self.problems.push(problem);
        }
    }

    /// The version of HTTP to use; `None`: the client's.
    fn protocol(&mut self, tls: Option<bool>) -> Option<Protocol> {
        let Some(protocol) = &self.spec.protocol else {
            let fixed = self.spec.original_destination.is_none();
            return fixed.then(Protocol::default);
        };
        let mistake = match (protocol.value, tls) {
            (Protocol::H2c, Some(true)) => "`protocol: h2c` is HTTP/2 without TLS, but the URL is https://: use `h2`",
            (Protocol::H2, Some(false)) => "`protocol: h2` is HTTP/2 over TLS, but the URL is not https://: use `h2c`",
            (Protocol::Auto, Some(false)) => {
                "`protocol: auto` needs TLS, but the URL is not https://: use `http1` or `h2c`"
            }
            (protocol, _) => return Some(protocol),
        };
        self.fail(protocol.span, mistake)
    }

    fn host(&mut self, tls: Option<bool>) -> HostHeader {
        let Some(host) = &self.spec.host else {
            return match tls {
                Some(true) => HostHeader::Upstream,
                _ => HostHeader::Preserve,
            };
        };
        match (host.as_str(), HeaderValue::from_str(host)) {
            ("preserve", _) => HostHeader::Preserve,
            ("upstream", _) => HostHeader::Upstream,
            (name, Ok(value)) if !name.contains('@') && name.parse::<Authority>().is_ok() => HostHeader::Fixed(value),
            (name, _) => {
                let message = format!(
                    "`{name}` is not a valid host: use `preserve`, `upstream`, or a name such as shop.example.com"
                );
                self.fail(host.span, message)
            }
        }
    }

    fn timeouts(&mut self) -> Timeouts {
        let spec = self.spec.timeouts.as_deref().cloned().unwrap_or_default();
        let connect = spec.connect.unwrap_or(Time::from_millis(5_000).into());
        if connect.value == Time::ZERO {
            return self.fail(
                connect.span,
                "with `connect: 0` no connection would succeed: use a time such as 5s",
            );
        }
        let minute = Time::from_millis(60_000);
        let unless_zero = |time: Time| Some(time.get()).filter(|time| !time.is_zero());
        Timeouts {
            connect: connect.get(),
            read: unless_zero(spec.read.unwrap_or(minute)),
            stream: unless_zero(spec.stream.unwrap_or(Time::ZERO)),
            write: unless_zero(spec.write.unwrap_or(minute)),
            idle: spec.idle.map_or(Duration::from_secs(4), Time::get),
        }
    }
}

/// The versions of HTTP to offer over TLS; without TLS the highest is spoken.
fn alpn(protocol: Option<Protocol>) -> ALPN {
    match protocol {
        None | Some(Protocol::Http1) => ALPN::H1,
        Some(Protocol::H2 | Protocol::H2c) => ALPN::H2,
        Some(Protocol::Auto) => ALPN::H2H1,
    }
}

/// The position of a key, if it is given.
fn span_of<T>(key: &Option<Spanned<T>>) -> Option<Span> {
    key.as_ref().map(|key| key.span)
}

/// The keys that are given, with their positions.
fn given<const N: usize>(keys: [(&str, Option<Span>); N]) -> impl Iterator<Item = (&str, Span)> {
    keys.into_iter().filter_map(|(key, span)| Some((key, span?)))
}
