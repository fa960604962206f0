//! Builds the listeners of a snapshot: addresses, certificates, targets, and the rules that apply to them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Build, Listener, ListenerKind, Targets, fake_cors};
use crate::cors::Cors;
use crate::fake;
use crate::metrics::Site;
use crate::proxy::exchange::view::{Target, View};
use crate::proxy::execute::hold::Bounds;
use crate::proxy::listen::accept::ListenerTimeouts;
use crate::proxy::listen::gate::ConnectionView;
use crate::proxy::listen::spec::{ListenerSpec, ListenerTlsSpec, PairSpec};
use crate::proxy::net::address::AddressSpec;
use crate::proxy::tcp::view::{ConnectionLog, TcpView};
use crate::proxy::tls::{FaultAuthority, Pair, ServerTls};
use crate::rule::sets::RuleSets;
use crate::yaml::decode::Spanned;
use crate::yaml::forms::OneOrMany;
use crate::yaml::report::{Diagnostic, Span, did_you_mean};
use crate::yaml::units::Time;

impl Build<'_> {
    /// The listeners, still without rules.
    pub(super) fn listeners(&mut self, targets: &Targets, authority: &Arc<FaultAuthority>) -> Vec<Listener> {
        let spec = self.spec;
        // Without any part that is known it is another kind of file, and has other mistakes.
        let is_ours = self.gaps.is_empty() || !spec.upstreams.is_empty() || !spec.rules.is_empty();
        if spec.listeners.is_empty() && is_ours && !self.gaps.may_have_any("listeners") {
            self.diagnostics.push(
                Diagnostic::error(
                    self.sources.start(),
                    "there are no listeners: squall would have nothing to do",
                )
                .help("add `listeners: {web: {address: 127.0.0.1:8080, upstream: NAME}}`"),
            );
        }
        let mut seen: Vec<(&AddressSpec, Span)> = Vec::new();
        let admin = spec.admin.as_ref().and_then(|admin| admin.value.0.address.as_ref());
        let toxiproxy = spec
            .toxiproxy
            .as_ref()
            .and_then(|toxiproxy| toxiproxy.value.0.address.as_ref());
        for address in admin.into_iter().chain(toxiproxy) {
            seen.push((&address.value, address.span));
        }
        let mut listeners = Vec::new();
        for (name, listener) in spec.listeners.iter() {
            let address = &listener.address;
            if listener.enabled {
                let taken = seen.iter().find(|(other, _)| other.overlaps(&address.value));
                if let Some((other, first)) = taken {
                    let message = if **other == address.value {
                        format!("the address {} is used twice", address.value)
                    } else {
                        format!("the addresses {} and {other} can't both be used", address.value)
                    };
                    self.diagnostics
                        .push(Diagnostic::error(address.span, message).also(*first, "the first is here"));
                }
                seen.push((&address.value, address.span));
            }
            let before = self.diagnostics.len();
            listeners.extend(self.listener(name, listener, targets, authority));
            self.gaps.forget_consequences(self.diagnostics, before, name.span);
        }
        listeners
    }

    fn listener(
        &mut self,
        name: &Spanned<String>,
        spec: &ListenerSpec,
        targets: &Targets,
        authority: &Arc<FaultAuthority>,
    ) -> Option<Listener> {
        let is_tcp = spec.is_tcp();
        if is_tcp {
            self.refuse_http_settings(spec);
        }
        let tls = self.tls(spec);
        let timeouts = self.timeouts(spec);
        let bounds = Bounds {
            held: self.spec.bounds.held.get(),
            longest: self.spec.bounds.delay.get(),
        };
        // With routes, a connection has no upstream before its first request.
        let upstream = spec.upstream.as_ref().filter(|_| spec.routes.is_none());
        let upstream = upstream.map_or("", |upstream| upstream.value.as_str());
        let connection = ConnectionView {
            on_accept: RuleSets::default(),
            handshake: RuleSets::default(),
            site: Site::new(&name.value, upstream),
            space: None,
            authority: Arc::clone(authority),
            bounds,
            access: self.spec.log.access,
        };
        // Everything is looked at before the first mistake ends it.
        let kind = if is_tcp {
            self.bytes(name, spec, targets, bounds).map(ListenerKind::Tcp)
        } else {
            self.requests(name, spec, targets, bounds).map(ListenerKind::Http)
        };
        let (tls, kind) = (tls.ok()?, kind?);
        let own: Arc<str> = name.value.as_str().into();
        Some(Listener {
            of: Arc::clone(&own),
            name: own,
            space: None,
            address: spec.address.value.clone(),
            enabled: spec.enabled,
            tls: if is_tcp { tls.map(|tls| tls.of_bytes()) } else { tls },
            proxied: spec.proxy_protocol,
            timeouts,
            connection: Arc::new(connection),
            kind,
        })
    }

    /// The view of a TCP listener's connections.
    fn bytes(
        &mut self,
        name: &Spanned<String>,
        spec: &ListenerSpec,
        targets: &Targets,
        bounds: Bounds,
    ) -> Option<Arc<TcpView>> {
        let Some(upstream) = &spec.upstream else {
            let message = format!("the listener `{}` has no `upstream`", name.value);
            self.error(name.span, message);
            return None;
        };
        let target = self.listener_target(spec, upstream, targets)?;
        let view = TcpView {
            rules: RuleSets::default(),
            server: Arc::clone(target.tcp()?),
            space: None,
            metrics: self.inputs.metrics.tcp(&name.value, &upstream.value),
            guards: Arc::clone(&self.natural),
            bounds,
            buffer: usize::try_from(self.spec.bounds.buffer.get()).unwrap_or(usize::MAX),
            idle: spec
                .timeouts
                .as_ref()
                .and_then(|limits| limits.idle)
                .map(|idle| idle.get()),
            log: ConnectionLog {
                access: self.spec.log.access,
                opened: self.spec.log.opened,
                sample_ppm: self.spec.log.sample.ppm(),
            },
        };
        Some(Arc::new(view))
    }

    /// The view of an HTTP listener's requests.
    fn requests(
        &mut self,
        name: &Spanned<String>,
        spec: &ListenerSpec,
        targets: &Targets,
        bounds: Bounds,
    ) -> Option<Arc<View>> {
        let (routes, own) = self.routes(name, spec, targets)?;
        let view = View {
            rules: RuleSets::default(),
            routes,
            own,
            name: name.value.as_str().into(),
            space: None,
            guards: Arc::clone(&self.natural),
            trusted_proxies: spec
                .trusted_proxies
                .iter()
                .flat_map(|OneOrMany(nets)| nets)
                .map(|net| net.0)
                .collect(),
            reveal: self.spec.reveal,
            bounds,
            buffer: usize::try_from(self.spec.bounds.buffer.get()).unwrap_or(usize::MAX),
            bodies: self.spec.bounds.most_bodies(),
            access: self.spec.log.access,
            sample_ppm: self.spec.log.sample.ppm(),
        };
        Some(Arc::new(view))
    }

    /// The listener's own `cors`, or else that of the upstream, if that is a fake.
    pub(super) fn cors(&self, spec: &ListenerSpec, upstream: &str) -> Option<Arc<Cors>> {
        let own = spec.cors.as_ref().map(|cors| &cors.value);
        let cors = own.or_else(|| fake_cors(self.spec, upstream))?;
        Some(Arc::new(Cors::new(cors)))
    }

    /// The target of a listener, or of one of its routes.
    pub(super) fn listener_target(
        &mut self,
        spec: &ListenerSpec,
        wanted: &Spanned<String>,
        targets: &Targets,
    ) -> Option<Arc<Target>> {
        let known = self.spec.upstreams.get(&wanted.value);
        match known {
            // It was left out, or lacks what tells what it is for: that was reported at its own position.
            _ if self.gaps.may_have("upstreams", &wanted.value) => None,
            // Its protocol may have been left out.
            Some(_) if spec.protocol.is_none() && self.gaps.around(wanted.span) => None,
            Some(upstream)
                if upstream.value.original_destination.is_some() && self.refuse_redirected(spec, wanted.span) =>
            {
                None
            }
            Some(upstream) if upstream.value.address.is_some() && !spec.is_tcp() => {
                let message = format!(
                    "the upstream `{}` has an `address`, which is for tcp: http needs a `url`",
                    wanted.value
                );
                let diagnostic = Diagnostic::error(wanted.span, message);
                self.diagnostics
                    .push(diagnostic.help("if its clients don't speak HTTP, add `protocol: tcp` to the listener"));
                None
            }
            Some(upstream) if upstream.value.address.is_none() && spec.is_tcp() => {
                let message = format!(
                    "the upstream `{}` is for http: a listener with `protocol: tcp` needs one with an `address`",
                    wanted.value
                );
                let diagnostic = Diagnostic::error(wanted.span, message);
                self.diagnostics
                    .push(diagnostic.help("such as `{address: 127.0.0.1:5432}`"));
                None
            }
            // Its errors were reported at its own position.
            Some(_) => targets.get(&wanted.value).map(|(_, target)| Arc::clone(target)),
            None => {
                let names = || self.spec.upstreams.names().chain(self.gaps.names("upstreams"));
                let help = match did_you_mean(&wanted.value, names()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None if wanted.value.contains(':') => format!(
                        "an address is an upstream: write `upstreams: {{shop: \"{}\"}}` and `upstream: shop`",
                        wanted.value
                    ),
                    None if fake::spec::names().any(|fake| fake == wanted.value) => format!(
                        "a fake is an upstream: write `upstreams: {{{0}: {{fake: {0}}}}}`",
                        wanted.value
                    ),
                    None => format!("known upstreams: {}", listed(names())),
                };
                let message = format!("unknown upstream `{}`", wanted.value);
                self.diagnostics
                    .push(Diagnostic::error(wanted.span, message).help(help));
                None
            }
        }
    }

    /// Refuses settings that only have an effect on requests.
    fn refuse_http_settings(&mut self, spec: &ListenerSpec) {
        let header = spec.timeouts.as_ref().and_then(|timeouts| timeouts.header);
        if let Some(header) = header {
            self.error(
                header.span,
                "`header` has no effect on a tcp listener: there are no requests",
            );
        }
        if let Some(cors) = &spec.cors {
            self.error(
                cors.span,
                "`cors` has no effect on a tcp listener: there are no responses",
            );
        }
        if let Some(routes) = &spec.routes {
            let diagnostic = Diagnostic::error(
                routes.span,
                "`routes` have no effect on a tcp listener: there are no requests",
            );
            self.diagnostics
                .push(diagnostic.help("give each TCP server a listener of its own, with `upstream`"));
        }
        if spec.trusted_proxies.is_some() {
            let message = "`trusted_proxies` has no effect on a tcp listener, which has no X-Forwarded-For";
            let diagnostic = Diagnostic::error(spec.address.span, message);
            self.diagnostics
                .push(diagnostic.help("a proxy in front can tell clients' addresses with `proxy_protocol: true`"));
        }
    }

    /// Refuses settings that a listener of redirected connections can't have.
    fn refuse_redirected(&mut self, spec: &ListenerSpec, upstream: Span) -> bool {
        let (span, message) = match (&spec.tls, &spec.address.value) {
            (Some(tls), _) => (
                tls.span,
                "`tls` can't be combined with redirected connections, whose TLS passes through unread",
            ),
            (None, AddressSpec::Unix(_)) => (
                spec.address.span,
                "connections to a unix socket have no original destination: listen on an IP address and a port",
            ),
            (None, AddressSpec::Tcp(_)) => return false,
        };
        self.diagnostics
            .push(Diagnostic::error(span, message).also(upstream, "the upstream is the original destination"));
        true
    }

    fn timeouts(&mut self, spec: &ListenerSpec) -> ListenerTimeouts {
        let spec = spec.timeouts.clone().unwrap_or_default();
        let default = ListenerTimeouts::default();
        let mut or = |key: &str, given: Option<Spanned<Time>>, default: Duration| match given {
            Some(time) if time.value == Time::ZERO => {
                let message = format!("with `{key}: 0` no client would be in time: use a time such as 10s");
                self.error(time.span, message);
                default
            }
            Some(time) => time.get(),
            None => default,
        };
        ListenerTimeouts {
            handshake: or("handshake", spec.handshake, default.handshake),
            header: or("header", spec.header, default.header),
            idle: or("idle", spec.idle, default.idle),
        }
    }

    fn tls(&mut self, spec: &ListenerSpec) -> Result<Option<ServerTls>, ()> {
        let Some(tls) = &spec.tls else { return Ok(None) };
        let folder = self.folder(tls.span).to_owned();
        let client_ca = tls.value.client_ca.as_ref().map(|file| folder.join(&file.value));
        self.files.note(client_ca.clone());
        let loaded = pairs(&tls.value).and_then(|typed| {
            let pairs: Vec<Pair> = typed
                .into_iter()
                .map(|(certificate, key)| self.pair(&folder, certificate, key))
                .collect();
            ServerTls::load(&pairs, client_ca.as_deref())
        });
        let loaded = loaded.map_err(|message| self.error(tls.span, message))?;
        let warnings = loaded.warnings().iter();
        self.diagnostics
            .extend(warnings.map(|warning| Diagnostic::warning(tls.span, warning)));
        Ok(Some(loaded))
    }

    pub(super) fn pair(&self, folder: &Path, certificate: &Path, key: &Path) -> Pair {
        let pair = Pair {
            certificate: folder.join(certificate),
            key: folder.join(key),
        };
        self.files.note([pair.certificate.clone(), pair.key.clone()]);
        pair
    }
}

/// The certificates and keys of a listener, in either form.
fn pairs(tls: &ListenerTlsSpec) -> Result<Vec<(&Path, &Path)>, String> {
    match (&tls.certificate, &tls.key, &tls.certificates) {
        (Some(certificate), Some(key), None) => Ok(vec![(&certificate.value, &key.value)]),
        (None, None, Some(certificates)) if !certificates.value.is_empty() => {
            let listed = certificates.value.iter();
            Ok(listed
                .map(|PairSpec { certificate, key }| (certificate.value.as_path(), key.value.as_path()))
                .collect())
        }
        (None, None, Some(_)) => Err("the list of certificates is empty".into()),
        (None, None, None) => Err("`tls` needs `certificate` and `key`, or `certificates`".into()),
        (_, _, Some(_)) => Err("in `tls`, `certificate` and `key` can't be combined with `certificates`".into()),
        (Some(_), None, None) => Err("`certificate` needs its `key`".into()),
        (None, Some(_), None) => Err("`key` needs its `certificate`".into()),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none; add it under `upstreams:`".to_owned()
    } else {
        names.join(", ")
    }
}
