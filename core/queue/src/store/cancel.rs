//! Jobs that nobody wants any more.

use sqlx::{Connection as _, PgConnection, types::Uuid};

use super::{
    debounce,
    flow::{cancel_children, record_cancelled},
};
use crate::{Error, JobId, answers::Cancelled, connections::Connections};

/// Cancels a job that no worker has, or asks the worker that has it to stop it.
pub(crate) async fn cancel(db: &Connections, job: JobId) -> Result<Cancelled, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    let (queued, running) = cancel_all(&mut tx, &[job.0]).await?;
    tx.commit().await?;
    held.release();
    Ok(match (queued.is_empty(), running.is_empty()) {
        (false, _) => Cancelled::Queued,
        (_, false) => Cancelled::Running,
        _ => Cancelled::Over,
    })
}

/// Cancels those of these jobs that no worker has, and asks workers to stop those that they have; says which are which. The others are over.
pub(super) async fn cancel_all(tx: &mut PgConnection, jobs: &[i64]) -> Result<(Vec<i64>, Vec<i64>), Error> {
    /// A job may move on just when we have looked where it was, though not for ever.
    const TRIES: usize = 3;
    let (mut queued, mut running) = (Vec::new(), Vec::new());
    let mut left = jobs.to_vec();
    for _ in 0..TRIES {
        let mut taken: Vec<i64> = sqlx::query_scalar(
            "with ready as (
                delete from seaworthy_queue.ready
                where id = any($1) and queue = any(array(select distinct queue from seaworthy_queue.job where id = any($1))) returning id
            ), scheduled as (
                delete from seaworthy_queue.scheduled where id = any($1) returning id
            ), blocked as (
                delete from seaworthy_queue.blocked where id = any($1) returning id
            ), gated as (
                delete from seaworthy_queue.gated where id = any($1) returning id
            ), edge as (
                delete from seaworthy_queue.dependency where child in (select id from blocked)
            )
            select id from ready union all select id from scheduled union all select id from blocked union all select id from gated",
        )
        .bind(&left)
        .fetch_all(&mut *tx)
        .await?;
        taken.extend(debounce::forget(tx, &left).await?);
        if !taken.is_empty() {
            record_cancelled(tx, &taken, "somebody cancelled it").await?;
            cancel_children(tx, &taken).await?;
            left.retain(|job| !taken.contains(job));
            queued.extend(taken);
        }
        // A statement of its own: a worker may have taken them just now.
        let asked: Vec<i64> = sqlx::query_scalar(
            "insert into seaworthy_queue.cancellation (id)
             select distinct id from seaworthy_queue.lease_batch lease, unnest(lease.job_ids) held (id)
             where lease.job_ids && $1 and id = any($1) and not exists (
                select from seaworthy_queue.done_batch done where done.token = lease.token and id = any(done.job_ids)
             ) on conflict (id) do update set at = clock_timestamp() returning id",
        )
        .bind(&left)
        .fetch_all(&mut *tx)
        .await?;
        left.retain(|job| !asked.contains(job));
        running.extend(asked);
        if left.is_empty() {
            break;
        }
    }
    Ok((queued, running))
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
