//! What can go wrong, told before anything is written, or with everything taken back.

use std::{fmt, io};

/// Why records could not be made or written. Whatever it is, nothing of the call is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record needs a parent that needs one that …: there is no first one to make.
    #[error(
        "factory `{factory}` needs itself as a parent ({path}): give one of these an existing parent, or make its column optional"
    )]
    Cycle {
        /// The factory that came up twice.
        factory: &'static str,
        /// From it to itself.
        path: String,
    },

    /// More records than the field has different values.
    #[error(
        "factory `{factory}`: field `{field}` has {space} unique values, and record number {number} needs one more: widen it, or make fewer"
    )]
    TooFewUniqueValues {
        /// The factory.
        factory: &'static str,
        /// The field.
        field: &'static str,
        /// How many values there are.
        space: u64,
        /// The number of the last record.
        number: u64,
    },

    /// Parents were given, and there is none among them.
    #[error("factory `{factory}`: field `{field}` was given no parents to choose from")]
    NoParents {
        /// The factory.
        factory: &'static str,
        /// The field that refers to them.
        field: &'static str,
    },

    /// The factory was defined without a table.
    #[error("factory `{factory}` has no table to write to: say `#[factory(table = \"…\")]`")]
    NoTable {
        /// The factory.
        factory: &'static str,
    },

    /// The record's table is not as the factory says.
    #[error("factory `{factory}`: {what}")]
    Drift {
        /// The factory.
        factory: &'static str,
        /// The table.
        table: &'static str,
        /// The column, if it is about one.
        column: Option<String>,
        /// What differs, and what to do.
        what: String,
    },

    /// A value is not one that its column takes.
    #[error("factory `{factory}`: field `{field}` of {row}: {why}")]
    Refused {
        /// The factory.
        factory: &'static str,
        /// The field, or those that a constraint is about.
        field: String,
        /// Which record.
        row: Row,
        /// Why.
        why: String,
        /// What the database said, if it was asked.
        #[source]
        source: Option<Box<sqlx::Error>>,
    },

    /// A record can't be written as JSON or CSV.
    #[error("factory `{factory}`: {why}")]
    NoJson {
        /// The factory.
        factory: &'static str,
        /// Why.
        why: String,
    },

    /// A file could not be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },

    /// A statement of ours, or one of an after-hook, failed.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),

    /// Redis did not take the records.
    #[cfg(feature = "redis")]
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),

    /// A lint found these.
    #[error("{} of {tried} records were refused:{}", .failures.len(), .failures.iter().map(|failure| format!("\n  {failure}")).collect::<String>())]
    Lint {
        /// Factories and states that were tried.
        tried: usize,
        /// What is wrong.
        failures: Vec<crate::LintFailure>,
    },
}

/// Which record of a factory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The record of this number.
    Number(u64),
    /// One of those that were written together: the database did not say which.
    Unknown,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Row::Number(number) => write!(f, "record number {number}"),
            Row::Unknown => f.write_str("a record"),
        }
    }
}
