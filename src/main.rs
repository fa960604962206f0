//! The `squall` binary: parses the command line, runs the command, and exits with its code.

use std::process::ExitCode;

/// The system allocator gets slow once loading a large configuration has fragmented the heap: with 10,000 rules, a request
/// cost half as much again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    squall::cli::Cli::of_process().run()
}
