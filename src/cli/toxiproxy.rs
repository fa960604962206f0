//! `squall toxiproxy`: Toxiproxy's API and nothing else, with the flags of the original server.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::log::Log;
use super::output::{fail, print};
use super::run::runtime;
use super::signals::Signals;
use super::{BAD_CONFIGURATION, INTERNAL, UNAVAILABLE};
use crate::admin;
use crate::config::root::{BoundsSpec, LogFormat, LogLevel, LogSpec};
use crate::files;
use crate::metrics::Metrics;
use crate::server::drawn_seed;
use crate::toxiproxy::{Limits, PopulateError, Settings, Toxiproxy, VERSION, bind};

/// The flags, which Go's programs write with one dash or with two.
const FLAGS: [&str; 8] = [
    "host",
    "port",
    "config",
    "seed",
    "runtime-metrics",
    "proxy-metrics",
    "version",
    "help",
];

/// Serve Toxiproxy's HTTP API
#[derive(Debug, clap::Args)]
// As with Go's flags, the last one of a name counts: an image has its own before those of the user.
#[command(disable_version_flag = true, args_override_self = true)]
#[command(
    after_help = "The flags are those of toxiproxy-server, with one dash or two. The variable LOG_LEVEL sets the level of \
    the log: trace, debug, info, warn, error."
)]
pub struct ToxiproxyArgs {
    /// The host that the API listens on
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// The port that the API listens on
    #[arg(long, value_name = "PORT", default_value = "8474")]
    port: String,
    /// A JSON file with proxies to create at the start
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The seed of all random draws
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    seed: Option<i64>,
    /// Show figures of the process at /metrics
    #[arg(long, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "BOOL", default_value = "false", hide_default_value = true)]
    runtime_metrics: bool,
    /// Count the bytes of each proxy at /metrics
    #[arg(long, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "BOOL", default_value = "false", hide_default_value = true)]
    proxy_metrics: bool,
    /// Print the version
    #[arg(long, value_parser = flag, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "BOOL", default_value = "false", hide_default_value = true)]
    version: bool,
}

/// A boolean as Go's flags have it.
fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("use true or false".into()),
    }
}

/// The arguments of this process with two dashes before the flags of `squall toxiproxy`.
pub(super) fn two_dashes(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_none_or(|command| command != "toxiproxy") {
        return arguments;
    }
    for argument in arguments.iter_mut().skip(2) {
        if is_flag(argument) {
            let mut dashed = OsString::from("-");
            dashed.push(&*argument);
            *argument = dashed;
        }
    }
    arguments
}

/// Whether an argument is one of the flags, with a single dash.
fn is_flag(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    let name = text.strip_prefix('-').and_then(|rest| rest.split('=').next());
    name.is_some_and(|name| FLAGS.contains(&name))
}

/// Runs until a signal.
pub fn run(args: ToxiproxyArgs) -> ExitCode {
    if args.version {
        let own = env!("CARGO_PKG_VERSION");
        return print(&format!("toxiproxy-server version {VERSION} (squall {own})\n"));
    }
    // First of all: as process 1 of a container, squall would ignore a signal without a handler.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(INTERNAL, &format!("can't listen for signals: {error}")),
    };
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(error) => return fail(INTERNAL, &format!("internal error: {error}")),
    };
    let proxies = match args.config.as_deref().map(read).transpose() {
        Ok(proxies) => proxies,
        Err(message) => return fail(BAD_CONFIGURATION, &message),
    };
    let log = log_spec();
    let _log = Log::start(&log, &metrics);
    let runtime = match runtime(None) {
        Ok(runtime) => runtime,
        Err(error) => return fail(INTERNAL, &format!("can't start threads: {error}")),
    };
    let settings = Settings {
        seed: args.seed.map_or_else(drawn_seed, i64::cast_unsigned),
        proxy_metrics: args.proxy_metrics,
        runtime_metrics: args.runtime_metrics,
        limits: Limits::new(&BoundsSpec::default(), &log),
    };
    let code = runtime.block_on(serve(&args, settings, metrics, proxies, &signals));
    runtime.shutdown_background();
    code
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let read = files::read(file, files::MAX_BYTES);
    read.map_err(|error| format!("can't read {}: {error}", file.display()))
}

/// The log that `LOG_LEVEL` asks for: JSON lines as Toxiproxy's, except on a terminal.
fn log_spec() -> LogSpec {
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    let level = match level.to_ascii_lowercase().as_str() {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "warn" => LogLevel::Warn,
        "error" | "fatal" | "panic" | "disabled" => LogLevel::Error,
        _ => LogLevel::Info,
    };
    let format = if io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    LogSpec {
        format,
        level,
        ..LogSpec::default()
    }
}

async fn serve(
    args: &ToxiproxyArgs,
    settings: Settings,
    metrics: Arc<Metrics>,
    proxies: Option<Vec<u8>>,
    signals: &Signals,
) -> ExitCode {
    let api = Toxiproxy::new(settings, metrics, Arc::default());
    // Before the API's port is open, so that whoever waits for the port finds the proxies.
    if let (Some(text), Some(file)) = (proxies, &args.config) {
        let file = file.display();
        match api.populate(&text).await {
            Ok(proxies) => tracing::info!(proxies, "populated proxies from file"),
            Err(PopulateError::Configuration(message)) => {
                return fail(BAD_CONFIGURATION, &format!("{file}: {message}"));
            }
            Err(PopulateError::System(message)) => return fail(UNAVAILABLE, &format!("{file}: {message}")),
        }
    }
    let bound = match bind(&args.host, &args.port).await {
        Ok(bound) => bound,
        Err(message) => return fail(UNAVAILABLE, &format!("can't serve Toxiproxy's API: {message}")),
    };
    tracing::info!(
        address = %bound.address(),
        version = VERSION,
        seed = settings.seed,
        "Toxiproxy API listening"
    );
    admin::serve_router(bound, api.router(), signals.stop(1)).await;
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_one_dash_or_two() {
        let check = |line: &str, expected: &str| {
            let arguments = two_dashes(line.split(' ').map(OsString::from));
            assert_eq!(arguments.join(OsStr::new(" ")), *expected);
        };
        check(
            "squall toxiproxy -host=0.0.0.0 --port 1 -seed -5 -proxy-metrics -h",
            "squall toxiproxy --host=0.0.0.0 --port 1 --seed -5 --proxy-metrics -h",
        );
        check("squall run -config x", "squall run -config x");
        check("squall", "squall");
    }
}
