//! Why a query gave no rows to look at.

use std::{fmt, time::Duration};

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

/// Why [`Rows::of`](super::Rows::of) has nothing to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// Postgres refused the query.
    #[error("the query failed: {refusal}")]
    Query {
        /// What Postgres said, and where in the query.
        refusal: Refusal,
        /// The error itself.
        source: sqlx::Error,
    },
    /// The query has parameters, and there are no values for them.
    #[error(
        "the query takes {parameters} parameter(s), and `Rows` has no values for them: write them into it\n{query}"
    )]
    Parameters {
        /// The query.
        query: String,
        /// How many it takes.
        parameters: usize,
    },
    /// The statement gives nothing to show.
    #[error("the statement gives no columns: use `select`, or add `returning`\n{query}")]
    NoColumns {
        /// The statement.
        query: String,
    },
    /// There are more rows than a snapshot may have.
    #[error("the query gives more than {most} rows: add a `where` or a `limit`\n{query}")]
    TooMany {
        /// The query.
        query: String,
        /// How many rows there may be.
        most: usize,
    },
    /// The query did not end in time; it may wait for a lock.
    #[error("the query has not ended within {deadline:?}; does another transaction hold a lock?\n{query}")]
    Deadline {
        /// The query.
        query: String,
        /// How long it had.
        deadline: Duration,
    },
    /// There is no connection, or it broke, or the catalogue can't be read.
    #[error("no rows could be read: {0}")]
    Connection(#[source] sqlx::Error),
}

impl RowsError {
    pub(super) fn of_query(query: &str, source: sqlx::Error) -> RowsError {
        match source.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) {
            Some(error) => RowsError::Query { refusal: Refusal::of(query, error), source },
            None => RowsError::Connection(source),
        }
    }
}

/// What Postgres said of a query, with its hint, and the place in the query that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    message: String,
    code: String,
    hint: Option<String>,
    query: String,
    /// In characters from 0.
    position: Option<usize>,
}

impl Refusal {
    fn of(query: &str, error: &PgDatabaseError) -> Refusal {
        let position = match error.position() {
            Some(PgErrorPosition::Original(from_one)) => from_one.checked_sub(1),
            _ => None,
        };
        Refusal {
            message: error.message().to_owned(),
            code: error.code().to_owned(),
            hint: error.hint().map(str::to_owned),
            query: query.to_owned(),
            position,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)?;
        let mut begin = 0;
        for line in self.query.split('\n') {
            write!(f, "\n  {line}")?;
            let length = line.chars().count();
            if let Some(position) = self.position.filter(|it| (begin..=begin + length).contains(it)) {
                write!(f, "\n  {:1$}^", "", position - begin)?;
            }
            begin += length + 1;
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}
