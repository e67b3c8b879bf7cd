//! Jobs that nobody wants any more.

use sqlx::{Connection as _, types::Uuid};

use super::flow::{cancel_children, record_cancelled};
use crate::{Error, JobId, connections::Connections, queue::Cancelled};

/// Cancels a job that no worker has, or asks the worker that has it to stop it.
pub(crate) async fn cancel(db: &Connections, job: JobId) -> Result<Cancelled, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    let taken: i64 = sqlx::query_scalar(
        "with ready as (
            delete from seaworthy_queue.ready where id = $1 and queue = (select queue from seaworthy_queue.job where id = $1) returning id
        ), scheduled as (
            delete from seaworthy_queue.scheduled where id = $1 returning id
        ), blocked as (
            delete from seaworthy_queue.blocked where id = $1 returning id
        ), edge as (
            delete from seaworthy_queue.dependency where child = $1
        )
        select (select count(*) from ready) + (select count(*) from scheduled) + (select count(*) from blocked)",
    )
    .bind(job.0)
    .fetch_one(&mut *tx)
    .await?;
    let cancelled = if taken > 0 {
        record_cancelled(&mut tx, &[job.0], "somebody cancelled it").await?;
        cancel_children(&mut tx, &[job.0]).await?;
        Cancelled::Queued
    } else {
        // A statement of its own: a worker may have taken the job just now.
        let asked = sqlx::query(
            "insert into seaworthy_queue.cancellation (id)
             select $1 where exists (
                select from seaworthy_queue.lease_batch lease where $1 = any(job_ids) and not exists (
                    select from seaworthy_queue.done_batch done where done.token = lease.token and $1 = any(done.job_ids)
                )
             ) on conflict (id) do update set at = clock_timestamp()",
        )
        .bind(job.0)
        .execute(&mut *tx)
        .await?;
        if asked.rows_affected() > 0 { Cancelled::Running } else { Cancelled::Over }
    };
    tx.commit().await?;
    held.release();
    Ok(cancelled)
}

/// The jobs that this worker has and that somebody wants to be stopped. Requests about jobs that are over are forgotten.
pub(crate) async fn cancelled_on(db: &Connections, worker: Uuid) -> Result<Vec<JobId>, Error> {
    let mut held = db.acquire().await?;
    let asked: Vec<i64> = sqlx::query_scalar(
        "select id from seaworthy_queue.cancellation
         where exists (select from seaworthy_queue.lease_batch where worker = $1 and id = any(job_ids))",
    )
    .bind(worker)
    .fetch_all(&mut *held)
    .await?;
    held.release();
    Ok(asked.into_iter().map(JobId).collect())
}
