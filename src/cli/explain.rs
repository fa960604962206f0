//! `squall explain`: what would happen to a request, and why.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use http::HeaderValue;
use http::header::HOST;
use serde::Deserialize;

use super::call::{Call, Place};
use super::curl::{self, Line};
use super::output::{fail, is_coloured, print};
use super::{BAD_CONFIGURATION, INTERNAL, USAGE};
use crate::config::Source;
use crate::config::root::AddressSpec;
use crate::config::snapshot::{Listener, Snapshot};
use crate::explain::{Explanation, explain};
use crate::metrics::Metrics;
use crate::server::Server;
use crate::yaml::forms::OneOrMany;
use crate::yaml::report::did_you_mean;
use crate::yaml::units::Time;

/// Say what would happen to a request, and why: for each rule whether it matches, which condition failed, the draw, and the plan
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    squall explain -c squall.yaml http://127.0.0.1:8080/pay?x=1\n  \
    squall explain -c squall.yaml -X POST -H 'x-user: ada' --ordinal 17 /pay\n  \
    squall explain -c squall.yaml -- curl -d amount=1 http://127.0.0.1:8080/pay\n\n\
    Counters begin at zero, as after a start; the admin API's /api/v1/explain knows the real ones.")]
pub struct Args {
    /// The configuration file. Without it: the embedded demo
    #[arg(short, long, value_name = "FILE", env = "SQUALL_CONFIG")]
    config: Option<PathBuf>,
    /// The listener that gets the request. Without it: the one whose port the URL has, or the only one
    #[arg(short, long, value_name = "NAME")]
    listener: Option<String>,
    /// The method
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with_all = ["curl", "command"])]
    method: Option<String>,
    /// A header field; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", conflicts_with_all = ["curl", "command"])]
    headers: Vec<String>,
    /// A body; makes the method POST unless -X says otherwise
    #[arg(short, long, value_name = "TEXT", conflicts_with_all = ["curl", "command"])]
    data: Vec<String>,
    /// The address that the request comes from. Without it: this machine
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The request's number in each rule, from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    ordinal: Option<u64>,
    /// The time since the rules were loaded, such as 30s
    #[arg(long, value_name = "TIME", default_value = "0s")]
    at: Time,
    /// What all draws come from; wins over the file's seed
    #[arg(long, value_name = "NUMBER", env = "SQUALL_SEED")]
    seed: Option<u64>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The request as a curl command line, in one word
    #[arg(long, value_name = "LINE", conflicts_with_all = ["url", "command"])]
    curl: Option<String>,
    /// The request's URL, or its path alone
    #[arg(value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// The request as a curl command line
    #[arg(last = true, value_name = "CURL")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// A question of the admin API's `/api/v1/explain`: a request by `url` or by `curl`, and what it is asked under.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// A URL, or a path alone.
    pub url: Option<String>,
    /// The method, with `url`. Absent: GET.
    pub method: Option<String>,
    /// Header fields, with `url`: one value, or several.
    pub headers: BTreeMap<String, OneOrMany<String>>,
    /// A curl command line, instead of `url`, `method` and `headers`.
    pub curl: Option<String>,
    /// The listener's name.
    pub listener: Option<String>,
    /// The address that the connection comes from. Absent: this machine.
    pub client: Option<IpAddr>,
    /// The request's number in each rule, from 1. Absent: the next one.
    pub ordinal: Option<u64>,
    /// The time since the rules were loaded. Absent: the real one.
    pub at: Option<Time>,
}

impl Question {
    /// Answers it for a configuration.
    ///
    /// # Errors
    /// What is wrong with the question, in one sentence.
    pub fn answer(&self, snapshot: &Snapshot, now: Instant) -> Result<Explanation, String> {
        if self.ordinal == Some(0) {
            return Err("`ordinal` counts from 1".into());
        }
        let mut call = self.call()?;
        call.asked.listener = self.listener.clone();
        call.asked.client = self.client;
        call.asked.ordinal = self.ordinal;
        call.asked.at = self.at.map(Time::get);
        ask(snapshot, call, now)
    }

    fn call(&self) -> Result<Call, String> {
        match (&self.url, &self.curl) {
            (Some(url), None) => {
                let fields = |(name, values): (&String, &OneOrMany<String>)| -> Vec<String> {
                    // An empty value is sent; curl's way to write that is a semicolon.
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
                Line::bare(url, self.method.clone(), headers, &[]).call()
            }
            (None, Some(_)) if self.method.is_some() || !self.headers.is_empty() => {
                Err("`method` and `headers` go with `url`; a curl line has its own".into())
            }
            (None, Some(line)) => curl::parse(line),
            _ => Err("give the request as `url` or as `curl`".into()),
        }
    }
}

/// Prints the explanation.
pub fn run(args: Args) -> ExitCode {
    let mut call = match args.call() {
        Ok(call) => call,
        Err(message) => return fail(USAGE, &format!("error: {message}")),
    };
    call.asked.listener = args.listener;
    call.asked.client = args.client;
    call.asked.ordinal = args.ordinal;
    call.asked.at = Some(args.at.get());
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(error) => return fail(INTERNAL, &format!("internal error: {error}")),
    };
    let source = args.config.map_or(Source::Demo, Source::File);
    let snapshot = match Server::check(&source, args.seed, &metrics) {
        Ok(snapshot) => snapshot,
        Err(report) => return fail(BAD_CONFIGURATION, report.render(is_coloured(&io::stderr())).trim_end()),
    };
    if args.seed.is_none() && snapshot.spec.seed.is_none() {
        call.notes.push(format!(
            "the file has no seed, so {} was drawn for this explanation; --seed sets it",
            snapshot.seed
        ));
    }
    let explanation = match ask(&snapshot, call, Instant::now()) {
        Ok(explanation) => explanation,
        Err(message) => return fail(USAGE, &format!("error: {message}")),
    };
    match args.format {
        Format::Text => print(&explanation.to_text(is_coloured(&io::stdout()))),
        Format::Json => print(&format!("{:#}\n", explanation.to_json())),
    }
}

impl Args {
    fn call(&self) -> Result<Call, String> {
        if let Some(line) = &self.curl {
            return curl::parse(line);
        }
        if !self.command.is_empty() {
            return curl::parse_words(&self.command);
        }
        let Some(url) = &self.url else {
            return Err("which request? Give a URL, a path, or a curl command line after `--`".into());
        };
        Line::bare(url, self.method.clone(), self.headers.clone(), &self.data).call()
    }
}

fn ask(snapshot: &Snapshot, mut call: Call, now: Instant) -> Result<Explanation, String> {
    let listener = listener_of(snapshot, &call)?;
    let asked = &mut call.asked;
    if call.place == Place::Anywhere && !asked.headers.contains_key(HOST) {
        let host = match &listener.address {
            AddressSpec::Tcp(address) => address.to_string(),
            AddressSpec::Unix(_) => "localhost".to_owned(),
        };
        asked
            .headers
            .extend(HeaderValue::from_str(&host).ok().map(|host| (HOST, host)));
    }
    if asked.client.is_none() {
        asked.client = this_machine(&listener.address);
    }
    let mut explanation = explain(snapshot, listener, &call.asked, now);
    explanation.notes.extend(call.notes);
    Ok(explanation)
}

/// Where a request of this machine comes from, as a listener sees it.
fn this_machine(address: &AddressSpec) -> Option<IpAddr> {
    match address {
        AddressSpec::Unix(_) => None,
        AddressSpec::Tcp(address) if address.ip().is_unspecified() => Some(IpAddr::from([127, 0, 0, 1])),
        AddressSpec::Tcp(address) => Some(address.ip()),
    }
}

/// The listener that was asked for, or else the one that the request would arrive at, or else the only one.
fn listener_of<'s>(snapshot: &'s Snapshot, call: &Call) -> Result<&'s Listener, String> {
    let listeners = &snapshot.listeners;
    if let Some(name) = &call.asked.listener {
        return snapshot.listener(name).ok_or_else(|| {
            let names = listeners.iter().map(|listener| &*listener.name);
            match did_you_mean(name, names) {
                Some(near) => format!("there is no listener `{name}`; did you mean `{near}`?"),
                None => format!("there is no listener `{name}`; there are: {}", listed(listeners)),
            }
        });
    }
    let mut there: Vec<&Listener> = listeners
        .iter()
        .filter(|listener| arrives(&listener.address, &call.place))
        .collect();
    if let (Place::Tcp { host, .. }, true) = (&call.place, there.len() > 1) {
        let ip = host.trim_matches(['[', ']']).parse().ok();
        there.retain(|listener| matches!(listener.address, AddressSpec::Tcp(address) if Some(address.ip()) == ip));
    }
    match (there.as_slice(), listeners.as_slice()) {
        ([one], _) => Ok(one),
        ([], [only]) => Ok(only),
        _ => Err(format!(
            "which listener? Add --listener NAME, or a URL with its port: {}",
            listed(listeners)
        )),
    }
}

fn arrives(address: &AddressSpec, place: &Place) -> bool {
    match (address, place) {
        (AddressSpec::Tcp(address), Place::Tcp { port, .. }) => address.port() == *port,
        (AddressSpec::Unix(path), Place::Unix(other)) => path == other,
        _ => false,
    }
}

fn listed(listeners: &[Listener]) -> String {
    let listed: Vec<String> = listeners
        .iter()
        .map(|listener| format!("{} ({})", listener.name, listener.address))
        .collect();
    listed.join(", ")
}

#[cfg(test)]
mod tests;
