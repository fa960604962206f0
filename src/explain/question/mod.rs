//! Questions about a request, and the choice of the listener that it would arrive at.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use http::header::HOST;
use schemars::JsonSchema;
use serde::Deserialize;

use super::call::{Call, Place};
use super::curl::{self, Line};
use super::{Explanation, explain};
use crate::config::snapshot::{Listener, ListenerKind, Snapshot};
use crate::proxy::net::address::AddressSpec;
use crate::yaml::forms::OneOrMany;
use crate::yaml::report::did_you_mean;
use crate::yaml::units::Time;

/// The body of `/api/v1/explain` in the admin API: a request by `url` or by `curl`, and assumptions.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// A URL, or a path alone.
    pub url: Option<String>,
    /// The method, with `url`. Absent: GET.
    pub method: Option<String>,
    /// Header fields, with `url`: one value, or several.
    pub headers: BTreeMap<String, OneOrMany<String>>,
    /// The body, with `url`; it makes the method POST unless that is given.
    pub body: Option<String>,
    /// A curl command line, instead of `url`, `method`, `headers` and `body`.
    pub curl: Option<String>,
    /// The name of the listener to ask.
    pub listener: Option<String>,
    /// The address that the connection comes from. Absent: this machine.
    pub client: Option<IpAddr>,
    /// The request's number in each rule, from 1. Absent: the next one.
    pub ordinal: Option<u64>,
    /// The time since the rules were loaded. Absent: the real one.
    pub at: Option<Time>,
}

impl Question {
    /// Answers the question for a configuration. `open` are the addresses of its listeners as far as they are open, by name: a port
    /// of 0 has become another one.
    ///
    /// # Errors
    /// What is wrong with the question, in one sentence.
    pub fn answer(
        &self,
        snapshot: &Snapshot,
        open: &[(Arc<str>, String)],
        now: Instant,
    ) -> Result<Explanation, String> {
        if self.ordinal == Some(0) {
            return Err("`ordinal` counts from 1".into());
        }
        let mut call = self.call()?;
        call.asked.listener = self.listener.clone();
        call.asked.client = self.client;
        call.asked.ordinal = self.ordinal;
        call.asked.at = self.at.map(Time::get);
        ask(snapshot, call, open, now)
    }

    fn call(&self) -> Result<Call, String> {
        match (&self.url, &self.curl) {
            (Some(url), None) => {
                let fields = |(name, values): (&String, &OneOrMany<String>)| -> Vec<String> {
                    // curl's syntax for a field with an empty value is a semicolon.
                    let line = |value: &String| {
                        if value.trim().is_empty() {
                            format!("{name};")
                        } else {
                            format!("{name}: {value}")
                        }
                    };
                    values.0.iter().map(line).collect()
                };
                let headers = self.headers.iter().flat_map(fields).collect();
                Line::with_body(url, self.method.clone(), headers, self.body.as_deref()).call()
            }
            (None, Some(_)) if self.method.is_some() || !self.headers.is_empty() || self.body.is_some() => {
                Err("`method`, `headers` and `body` can't be combined with `curl`, which has its own".into())
            }
            (None, Some(line)) => curl::parse(line),
            (None, None) if self.listener.is_some() && self.method.is_none() && self.headers.is_empty() => {
                Ok(Call::connection())
            }
            _ => Err("the request is missing: give it as `url` or `curl`".into()),
        }
    }
}

/// A listener, and the address that it has or would have.
#[derive(Clone, Copy)]
struct Seat<'s> {
    listener: &'s Listener,
    address: &'s AddressSpec,
}

/// Explains a call at the listener that it would arrive at. `open` are the addresses of open listeners, by name.
///
/// # Errors
/// The listener can't be determined.
pub fn ask(
    snapshot: &Snapshot,
    mut call: Call,
    open: &[(Arc<str>, String)],
    now: Instant,
) -> Result<Explanation, String> {
    let open = open
        .iter()
        .filter_map(|(name, address)| Some((&**name, address.parse().ok()?)));
    let open: HashMap<&str, AddressSpec> = open.collect();
    let seats = snapshot.listeners.iter().map(|listener| Seat {
        listener,
        address: open.get(&*listener.name).unwrap_or(&listener.address),
    });
    let seats: Vec<Seat<'_>> = seats.collect();
    let seat = seat_of(&seats, &call)?;
    let listener = seat.listener;
    let requests = matches!(listener.kind, ListenerKind::Http(_));
    if requests && call.is_connection() {
        return Err(format!(
            "the request is missing: `{}` is a listener for HTTP, so give a URL, a path or a curl command line",
            listener.name
        ));
    }
    let asked = &mut call.asked;
    if requests && call.place == Place::Anywhere && !asked.headers.contains_key(HOST) {
        let host = match seat.address {
            AddressSpec::Tcp(address) => address.to_string(),
            AddressSpec::Unix(_) => "localhost".to_owned(),
        };
        asked
            .headers
            .extend(HeaderValue::from_str(&host).ok().map(|host| (HOST, host)));
    }
    if asked.client.is_none() {
        asked.client = this_machine(seat.address);
    }
    let mut explanation = explain(snapshot, listener, &call.asked, now);
    explanation.notes.extend(elsewhere(seat, &call));
    explanation.notes.extend(call.notes);
    Ok(explanation)
}

/// The address of a local client, as a listener sees it.
fn this_machine(address: &AddressSpec) -> Option<IpAddr> {
    match address {
        AddressSpec::Unix(_) => None,
        AddressSpec::Tcp(address) if address.ip().is_unspecified() => Some(IpAddr::from([127, 0, 0, 1])),
        AddressSpec::Tcp(address) => Some(address.ip()),
    }
}

/// The named listener, or else the one that the request would arrive at, or else the only one. Those that the API has opened for
/// spaces are meant only by name or port.
fn seat_of<'s>(seats: &[Seat<'s>], call: &Call) -> Result<Seat<'s>, String> {
    if let Some(name) = &call.asked.listener {
        let named = seats.iter().find(|seat| *seat.listener.name == **name);
        return named.copied().ok_or_else(|| {
            let names = seats.iter().map(|seat| &*seat.listener.name);
            match did_you_mean(name, names) {
                Some(near) => format!("there is no listener `{name}`; did you mean `{near}`?"),
                None => format!("there is no listener `{name}`; known listeners: {}", listed(seats)),
            }
        });
    }
    let arriving = seats.iter().copied().filter(|seat| arrives(seat.address, &call.place));
    let mut there: Vec<Seat<'_>> = arriving.collect();
    if let (Place::Tcp { host, .. }, true) = (&call.place, there.len() > 1) {
        let ip = host.trim_matches(['[', ']']).parse().ok();
        there.retain(|seat| matches!(seat.address, AddressSpec::Tcp(address) if Some(address.ip()) == ip));
    }
    let of_file = seats.iter().copied().filter(|seat| seat.listener.space.is_none());
    let of_file: Vec<Seat<'_>> = of_file.collect();
    match (there.as_slice(), of_file.as_slice()) {
        ([one], _) => Ok(*one),
        ([], [only]) => Ok(*only),
        _ => Err(format!(
            "the listener is ambiguous: add --listener NAME, or use a URL with its port: {}",
            listed(seats)
        )),
    }
}

/// What is said of a request to an address of this machine that is none of the listener's.
fn elsewhere(seat: Seat<'_>, call: &Call) -> Option<String> {
    let (Place::Tcp { host, port }, AddressSpec::Tcp(own)) = (&call.place, seat.address) else {
        return None;
    };
    let is_address = host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    // A port of 0 is chosen by the system.
    let is_known = call.asked.listener.is_some() || own.port() == 0 || own.port() == *port;
    (is_address && !is_known).then(|| {
        let name = &seat.listener.name;
        format!("no listener has the port {port}: this is what `{name}` ({own}) does, the only one there is")
    })
}

fn arrives(address: &AddressSpec, place: &Place) -> bool {
    match (address, place) {
        (AddressSpec::Tcp(address), Place::Tcp { port, .. }) => address.port() == *port,
        (AddressSpec::Unix(path), Place::Unix(other)) => path == other,
        _ => false,
    }
}

fn listed(seats: &[Seat<'_>]) -> String {
    let listed: Vec<String> = seats
        .iter()
        .map(|seat| format!("{} ({})", seat.listener.name, seat.address))
        .collect();
    listed.join(", ")
}

#[cfg(test)]
mod tests;
