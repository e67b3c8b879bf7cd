//! Jobs that wait for others.

use sqlx::{PgConnection, types::Uuid};

use super::{
    end::{End, consequences},
    enqueue::enqueue,
    flag,
};
use crate::{Error, NewJob, answers::Enqueued};

/// Enqueues jobs of which some wait for others: pairs of places, parent and child, each once.
pub(crate) async fn enqueue_flow(
    tx: &mut PgConnection,
    jobs: &[NewJob],
    edges: &[(usize, usize)],
) -> Result<Vec<Enqueued>, Error> {
    let (mut flags, mut waits) = (vec![0; jobs.len()], vec![0; jobs.len()]);
    for (parent, child) in edges {
        flags[*parent] |= flag::CHILDREN;
        waits[*child] += 1;
    }
    let enqueued = enqueue(tx, jobs, &flags, &waits).await?;
    if edges.is_empty() {
        return Ok(enqueued);
    }
    sqlx::query("insert into seaworthy_queue.dependency (parent, child) select * from unnest($1::bigint[], $2::bigint[])")
        .bind(edges.iter().map(|(parent, _)| enqueued[*parent].id.0).collect::<Vec<_>>())
        .bind(edges.iter().map(|(_, child)| enqueued[*child].id.0).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(enqueued)
}

/// The children of these jobs wait for them no longer; those that wait for nobody else can run.
///
/// Parents that are completed at the same time lock a child that they share in the same order, and each takes away its own share: the last one releases it.
pub(super) async fn release_children(tx: &mut PgConnection, parents: &[i64]) -> Result<(), Error> {
    let children: Vec<i64> = sqlx::query_scalar(
        "with edge as (
            delete from seaworthy_queue.dependency where parent = any($1) returning child
        ), share as materialized (
            select child as id, count(*)::int as parents from edge group by child
        ), locked as materialized (
            select id from seaworthy_queue.blocked where id in (select id from share) order by id for update
        )
        update seaworthy_queue.blocked set waits_for = waits_for - share.parents
        from share join locked using (id) where blocked.id = share.id returning blocked.id",
    )
    .bind(parents)
    .fetch_all(&mut *tx)
    .await?;
    if children.is_empty() {
        return Ok(());
    }
    sqlx::query(concat!(
        "with free as materialized (
            select id, greatest(run_at, clock_timestamp() + delay) as run_at, clock_timestamp() as now
            from seaworthy_queue.blocked where id = any($1) and waits_for <= 0
        ), gone as (
            delete from seaworthy_queue.blocked where id in (select id from free)
        ), free_now as materialized (
            select id, queue, seaworthy_queue.rank(now, priority) as rank, 1::smallint as attempt, flags, expires_at
            from free join seaworthy_queue.job using (id) where coalesce(free.run_at <= now, true)
        ), ",
        go_on!("free_now"),
        "insert into seaworthy_queue.scheduled (id, run_at, attempt) select id, run_at, 1 from free where run_at > now",
    ))
    .bind(children)
    .execute(tx)
    .await?;
    Ok(())
}

/// What waits for jobs that are never completed is never done either, however many steps away.
pub(super) async fn cancel_children(tx: &mut PgConnection, parents: &[i64]) -> Result<u64, Error> {
    let mut cancelled = 0;
    let mut parents = parents.to_vec();
    while !parents.is_empty() {
        let children: Vec<i64> = sqlx::query_scalar(
            "with edge as (
                delete from seaworthy_queue.dependency where parent = any($1) returning child
            ), locked as materialized (
                select id from seaworthy_queue.blocked where id in (select child from edge) order by id for update
            ), gone as (
                delete from seaworthy_queue.blocked where id in (select id from locked) returning id
            ), others as (
                delete from seaworthy_queue.dependency where child in (select id from gone) and not parent = any($1)
            )
            select id from gone",
        )
        .bind(&parents)
        .fetch_all(&mut *tx)
        .await?;
        if !children.is_empty() {
            record_cancelled(tx, &children, "a job that it waits for was cancelled").await?;
            cancelled += children.len() as u64;
        }
        parents = children;
    }
    Ok(cancelled)
}

/// Writes into the history that these jobs, which no worker has, were cancelled.
pub(super) async fn record_cancelled(tx: &mut PgConnection, jobs: &[i64], why: &str) -> Result<(), Error> {
    sqlx::query(
        "insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, detail) values ($1, 0, 'cancelled', $2, $3)",
    )
    .bind(Uuid::new_v4())
    .bind(jobs)
    .bind(why)
    .execute(&mut *tx)
    .await?;
    consequences(tx, jobs, flag::OWN, End::Cancelled).await
}
