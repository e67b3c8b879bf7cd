//! One worker does what one alone has to do.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, types::Uuid};

use super::interval;
use crate::{Error, connections::Connections};

/// The time in which a worker leads. The number is the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) epoch: i64,
}

/// Goes on leading, or begins to when nobody does; nothing when another worker leads.
///
/// Who goes on changes only the time, which does not wait for what it does as the leader in another transaction. Who takes over waits for nobody: as long as the old leader is about to commit something, it
/// tries again later, and the server ends transactions of which nobody hears any more.
pub(crate) async fn lead(db: &Connections, worker: Uuid, time: Duration) -> Result<Option<Term>, Error> {
    let mut held = db.acquire().await?;
    let renewed: Option<i64> = sqlx::query_scalar(
        "update seaworthy_queue.leader set until = clock_timestamp() + $2
         where worker = $1 and until > clock_timestamp() returning epoch",
    )
    .bind(worker)
    .bind(interval(time))
    .fetch_optional(&mut *held)
    .await?;
    let epoch = match renewed {
        Some(epoch) => Some(epoch),
        None => sqlx::query_scalar(
            "with old as materialized (
                select epoch from seaworthy_queue.leader where until <= clock_timestamp() for update skip locked
            ), next as (
                update seaworthy_queue.leader set epoch = leader.epoch + 1, worker = $1, until = clock_timestamp() + $2
                from old returning leader.epoch
            ), first as (
                insert into seaworthy_queue.leader (epoch, worker, until)
                select 1, $1, clock_timestamp() + $2 where not exists (select from seaworthy_queue.leader)
                on conflict do nothing returning epoch
            )
            select epoch from next union all select epoch from first",
        )
        .bind(worker)
        .bind(interval(time))
        .fetch_optional(&mut *held)
        .await?,
    };
    held.release();
    Ok(epoch.map(|epoch| Term { epoch }))
}

/// Lets another worker lead at once.
pub(crate) async fn resign(db: &Connections, worker: Uuid) -> Result<(), Error> {
    let mut held = db.acquire().await?;
    sqlx::query("update seaworthy_queue.leader set until = clock_timestamp() where worker = $1")
        .bind(worker)
        .execute(&mut *held)
        .await?;
    held.release();
    Ok(())
}

/// Whether this is still the leader's term. Until the transaction is over, nobody can begin the next one.
pub(crate) async fn still_leads(tx: &mut PgConnection, term: Term) -> Result<bool, Error> {
    let stands = sqlx::query(
        "select from seaworthy_queue.leader where epoch = $1 and until > clock_timestamp() for key share",
    )
    .bind(term.epoch)
    .fetch_optional(tx)
    .await?;
    Ok(stands.is_some())
}

/// Begins a transaction of the leader's, which the server ends when the leader falls silent in it.
pub(super) async fn begin<'a>(
    connection: &'a mut PgConnection,
    silence: Duration,
) -> Result<sqlx::Transaction<'a, sqlx::Postgres>, Error> {
    let mut tx = connection.begin().await?;
    sqlx::query(
        "select set_config('idle_in_transaction_session_timeout', $1, true), set_config('lock_timeout', $1, true)",
    )
    .bind(super::milliseconds(silence))
    .execute(&mut *tx)
    .await?;
    Ok(tx)
}
