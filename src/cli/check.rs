//! `squall check`: reports everything that is wrong with configuration files.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use super::output::{fail, is_coloured, print, say};
use super::{BAD_CONFIGURATION, INTERNAL};
use crate::config::snapshot::{Inputs, Snapshot};
use crate::config::{self, Source};
use crate::files;
use crate::metrics::Metrics;
use crate::yaml::report::Report;
use crate::yaml::tree::MAX_FILE_BYTES;

/// Check configuration files and report every problem
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The files; `-` reads one from standard input
    #[arg(value_name = "FILE", required_unless_present = "config")]
    files: Vec<PathBuf>,
    /// A further file, as the other commands take it
    #[arg(short, long, value_name = "FILE", hide = true)]
    config: Vec<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    format: CheckFormat,
    /// Print each valid configuration as loaded, with variables and includes resolved
    #[arg(long, conflicts_with = "format")]
    print: bool,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CheckFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

/// A checked file.
struct Checked {
    file: String,
    result: Result<Snapshot, Report>,
}

/// Checks all files, including those after a bad one.
pub fn run(args: CheckArgs) -> ExitCode {
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(error) => return fail(INTERNAL, &format!("internal error: {error}")),
    };
    let mut checked = Vec::new();
    for file in args.files.iter().chain(&args.config) {
        match load(file, &metrics) {
            Ok(result) => checked.push(Checked {
                file: file.display().to_string(),
                result,
            }),
            Err(error) => return fail(INTERNAL, &format!("error: can't read standard input: {error}")),
        }
    }
    let printed = match args.format {
        CheckFormat::Json => print(&format!("{:#}\n", Value::from_iter(checked.iter().map(Checked::json)))),
        CheckFormat::Github => print(&checked.iter().map(Checked::annotations).collect::<String>()),
        CheckFormat::Text => show(&checked, args.print),
    };
    let passes = |one: &Checked| match &one.result {
        Ok(snapshot) => !args.strict || snapshot.warnings.is_empty(),
        Err(_) => false,
    };
    if checked.iter().all(passes) {
        printed
    } else {
        ExitCode::from(BAD_CONFIGURATION)
    }
}

fn load(file: &Path, metrics: &Metrics) -> io::Result<Result<Snapshot, Report>> {
    // Nothing is drawn, so any seed suffices.
    let inputs = Inputs::new(metrics, Instant::now());
    if file.as_os_str() != "-" {
        return Ok(config::load(&Source::File(file.to_owned()), inputs));
    }
    let bytes = files::read_at_most(io::stdin().lock(), MAX_FILE_BYTES)?;
    Ok(config::load_bytes("standard input", &bytes, inputs))
}

/// Prints reports to standard error, in the order of the files, and verdicts to standard output, or to standard error
/// with `--print`.
fn show(checked: &[Checked], resolved: bool) -> ExitCode {
    let coloured = is_coloured(&io::stderr());
    let mut code = ExitCode::SUCCESS;
    for (number, one) in checked.iter().enumerate() {
        match &one.result {
            Err(report) => say(report.render(coloured).trim_end()),
            Ok(snapshot) => {
                if !snapshot.warnings.is_empty() {
                    say(snapshot.warnings.render(coloured).trim_end());
                }
                if !resolved {
                    code = print(&format!("{}: ok ({})\n", one.file, contents(snapshot)));
                    continue;
                }
                say(&format!("{}: ok ({})", one.file, contents(snapshot)));
                let between = if number > 0 { "---\n" } else { "" };
                code = match snapshot.masks.yaml(&snapshot.spec) {
                    Ok(yaml) => print(&format!("{between}{yaml}")),
                    Err(error) => fail(INTERNAL, &format!("error: {error}")),
                };
            }
        }
    }
    code
}

fn contents(snapshot: &Snapshot) -> String {
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}",
        counted(snapshot.listeners.len(), "listener"),
        counted(snapshot.rules.len(), "rule")
    )
}

impl Checked {
    fn report(&self) -> &Report {
        match &self.result {
            Ok(snapshot) => &snapshot.warnings,
            Err(report) => report,
        }
    }

    fn json(&self) -> Value {
        let snapshot = self.result.as_ref().ok();
        json!({
            "file": self.file,
            "ok": snapshot.is_some(),
            "listeners": snapshot.map(|snapshot| snapshot.listeners.len()),
            "rules": snapshot.map(|snapshot| snapshot.rules.len()),
            "diagnostics": self.report().to_json(),
        })
    }

    /// Workflow commands (GitHub's documentation, "Workflow commands for GitHub Actions").
    fn annotations(&self) -> String {
        let mut lines = String::new();
        for one in self.report().to_json().as_array().into_iter().flatten() {
            let severity = one["severity"].as_str().unwrap_or("error");
            let file = one["file"].as_str().unwrap_or(&self.file);
            let _ = write!(lines, "::{severity} file={}", property(file));
            for (name, key) in [
                ("line", "line"),
                ("col", "column"),
                ("endLine", "end_line"),
                ("endColumn", "end_column"),
            ] {
                if let Some(number) = one[key].as_u64() {
                    let _ = write!(lines, ",{name}={number}");
                }
            }
            let help = one["help"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let message = one["message"]
                .as_str()
                .into_iter()
                .chain(help)
                .collect::<Vec<_>>()
                .join("\n");
            let _ = writeln!(lines, ",title=squall::{}", data(&message));
        }
        lines
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
seed: 1
listeners: {web: {address: '127.0.0.1:0', upstream: echo}}
upstreams: {echo: {fake: echo}}
rules:
  - {name: one, faults: [{abort: 503}]}
";

    fn checked(yaml: &str) -> Checked {
        let metrics = Metrics::new().unwrap();
        let inputs = Inputs::new(&metrics, Instant::now());
        Checked {
            file: "x.yaml".into(),
            result: config::load_text("x.yaml", yaml, inputs),
        }
    }

    #[test]
    fn good_files_are_counted() {
        let one = checked(GOOD);
        assert_eq!(contents(one.result.as_ref().unwrap()), "1 listener, 1 rule");
        let json = one.json();
        assert_eq!((&json["ok"], &json["rules"]), (&json!(true), &json!(1)));
        assert_eq!(one.annotations(), "");
    }

    #[test]
    fn bad_files_are_annotated() {
        let one = checked(&GOOD.replace("abort", "abrot"));
        assert_eq!(one.json()["ok"], false);
        let lines = one.annotations();
        assert!(lines.starts_with("::error file=x.yaml,line=5,col="), "{lines}");
        assert!(lines.contains("abrot"), "{lines}");
        assert_eq!(lines.lines().count(), 1);
    }

    #[test]
    fn printed_configurations_read_back_as_equal() {
        let yaml = |text: &str| {
            let snapshot = checked(text).result.unwrap();
            snapshot.masks.yaml(&snapshot.spec).unwrap()
        };
        let once = yaml(GOOD);
        assert_eq!(yaml(&once), once);
    }

    #[test]
    fn workflow_commands_are_escaped() {
        assert_eq!(data("50%\nx: y"), "50%25%0Ax: y");
        assert_eq!(property("C:\\a,b"), "C%3A\\a%2Cb");
    }
}
