//! Jobs that were given up.

use sqlx::{Connection as _, Row, postgres::PgRow};

use super::{flag, gate};
use crate::{Error, JobId, answers::DeadLetter, connections::Connections};

/// The newest of a kind, or of all kinds.
pub(crate) async fn dead_letters(
    db: &Connections,
    kind: Option<&str>,
    limit: i64,
) -> Result<Vec<DeadLetter>, Error> {
    let mut held = db.acquire().await?;
    let letters = sqlx::query(
        "select id, kind, args::text as args, attempt, error from seaworthy_queue.dead_letter
         join seaworthy_queue.job using (id) where $2::text is null or kind = $2 order by at desc, id desc limit $1",
    )
    .bind(limit)
    .bind(kind)
    .try_map(|row: PgRow| {
        let args: String = row.try_get("args")?;
        Ok(DeadLetter {
            id: JobId(row.try_get("id")?),
            kind: row.try_get("kind")?,
            args: serde_json::from_str(&args).map_err(|error| sqlx::Error::Decode(error.into()))?,
            attempts: row.try_get("attempt")?,
            error: row.try_get("error")?,
        })
    })
    .fetch_all(&mut *held)
    .await?;
    held.release();
    Ok(letters)
}

/// Enqueues new jobs in the place of these dead letters. What waited for the old ones waits for the new ones; batches have counted the old ones, and have no part in the new ones.
pub(crate) async fn replay(db: &Connections, dead: &[JobId]) -> Result<Vec<(JobId, JobId)>, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    let rows = sqlx::query(
        "with gone as (
            delete from seaworthy_queue.dead_letter where id = any($1) returning id
        ), noted as (
            insert into seaworthy_queue.purged (id) select id from gone on conflict do nothing
        ), numbered as materialized (
            select id as old, nextval('seaworthy_queue.job_id_seq') as id from (select id from gone order by id) gone
        ), again as (
            insert into seaworthy_queue.job (id, queue, kind, args, priority, max_attempts, flags, trace, replay_of)
            select numbered.id, queue, kind, args, priority, max_attempts, flags & $2, trace, old
            from numbered join seaworthy_queue.job on job.id = old
            returning id, queue, priority, created_at, flags
        ), belonging as (
            insert into seaworthy_queue.belonging (id, limit_name, limit_key)
            select numbered.id, limit_name, limit_key from numbered join seaworthy_queue.belonging on belonging.id = old where limit_name is not null
        ), ready as (
            insert into seaworthy_queue.ready (queue, rank, id, attempt)
            select queue, seaworthy_queue.rank(created_at, priority), id, 1 from again where flags & 4 = 0
        ), edge as (
            update seaworthy_queue.dependency set parent = numbered.id from numbered where parent = old
        )
        select old, id from numbered order by id",
    )
    .bind(dead.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(flag::CHILDREN | flag::LIMITED | flag::VERSION)
    .fetch_all(&mut *tx)
    .await?;
    let new: Vec<i64> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
    gate::hold(&mut tx, &new).await?;
    tx.commit().await?;
    held.release();
    let pair = |row: &PgRow| Ok((JobId(row.try_get("old")?), JobId(row.try_get("id")?)));
    rows.iter().map(pair).collect()
}

/// Forgets these dead letters, and cancels what waited for them.
pub(crate) async fn purge(db: &Connections, dead: &[JobId]) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    let gone: Vec<i64> = sqlx::query_scalar(
        "with gone as (
                delete from seaworthy_queue.dead_letter where id = any($1) returning id
            ), noted as (
                insert into seaworthy_queue.purged (id) select id from gone on conflict do nothing
            )
            select id from gone",
    )
    .bind(dead.iter().map(|id| id.0).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    super::flow::cancel_children(&mut tx, &gone).await?;
    tx.commit().await?;
    held.release();
    Ok(gone.len() as u64)
}
