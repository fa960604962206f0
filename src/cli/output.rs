//! What commands print.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use super::INTERNAL;

/// Prints what was asked for to standard output. A reader that has had enough (`squall schema | head`) is no failure.
pub(super) fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(INTERNAL, &format!("error: can't write: {error}")),
        _ => ExitCode::SUCCESS,
    }
}

/// Prints a line for people to standard error.
pub(super) fn say(message: &str) {
    // Where standard error is closed there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{message}");
}

/// Says what is wrong, and ends with a code.
pub(super) fn fail(code: u8, message: &str) -> ExitCode {
    say(message);
    ExitCode::from(code)
}

/// Whether what goes there is coloured: for a terminal, unless `NO_COLOR` is set (https://no-color.org).
pub(super) fn is_coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
