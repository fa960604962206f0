//! `squall run`: runs the proxy until a signal ends it.

use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::log::Log;
use super::ready::ReadyFile;
use super::signals::Signals;
use super::{BAD_CONFIGURATION, INTERNAL, UNAVAILABLE, USAGE};
use crate::config::Source;
use crate::config::snapshot::{Listener, ListenerKind, Snapshot};
use crate::metrics::Metrics;
use crate::server::{Failure, Origin, Server, bind_reason};
use crate::toxiproxy::{self, Toxiproxy};
use crate::{admin, files, watch};

/// How long the end of the admin API may take.
const ADMIN_END: Duration = Duration::from_secs(1);

/// Run the proxy
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration file; `-` reads standard input. Without it: that of --config, or else the embedded demo
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The configuration file, as an option
    #[arg(short, long, value_name = "FILE", env = "SQUALL_CONFIG")]
    config: Option<PathBuf>,
    /// The seed of all random draws; overrides the file's seed
    #[arg(long, value_name = "NUMBER", env = "SQUALL_SEED")]
    seed: Option<u64>,
    /// Do not watch the configuration's files; SIGHUP and the admin API still reload
    #[arg(long)]
    no_watch: bool,
    /// Once squall is ready, write its addresses to this file, as JSON: {"admin": …, "listeners": {…}}. It is removed at the end
    #[arg(long, value_name = "FILE", env = "SQUALL_READY_FILE")]
    ready_file: Option<PathBuf>,
}

impl RunArgs {
    /// The file that is given. One of the environment stands back behind one on the command line.
    fn source(&self) -> Result<Source, &'static str> {
        let of_environment = std::env::var_os("SQUALL_CONFIG").map(PathBuf::from);
        let file = match (&self.file, &self.config) {
            (Some(_), Some(config)) if Some(config) != of_environment.as_ref() => {
                return Err("error: the configuration file is given twice: as FILE and with --config");
            }
            (Some(file), _) if file.as_os_str() == "-" => Some("/dev/stdin".into()),
            (file, config) => file.clone().or_else(|| config.clone()),
        };
        Ok(file.map_or(Source::Demo, Source::File))
    }
}

/// Runs until a signal.
pub fn run(args: RunArgs) -> ExitCode {
    // First of all: as process 1 of a container, squall would ignore a signal without a handler.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return failed(INTERNAL, &format!("can't listen for signals: {error}")),
    };
    let source = match args.source() {
        Ok(source) => source,
        Err(message) => return failed(USAGE, message),
    };
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(error) => return failed(INTERNAL, &format!("internal error: {error}")),
    };
    let origin = Origin::new(source, args.seed, Arc::clone(&metrics));
    // Before anything starts, since it has the settings of the process itself: threads and log.
    let snapshot = match load(origin.clone(), &signals) {
        Ok(snapshot) => snapshot,
        Err(code) => return code,
    };
    let log = Log::start(&snapshot.spec.log, &metrics);
    let threads = snapshot.spec.threads.as_ref().map(|threads| threads.value.get());
    let runtime = match runtime(threads) {
        Ok(runtime) => runtime,
        Err(error) => return failed(INTERNAL, &format!("can't start threads: {error}")),
    };
    if let Some(Err(error)) = args.ready_file.as_deref().map(ReadyFile::announced) {
        return failed(INTERNAL, &format!("can't write the ready file: {error}"));
    }
    let code = runtime.block_on(serve(origin, snapshot, &args, signals, &log));
    // Drops tasks that outlived the grace period, and does not wait for blocking ones.
    runtime.shutdown_background();
    code
}

/// Loads the first configuration on a thread of its own, so that a signal ends even a load that hangs. Fails with the exit
/// code, after saying why.
fn load(origin: Origin, signals: &Signals) -> Result<Snapshot, ExitCode> {
    let no_threads = |error: io::Error| failed(INTERNAL, &format!("can't start threads: {error}"));
    let (done, loaded) = oneshot::channel();
    let loading = std::thread::Builder::new().name("squall-load".into());
    // Nobody takes the result if a signal came first.
    loading
        .spawn(move || drop(done.send(origin.load())))
        .map_err(no_threads)?;
    let loaded = runtime(Some(1)).map_err(no_threads)?.block_on(async {
        tokio::select! {
            loaded = loaded => Ok(loaded),
            () = signals.stop(1) => Err(ExitCode::SUCCESS),
        }
    });
    match loaded? {
        Ok(Ok(snapshot)) => Ok(snapshot),
        Ok(Err(Failure::Configuration(report))) => {
            let report = report.render(io::stderr().is_terminal());
            Err(failed(BAD_CONFIGURATION, report.trim_end()))
        }
        Ok(Err(failure)) => Err(failed(INTERNAL, &failure.to_string())),
        // The thread panicked, and has said so.
        Err(_) => Err(ExitCode::from(INTERNAL)),
    }
}

/// Creates the runtime. With one thread, the runtime without work stealing is cheaper per request.
pub(super) fn runtime(threads: Option<usize>) -> io::Result<tokio::runtime::Runtime> {
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

async fn serve(origin: Origin, first: Snapshot, args: &RunArgs, signals: Signals, log: &Log) -> ExitCode {
    let server = match Server::open(origin, first) {
        Ok(server) => server,
        Err(failure @ Failure::Bind { .. }) => return failed(UNAVAILABLE, &failure.to_string()),
        Err(failure) => return failed(INTERNAL, &failure.to_string()),
    };
    let snapshot = server.snapshot();
    let admin = match admin::bind(&snapshot.admin.address).await {
        Ok(admin) => admin,
        Err(error) => {
            let address = &snapshot.admin.address;
            let reason = bind_reason(&error);
            let message = format!("can't listen on {address} (admin): {reason}; the key is `admin: {{address: …}}`");
            return failed(UNAVAILABLE, &message);
        }
    };
    let admin_address = admin.address().to_string();
    tracing::info!(address = admin_address, "admin listening");
    let toxiproxy = match open_toxiproxy(&snapshot, &server).await {
        Ok(toxiproxy) => toxiproxy,
        Err(message) => return failed(UNAVAILABLE, &message),
    };
    snapshot.log_warnings();
    let _watcher = match (!args.no_watch, server.source()) {
        // A stream is what the user asked for, and has nothing to watch.
        (true, Source::File(path)) if !files::is_stream(path) => watch::start(Arc::clone(&server))
            .inspect_err(|error| tracing::warn!("not watching the configuration: {error}"))
            .ok(),
        _ => None,
    };
    // Runs until the runtime is shut down, so that health and metrics can be read while draining.
    let admin = tokio::spawn(admin::serve(admin, Arc::clone(&server)));
    let toxiproxy = toxiproxy.map(|(bound, api)| tokio::spawn(admin::serve_router(bound, api.router(), pending())));
    let ready = args.ready_file.clone();
    let ready = ready.map(|path| ReadyFile::write(path, &server, &admin_address));
    let ready = match ready.transpose() {
        Ok(ready) => ready,
        Err(error) => return failed(INTERNAL, &format!("can't write the ready file: {error}")),
    };
    introduce(&server, &snapshot, &admin_address, log);
    let file = match server.source() {
        Source::File(path) => Some(path.display()),
        Source::Demo => None,
    };
    tracing::info!(
        config = file.map(tracing::field::display),
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
        // Not biased: neither future loses a signal when it is dropped. A reload is not waited for: it logs its result.
        tokio::select! {
            () = signals.reload() => {
                let server = Arc::clone(&server);
                tokio::spawn(async move { server.reload().await });
            }
            () = signals.stop(1) => break,
        }
    }
    drop(ready);
    let grace = server.snapshot().spec.shutdown.grace.get();
    tracing::info!(
        grace_s = grace.as_secs_f64(),
        "draining; a second signal stops squall at once"
    );
    // Its connections are cut: what a test has set up has no more use.
    if let Some(toxiproxy) = toxiproxy {
        toxiproxy.abort();
    }
    // Dropping the drain on a second signal ends the process without waiting for requests.
    tokio::select! {
        finished = server.drain(grace) => tracing::info!(finished, "stopped"),
        () = signals.stop(2) => tracing::warn!("stopped at once by a second signal"),
    }
    // Waits until it is dropped, which removes the file of a unix socket: the runtime's end would not.
    admin.abort();
    let _ended = tokio::time::timeout(ADMIN_END, admin).await;
    ExitCode::SUCCESS
}

/// Toxiproxy's API with its open port, if the configuration has it.
async fn open_toxiproxy(snapshot: &Snapshot, server: &Server) -> Result<Option<(admin::Bound, Toxiproxy)>, String> {
    let Some(address) = &snapshot.toxiproxy else {
        return Ok(None);
    };
    let bound = admin::bind(address).await;
    let bound = bound.map_err(|error| format!("can't listen on {address} (toxiproxy): {}", bind_reason(&error)))?;
    tracing::info!(address = %bound.address(), "Toxiproxy API listening");
    let settings = toxiproxy::Settings {
        seed: snapshot.seed.0,
        proxy_metrics: true,
        runtime_metrics: false,
        limits: toxiproxy::Limits::new(&snapshot.spec.bounds, &snapshot.spec.log),
    };
    let (metrics, switches) = (Arc::clone(server.metrics()), Arc::clone(server.switches()));
    Ok(Some((bound, Toxiproxy::new(settings, metrics, switches))))
}

fn failed(code: u8, message: &str) -> ExitCode {
    // If standard error is closed, there is nowhere to report that.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(code)
}

/// Says to a person at a terminal where everything is, and how to try it.
fn introduce(server: &Server, snapshot: &Snapshot, admin: &str, log: &Log) {
    let Source::File(path) = server.source() else {
        return;
    };
    if !io::stderr().is_terminal() {
        return;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let (rules, seed) = (snapshot.rules.len(), snapshot.seed.0);
    let mut text = format!("\n{}: {rules} rules, seed {seed}\n\n", path.display());
    let open = server.addresses();
    let addresses = snapshot.listeners.iter().filter_map(|listener| {
        let (name, address) = open.iter().find(|(name, _)| *name == listener.name)?;
        Some((&**name, how_to_reach(listener, &address.to_string())))
    });
    let admin = ("dashboard", format!("http://{}/", on_this_machine(admin)));
    let lines: Vec<(&str, String)> = addresses.chain([admin]).collect();
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or_default();
    for (name, how) in lines {
        text.push_str(&format!("  {name:width$}  {how}\n"));
    }
    text.push('\n');
    log.say(&text);
}

/// A command line that reaches a listener, or its address if it speaks no HTTP.
fn how_to_reach(listener: &Listener, address: &str) -> String {
    let address = on_this_machine(address);
    if matches!(listener.kind, ListenerKind::Tcp(_)) {
        return format!("{address} (TCP)");
    }
    let (scheme, insecure) = if listener.tls.is_some() {
        ("https", "k")
    } else {
        ("http", "")
    };
    let header = if listener.proxied { " --haproxy-protocol" } else { "" };
    match address.strip_prefix("unix:") {
        Some(path) => format!("curl -i{insecure}{header} --unix-socket {path} {scheme}://localhost/"),
        None => format!("curl -i{insecure}{header} {scheme}://{address}/"),
    }
}

/// An address at which this machine reaches what listens on all of its addresses.
fn on_this_machine(address: &str) -> String {
    for all in ["0.0.0.0:", "[::]:"] {
        if let Some(port) = address.strip_prefix(all) {
            return format!("127.0.0.1:{port}");
        }
    }
    address.to_owned()
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
