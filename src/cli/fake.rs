//! `squall fake NAME`: runs a fake upstream alone, without a proxy in front of it. A file is a fake too: an OpenAPI document or a
//! recording.

use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::output::{fail, is_coloured, say};
use super::{BAD_CONFIGURATION, INTERNAL, UNAVAILABLE};
use crate::config::snapshot::{Inputs, Snapshot};
use crate::config::{self, Source};
use crate::fake;
use crate::metrics::Metrics;
use crate::proxy::exchange::view::Target;
use crate::yaml::report::Report;

/// How long requests in flight may take to finish after a signal.
const GRACE: Duration = Duration::from_millis(1500);

/// Run a fake upstream alone
#[derive(Debug, clap::Args)]
pub struct FakeArgs {
    /// A built-in fake (echo, fakeresponse, httpbin, llm, sonarqube, test-api), an OpenAPI document, a recording (HAR),
    /// or an upstream of FILE
    name: String,
    /// Take the fake from the upstream NAME of this configuration file
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["set", "store"])]
    config: Option<PathBuf>,
    /// The address to listen on, or a port of 127.0.0.1; port 0 picks a free one
    #[arg(
        short,
        long,
        visible_short_alias = 'p',
        visible_alias = "port",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8000",
        value_parser = address
    )]
    address: SocketAddr,
    /// The seed of generated data; without a file's seed, 42
    #[arg(long, value_name = "NUMBER", env = "SQUALL_SEED")]
    seed: Option<u64>,
    /// Store data in this SQLite file instead of in memory
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// A setting of the fake, as in a configuration file: `--set issues=1000`
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:8000, or a port".to_owned())
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Runs until a signal.
pub fn run(args: FakeArgs) -> ExitCode {
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(error) => return fail(INTERNAL, &format!("internal error: {error}")),
    };
    let is_path = args.name.contains(['.', '/']);
    if args.config.is_none() && is_path && !Path::new(&args.name).is_file() {
        return fail(
            BAD_CONFIGURATION,
            &format!("error: {}: there is no such file", args.name),
        );
    }
    // Loaded first, so that an unusable store is an error before the address is announced.
    let snapshot = match load(&args, &metrics) {
        Ok(snapshot) => snapshot,
        Err(report) => {
            return fail(BAD_CONFIGURATION, report.render(io::stderr().is_terminal()).trim_end());
        }
    };
    if !snapshot.warnings.is_empty() {
        say(snapshot.warnings.render(is_coloured(&io::stderr())).trim_end());
    }
    let router = match snapshot.target(&args.name).map(AsRef::as_ref) {
        Some(Target::Fake(router)) => match snapshot.fake_cors(&args.name) {
            Some(cors) => Arc::new(cors).around(router.clone()),
            None => router.clone(),
        },
        Some(Target::Real(_)) => return fail(BAD_CONFIGURATION, &format!("error: `{}` is a real upstream", args.name)),
        None => {
            return fail(
                BAD_CONFIGURATION,
                &format!("error: the file has no upstream `{}`", args.name),
            );
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(INTERNAL, &format!("error: can't start threads: {error}")),
    };
    let result = runtime.block_on(serve(router, args.address));
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Those of the addresses that nothing can be served at.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => fail(UNAVAILABLE, &format!("error: {error}")),
        Err(error) => fail(INTERNAL, &format!("error: {error}")),
    }
}

/// Builds the fake from a generated configuration, so that all checks and messages apply.
fn load(args: &FakeArgs, metrics: &Metrics) -> Result<Snapshot, Report> {
    let inputs = Inputs {
        seed: args.seed,
        default_seed: 42,
        ..Inputs::new(metrics, Instant::now())
    };
    if let Some(file) = &args.config {
        return config::load(&Source::File(file.clone()), inputs);
    }
    // JSON strings are valid YAML. Values stay unquoted, and are resolved as in a file.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let name = quoted(&args.name);
    let mut text = format!("upstreams:\n  {name}:\n    fake:\n");
    let is_general = |key: &str| ["cors", "seed"].contains(&key);
    let inner = match made_from(&args.name) {
        None => {
            text.push_str(&format!("      name: {name}\n"));
            "      "
        }
        Some(key) => {
            text.push_str(&format!("      {key}:\n        file: {name}\n"));
            "        "
        }
    };
    for (key, value) in args.set.iter().filter(|(key, _)| !is_general(key)) {
        text.push_str(&format!("{inner}{}: {value}\n", quoted(key)));
    }
    for (key, value) in args.set.iter().filter(|(key, _)| is_general(key)) {
        text.push_str(&format!("      {}: {value}\n", quoted(key)));
    }
    if let Some(store) = &args.store {
        text.push_str(&format!(
            "      store: {}\n",
            quoted(&format!("file:{}", store.display()))
        ));
    }
    // Never opened: the fake gets a listener of its own.
    text.push_str(&format!(
        "listeners: {{fake: {{address: \"{}\", upstream: {name}}}}}\n",
        args.address
    ));
    config::load_text("command-line settings", &text, inputs)
}

/// The key of a fake that is made from this file: any file but a recording is taken for an OpenAPI document. `None` if there is
/// no such file, or a built-in fake has this name.
fn made_from(name: &str) -> Option<&'static str> {
    let file = Path::new(name);
    if fake::spec::names().any(|built_in| built_in == name) || !file.is_file() {
        return None;
    }
    let is_recording = file
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("har"));
    Some(if is_recording { "har" } else { "openapi" })
}

async fn serve(router: Router, address: SocketAddr) -> io::Result<()> {
    // Before the address is announced, so that no early signal is lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}")))?;
    say(&format!("listening on http://{}", listener.local_addr()?));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = fake::serve(router, listener, async {
        // Resolves when the sender is dropped.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    // Not biased: any of these ends the fake.
    tokio::select! {
        ended = &mut serving => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(stop);
    // Requests that have not finished by then are cut off.
    tokio::time::timeout(GRACE, serving).await.unwrap_or(Ok(()))
}
