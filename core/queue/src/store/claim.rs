//! Workers take jobs.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, postgres::types::PgInterval};

use super::{begin::begin, flag};
use crate::{
    Error, JobId,
    backend::{Claim, Claimed, ClaimedBatch},
    connections::Connections,
};

/// Claims jobs under this new token, and says the rank of the first. The foreign key to the worker's row is the fence against a worker
/// that was given up: its claim fails.
///
/// A claim does not wait for the disk. When the server crashes, one that was not written yet has never been: its jobs are in `ready`, and whoever runs them under the token that is gone is fenced. A
/// completion waits, and whatever it builds on is written with it.
pub(crate) async fn claim(db: &Connections, claim: Claim<'_>) -> Result<ClaimedBatch, Error> {
    // The limit is a literal, since as a parameter it makes Postgres plan for a large share of the table.
    let statement = format!(
        "with picked as materialized (
            select ctid from seaworthy_queue.ready where queue = $1 and rank >= $4
                and not exists (select from seaworthy_queue.paused where queue = $1)
            order by rank, id limit {} for update skip locked
        ), taken as (
            delete from seaworthy_queue.ready where ctid = any(array(select ctid from picked))
            returning id, rank, attempt
        ), lease as (
            insert into seaworthy_queue.lease_batch (token, worker, job_ids, attempts)
            select $2, $3, array_agg(id order by rank, id), array_agg(attempt order by rank, id) from taken
            having count(*) > 0 and set_config('synchronous_commit', 'off', true) is not null
        )
        select id, kind, args::text as args, attempt, max_attempts, flags, trace, rank,
            coalesce(expires_at < clock_timestamp(), false) as is_expired,
            clock_timestamp() - created_at as age
        from taken join seaworthy_queue.job using (id) order by rank, id",
        claim.limit
    );
    let mut held = db.acquire().await?;
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(&**claim.queue)
        .bind(claim.token)
        .bind(claim.worker)
        .bind(claim.from)
        .fetch_all(&mut *held)
        .await
        .map_err(|error| match error {
            sqlx::Error::Database(error) if error.is_foreign_key_violation() => {
                Error::Dismissed { worker: claim.worker }
            }
            error => error.into(),
        })?;
    let first_rank = rows.first().map(|row| row.try_get("rank")).transpose()?;
    let mut jobs = Vec::with_capacity(rows.len());
    for (row, place) in rows.iter().zip(0..) {
        jobs.push(Claimed {
            id: JobId(row.try_get("id")?),
            queue: claim.queue.clone(),
            kind: row.try_get("kind")?,
            args: row.try_get("args")?,
            attempt: row.try_get("attempt")?,
            max_attempts: row.try_get("max_attempts")?,
            flags: row.try_get::<i16, _>("flags")? & flag::END,
            version: flag::version(row.try_get("flags")?),
            is_expired: row.try_get("is_expired")?,
            trace: row.try_get("trace")?,
            age: since(row.try_get("age")?),
            token: claim.token,
            place,
        });
    }
    if jobs.iter().any(|job| job.flags & flag::AT_BEGIN != 0) {
        begin(&mut held, &mut jobs).await?;
    }
    held.release();
    Ok(ClaimedBatch { jobs, first_rank })
}

/// The difference of two times, which Postgres gives in days and microseconds; nothing when it is negative.
fn since(age: PgInterval) -> Duration {
    const DAY: i64 = 86_400_000_000;
    Duration::from_micros(u64::try_from(i64::from(age.days) * DAY + age.microseconds).unwrap_or_default())
}
