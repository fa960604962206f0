//! The proxies, and what the API does to them.
//!
//! All of them are behind one lock, which is held only to look and to change: names are looked up before, bodies are read
//! before, and the data path takes changes without waiting. So no connection, however slow, can hold up the API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::asked::{Change, MAX_TOXICS, Wanted};
use super::json::Json;
use super::listen::{self, Addresses, Place, Unresolved};
use super::refusal::Refusal;
use super::rules::Rules;
use super::running::{Bytes, Engine, Running, Start};
use super::toxic::Toxic;
use crate::metrics::{Counted, Site};
use crate::rule::decide::Rule;
use crate::shape::Direction;

/// All proxies.
#[derive(Debug)]
pub(super) struct Proxies {
    rules: Rules,
    engine: Box<dyn Engine>,
    all: Mutex<BTreeMap<String, Proxy>>,
}

/// A proxy, whether it runs or not.
#[derive(Debug)]
struct Proxy {
    name: String,
    /// The real address once it has run, before that the text as typed.
    listen: String,
    upstream: String,
    /// In the order of their creation.
    toxics: Vec<Toxic>,
    /// `None` if it is disabled.
    running: Option<Box<dyn Running>>,
    /// The bytes of earlier runs with the same address and upstream.
    past: Bytes,
}

/// The bytes of a proxy, and what tells it from others in metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) proxy: String,
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) bytes: Bytes,
}

/// Why a change did not happen yet.
#[derive(Debug)]
enum Stop {
    Refused(Refusal),
    Unresolved(Unresolved),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Unresolved> for Stop {
    fn from(unresolved: Unresolved) -> Stop {
        Stop::Unresolved(unresolved)
    }
}

type Locked = BTreeMap<String, Proxy>;

impl Proxies {
    pub(super) fn new(rules: Rules, engine: Box<dyn Engine>) -> Proxies {
        Proxies {
            rules,
            engine,
            all: Mutex::default(),
        }
    }

    /// Makes a change, after looking up the names that it turns out to need.
    async fn change<T>(&self, change: impl Fn(&mut Locked, &Addresses) -> Result<T, Stop>) -> Result<T, Refusal> {
        let mut addresses = Addresses::default();
        loop {
            let changed = {
                let mut all = self.all.lock();
                let changed = change(&mut all, &addresses);
                self.note(&all);
                changed
            };
            match changed {
                Ok(value) => return Ok(value),
                Err(Stop::Refused(refusal)) => return Err(refusal),
                Err(Stop::Unresolved(name)) => addresses.look_up(name).await,
            }
        }
    }

    /// Notes the rules in force in the metrics.
    fn note(&self, all: &Locked) {
        let rules = all.values().flat_map(|proxy| {
            let site: Arc<[Arc<Site>]> = [Site::new(&proxy.name, &proxy.upstream)].into();
            let rules = proxy.toxics.iter().filter_map(|toxic| toxic.rule.clone());
            rules.map(move |rule| Counted {
                rule,
                sites: Arc::clone(&site),
            })
        });
        self.rules.note(rules.collect());
    }

    /// All proxies by name.
    pub(super) fn list(&self) -> Value {
        let all = self.all.lock();
        let shown = all.values().map(|proxy| (proxy.name.clone(), proxy.to_json()));
        Value::Object(shown.collect())
    }

    /// One proxy.
    pub(super) fn show(&self, name: &str) -> Result<Value, Refusal> {
        let all = self.all.lock();
        Ok(all.get(name).ok_or_else(Refusal::no_proxy)?.to_json())
    }

    /// Creates a proxy with its toxics, or nothing.
    pub(super) async fn create(&self, body: &Json) -> Result<Value, Refusal> {
        let wanted = Wanted::one(body)?;
        let toxics = wanted.toxics(&self.rules)?;
        self.change(|all, addresses| {
            if all.contains_key(&wanted.name) {
                return Err(Refusal::proxy_exists().into());
            }
            let proxy = self.made(&wanted, &toxics, addresses)?;
            let shown = proxy.to_json();
            all.insert(wanted.name.clone(), proxy);
            Ok(shown)
        })
        .await
    }

    /// A new proxy, which runs if that is wanted.
    fn made(&self, wanted: &Wanted, toxics: &[Toxic], addresses: &Addresses) -> Result<Proxy, Stop> {
        let mut proxy = Proxy {
            name: wanted.name.clone(),
            listen: wanted.listen.clone(),
            upstream: wanted.upstream.clone(),
            toxics: toxics.to_vec(),
            running: None,
            past: Bytes::default(),
        };
        if wanted.enabled {
            self.start(&mut proxy, addresses)?;
        }
        Ok(proxy)
    }

    /// Creates or replaces proxies. One that is where it is wanted already is left alone, with its toxics. Gives all that are
    /// as wanted, also if a later one is refused.
    pub(super) async fn populate(&self, body: &Json) -> (Vec<Value>, Option<Refusal>) {
        let wanted = match self.wanted(body) {
            Ok(wanted) => wanted,
            Err(refusal) => return (Vec::new(), Some(refusal)),
        };
        let populated = self.change(|all, addresses| {
            // Nothing is changed before all names are looked up.
            for (wanted, _) in &wanted {
                let _known = addresses.get(&wanted.listen)?;
            }
            let (mut shown, mut refused) = (Vec::new(), None);
            for (wanted, toxics) in &wanted {
                match self.put(all, wanted, toxics, addresses) {
                    Ok(proxy) => shown.push(proxy),
                    Err(Stop::Unresolved(name)) => return Err(name.into()),
                    Err(Stop::Refused(refusal)) => {
                        refused = Some(refusal);
                        break;
                    }
                }
            }
            Ok((shown, refused))
        });
        populated.await.unwrap_or_else(|refusal| (Vec::new(), Some(refusal)))
    }

    /// The proxies of a list with their toxics, all of them checked.
    fn wanted(&self, body: &Json) -> Result<Vec<(Wanted, Vec<Toxic>)>, Refusal> {
        let mut all = Vec::new();
        for (index, wanted) in Wanted::many(body)?.into_iter().enumerate() {
            let toxics = wanted.toxics(&self.rules);
            let toxics = toxics.map_err(|refusal| refusal.at(&format!(" of proxy {}", index + 1)))?;
            all.push((wanted, toxics));
        }
        Ok(all)
    }

    fn put(&self, all: &mut Locked, wanted: &Wanted, toxics: &[Toxic], addresses: &Addresses) -> Result<Value, Stop> {
        if let Some(old) = all.get_mut(&wanted.name) {
            let place = addresses.get(&wanted.listen)?.map_err(Refusal::of_system)?;
            if old.upstream == wanted.upstream && old.is_at(&wanted.listen, &place) {
                return Ok(old.to_json());
            }
            // Its port may be the one that the new proxy wants.
            old.stop();
        }
        let proxy = self.made(wanted, toxics, addresses)?;
        let shown = proxy.to_json();
        all.insert(wanted.name.clone(), proxy);
        Ok(shown)
    }

    /// Changes a proxy. Another address or upstream ends its connections; toxics stay.
    pub(super) async fn update(&self, name: &str, body: Result<Json, String>) -> Result<Value, Refusal> {
        // A proxy that is not there is the first thing to say.
        self.show(name)?;
        let change = body.and_then(|body| Change::read(&body)).map_err(Refusal::bad_body)?;
        self.change(|all, addresses| {
            let proxy = all.get_mut(name).ok_or_else(Refusal::no_proxy)?;
            let listen = change.listen.as_ref().unwrap_or(&proxy.listen);
            let upstream = change.upstream.as_ref().unwrap_or(&proxy.upstream);
            let place = addresses.get(listen)?.map_err(Refusal::of_system)?;
            let enabled = change.enabled.unwrap_or(proxy.running.is_some());
            if *upstream != proxy.upstream || !proxy.is_at(listen, &place) {
                let (listen, upstream) = (listen.clone(), upstream.clone());
                proxy.stop();
                (proxy.listen, proxy.upstream, proxy.past) = (listen, upstream, Bytes::default());
            }
            match (enabled, proxy.running.is_some()) {
                (true, false) => self.start(proxy, addresses)?,
                (false, true) => proxy.stop(),
                _ => {}
            }
            Ok(proxy.to_json())
        })
        .await
    }

    /// Removes a proxy and ends its connections.
    pub(super) fn delete(&self, name: &str) -> Result<(), Refusal> {
        let mut all = self.all.lock();
        all.remove(name).ok_or_else(Refusal::no_proxy)?;
        self.note(&all);
        Ok(())
    }

    /// Enables every proxy and removes all toxics. One that can't be enabled does not keep the others from it.
    pub(super) async fn reset(&self) -> Result<(), Refusal> {
        self.change(|all, addresses| {
            let disabled = || all.values().filter(|proxy| proxy.running.is_none());
            for proxy in disabled() {
                let _known = addresses.get(&proxy.listen)?;
            }
            let mut refused = None;
            for proxy in all.values_mut() {
                proxy.toxics.clear();
                proxy.apply();
                if proxy.running.is_none()
                    && let Err(stop) = self.start(proxy, addresses)
                {
                    refused.get_or_insert(stop);
                }
            }
            refused.map_or(Ok(()), Err)
        })
        .await
    }

    fn start(&self, proxy: &mut Proxy, addresses: &Addresses) -> Result<(), Stop> {
        let place = addresses.get(&proxy.listen)?;
        let place = place.map_err(|reason| Refusal::of_system(format!("listen tcp: {reason}")))?;
        let rules = proxy.rules();
        let start = |listen| {
            self.engine.start(Start {
                name: &proxy.name,
                listen,
                upstream: &proxy.upstream,
                rules: &rules,
            })
        };
        let running = match (start(place.address), place.on_ipv4()) {
            (Err(error), Some(other)) if listen::is_without_ipv6(&error) => start(other),
            (started, _) => started,
        };
        let running = running.map_err(|error| Refusal::of_system(place.refused(&error)))?;
        let address = running.address();
        proxy.listen = SocketAddr::new(address.ip().to_canonical(), address.port()).to_string();
        proxy.running = Some(running);
        tracing::info!(
            proxy = proxy.name,
            listen = proxy.listen,
            upstream = proxy.upstream,
            "proxy started"
        );
        Ok(())
    }

    /// A proxy's toxics, those on the upstream first.
    pub(super) fn toxics(&self, proxy: &str) -> Result<Value, Refusal> {
        let all = self.all.lock();
        let proxy = all.get(proxy).ok_or_else(Refusal::no_proxy)?;
        Ok(proxy.toxics_to_json())
    }

    /// One toxic of a proxy.
    pub(super) fn toxic(&self, proxy: &str, name: &str) -> Result<Value, Refusal> {
        let all = self.all.lock();
        let proxy = all.get(proxy).ok_or_else(Refusal::no_proxy)?;
        let toxic = proxy.toxics.iter().find(|toxic| toxic.name == name);
        Ok(toxic.ok_or_else(Refusal::no_toxic)?.to_json())
    }

    /// Adds a toxic to a proxy, open connections included.
    pub(super) fn create_toxic(&self, proxy: &str, body: Result<Json, String>) -> Result<Value, Refusal> {
        let mut all = self.all.lock();
        let proxy = all.get_mut(proxy).ok_or_else(Refusal::no_proxy)?;
        let body = body.map_err(Refusal::bad_body)?;
        let taken = |name: &str| proxy.toxics.iter().any(|toxic| toxic.name == name);
        let toxic = Toxic::create(&body, &proxy.name, &self.rules, taken)?;
        if proxy.toxics.len() >= MAX_TOXICS {
            return Err(Refusal::too_many_toxics());
        }
        let shown = toxic.to_json();
        proxy.toxics.push(toxic);
        proxy.apply();
        self.note(&all);
        Ok(shown)
    }

    /// Changes the attributes and the toxicity of a toxic, on open connections too.
    pub(super) fn update_toxic(&self, proxy: &str, name: &str, body: Result<Json, String>) -> Result<Value, Refusal> {
        let mut all = self.all.lock();
        let proxy = all.get_mut(proxy).ok_or_else(Refusal::no_proxy)?;
        let toxic = proxy.toxics.iter_mut().find(|toxic| toxic.name == name);
        let toxic = toxic.ok_or_else(Refusal::no_toxic)?;
        let body = body.map_err(Refusal::bad_body)?;
        *toxic = toxic.update(&body, &proxy.name, &self.rules)?;
        let shown = toxic.to_json();
        proxy.apply();
        self.note(&all);
        Ok(shown)
    }

    /// Removes a toxic from a proxy, open connections included.
    pub(super) fn delete_toxic(&self, proxy: &str, name: &str) -> Result<(), Refusal> {
        let mut all = self.all.lock();
        let proxy = all.get_mut(proxy).ok_or_else(Refusal::no_proxy)?;
        let index = proxy.toxics.iter().position(|toxic| toxic.name == name);
        proxy.toxics.remove(index.ok_or_else(Refusal::no_toxic)?);
        proxy.apply();
        self.note(&all);
        Ok(())
    }

    /// The bytes of all proxies, in the order of their names.
    pub(super) fn traffic(&self) -> Vec<Traffic> {
        let all = self.all.lock();
        let traffic = all.values().map(|proxy| Traffic {
            proxy: proxy.name.clone(),
            listen: proxy.listen.clone(),
            upstream: proxy.upstream.clone(),
            bytes: proxy.bytes(),
        });
        traffic.collect()
    }
}

impl Proxy {
    fn is_at(&self, listen: &str, place: &Place) -> bool {
        self.listen == listen || place.is(&self.listen)
    }

    fn bytes(&self) -> Bytes {
        let now = self.running.as_ref().map(|running| running.bytes());
        self.past + now.unwrap_or_default()
    }

    fn stop(&mut self) {
        self.past = self.bytes();
        if self.running.take().is_some() {
            tracing::info!(
                proxy = self.name,
                listen = self.listen,
                upstream = self.upstream,
                "proxy stopped"
            );
        }
    }

    /// Toxics as their chains have them: those on what clients send first.
    fn chains(&self) -> impl Iterator<Item = &Toxic> {
        let chain = |direction| self.toxics.iter().filter(move |toxic| toxic.direction == direction);
        chain(Direction::Request).chain(chain(Direction::Response))
    }

    fn rules(&self) -> Vec<Arc<Rule>> {
        self.chains().filter_map(|toxic| toxic.rule.clone()).collect()
    }

    /// Lets open connections take on the toxics as they are now.
    fn apply(&self) {
        if let Some(running) = &self.running {
            running.replace(&self.rules());
        }
    }

    fn toxics_to_json(&self) -> Value {
        self.chains().map(Toxic::to_json).collect()
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.running.is_some(),
            "toxics": self.toxics_to_json(),
        })
    }
}

#[cfg(test)]
mod tests;
