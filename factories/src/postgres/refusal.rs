//! What the database's refusal of some rows means for the caller: which factory, field and record.

use sqlx::postgres::PgDatabaseError;

use super::catalogue::Table;
use crate::{Error, Row, node::Node};

/// The refusal of a write of these nodes, one after the other, to one table.
pub(crate) fn refusal(error: sqlx::Error, table: &Table, nodes: &[&dyn Node]) -> Error {
    let Some(said) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
    else {
        return Error::Database(error);
    };
    // Data exceptions and violated constraints are about a row; all else is about the database.
    if !["22", "23", "P0"].iter().any(|class| said.code().starts_with(class)) {
        return Error::Database(error);
    }
    let (line, copied) = said.r#where().map(copied).unwrap_or_default();
    let row = line.and_then(|line| record(line, nodes));
    let only = nodes.iter().map(|node| node.count()).sum::<u64>() == 1;
    let (factory, row) = match row {
        Some((factory, number)) => (factory, Row::Number(number)),
        None if only => {
            let node = nodes.iter().find(|node| node.count() == 1).unwrap_or(&nodes[0]);
            (node.factory(), Row::Number(node.first()))
        }
        None => (nodes[0].factory(), Row::Unknown),
    };
    let field_of = |column: &str| {
        let target = table.targets.iter().find(|target| target.name == column);
        target.map_or_else(|| column.to_owned(), |target| target.field.to_owned())
    };
    let field = said
        .column()
        .or(copied.as_deref())
        .map(field_of)
        .or_else(|| said.constraint().and_then(|constraint| table.fields_of(constraint)))
        .or_else(|| said.detail().and_then(columns_in).map(|columns| field_of(&columns)))
        .unwrap_or_else(|| "?".to_owned());
    let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let why = format!("{}{detail}", said.message());
    Error::Refused { factory, field, row, why, source: Some(Box::new(error)) }
}

/// The line and the column that `COPY` says it was at: `COPY users, line 3, column email: "…"`.
fn copied(context: &str) -> (Option<u64>, Option<String>) {
    let line = context.split_once(", line ").and_then(|(_, rest)| {
        rest.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|line| line.parse().ok())
    });
    let column = context
        .split_once(", column ")
        .map(|(_, rest)| rest.split([':', '\n']).next().unwrap_or(rest).to_owned());
    (line, column)
}

/// The columns in `Key (email)=(a@b) already exists.`
fn columns_in(detail: &str) -> Option<String> {
    let (before, _) = detail.split_once(")=(")?;
    before.split_once('(').map(|(_, columns)| columns.to_owned())
}

/// The record that is on this line, the first of which is 1.
fn record(line: u64, nodes: &[&dyn Node]) -> Option<(&'static str, u64)> {
    let mut at = line.checked_sub(1)?;
    for node in nodes {
        match at.checked_sub(node.count()) {
            Some(left) => at = left,
            None => return Some((node.factory(), node.first() + at)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copy_says_of_a_line_is_understood() {
        let check = |context: &str, line: Option<u64>, column: Option<&str>| {
            assert_eq!(copied(context), (line, column.map(str::to_owned)), "{context}");
        };
        check("COPY users, line 3, column email: \"a, line 9\"", Some(3), Some("email"));
        check("COPY users, line 12: \"1\tAda\"", Some(12), None);
        check("COPY users, line 4, column born", Some(4), Some("born"));
        check("SQL statement \"select 1\"", None, None);
        assert_eq!(columns_in("Key (a, lower(b))=(1, x) already exists."), Some("a, lower(b)".to_owned()));
    }
}
