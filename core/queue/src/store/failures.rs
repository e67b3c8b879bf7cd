//! What went wrong lately, from the history.

use sqlx::{Row, postgres::PgRow};

use super::clock::time;
use crate::{Error, FailedAttempt, JobId, connections::Connections};

pub(crate) async fn failures(db: &Connections, limit: usize) -> Result<Vec<FailedAttempt>, Error> {
    let mut held = db.acquire().await?;
    let rows = sqlx::query(
        // The jobs are chosen before they are looked up: so few that each is found by its number.
        "with record as materialized (
            select outcome, job_ids, detail, at from seaworthy_queue.done_batch order by at desc limit 5000
        ), failed as materialized (
            select id, outcome, detail, at from record, unnest(job_ids) as id
            where outcome in ('retried', 'dead', 'rescued') order by at desc, id desc limit $1
        )
        select id, queue, kind, outcome, detail, (extract(epoch from at) * 1000000)::bigint as at
        from failed join seaworthy_queue.job using (id) order by failed.at desc, id desc",
    )
    .bind(limit as i64)
    .fetch_all(&mut *held)
    .await?;
    held.release();
    let failed = |row: &PgRow| {
        Ok(FailedAttempt {
            job: JobId(row.try_get("id")?),
            queue: row.try_get("queue")?,
            kind: row.try_get("kind")?,
            outcome: row.try_get("outcome")?,
            at: time(row.try_get("at")?)?,
            why: row.try_get("detail")?,
        })
    };
    rows.iter().map(failed).collect()
}
