//! Tables that fit: what is too long is cut with an ellipsis.

use std::io::{self, IsTerminal};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use rustix::termios::tcgetwinsize;

/// How wide a table is where there is no terminal.
const WIDTH: u16 = 80;
/// Names are not wider than this, so that something is left for the rest.
const NAME: u16 = 14;
/// Between two columns.
const GAP: u16 = 2;

/// A column by its title.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Of names, which may be cut.
    Name(&'static str),
    /// Of words that are never cut.
    Word(&'static str),
    /// Of numbers and ages, which are never cut.
    Number(&'static str),
    /// Takes what the others leave, and is cut.
    Rest(&'static str),
}

use Column::{Name, Number, Rest, Word};

/// The width of the terminal, if there is one.
pub(crate) fn width() -> u16 {
    let stdout = io::stdout();
    let columns = stdout.is_terminal().then(|| tcgetwinsize(&stdout).ok()).flatten().map(|size| size.ws_col);
    columns.filter(|columns| *columns > 0).unwrap_or(WIDTH)
}

/// A table of this width, with a line for each row and one for the titles.
pub(crate) fn table<const N: usize>(
    width: u16,
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // The gap after the last column is trimmed.
    table.set_width(width + GAP);
    let cut = |cells: [String; N]| {
        let mut row = Row::from(cells);
        row.max_height(1);
        row
    };
    table.set_header(cut(columns.map(|column| column.title().to_owned())));
    table.add_rows(rows.into_iter().map(cut));
    for (of, column) in table.column_iter_mut().zip(columns) {
        of.set_padding((0, GAP));
        if let Name(_) = column {
            of.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(NAME + GAP)));
        }
        if let Word(_) | Number(_) = column {
            of.set_constraint(ColumnConstraint::ContentWidth);
        }
        if let Number(_) = column {
            of.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

impl Column {
    fn title(self) -> &'static str {
        let (Name(title) | Word(title) | Number(title) | Rest(title)) = self;
        title
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_may_be_whatever_is_in_it() {
        let long = "x".repeat(300);
        let rows = [
            ["1", "mail", "ready", "no such host"].map(str::to_owned),
            ["1000000", &long, "scheduled in 5m", &long].map(str::to_owned),
            ["1000000", "送信送信送信送信送信送信", "ready", "no such host: ".repeat(20).as_str()]
                .map(str::to_owned),
        ];
        let columns = [Number("job"), Name("kind"), Word("state"), Rest("arguments")];
        insta::assert_snapshot!(table(80, columns, rows.clone()));
        for width in 60..200 {
            let text = table(width, columns, rows.clone());
            assert_eq!(text.lines().count(), 4);
            for line in text.lines() {
                let wide = line.chars().filter(|c| matches!(c, '送' | '信')).count();
                assert!(line.chars().count() + wide <= usize::from(width), "{width}:\n{text}");
            }
        }
    }
}
