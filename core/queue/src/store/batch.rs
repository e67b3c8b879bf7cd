//! Batches: counted without a lock, ended once.
//!
//! A job's end takes the job out of `batch_member` and appends a delta, in the transaction that ends it: what can't be taken out twice can't be counted twice. Whoever looks next locks the
//! batch, folds the deltas into its counts, and, when all jobs are over, takes the drafts of its callbacks out of it and enqueues them. Who adds jobs shares a lock on the batch,
//! so that it does not end meanwhile.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection, Row};

use super::{
    cancel::cancel_all, draft, end::End, enqueue::enqueue, flag, limit::check_limits, limit_lock_waits,
    plain_plans,
};
use crate::{Batch, BatchId, BatchProgress, Error, JobId, NewJob, connections::Connections};

/// Deltas that one look takes into account at most when it chooses batches.
const DELTAS: i64 = 4096;

pub(crate) async fn push_batch(db: &Connections, batch: &Batch) -> Result<BatchId, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    let id = enqueue_batch(&mut tx, batch).await?;
    tx.commit().await?;
    held.release();
    Ok(id)
}

pub(crate) async fn enqueue_batch(tx: &mut PgConnection, batch: &Batch) -> Result<BatchId, Error> {
    let callbacks: Vec<NewJob> = batch.callbacks().into_iter().flatten().cloned().collect();
    if callbacks.iter().any(|job| job.limit.is_some()) {
        check_limits(tx, &callbacks).await?;
    }
    let row = sqlx::query(
        "insert into seaworthy_queue.batch (name, is_open, on_success, on_failure, on_end)
         select $1, $2, case when $3 then nextval('seaworthy_queue.job_id_seq') end, case when $4 then nextval('seaworthy_queue.job_id_seq') end,
            case when $5 then nextval('seaworthy_queue.job_id_seq') end
         returning id, on_success, on_failure, on_end",
    )
    .bind(batch.name.replace('\0', "\u{fffd}"))
    .bind(batch.is_open)
    .bind(batch.on_success.is_some())
    .bind(batch.on_failure.is_some())
    .bind(batch.on_end.is_some())
    .fetch_one(&mut *tx)
    .await?;
    let id = BatchId(row.try_get("id")?);
    let mut drafts = Vec::new();
    for (name, job) in ["on_success", "on_failure", "on_end"].into_iter().zip(batch.callbacks()) {
        if let (Some(draft), Some(job)) = (row.try_get::<Option<i64>, _>(name)?, job) {
            drafts.push((draft, job));
        }
    }
    if !drafts.is_empty() {
        draft::put(tx, &drafts, Some(id.0)).await?;
    }
    add(tx, id, &batch.jobs).await?;
    Ok(id)
}

pub(crate) async fn add_to_batch(
    tx: &mut PgConnection,
    batch: BatchId,
    jobs: &[NewJob],
) -> Result<Vec<JobId>, Error> {
    let taken = sqlx::query(
        "select from seaworthy_queue.batch where id = $1 and ended_at is null and cancelled_at is null for share",
    )
    .bind(batch.0)
    .fetch_optional(&mut *tx)
    .await?;
    if taken.is_none() {
        return Err(Error::BatchOver { batch: batch.0 });
    }
    add(tx, batch, jobs).await
}

/// The delta has somebody look at the batch even if there are no jobs.
async fn add(tx: &mut PgConnection, batch: BatchId, jobs: &[NewJob]) -> Result<Vec<JobId>, Error> {
    let ids: Vec<JobId> = if jobs.is_empty() {
        Vec::new()
    } else {
        let enqueued = enqueue(tx, jobs, &vec![flag::BATCH; jobs.len()], &vec![0; jobs.len()]).await?;
        enqueued.into_iter().map(|one| one.id).collect()
    };
    sqlx::query(
        "with member as (
            insert into seaworthy_queue.batch_member (id, batch) select id, $1 from unnest($2::bigint[]) as new (id)
        ), belonging as (
            insert into seaworthy_queue.belonging (id, batch) select id, $1 from unnest($2::bigint[]) as new (id)
            on conflict (id) do update set batch = excluded.batch
        )
        insert into seaworthy_queue.batch_delta (batch, total) select $1, cardinality($2::bigint[])",
    )
    .bind(batch.0)
    .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(ids)
}

/// These jobs are over, in this way.
pub(super) async fn count(tx: &mut PgConnection, jobs: &[i64], end: End) -> Result<(), Error> {
    sqlx::query(
        "with over as (
            delete from seaworthy_queue.batch_member where id = any($1) returning batch
        )
        insert into seaworthy_queue.batch_delta (batch, completed, dead, cancelled, expired)
        select batch, count(*) filter (where $2 = 'completed'), count(*) filter (where $2 = 'dead'), count(*) filter (where $2 = 'cancelled'),
            count(*) filter (where $2 = 'expired')
        from over group by batch",
    )
    .bind(jobs)
    .bind(end.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds up what has happened to batches, and enqueues what waited for that; says how many jobs, and adds the queues that got them.
pub(super) async fn fold(db: &Connections, queues: &mut BTreeSet<String>) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    plain_plans(&mut tx, db.deadline()).await?;
    // Batches to which somebody is adding are left for the next look.
    let batches: Vec<i64> = sqlx::query_scalar(
        "with changed as materialized (select batch from seaworthy_queue.batch_delta limit $1)
         select id from seaworthy_queue.batch where id in (select batch from changed) order by id for update skip locked",
    )
    .bind(DELTAS)
    .fetch_all(&mut *tx)
    .await?;
    if batches.is_empty() {
        tx.commit().await?;
        held.release();
        return Ok(0);
    }
    sqlx::query(
        "with delta as (
            delete from seaworthy_queue.batch_delta where batch = any($1) returning *
        ), sum as materialized (
            select batch, sum(total) as total, sum(completed) as completed, sum(dead) as dead, sum(cancelled) as cancelled, sum(expired) as expired
            from delta group by batch
        )
        update seaworthy_queue.batch set total = batch.total + sum.total, completed = batch.completed + sum.completed, dead = batch.dead + sum.dead,
            cancelled = batch.cancelled + sum.cancelled, expired = batch.expired + sum.expired
        from sum where id = sum.batch",
    )
    .bind(&batches)
    .execute(&mut *tx)
    .await?;
    let mut called: Vec<i64> = sqlx::query_scalar(
        "with failed as materialized (
            select id, on_failure from seaworthy_queue.batch where id = any($1) and dead + expired > 0 and on_failure is not null
        )
        update seaworthy_queue.batch set on_failure = null from failed where batch.id = failed.id returning failed.on_failure",
    )
    .bind(&batches)
    .fetch_all(&mut *tx)
    .await?;
    let ended = sqlx::query(
        "with ended as materialized (
            select id, on_success, on_failure, on_end, completed = total and cancelled_at is null as is_success from seaworthy_queue.batch
            where id = any($1) and ended_at is null and not is_open and completed + dead + cancelled + expired = total
        )
        update seaworthy_queue.batch set ended_at = clock_timestamp(), on_success = null, on_failure = null, on_end = null
        from ended where batch.id = ended.id returning ended.on_success, ended.on_failure, ended.on_end, ended.is_success",
    )
    .bind(&batches)
    .fetch_all(&mut *tx)
    .await?;
    let mut dropped: Vec<i64> = Vec::new();
    for row in &ended {
        let on_success: Option<i64> = row.try_get("on_success")?;
        if row.try_get("is_success")? {
            called.extend(on_success);
        } else {
            dropped.extend(on_success);
        }
        dropped.extend(row.try_get::<Option<i64>, _>("on_failure")?);
        called.extend(row.try_get::<Option<i64>, _>("on_end")?);
    }
    if !dropped.is_empty() {
        sqlx::query("delete from seaworthy_queue.draft where id = any($1)")
            .bind(&dropped)
            .execute(&mut *tx)
            .await?;
    }
    let made = if called.is_empty() { 0 } else { draft::enqueue(&mut tx, &called, queues).await? };
    tx.commit().await?;
    held.release();
    Ok(made)
}

pub(crate) async fn close_batch(db: &Connections, batch: BatchId) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    let closed = sqlx::query(
        "update seaworthy_queue.batch set is_open = false where id = $1 and is_open returning id",
    )
    .bind(batch.0)
    .execute(&mut *tx)
    .await?;
    add(&mut tx, batch, &[]).await?;
    tx.commit().await?;
    held.release();
    Ok(closed.rows_affected() == 1)
}

pub(crate) async fn cancel_batch(db: &Connections, batch: BatchId) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    let cancelled = sqlx::query(
        "update seaworthy_queue.batch set cancelled_at = clock_timestamp(), is_open = false
         where id = $1 and ended_at is null and cancelled_at is null",
    )
    .bind(batch.0)
    .execute(&mut *tx)
    .await?;
    if cancelled.rows_affected() == 0 {
        tx.commit().await?;
        held.release();
        return Ok(0);
    }
    // Nobody can add more: the batch is locked.
    let members: Vec<i64> =
        sqlx::query_scalar("select id from seaworthy_queue.batch_member where batch = $1 order by id")
            .bind(batch.0)
            .fetch_all(&mut *tx)
            .await?;
    let (queued, running) = cancel_all(&mut tx, &members).await?;
    add(&mut tx, batch, &[]).await?;
    tx.commit().await?;
    held.release();
    Ok((queued.len() + running.len()) as u64)
}

pub(crate) async fn batch_progress(db: &Connections, batch: BatchId) -> Result<Option<BatchProgress>, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "select name, is_open, cancelled_at is not null as is_cancelled, ended_at is not null as is_over,
            batch.total + coalesce(new.total, 0) as total, batch.completed + coalesce(new.completed, 0) as completed,
            batch.dead + coalesce(new.dead, 0) as dead, batch.cancelled + coalesce(new.cancelled, 0) as cancelled,
            batch.expired + coalesce(new.expired, 0) as expired
         from seaworthy_queue.batch, lateral (
            select sum(total) as total, sum(completed) as completed, sum(dead) as dead, sum(cancelled) as cancelled, sum(expired) as expired
            from seaworthy_queue.batch_delta where batch_delta.batch = batch.id
         ) new where id = $1",
    )
    .bind(batch.0)
    .fetch_optional(&mut *held)
    .await?;
    held.release();
    let Some(row) = row else { return Ok(None) };
    let count = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    Ok(Some(BatchProgress {
        name: row.try_get("name")?,
        total: count("total")?,
        completed: count("completed")?,
        dead: count("dead")?,
        cancelled: count("cancelled")?,
        expired: count("expired")?,
        is_open: row.try_get("is_open")?,
        is_cancelled: row.try_get("is_cancelled")?,
        is_over: row.try_get("is_over")?,
    }))
}

pub(crate) async fn batch_of(db: &Connections, job: JobId) -> Result<Option<BatchId>, Error> {
    let mut held = db.acquire().await?;
    let batch: Option<Option<i64>> =
        sqlx::query_scalar("select batch from seaworthy_queue.belonging where id = $1")
            .bind(job.0)
            .fetch_optional(&mut *held)
            .await?;
    held.release();
    Ok(batch.flatten().map(BatchId))
}
