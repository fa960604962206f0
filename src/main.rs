//! Parses the command line, runs a command, exits with its code.

use std::process::ExitCode;

use clap::Parser;

/// The system's allocator gets slow once a large configuration has been read and its leftovers are scattered over the
/// heap: with 10,000 rules a request cost half as much again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    squall::cli::Cli::parse().run()
}
