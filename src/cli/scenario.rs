//! `squall scenario`: plays scenarios against a running squall, and checks their files.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::client::AdminArgs;
use super::output::{fail, is_coloured, print, say};
use super::run::runtime;
use super::{BAD_CONFIGURATION, INTERNAL};
use crate::files;
use crate::scenario::Scenario;
use crate::scenario::report::ScenarioReport;
use crate::scenario::run::State;

/// Exit code of a scenario that did not pass.
const NOT_PASSED: u8 = 1;
/// The largest scenario, in bytes: as large as the admin API takes.
const MAX_BYTES: usize = crate::admin::MAX_BODY_BYTES;
/// The cells of the progress bar.
const CELLS: usize = 30;

/// Play a scenario: a timeline of changes, which are always reverted, with a report
#[derive(Debug, clap::Args)]
pub struct ScenarioArgs {
    #[command(subcommand)]
    command: ScenarioCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ScenarioCommand {
    /// Play a scenario against a running squall
    ///
    /// Exits with 0 if all expectations held, and with 1 if not: then it says which. When it is interrupted or killed, the
    /// scenario is aborted, and everything is put back.
    Run(RunScenarioArgs),
    /// Check the files of scenarios, and report every mistake
    Check(CheckScenarioArgs),
}

/// Play a scenario against a running squall
#[derive(Debug, clap::Args)]
struct RunScenarioArgs {
    /// The scenario's file; `-` reads it from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    admin: AdminArgs,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE", conflicts_with = "detach")]
    json: Option<PathBuf>,
    /// Write the report as JUnit XML to this file
    #[arg(long, value_name = "FILE", conflicts_with = "detach")]
    junit: Option<PathBuf>,
    /// Write the report as one HTML page to this file
    #[arg(long, value_name = "FILE", conflicts_with = "detach")]
    html: Option<PathBuf>,
    /// Start the scenario, and don't wait for its end; it then goes on by itself
    #[arg(long)]
    detach: bool,
}

/// Check the files of scenarios, and report every mistake
#[derive(Debug, clap::Args)]
struct CheckScenarioArgs {
    /// The files; `-` reads one from standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Runs a command about scenarios.
pub fn run(args: ScenarioArgs) -> ExitCode {
    match args.command {
        ScenarioCommand::Check(args) => check(&args.files),
        ScenarioCommand::Run(args) => match runtime(Some(1)) {
            Ok(runtime) => runtime.block_on(play(args)),
            Err(error) => fail(INTERNAL, &format!("can't start threads: {error}")),
        },
    }
}

fn check(files: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match load(file) {
            Ok((scenario, _)) => {
                let timeline = &scenario.timeline;
                let took = crate::yaml::units::Time::saturating(timeline.duration());
                let steps = timeline.segments().len();
                print(&format!("{}: ok ({steps} changes in {took})\n", file.display()));
            }
            Err(failed) => code = failed,
        }
    }
    code
}

/// Reads and checks a file. Says what is wrong with it, and returns the exit code.
fn load(file: &Path) -> Result<(Scenario, Vec<u8>), ExitCode> {
    let (name, read) = if file.as_os_str() == "-" {
        let read = files::read_at_most(io::stdin().lock(), MAX_BYTES);
        ("standard input".to_owned(), read)
    } else {
        (file.display().to_string(), files::read(file, MAX_BYTES))
    };
    let bytes = read.map_err(|error| fail(BAD_CONFIGURATION, &format!("error: can't read {name}: {error}")))?;
    match Scenario::load(&name, bytes.clone()) {
        Ok(scenario) => Ok((scenario, bytes)),
        Err(report) => Err(fail(
            BAD_CONFIGURATION,
            report.render(is_coloured(&io::stderr())).trim_end(),
        )),
    }
}

async fn play(args: RunScenarioArgs) -> ExitCode {
    let (scenario, bytes) = match load(&args.file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return fail(INTERNAL, &format!("can't listen for signals: {error}")),
    };
    let file: String = scenario.file().chars().rev().take(150).collect();
    let file: String = file.chars().rev().collect();
    let encoded = percent_encoding::utf8_percent_encode(&file, percent_encoding::NON_ALPHANUMERIC);
    let detach = if args.detach { "&detach=1" } else { "" };
    let target = format!("/api/v1/scenarios?file={encoded}{detach}");
    let sent = args.admin.send(Method::POST, &target, "text/plain", bytes).await;
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            return fail(
                INTERNAL,
                &format!("error: can't reach the admin API at {}: {error}", args.admin.place()),
            );
        }
    };
    let status = response.status();
    if !status.is_success() {
        let text = text_of(response.into_body()).await;
        let code = match status {
            StatusCode::UNPROCESSABLE_ENTITY => BAD_CONFIGURATION,
            StatusCode::CONFLICT => NOT_PASSED,
            _ => INTERNAL,
        };
        return fail(code, text.trim_end());
    }
    if args.detach {
        let text = text_of(response.into_body()).await;
        let started: Value = serde_json::from_str(&text).unwrap_or_default();
        let id = started.get("id").and_then(Value::as_u64).unwrap_or_default();
        return print(&format!("scenario {id} is being played\n"));
    }
    let followed = follow(&args.admin, response.into_body(), &mut interrupts).await;
    match followed {
        Ok(Some(report)) => finish(&args, *report),
        Ok(None) => ExitCode::from(NOT_PASSED),
        Err(message) => fail(INTERNAL, &format!("error: {message}")),
    }
}

/// A line of what the admin API tells about a scenario.
#[derive(Debug, Deserialize)]
struct Told {
    id: u64,
    state: State,
    at_seconds: f64,
    of_seconds: f64,
    in_force: Vec<String>,
    report: Option<Box<ScenarioReport>>,
}

/// Follows a scenario to its end. The first signal aborts it; a second one ends this command, and with it the scenario. `None`
/// after a second signal.
async fn follow(
    admin: &AdminArgs,
    mut body: Incoming,
    interrupts: &mut Interrupts,
) -> Result<Option<Box<ScenarioReport>>, String> {
    let mut buffer = Vec::new();
    let mut shown = Shown::new();
    let (mut id, mut interrupted, mut told_so) = (None, false, false);
    let gone = "squall has ended or broken off; what a scenario changes never outlives squall";
    loop {
        tokio::select! {
            frame = body.frame() => {
                let frame = frame.ok_or(gone)?.map_err(|error| format!("{gone}: {error}"))?;
                buffer.extend(frame.into_data().unwrap_or_default());
            }
            () = interrupts.next() => {
                if interrupted {
                    return Ok(None);
                }
                interrupted = true;
                shown.note("aborting; everything is put back");
            }
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let told: Told = serde_json::from_slice(&line).map_err(|error| format!("unexpected response: {error}"))?;
            id = Some(told.id);
            shown.show(&told);
            if told.state == State::Done {
                shown.end();
                return told
                    .report
                    .map(Some)
                    .ok_or_else(|| "the scenario broke down, and has left no report".into());
            }
        }
        // Its number may be known only after the signal.
        if interrupted
            && !told_so
            && let Some(id) = id
        {
            told_so = true;
            let target = format!("/api/v1/scenarios/{id}/abort");
            // If it fails, the scenario has ended, or ends with this command.
            let _answer = admin.send(Method::POST, &target, "text/plain", "").await;
        }
    }
}

/// Writes the report, and says how the scenario ended.
fn finish(args: &RunScenarioArgs, report: ScenarioReport) -> ExitCode {
    let mut failed = false;
    let formats: [(&Option<PathBuf>, &dyn Fn() -> String); 3] = [
        (&args.json, &|| {
            format!("{:#}\n", serde_json::to_value(&report).unwrap_or_default())
        }),
        (&args.junit, &|| report.junit()),
        (&args.html, &|| report.html()),
    ];
    for (file, text) in formats {
        if let Some(file) = file
            && let Err(error) = fs::write(file, text())
        {
            say(&format!("error: can't write {}: {error}", file.display()));
            failed = true;
        }
    }
    let printed = print(&report.summary());
    match (report.verdict.is_pass(), failed) {
        (false, _) => ExitCode::from(NOT_PASSED),
        (true, true) => ExitCode::from(INTERNAL),
        (true, false) => printed,
    }
}

/// The text of a response of the admin API.
async fn text_of(body: Incoming) -> String {
    let bytes = body
        .collect()
        .await
        .map(|collected| collected.to_bytes())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// SIGINT and SIGTERM.
struct Interrupts(Signal, Signal);

impl Interrupts {
    fn listen() -> io::Result<Interrupts> {
        Ok(Interrupts(
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// What is shown of a scenario on standard error: a bar on a terminal, and elsewhere a line whenever something changes.
struct Shown {
    on_terminal: bool,
    last: Option<(State, Vec<String>)>,
}

impl Shown {
    fn new() -> Shown {
        Shown {
            on_terminal: io::stderr().is_terminal(),
            last: None,
        }
    }

    fn show(&mut self, told: &Told) {
        let news = (told.state, told.in_force.clone());
        let is_new = self.last.as_ref() != Some(&news);
        self.last = Some(news);
        let steps = told.in_force.join("; ");
        let state = match told.state {
            State::Baseline => "observing before anything is injected",
            State::Running => "running",
            State::Paused => "paused",
            State::Reverting => "putting everything back",
            State::Recovery => "observing after reverting",
            State::Done => return,
        };
        let (at, of) = (told.at_seconds, told.of_seconds);
        if self.on_terminal {
            let share = (at / of.max(1e-3)).clamp(0.0, 1.0);
            let filled = (share * CELLS as f64) as usize;
            let bar: String = (0..CELLS).map(|cell| if cell < filled { '█' } else { '░' }).collect();
            let text: String = format!("{bar} {at:5.1}s/{of:.1}s {state} {steps}")
                .chars()
                .take(width())
                .collect();
            // Over the line before.
            let _ = write!(io::stderr(), "\r{text}\x1b[K");
        } else if is_new {
            let steps = if steps.is_empty() {
                String::new()
            } else {
                format!(": {steps}")
            };
            say(&format!("{at:.1}s of {of:.1}s, {state}{steps}"));
        }
    }

    fn note(&self, text: &str) {
        self.end();
        say(text);
    }

    fn end(&self) {
        if self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// The characters that fit into a line of the terminal.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}
