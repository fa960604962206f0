//! Tables for people: aligned columns without rules between them.

use std::io;

use crate::cli::output::is_coloured;

/// The space between two columns.
const GAP: &str = "  ";

/// How a cell looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Good,
    Bad,
    Dim,
}

/// A cell.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    look: Look,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text, Look::Plain)
    }
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, look: Look) -> Cell {
        let text: String = text.into();
        Cell {
            // A name with control characters must not reach the terminal.
            text: text.chars().filter(|letter| !letter.is_control()).collect(),
            look,
        }
    }
}

/// A table with a title for each column. Columns whose titles begin with `>` are aligned to the right.
#[derive(Debug)]
pub(super) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(titles: &[&'static str]) -> Table {
        Table {
            titles: titles.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as lines, coloured on a terminal; `none` if it has no rows.
    pub(super) fn render(self, none: &str) -> String {
        if self.rows.is_empty() {
            return format!("{none}\n");
        }
        self.lines(is_coloured(&io::stdout()))
    }

    fn lines(self, coloured: bool) -> String {
        let title = |title: &&'static str| Cell::new(title.trim_start_matches('>'), Look::Dim);
        let titles: Vec<Cell> = self.titles.iter().map(title).collect();
        let mut widths = vec![0; titles.len()];
        for row in std::iter::once(&titles).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut lines = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), title) in row.iter().zip(&widths).zip(&self.titles) {
                let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
                let text = styled(&cell.text, cell.look, coloured);
                let (before, after) = if title.starts_with('>') {
                    (padding.as_str(), "")
                } else {
                    ("", padding.as_str())
                };
                line.push_str(&format!("{before}{text}{after}{GAP}"));
            }
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }
}

/// A text as it looks on a terminal.
pub(super) fn styled(text: &str, look: Look, coloured: bool) -> String {
    let code = match look {
        Look::Good => "32",
        Look::Bad => "31",
        Look::Dim => "2",
        Look::Plain => return text.to_owned(),
    };
    if coloured {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", ">HITS"]);
        table.row(["slow\n".into(), Cell::new("on", Look::Good), "7".into()]);
        table.row(["a longer name".into(), Cell::new("off", Look::Bad), "12345".into()]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "\
NAME           STATE   HITS
slow           on         7
a longer name  off    12345
";
        assert_eq!(table().lines(false), expected);
        assert_eq!(table().lines(true).matches("\x1b[").count(), 10);
    }

    #[test]
    fn no_rows_are_said_in_words() {
        assert_eq!(Table::new(&["NAME"]).render("no rules"), "no rules\n");
    }
}
