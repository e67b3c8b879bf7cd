//! How many jobs are where.

use std::time::Duration;

use seaworthy_telemetry::metrics::Backlog;
use sqlx::Row;

use crate::{Error, answers::Stats, connections::Connections};

/// What waits in a queue. The oldest job is the one with the lowest number: numbers grow with time.
pub(crate) async fn backlog(db: &Connections, queue: &str) -> Result<Backlog, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "select
            (select count(*) from (select from seaworthy_queue.ready where queue = $1 limit 10000) few) as ready,
            (select count(*) from (
                select from seaworthy_queue.scheduled join seaworthy_queue.job using (id) where queue = $1 limit 10000
            ) few) as scheduled,
            (select count(*) from (
                select from seaworthy_queue.gated join seaworthy_queue.job using (id) where queue = $1 limit 10000
            ) few) as limited,
            (select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.lease_batch) - (
                select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.done_batch where token in (select token from seaworthy_queue.lease_batch)
            ) as leased,
            (select count(*) from (
                select from seaworthy_queue.dead_letter join seaworthy_queue.job using (id) where queue = $1 limit 10000
            ) few) as dead,
            (select extract(epoch from clock_timestamp() - min(created_at))::float8 from seaworthy_queue.job where id in (
                select id from seaworthy_queue.ready where queue = $1 order by rank, id limit 100
            )) as oldest",
    )
    .bind(queue)
    .fetch_one(&mut *held)
    .await?;
    held.release();
    let count = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    let oldest: Option<f64> = row.try_get("oldest")?;
    Ok(Backlog {
        ready: count("ready")?,
        scheduled: count("scheduled")?,
        limited: count("limited")?,
        leased: count("leased")?,
        dead: count("dead")?,
        oldest: Duration::try_from_secs_f64(oldest.unwrap_or(0.0)).unwrap_or_default(),
    })
}

pub(crate) async fn stats(db: &Connections) -> Result<Stats, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "with ended as materialized (
            select outcome, sum(cardinality(job_ids))::bigint as jobs from seaworthy_queue.done_batch group by outcome
        )
        select
            (select count(*) from seaworthy_queue.ready) as ready,
            (select count(*) from seaworthy_queue.scheduled) + (select count(*) from seaworthy_queue.debounce) as scheduled,
            (select count(*) from seaworthy_queue.gated) as limited,
            (select count(*) from seaworthy_queue.blocked) as blocked,
            (select count(*) from seaworthy_queue.lease_batch l, unnest(l.job_ids) job where not exists (
                select from seaworthy_queue.done_batch d where d.token = l.token and job = any(d.job_ids)
            )) as leased,
            (select count(*) from seaworthy_queue.dead_letter) as dead,
            coalesce((select jobs from ended where outcome = 'completed'), 0) as completed,
            coalesce((select jobs from ended where outcome = 'rescued'), 0) as rescued,
            coalesce((select jobs from ended where outcome = 'cancelled'), 0) as cancelled,
            coalesce((select jobs from ended where outcome = 'expired'), 0) as expired",
    )
    .fetch_one(&mut *held)
    .await?;
    held.release();
    Ok(Stats {
        ready: row.try_get("ready")?,
        scheduled: row.try_get("scheduled")?,
        limited: row.try_get("limited")?,
        blocked: row.try_get("blocked")?,
        leased: row.try_get("leased")?,
        completed: row.try_get("completed")?,
        dead: row.try_get("dead")?,
        rescued: row.try_get("rescued")?,
        cancelled: row.try_get("cancelled")?,
        expired: row.try_get("expired")?,
    })
}
