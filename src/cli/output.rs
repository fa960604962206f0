//! Output of commands to standard output and standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use super::INTERNAL;

/// Prints a command's result to standard output. A reader that closes early (`squall schema | head`) is not a failure.
pub(super) fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(INTERNAL, &format!("error: can't write: {error}")),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints a line to standard error.
pub(super) fn say(message: &str) {
    // If standard error is closed, there is nowhere to report that.
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints an error, and returns the exit code.
pub(super) fn fail(code: u8, message: &str) -> ExitCode {
    say(message);
    ExitCode::from(code)
}

/// Whether to colour the output: on a terminal, unless `NO_COLOR` is set (https://no-color.org).
pub(super) fn is_coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
