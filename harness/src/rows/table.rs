//! Rows as an aligned table, as psql prints them, without spaces at the ends of lines.

use std::{borrow::Cow, fmt};

use super::{Rows, catalogue::Leaf};

/// What stands for null, which no value looks like by accident.
const NULL: &str = "∅";

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<Cow<'_, str>> = self.columns().map(one_line).collect();
        let cells: Vec<Vec<Cow<'_, str>>> = self
            .rows
            .iter()
            .map(|row| {
                row.iter().map(|value| value.as_deref().map_or(Cow::Borrowed(NULL), one_line)).collect()
            })
            .collect();
        let widths: Vec<usize> = (0..names.len())
            .map(|column| {
                cells.iter().map(|row| &row[column]).chain([&names[column]]).map(|it| width(it)).max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        writeln!(f, "{}", line(names.iter().zip(&widths).map(|(name, width)| (name, *width, false))))?;
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        writeln!(f, "{}", rule.join("-+-"))?;
        for row in &cells {
            let cells = row.iter().zip(&widths).zip(&self.columns).map(|((cell, width), column)| {
                let number = matches!(column.leaf, Some(Leaf::Integer | Leaf::Float | Leaf::Numeric));
                (cell, *width, number)
            });
            writeln!(f, "{}", line(cells))?;
        }
        match self.len() {
            1 => f.write_str("(1 row)"),
            rows => write!(f, "({rows} rows)"),
        }
    }
}

fn line<'a>(cells: impl Iterator<Item = (&'a Cow<'a, str>, usize, bool)>) -> String {
    let cells = cells.map(|(cell, room, to_the_right)| {
        let padding = " ".repeat(room - width(cell));
        if to_the_right { padding + cell } else { cell.to_string() + &padding }
    });
    cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text on one line: a line break inside of a cell would look like another row.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control()) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}
