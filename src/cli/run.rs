//! `squall run`: runs the proxy until a signal ends it.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::log::Log;
use super::{BAD_CONFIGURATION, INTERNAL};
use crate::config::Source;
use crate::metrics::Metrics;
use crate::server::{Failure, Server};
use crate::{admin, watch};

/// How long the end of the admin API may take.
const ADMIN_END: Duration = Duration::from_secs(1);

/// Run the proxy
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration file. Without it: the embedded demo
    #[arg(short, long, value_name = "FILE", env = "SQUALL_CONFIG")]
    config: Option<PathBuf>,
    /// The seed of all random draws; overrides the file's seed
    #[arg(long, value_name = "NUMBER", env = "SQUALL_SEED")]
    seed: Option<u64>,
    /// Do not watch the configuration's files; SIGHUP and the admin API still reload
    #[arg(long)]
    no_watch: bool,
}

/// Runs until a signal.
pub fn run(args: RunArgs) -> ExitCode {
    let source = args.config.clone().map_or(Source::Demo, Source::File);
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(error) => return failed(INTERNAL, &format!("internal error: {error}")),
    };
    // Load it once before anything starts, for the settings of the process itself: threads and log.
    let settings = match Server::check(&source, args.seed, &metrics) {
        Ok(snapshot) => snapshot,
        Err(report) => return failed(BAD_CONFIGURATION, report.render(io::stderr().is_terminal()).trim_end()),
    };
    let log = Log::start(&settings.spec.log, &metrics);
    let threads = settings.spec.threads.as_ref().map(|threads| threads.value.get());
    let runtime = match runtime(threads) {
        Ok(runtime) => runtime,
        Err(error) => return failed(INTERNAL, &format!("can't start threads: {error}")),
    };
    drop(settings);
    let code = runtime.block_on(serve(args, source, metrics, &log));
    // Drops tasks that outlived the grace period, and does not wait for blocking ones.
    runtime.shutdown_background();
    code
}

/// Creates the runtime. With one thread, the runtime without work stealing is cheaper per request.
fn runtime(threads: Option<usize>) -> io::Result<tokio::runtime::Runtime> {
    let threads = threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1);
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder
        .worker_threads(threads)
        .thread_name("squall")
        .enable_all()
        .build()
}

async fn serve(args: RunArgs, source: Source, metrics: Arc<Metrics>, log: &Log) -> ExitCode {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        return failed(INTERNAL, "can't listen for signals");
    };
    let server = match Server::start(source, args.seed, metrics) {
        Ok(server) => server,
        Err(failure @ Failure::Configuration(_)) => return failed(BAD_CONFIGURATION, failure.to_string().trim_end()),
        Err(failure) => return failed(INTERNAL, &failure.to_string()),
    };
    let snapshot = server.snapshot();
    let admin = match admin::bind(&snapshot.admin.address).await {
        Ok(admin) => admin,
        Err(error) => {
            let address = &snapshot.admin.address;
            return failed(INTERNAL, &format!("can't listen on {address} (admin): {error}"));
        }
    };
    let admin_address = admin.address().to_string();
    tracing::info!(address = admin_address, "admin listening");
    for warning in snapshot.warnings.diagnostics() {
        tracing::warn!(
            place = warning.span.and_then(|span| snapshot.warnings.sources().locate(span)),
            "{}",
            warning.message
        );
    }
    let _watcher = match (args.no_watch, server.source()) {
        (false, Source::File(_)) => watch::start(Arc::clone(&server))
            .inspect_err(|error| tracing::warn!("not watching the configuration: {error}"))
            .ok(),
        _ => None,
    };
    // Runs until the runtime is shut down, so that health and metrics can be read while draining.
    let admin = tokio::spawn(admin::serve(admin, Arc::clone(&server)));
    tracing::info!(
        seed = snapshot.seed.0,
        config_hash = snapshot.hash,
        rules = snapshot.rules.len(),
        "ready"
    );
    if matches!(server.source(), Source::Demo) {
        introduce_demo(&server, admin_address, log);
    }
    drop(snapshot);
    loop {
        // Not biased: `recv` loses no signal when it is dropped, so the next turn sees the others.
        tokio::select! {
            _ = hangup.recv() => drop(server.reload().await),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let grace = server.snapshot().spec.shutdown.grace.get();
    tracing::info!(
        grace_s = grace.as_secs_f64(),
        "draining; a second signal stops squall at once"
    );
    // Dropping the drain on a second signal ends the process without waiting for requests.
    tokio::select! {
        finished = server.drain(grace) => tracing::info!(finished, "stopped"),
        _ = terminate.recv() => tracing::warn!("stopped at once by a second signal"),
        _ = interrupt.recv() => tracing::warn!("stopped at once by a second signal"),
    }
    // Waits until it is dropped, which removes the file of a unix socket: the runtime's end would not.
    admin.abort();
    let _ended = tokio::time::timeout(ADMIN_END, admin).await;
    ExitCode::SUCCESS
}

fn failed(code: u8, message: &str) -> ExitCode {
    // If standard error is closed, there is nowhere to report that.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

/// Prints what to try, with the demo's real address, which the environment may have changed.
fn introduce_demo(server: &Server, admin: String, log: &Log) {
    let Some((_, address)) = server.addresses().into_iter().next() else {
        return;
    };
    let text = format!(
        "\nThe demo is running: the fake `test-api` behind a few faults. In another terminal, try:\n\n\
         \x20 curl -i http://{address}/api/v1/todo/list/count         # untouched\n\
         \x20 curl -i http://{address}/api/v1/users/list/count        # delayed like a production service\n\
         \x20 curl -i http://{address}/api/v1/silly-users/make-one    # 503 from squall itself twice, then success\n\n\
         Every injected fault is named in a Squall-Fault header. Metrics: http://{admin}/metrics\n",
    );
    log.say(&text);
}
