//! What is over for long is forgotten, a bounded batch at a time.

use std::time::Duration;

use sqlx::Row;

use super::{Term, flow, interval, leader};
use crate::{Error, Retention, connections::Connections};

/// Records of the history that one batch forgets at most.
const RECORDS: i64 = 256;
/// Jobs after which a batch takes no further record. One record has a thousand at most.
const JOBS: i64 = 4096;
/// Other rows that one batch forgets at most.
const ROWS: i64 = 1024;

/// What a batch has forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) records: i64,
    pub(crate) jobs: i64,
    pub(crate) keys: i64,
    pub(crate) dead_letters: i64,
    /// Whether there may be more.
    pub(crate) has_more: bool,
}

/// Forgets a batch of what is over for longer than it is kept; nothing when the term is over.
///
/// A job goes with the record of its end. One that was given up stays as long as its dead letter does, and goes with the note that `purge` and `replay` leave. Records of a lease that is still open stay: they
/// say which of its jobs are done.
pub(crate) async fn forget(
    db: &Connections,
    term: Term,
    retention: Retention,
) -> Result<Option<Expired>, Error> {
    let mut held = db.acquire().await?;
    let mut tx = leader::begin(&mut held, db.deadline()).await?;
    if !leader::still_leads(&mut tx, term).await? {
        tx.rollback().await?;
        held.release();
        return Ok(None);
    }
    let history = sqlx::query(
        "with old as materialized (
            select token, part, at, cardinality(job_ids) as jobs from seaworthy_queue.done_batch
            where at < clock_timestamp() - $1::interval and not exists (select from seaworthy_queue.lease_batch where token = done_batch.token)
            order by at limit $2
        ), batch as materialized (
            select token, part from (select token, part, jobs, sum(jobs) over (order by at, token, part) as total from old) counted where total - jobs < $3
        ), gone as (
            delete from seaworthy_queue.done_batch using batch where (done_batch.token, done_batch.part) = (batch.token, batch.part)
            returning outcome, job_ids
        ), noted as (
            delete from seaworthy_queue.purged where id in (select id from seaworthy_queue.purged where at < clock_timestamp() - $1::interval limit $4) returning id
        ), over as materialized (
            select unnest(job_ids) as id from gone where outcome in ('completed', 'cancelled', 'expired') union select id from noted
        ), result as (
            delete from seaworthy_queue.result where id in (select id from over)
        ), progress as (
            delete from seaworthy_queue.progress where id in (select id from over)
        ), occurrence as (
            delete from seaworthy_queue.occurrence where job in (select id from over)
        ), cancellation as (
            delete from seaworthy_queue.cancellation where id in (select id from over)
        ), belonging as (
            delete from seaworthy_queue.belonging where id in (select id from over)
        ), job as (
            delete from seaworthy_queue.job where id in (select id from over) returning id
        )
        select (select count(*) from batch) as records, (select count(*) from job) as jobs, (select count(*) from old) as found, (select count(*) from noted) as noted",
    )
    .bind(interval(retention.history))
    .bind(RECORDS)
    .bind(JOBS)
    .bind(ROWS)
    .fetch_one(&mut *tx)
    .await?;
    let batches = sqlx::query(
        "delete from seaworthy_queue.batch where id in (
            select id from seaworthy_queue.batch where ended_at < clock_timestamp() - $1::interval order by id limit $2 for update skip locked
        )",
    )
    .bind(interval(retention.history))
    .bind(ROWS)
    .execute(&mut *tx)
    .await?
    .rows_affected() as i64;
    // Not those that somebody is about to take over.
    let keys = sqlx::query(
        "delete from seaworthy_queue.unique_key where key in (
            select key from seaworthy_queue.unique_key where until < clock_timestamp() limit $1 for update skip locked
        )",
    )
    .bind(ROWS)
    .execute(&mut *tx)
    .await?
    .rows_affected() as i64;
    let mut dead = Vec::new();
    if let Some(kept) = retention.dead_letters {
        dead = sqlx::query_scalar(
            "with gone as (
                delete from seaworthy_queue.dead_letter where id in (
                    select id from seaworthy_queue.dead_letter where at < clock_timestamp() - $1::interval order by at limit $2 for update skip locked
                ) returning id
            ), noted as (
                insert into seaworthy_queue.purged (id) select id from gone on conflict do nothing
            )
            select id from gone",
        )
        .bind(interval(kept))
        .bind(ROWS)
        .fetch_all(&mut *tx)
        .await?;
        flow::cancel_children(&mut tx, &dead).await?;
    }
    tx.commit().await?;
    held.release();
    let count = |name: &str| history.try_get::<i64, _>(name);
    let dead_letters = dead.len() as i64;
    let (records, found) = (count("records")?, count("found")?);
    let has_more =
        found == RECORDS || records < found || [count("noted")?, keys, batches, dead_letters].contains(&ROWS);
    Ok(Some(Expired { records, jobs: count("jobs")?, keys, dead_letters, has_more }))
}

/// How often there is a look for what is over, when the last one found little.
pub(crate) const PAUSE: Duration = Duration::from_secs(60);
