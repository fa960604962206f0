//! `squall fake NAME`: a fake upstream alone, with no proxy in front of it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::INTERNAL;
use super::output::{fail, say};
use crate::fake::{self, Options, Store};

/// How long requests in flight may take to finish after a signal.
const GRACE: Duration = Duration::from_millis(1500);

/// Run a fake upstream alone
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which one
    #[arg(value_parser = PossibleValuesParser::new(fake::NAMES))]
    name: String,
    /// Where it listens; port 0 takes a free one
    #[arg(short, long, value_name = "IP:PORT", default_value = "127.0.0.1:8000")]
    address: SocketAddr,
    /// Where generated names and texts come from
    #[arg(long, value_name = "NUMBER", env = "SQUALL_SEED", default_value_t = 42)]
    seed: u64,
    /// Keep what is stored in this SQLite file instead of in memory
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

/// Runs until a signal.
pub fn run(args: Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(INTERNAL, &format!("error: cannot start threads: {error}")),
    };
    let result = runtime.block_on(serve(&args));
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(INTERNAL, &format!("error: {error}")),
    }
}

async fn serve(args: &Args) -> io::Result<()> {
    // Listened to first: a signal that comes early is not lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let store = args.store.clone().map_or(Store::Memory, Store::File);
    let options = Options { seed: args.seed, store };
    let listener = TcpListener::bind(args.address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", args.address)))?;
    // A store that can't be used is an error before anybody is told to come.
    let _store_stays_open =
        fake::build(&args.name, &options).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    say(&format!("listening on http://{}", listener.local_addr()?));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = fake::serve(&args.name, &options, listener, async {
        // A sender that is gone also means stop.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(stop);
    // Who has not finished by then is cut off.
    tokio::time::timeout(GRACE, serving).await.unwrap_or(Ok(()))
}
