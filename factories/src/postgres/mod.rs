//! Writing to Postgres: everything in one transaction, a few statements for each table however many rows there are.

mod catalogue;
mod refusal;
mod write;

use sqlx::{Acquire, Connection, PgConnection, Postgres};

use crate::{
    Builder, Error, Locale, Model, Row, Seed,
    builder::Quantity,
    node::BoxFuture,
    numbers::Numbers,
    plan::{Part, Planner},
};
use catalogue::Catalogue;
pub(crate) use catalogue::Database;
use write::{COPY, Ways};

/// Rows that a stream plans at once, descendants included: what bounds its memory.
const PART: u64 = 50_000;

impl<R: Model, C: Quantity> Builder<R, C> {
    /// Makes the records and writes them, with their parents and children, in one transaction: on a pool one of its own, on a connection or a
    /// transaction a part of the caller's. The records come back with what the database made itself.
    ///
    /// A few statements do it however many rows there are: one looks at the tables and one takes the keys, for all of them; each table takes two
    /// to write (one, where few rows are written), and one more if there is something to read back.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the plan or the tables is told before anything is written; a row that is refused takes everything of this call back. See
    /// [`Error`].
    pub fn create<'c, A>(self, db: A) -> BoxFuture<'c, Result<C::Of<R>, Error>>
    where
        A: Acquire<'c, Database = Postgres> + Send + 'c,
    {
        // In a box: what a caller awaits stays `Send` whatever connection it gives.
        Box::pin(async move {
            let mut connection = db.acquire().await?;
            let made = self.create_on(&mut connection).await?;
            Ok(C::of(made))
        })
    }

    pub(crate) async fn create_on(&self, connection: &mut PgConnection) -> Result<Vec<R>, Error> {
        self.create_by_copy_from(connection, COPY).await
    }

    pub(crate) async fn create_by_copy_from(
        &self,
        connection: &mut PgConnection,
        copy_from: u64,
    ) -> Result<Vec<R>, Error> {
        let (made, _) = write(self, connection, Keep::All, copy_from, &|_| {}).await?;
        Ok(made)
    }

    /// Writes the records as [`create`](Self::create) does, keeps none of them, and says how many rows there are, with parents and children. Memory stays the
    /// same however many there are: 50,000 rows are planned at once, all in one transaction.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn insert<'c, A>(self, db: A) -> BoxFuture<'c, Result<u64, Error>>
    where
        A: Acquire<'c, Database = Postgres> + Send + 'c,
    {
        self.insert_telling(db, |_| {})
    }

    /// As [`insert`](Self::insert), and tells now and then how far it is.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn insert_telling<'c, A>(
        self,
        db: A,
        tell: impl Fn(Progress) + Send + Sync + 'c,
    ) -> BoxFuture<'c, Result<u64, Error>>
    where
        A: Acquire<'c, Database = Postgres> + Send + 'c,
    {
        Box::pin(async move {
            let mut connection = db.acquire().await?;
            let (_, rows) = write(&self, &mut connection, Keep::Nothing, COPY, &tell).await?;
            Ok(rows)
        })
    }
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The table that is being written.
    pub table: &'static str,
    /// Rows that were written so far, to all tables.
    pub rows: u64,
    /// Rows that there will be: more, if parents are made that were not asked for.
    pub total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    Nothing,
}

/// Writes in a transaction, and commits it. Where the database refuses a row without saying which, the rows are written once more, in the way in
/// which it does say it, and taken back again.
async fn write<R: Model, C>(
    builder: &Builder<R, C>,
    connection: &mut PgConnection,
    keep: Keep,
    copy_from: u64,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(Vec<R>, u64), Error> {
    let ways = Ways { copy_from, is_trial: false };
    let mut tx = Connection::begin(&mut *connection).await?;
    let database = Database::ask(&mut tx).await?;
    let numbers = Numbers::OfDatabase(database.id.clone());
    let again = numbers.again();
    let seed = builder.said_seed().or(database.seed).unwrap_or_else(Seed::of_run);
    let mut planner = Planner::new(seed, Locale::default(), numbers);
    match write_parts(builder, &mut planner, &mut tx, keep, ways, tell).await {
        Ok(written) => {
            tx.commit().await?;
            Ok(written)
        }
        Err(refused @ Error::Refused { row: Row::Unknown, .. }) => {
            tx.rollback().await?;
            let mut tx = Connection::begin(&mut *connection).await?;
            let mut planner = Planner::new(seed, Locale::default(), again);
            let ways = Ways { copy_from: 0, is_trial: true };
            let told = write_parts(builder, &mut planner, &mut tx, keep, ways, &|_| {}).await;
            tx.rollback().await?;
            Err(match told {
                Err(told @ Error::Refused { .. }) => told,
                _ => refused,
            })
        }
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

async fn write_parts<R: Model, C>(
    builder: &Builder<R, C>,
    planner: &mut Planner,
    db: &mut PgConnection,
    keep: Keep,
    ways: Ways,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(Vec<R>, u64), Error> {
    let each = builder.rows_each();
    let total = builder.total();
    let part = match keep {
        Keep::All => total,
        Keep::Nothing => (PART / each).max(1),
    };
    let mut progress = Progress { table: "", rows: 0, total: total.saturating_mul(each) };
    let mut catalogue = Catalogue::default();
    let mut position = 0;
    let mut made = Vec::new();
    while position < total || position == 0 {
        let end = position.saturating_add(part).min(total);
        let keys = builder.plan(planner, &Part { positions: position..end, each: 0 }, None)?;
        let root = keys.node;
        drop(keys);
        let mut nodes = std::mem::take(&mut planner.nodes);
        if keep == Keep::All {
            nodes[root].keep();
        }
        catalogue.learn(&nodes, db).await?;
        write::nodes(&mut nodes, &catalogue, db, ways, |table, rows| {
            progress.table = table;
            progress.rows += rows;
            progress.total = progress.total.max(progress.rows);
            tell(progress);
        })
        .await?;
        if keep == Keep::All {
            made = *nodes.swap_remove(root).into_kept().downcast().expect("the node makes these records");
        }
        position = end;
        if position >= total {
            break;
        }
    }
    Ok((made, progress.rows))
}
