//! Rows of Postgres as text for snapshots, without what differs from run to run.

mod catalogue;
mod error;
mod json;
mod literal;
mod redactor;
mod table;

use std::{collections::HashMap, time::Duration};

use futures_util::TryStreamExt;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use sqlx::{
    Acquire, Column as _, Connection, Either, Executor, PgConnection, Postgres, Row, SqlSafeStr, SqlStr,
    Statement, ValueRef,
    postgres::{PgColumn, PgRow, types::Oid},
};
use tokio::time::timeout;

use self::catalogue::{Leaf, Types};
pub use self::{error::RowsError, redactor::Redactor};

/// Rows that a snapshot may have: nobody reads more, and a forgotten `where` would fill the memory.
const MAX_ROWS: usize = 1000;
/// How long the query may take, with what is asked of the catalogue.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a query gave, as Postgres prints it, for `insta` and people.
///
/// What differs from run to run is replaced, by its type and by what the catalogue says, not by names of columns:
///
/// | what | becomes |
/// |---|---|
/// | a uuid, also inside of text, JSON and arrays | `[uuid-1]`, `[uuid-2]`, …: the same one has the same name in every column |
/// | a timestamp, a date, a time of day, also in arrays, ranges and composites; in JSON a string that is a date with a time | `[timestamp]` |
/// | a column that a sequence fills (identity, serial), and one that references it by foreign key | `[orders.id-1]` |
///
/// `infinity` stays, and so do intervals. Ids inside of JSON or of expressions stay too: nothing says that they are some. The query
/// has no parameters. A [`Redactor`] keeps or replaces more, and keeps the names for further queries.
///
/// Printed, it is an aligned table with ∅ for null. Serialised, it is a list of maps; numbers, booleans and JSON are such,
/// and everything else is text; a `numeric` is text too, so that `12.50` stays what it is.
///
/// ```no_run
/// use seaworthy_harness::{Rows, RowsError};
///
/// # async fn example(pool: sqlx::PgPool) -> Result<(), RowsError> {
/// let rows = Rows::of(&pool, "select id, customer, total, placed_at from orders order by id").await?;
/// assert_eq!(
///     rows.to_string(),
///     "\
/// id            | customer | total | placed_at
/// --------------+----------+-------+------------
/// [orders.id-1] | Ada      | 12.50 | [timestamp]
/// (1 row)"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    columns: Vec<Column>,
    rows: Texts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    leaf: Option<Leaf>,
}

impl Rows {
    /// Runs one query on a connection, a transaction or a pool, and replaces what differs from run to run.
    ///
    /// # Errors
    ///
    /// [`RowsError`]: the query is wrong, takes parameters, gives no columns, more than 1000 rows, or nothing within 30 s.
    pub async fn of<'c>(
        database: impl Acquire<'c, Database = Postgres>,
        query: impl SqlSafeStr,
    ) -> Result<Rows, RowsError> {
        Redactor::new().rows(database, query).await
    }

    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Redactor {
    /// What [`Rows::of`] does, with this redactor's choices and the names that it has given so far.
    ///
    /// # Errors
    ///
    /// As [`Rows::of`].
    pub async fn rows<'c>(
        &mut self,
        database: impl Acquire<'c, Database = Postgres>,
        query: impl SqlSafeStr,
    ) -> Result<Rows, RowsError> {
        let query = query.into_sql_str();
        let answer = timeout(DEADLINE, async {
            let mut connection = database.acquire().await.map_err(RowsError::Connection)?;
            ask(&mut connection, query.clone()).await
        });
        let late = |_| RowsError::Deadline { query: query.as_str().to_owned(), deadline: DEADLINE };
        let answer = answer.await.map_err(late)??;
        Ok(self.redact_all(answer))
    }

    fn redact_all(&mut self, answer: Answer) -> Rows {
        let Answer { columns, types, ids, rows } = answer;
        let rules: Vec<_> = columns
            .iter()
            .map(|column| {
                let id = ids.get(&(
                    column.relation_id().unwrap_or_default(),
                    column.relation_attribute_no().unwrap_or_default(),
                ));
                self.rule(column.name(), id.map(String::as_str), types.kind(type_of(column)))
            })
            .collect();
        // Row by row, so that names count in reading order.
        let mut redacted = Vec::with_capacity(rows.len());
        for row in rows {
            let values = row.into_iter().zip(&rules);
            redacted.push(values.map(|(value, rule)| value.map(|value| self.apply(rule, value))).collect());
        }
        let columns = columns
            .iter()
            .zip(&rules)
            .map(|(column, rule)| Column { name: column.name().to_owned(), leaf: rule.leaf() });
        Rows { columns: columns.collect(), rows: redacted }
    }
}

/// A query's answer with what the catalogue says of its columns.
struct Answer {
    columns: Vec<PgColumn>,
    types: Types,
    ids: HashMap<(Oid, i16), String>,
    rows: Texts,
}

async fn ask(connection: &mut PgConnection, query: SqlStr) -> Result<Answer, RowsError> {
    let wrong = |error| RowsError::of_query(query.as_str(), error);
    // A statement that was prepared before a table changed would tell the old columns.
    connection.clear_cached_statements().await.map_err(RowsError::Connection)?;
    // Nothing of it runs before Postgres has found it to be one good statement.
    let prepared = match (&mut *connection).prepare(query.clone()).await {
        Ok(statement) => {
            let parameters = statement.parameters().map_or(0, |some| some.either(<[_]>::len, |count| count));
            if parameters > 0 {
                return Err(RowsError::Parameters { query: query.as_str().to_owned(), parameters });
            }
            Ok(statement.columns().to_vec())
        }
        // The statement is good, but sqlx does not know a type in it, such as a multirange.
        Err(unknown @ sqlx::Error::ColumnDecode { .. }) => Err(unknown),
        Err(error) => return Err(wrong(error)),
    };
    if prepared.as_ref().is_ok_and(Vec::is_empty) {
        return Err(RowsError::NoColumns { query: query.as_str().to_owned() });
    }
    let (told, rows) = texts(connection, query.clone()).await?;
    let columns = told.map_or(prepared, Ok).map_err(RowsError::Connection)?;
    let types = columns.iter().map(type_of).collect();
    let origins =
        columns.iter().filter_map(|column| Some((column.relation_id()?, column.relation_attribute_no()?)));
    Ok(Answer {
        types: catalogue::types(connection, types).await.map_err(RowsError::Connection)?,
        ids: catalogue::generated(connection, origins.collect()).await.map_err(RowsError::Connection)?,
        columns,
        rows,
    })
}

type Texts = Vec<Vec<Option<String>>>;

/// The values as Postgres prints them, which the simple protocol alone gives, and their columns if there are any values.
async fn texts(
    connection: &mut PgConnection,
    query: SqlStr,
) -> Result<(Option<Vec<PgColumn>>, Texts), RowsError> {
    let wrong = |error| RowsError::of_query(query.as_str(), error);
    let (mut columns, mut rows) = (None, Vec::new());
    let mut answers = sqlx::raw_sql(query.clone()).fetch_many(connection);
    while let Some(answer) = answers.try_next().await.map_err(wrong)? {
        let Either::Right(row) = answer else { continue };
        if rows.len() == MAX_ROWS {
            return Err(RowsError::TooMany { query: query.as_str().to_owned(), most: MAX_ROWS });
        }
        columns.get_or_insert_with(|| row.columns().to_vec());
        rows.push((0..row.len()).map(|index| text(&row, index)).collect::<sqlx::Result<_>>().map_err(wrong)?);
    }
    Ok((columns, rows))
}

fn text(row: &PgRow, index: usize) -> sqlx::Result<Option<String>> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    value.as_str().map(|text| Some(text.to_owned())).map_err(sqlx::Error::Decode)
}

fn type_of(column: &PgColumn) -> Oid {
    column.type_info().oid().unwrap_or_default()
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            list.serialize_element(&AsMap(&self.columns, row))?;
        }
        list.end()
    }
}

struct AsMap<'a>(&'a [Column], &'a [Option<String>]);

impl Serialize for AsMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (column, value) in self.0.iter().zip(self.1) {
            map.serialize_entry(&column.name, &value.as_deref().map(|value| AsValue(column.leaf, value)))?;
        }
        map.end()
    }
}

struct AsValue<'a>(Option<Leaf>, &'a str);

impl Serialize for AsValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let AsValue(leaf, text) = *self;
        match leaf {
            Some(Leaf::Boolean) => serializer.serialize_bool(text == "t"),
            Some(Leaf::Integer) => match text.parse() {
                Ok(number) => serializer.serialize_i64(number),
                Err(_) => serializer.serialize_str(text),
            },
            Some(Leaf::Float) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => serializer.serialize_f64(number),
                _ => serializer.serialize_str(text),
            },
            Some(Leaf::Json) => match serde_json::from_str::<serde_json::Value>(text) {
                Ok(value) => value.serialize(serializer),
                Err(_) => serializer.serialize_str(text),
            },
            _ => serializer.serialize_str(text),
        }
    }
}
