//! The log of `squall run`: lines on standard error, written by a thread of its own.
//!
//! A reader of the log that stops reading, or a disk that is full, must not stop requests or end the process. Up to
//! [`WAITING`] lines wait for the thread; further ones, and those that can't be written, are dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::lines::Terminal;
use super::output::is_coloured;
use crate::config::root::{LogFormat, LogLevel, LogSpec};
use crate::metrics::Metrics;

/// The most lines that wait to be written.
const WAITING: usize = 10_000;

/// A started log. Dropping it writes the lines that wait, for a second at most.
pub(super) struct Log {
    writer: LogWriter,
    _guard: WorkerGuard,
}

impl Log {
    /// Starts the log of this process.
    pub(super) fn start(spec: &LogSpec, metrics: &Arc<Metrics>) -> Log {
        let (lines, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING)
            .thread_name("squall-log")
            .finish(StandardError(Arc::clone(metrics)));
        let writer = LogWriter {
            lines,
            counted: Arc::default(),
            metrics: Arc::clone(metrics),
        };
        let made = writer.clone();
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter(spec.level))
            .with_writer(move || made.clone());
        // Fails on a second start in one process, which keeps the first log.
        let _ = match spec.format {
            LogFormat::Json => log
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .try_init(),
            LogFormat::Text if io::stderr().is_terminal() => {
                let coloured = is_coloured(&io::stderr());
                log.event_format(Terminal { coloured }).try_init()
            }
            LogFormat::Text | LogFormat::Logfmt => log
                .event_format(tracing_logfmt::EventsFormatter::default())
                .fmt_fields(tracing_logfmt::FieldsFormatter::default())
                .try_init(),
        };
        Log { writer, _guard: guard }
    }

    /// Writes a text as it is, behind the lines so far.
    pub(super) fn say(&self, text: &str) {
        // A line that can't wait is counted, not an error.
        let _ = self.writer.clone().write_all(text.as_bytes());
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let name = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Pingora's own lines repeat squall's about each request, so they appear only from `debug` on.
    let quiet = match level {
        LogLevel::Debug | LogLevel::Trace => "",
        _ => ",pingora=off,pingora_core=off",
    };
    EnvFilter::try_from_env("SQUALL_LOG").unwrap_or_else(|_| EnvFilter::new(format!("{name}{quiet}")))
}

/// Hands lines to the thread that writes them, and counts those for which there was no room.
#[derive(Clone)]
struct LogWriter {
    lines: NonBlocking,
    /// Dropped lines that are in the metric already.
    counted: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.lines.write(line);
        let dropped = self.lines.error_counter().dropped_lines();
        // Relaxed: only the sum matters. The larger of two concurrent values wins, so no line is counted twice.
        let counted = self.counted.fetch_max(dropped, Ordering::Relaxed);
        self.metrics
            .log_lines_dropped
            .inc_by(dropped.saturating_sub(counted) as u64);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error, whose failures are counted and go no further.
struct StandardError(Arc<Metrics>);

impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            self.0.log_lines_dropped.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
