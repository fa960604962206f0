//! `squall man`: generates the manual page from the command-line definitions.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::output::{fail, print};
use super::{Cli, INTERNAL};

/// The sections that apply to all commands, in roff.
const COMMON: &str = r#".SH EXIT STATUS
.TP
\fB0\fR
Success.
.TP
\fB1\fR
A check failed, or a running squall refused the request.
.TP
\fB2\fR
The command line is invalid.
.TP
\fB64\fR
The configuration is invalid.
.TP
\fB69\fR
An address can't be listened on, such as one that another process has.
.TP
\fB70\fR
An internal or system error.
.SH ENVIRONMENT
.TP
\fBSQUALL_CONFIG\fR
The configuration file, unless one is given on the command line.
.TP
\fBSQUALL_SEED\fR
The seed of all random draws, unless \fB\-\-seed\fR is given.
.TP
\fBSQUALL_ADMIN\fR, \fBSQUALL_TOKEN\fR
The address of a running squall's admin API and its token, unless \fB\-\-admin\fR and \fB\-\-token\fR are given.
.TP
\fBSQUALL_LOG\fR
The log filter, such as \fIinfo,squall=debug\fR; overrides the file.
.TP
\fBNO_COLOR\fR
If set, output is not coloured.
"#;

/// Print the manual page
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write one page for each command into this folder instead: squall.1, squall-run.1, …
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Prints the page, or writes the pages.
pub fn run(args: ManArgs) -> ExitCode {
    match args.out {
        None => match page() {
            Ok(page) => print(&page),
            Err(error) => fail(INTERNAL, &format!("error: {error}")),
        },
        Some(folder) => {
            let written = std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(command(), &folder));
            match written {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(
                    INTERNAL,
                    &format!("error: can't write to {}: {error}", folder.display()),
                ),
            }
        }
    }
}

fn command() -> Command {
    Cli::command().disable_help_subcommand(true)
}

/// All commands in one page.
fn page() -> io::Result<String> {
    let mut root = command();
    root.build();
    let mut page = Vec::new();
    let man = Man::new(root.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        page.push_str(&section(command)?);
    }
    page.push_str(COMMON);
    Ok(page)
}

/// One command as a section, with its own sections as subsections.
fn section(command: &Command) -> io::Result<String> {
    let mut text = Vec::new();
    let man = Man::new(command.clone());
    man.render_description_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let text = String::from_utf8_lossy(&text)
        .replace(".SH DESCRIPTION\n", "")
        .replace("\n.SH ", "\n.SS ");
    let extra = command
        .get_after_help()
        .map(|extra| examples(&extra.to_string()))
        .unwrap_or_default();
    Ok(format!(
        ".SH SQUALL {}\n{text}{extra}",
        command.get_name().to_uppercase()
    ))
}

/// Lines that roff must not fill.
fn examples(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let escaped = line.replace('\\', "\\e").replace('-', "\\-");
        // A dot or a quote at the start would be a roff request.
        format!("\\&{escaped}\n")
    });
    format!(".PP\n.nf\n{}.fi\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command() {
        let page = page().unwrap();
        for command in command().get_subcommands() {
            let title = format!("\n.SH SQUALL {}\n", command.get_name().to_uppercase());
            assert!(page.contains(&title), "{title}");
        }
        assert!(page.starts_with(".ie") || page.contains(".TH squall 1"));
        assert!(page.contains(".SH EXIT STATUS"));
    }

    #[test]
    fn pages_go_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            run(ManArgs {
                out: Some(folder.path().join("man1"))
            }),
            ExitCode::SUCCESS
        );
        for command in command().get_subcommands() {
            assert!(
                folder
                    .path()
                    .join(format!("man1/squall-{}.1", command.get_name()))
                    .exists()
            );
        }
    }
}
