//! `squall ctl`: steers and observes a running squall through its admin API.

mod api;
mod events;
mod guards;
mod rules;
mod show;
mod table;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;

use self::api::{Api, Done};
use super::INTERNAL;
use super::client::AdminArgs;
use super::output::fail;
use super::run::runtime;

/// Steer and observe a running squall through its admin API
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    squall ctl rules\n  \
    squall ctl off 'slow payments'\n  \
    echo '{name: slow, match: {path: /pay}, faults: [{delay: 2s}]}' | squall ctl put --ttl 10m -\n  \
    squall ctl stop 'the shop is down'\n  \
    squall ctl explain http://127.0.0.1:8080/pay\n  \
    squall ctl verify '{match: {path: /pay}, count: 3}'\n\n\
    Exits with 0 if it is done, with 1 if squall refuses it, and with 70 if squall can't be reached. `verify` exits with 0 for \
    pass, 1 for fail and 3 for inconclusive.")]
pub struct CtlArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print what the API responds, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Work on the rules and the requests of this space
    #[arg(long, value_name = "NAME", global = true)]
    space: Option<String>,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CtlCommand {
    /// Show the state of squall
    Status,
    /// List the rules
    Rules,
    /// Show a rule as YAML
    Rule {
        /// The rule's name
        name: String,
    },
    /// Add or replace rules of the API: one, a list, or `rules:` as in a configuration
    Put(PutArgs),
    /// Change parts of a rule
    Patch {
        /// The rule's name
        name: String,
        /// The keys to change, as JSON or YAML: {when: {percentage: 50%}}; null removes a key
        patch: String,
    },
    /// Remove a rule of the API
    Remove {
        /// The rule's name
        name: String,
    },
    /// Switch a rule on
    On {
        /// The rule's name
        name: String,
    },
    /// Switch a rule off
    Off {
        /// The rule's name
        name: String,
    },
    /// Forget what a rule has counted and remembered, or what all rules have
    Reset {
        /// The rule's name. Without it: all rules
        name: Option<String>,
    },
    /// Put the rules of the API into this order
    Order {
        /// Their names; all of them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Stop all injection at once
    Stop {
        /// Why, for those who look at squall meanwhile
        reason: Option<String>,
    },
    /// Allow injection again after `stop`
    Start,
    /// Follow what happens, one line for each event
    Events(EventsArgs),
    /// Explain what would happen to a request now, and why
    Explain(ExplainCtlArgs),
    /// Print the configuration in force as YAML, with the rules of the API
    Export,
    /// List the upstreams and the health of their endpoints
    Upstreams,
    /// List the last requests, or show one
    Journal(JournalArgs),
    /// Tell whether requests were as expected
    Verify {
        /// What is expected, as JSON or YAML; or a file of it; or `-` for standard input
        #[arg(value_name = "FILE|JSON")]
        question: String,
    },
    /// Open, close or list spaces
    Space {
        #[command(subcommand)]
        command: SpaceCommand,
    },
    /// List, put, remove or reset the conditions that stop injection
    Guard {
        #[command(subcommand)]
        command: GuardCommand,
    },
    /// Reload the configuration file
    Reload,
}

/// Add or replace rules of the API
#[derive(Debug, clap::Args)]
struct PutArgs {
    /// The file; `-` reads it from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How long the rules live, such as 10m. Without it: until they are removed
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
    /// Check the rules, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Follow what happens
#[derive(Debug, clap::Args)]
struct EventsArgs {
    /// The kinds of events, separated by commas
    #[arg(
        long,
        value_name = "KINDS",
        default_value = "request,rule,armed,guard,space,reload,scenario"
    )]
    kinds: String,
}

/// Explain what would happen to a request
#[derive(Debug, clap::Args)]
struct ExplainCtlArgs {
    /// The listener that receives the request. Without it: the one with the URL's port, or the only one
    #[arg(short, long, value_name = "NAME")]
    listener: Option<String>,
    /// The method
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with = "command")]
    method: Option<String>,
    /// A header field; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", conflicts_with = "command")]
    headers: Vec<String>,
    /// The request's URL, or its path alone
    #[arg(value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// The request as a curl command line
    #[arg(last = true, value_name = "CURL")]
    command: Vec<String>,
}

/// List the last requests
#[derive(Debug, clap::Args)]
struct JournalArgs {
    /// The number of a request, to show all of it
    #[arg(value_name = "ID")]
    id: Option<u64>,
    /// The most requests to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only requests with an injected fault
    #[arg(long)]
    hit: bool,
    /// Only requests with a fault of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only requests with this method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Only requests whose path matches this glob
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Only requests whose client got this status, such as 503 or 5xx
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Forget them instead
    #[arg(long, conflicts_with_all = ["id", "hit", "rule", "method", "path", "status"])]
    clear: bool,
}

#[derive(Debug, clap::Subcommand)]
enum SpaceCommand {
    /// List the spaces
    List,
    /// Open a space, or renew it
    Open {
        /// The name of the space
        name: String,
        /// How long it lives after a change of it or of its rules, such as 10m. Without it: until it is closed
        #[arg(long, value_name = "TIME")]
        ttl: Option<String>,
        /// A listener of the file to copy for the space; may be given several times
        #[arg(long = "listener", value_name = "NAME")]
        listeners: Vec<String>,
    },
    /// Close a space, with its rules, its listeners and its journal
    Close {
        /// The name of the space
        name: String,
    },
}

#[derive(Debug, clap::Subcommand)]
enum GuardCommand {
    /// List the guards, and how far each is
    List,
    /// Add a guard that stops everything, or replace it
    Put {
        /// The guard's name
        name: String,
        /// The condition, as in `stop_when`: {errors: {above: 5%}}
        condition: String,
    },
    /// Remove a guard that was added here; what it has stopped stays stopped
    Remove {
        /// The guard's name
        name: String,
    },
    /// Let a guard forget what it has seen; what it has stopped goes on
    Reset {
        /// The guard's name
        name: String,
    },
}

/// Speaks to the squall that runs.
pub fn run(args: CtlArgs) -> ExitCode {
    match runtime(Some(1)) {
        Ok(runtime) => match runtime.block_on(carry_out(args)) {
            Ok(code) => code,
            Err(failed) => fail(failed.code, &failed.message),
        },
        Err(error) => fail(INTERNAL, &format!("can't start threads: {error}")),
    }
}

async fn carry_out(args: CtlArgs) -> Done {
    let api = Api {
        admin: args.admin,
        json: args.json,
        space: args.space,
    };
    match args.command {
        CtlCommand::Status => show::status(&api).await,
        CtlCommand::Upstreams => show::upstreams(&api).await,
        CtlCommand::Export => show::export(&api).await,
        CtlCommand::Reload => show::reload(&api).await,
        CtlCommand::Stop { reason } => show::arm(&api, false, reason).await,
        CtlCommand::Start => show::arm(&api, true, None).await,
        CtlCommand::Space { command } => match command {
            SpaceCommand::List => show::spaces(&api).await,
            SpaceCommand::Open { name, ttl, listeners } => show::open(&api, &name, ttl, listeners).await,
            SpaceCommand::Close { name } => show::close(&api, &name).await,
        },
        CtlCommand::Guard { command } => match command {
            GuardCommand::List => guards::list(&api).await,
            GuardCommand::Put { name, condition } => guards::put(&api, &name, condition).await,
            GuardCommand::Remove { name } => guards::remove(&api, &name).await,
            GuardCommand::Reset { name } => guards::reset(&api, &name).await,
        },
        CtlCommand::Rules => rules::list(&api).await,
        CtlCommand::Rule { name } => rules::show(&api, &name).await,
        CtlCommand::Put(args) => rules::put(&api, &args).await,
        CtlCommand::Patch { name, patch } => rules::patch(&api, &name, &patch).await,
        CtlCommand::Remove { name } => rules::remove(&api, &name).await,
        CtlCommand::On { name } => rules::switch(&api, &name, true).await,
        CtlCommand::Off { name } => rules::switch(&api, &name, false).await,
        CtlCommand::Reset { name } => rules::reset(&api, name.as_deref()).await,
        CtlCommand::Order { names } => rules::order(&api, &names).await,
        CtlCommand::Events(args) => events::follow(&api, &args.kinds).await,
        CtlCommand::Explain(args) => traffic::explain(&api, args).await,
        CtlCommand::Journal(args) => traffic::journal(&api, args).await,
        CtlCommand::Verify { question } => traffic::verify(&api, &question).await,
    }
}
