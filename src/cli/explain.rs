//! `squall explain`: explains what would happen to a request, and why.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::output::{fail, is_coloured, print};
use super::{BAD_CONFIGURATION, INTERNAL, USAGE};
use crate::config::Source;
use crate::explain::call::Call;
use crate::explain::curl::{self, Line};
use crate::explain::question::ask;
use crate::metrics::Metrics;
use crate::server::Server;
use crate::yaml::units::Time;

/// Explain what would happen to a request, and why: for each rule whether it matches, which condition failed, the draw,
/// and the plan
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    squall explain -c squall.yaml http://127.0.0.1:8080/pay?x=1\n  \
    squall explain -c squall.yaml -X POST -H 'x-user: ada' --ordinal 17 /pay\n  \
    squall explain -c squall.yaml -- curl -d amount=1 http://127.0.0.1:8080/pay\n  \
    squall explain -c squall.yaml --listener database --client 10.0.0.7\n\n\
    Counters start at zero, as in a new process; `squall ctl explain` asks a running squall, with the real ones.")]
pub struct ExplainArgs {
    /// The configuration file. Without it: the embedded demo
    #[arg(short, long, value_name = "FILE", env = "SQUALL_CONFIG")]
    config: Option<PathBuf>,
    /// The listener that receives the request. Without it: the one with the URL's port, or the only one
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
    /// The seed of all random draws; overrides the file's seed
    #[arg(long, value_name = "NUMBER", env = "SQUALL_SEED")]
    seed: Option<u64>,
    /// The output format
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    format: ExplainFormat,
    /// The request as a curl command line, in one argument
    #[arg(long, value_name = "LINE", conflicts_with_all = ["url", "command"])]
    curl: Option<String>,
    /// The request's URL, or its path alone. Without it: a connection to the TCP listener that --listener names
    #[arg(value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// The request as a curl command line
    #[arg(last = true, value_name = "CURL")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ExplainFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints what would happen to the request.
pub fn run(args: ExplainArgs) -> ExitCode {
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
    if source == Source::Demo {
        let note = "this is the embedded demo: give a file with -c, or ask a running squall with `squall ctl explain`";
        call.notes.push(note.to_owned());
    }
    if args.seed.is_none() && snapshot.spec.seed.is_none() {
        call.notes.push(format!(
            "the file has no seed, so this explanation uses {}; set one with --seed, or ask a running squall, which has drawn \
             its own, with `squall ctl explain`",
            snapshot.seed
        ));
    }
    let explanation = match ask(&snapshot, call, &[], Instant::now()) {
        Ok(explanation) => explanation,
        Err(message) => return fail(USAGE, &format!("error: {message}")),
    };
    match args.format {
        ExplainFormat::Text => print(&explanation.to_text(is_coloured(&io::stdout()))),
        ExplainFormat::Json => print(&format!("{:#}\n", explanation.to_json())),
    }
}

impl ExplainArgs {
    fn call(&self) -> Result<Call, String> {
        if let Some(line) = &self.curl {
            return curl::parse(line);
        }
        if !self.command.is_empty() {
            return curl::parse_words(&self.command);
        }
        let Some(url) = &self.url else {
            if self.listener.is_some() && self.method.is_none() && self.headers.is_empty() && self.data.is_empty() {
                return Ok(Call::connection());
            }
            return Err("the request is missing: give a URL, a path, or a curl command line after `--`".into());
        };
        Line::bare(url, self.method.clone(), self.headers.clone(), &self.data).call()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: ExplainArgs,
    }

    #[test]
    fn flags_make_a_request() {
        let call = |line: &[&str]| Alone::try_parse_from([&["x"], line].concat()).unwrap().args.call();
        let asked = call(&["-X", "PUT", "-H", "a: b", "/pay?x=1"]).unwrap().asked;
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("PUT", "/pay?x=1"));
        assert_eq!(asked.headers.len(), 1);
        let asked = call(&["-d", "{}", "/pay"]).unwrap().asked;
        assert_eq!((asked.method.as_str(), asked.headers.len()), ("POST", 2));
        let asked = call(&["--", "curl", "-d", "a", "http://h/pay"]).unwrap().asked;
        assert_eq!(asked.headers["user-agent"], "curl/8");
        assert_eq!(call(&["--curl", "curl -I http://h/pay"]).unwrap().asked.method, "HEAD");
        assert!(call(&[]).unwrap_err().contains("the request is missing"));
        for bad in [
            &["--ordinal", "0", "/"][..],
            &["--at", "soon", "/"],
            &["--curl", "curl h", "/"],
            &["-X", "PUT", "--curl", "curl h"],
        ] {
            assert!(Alone::try_parse_from([&["x"], bad].concat()).is_err(), "{bad:?}");
        }
    }
}
