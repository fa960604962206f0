//! The command line: one file per subcommand.

pub mod check;
mod client;
pub mod completions;
pub mod ctl;
pub mod explain;
pub mod fake;
pub mod healthcheck;
mod lines;
mod log;
pub mod man;
mod output;
mod ready;
pub mod run;
pub mod scenario;
pub mod schema;
mod signals;
pub mod toxiproxy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code of a wrong command line, as clap uses it.
pub const USAGE: u8 = 2;
/// Exit code of a bad configuration: EX_USAGE of sysexits.h.
pub const BAD_CONFIGURATION: u8 = 64;
/// Exit code of an address that can't be listened on: EX_UNAVAILABLE of sysexits.h.
pub const UNAVAILABLE: u8 = 69;
/// Exit code of an internal failure, or one of the system: EX_SOFTWARE of sysexits.h.
pub const INTERNAL: u8 = 70;

/// A reverse proxy that injects latency and faults, exactly as asked.
#[derive(Debug, Parser)]
#[command(name = "squall", version, about, long_about = None, propagate_version = true)]
#[command(after_help = "Without a configuration, `squall run` starts a demo: a fake upstream behind a few faults.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Run(run::RunArgs),
    /// Check configuration files and report every problem
    Check(check::CheckArgs),
    /// Explain what would happen to a request, and why
    Explain(explain::ExplainArgs),
    /// Steer and observe a running squall
    Ctl(ctl::CtlArgs),
    /// Run a fake upstream alone
    Fake(fake::FakeArgs),
    /// Serve Toxiproxy's HTTP API
    Toxiproxy(toxiproxy::ToxiproxyArgs),
    /// Play a scenario: a timeline of changes, which are always reverted, with a report
    Scenario(scenario::ScenarioArgs),
    /// Ask a running squall whether it is ready
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the JSON Schema of configuration files
    Schema(schema::SchemaArgs),
    /// Print a shell's completions
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man(man::ManArgs),
}

impl Cli {
    /// Parses the command line of this process. A wrong one ends the process.
    pub fn of_process() -> Cli {
        Cli::parse_from(toxiproxy::two_dashes(std::env::args_os()))
    }

    /// Runs the parsed subcommand.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(args) => run::run(args),
            Command::Check(args) => check::run(args),
            Command::Explain(args) => explain::run(args),
            Command::Ctl(args) => ctl::run(args),
            Command::Fake(args) => fake::run(args),
            Command::Toxiproxy(args) => toxiproxy::run(args),
            Command::Scenario(args) => scenario::run(args),
            Command::Healthcheck(args) => healthcheck::run(args),
            Command::Schema(args) => schema::run(args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        }
    }
}
