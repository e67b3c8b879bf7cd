//! What happens when workers take jobs that touch something else.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::{flag, gate};
use crate::{Error, leased::Claimed};

/// Before a job that has to be unique while it waits is begun, its key is free: who is told that there is one already knows that it begins after his transaction. Jobs on whose
/// key such a transaction has its hand are taken out of the claim, and wait a moment.
pub(super) async fn begin(connection: &mut PgConnection, jobs: &mut Vec<Claimed>) -> Result<(), Error> {
    let with =
        |flag: i16| jobs.iter().filter(|job| job.flags & flag != 0).map(|job| job.id.0).collect::<Vec<i64>>();
    let (limited, waiting) = (with(flag::LIMITED), with(flag::UNIQUE_WHILE_WAITING));
    if !limited.is_empty() {
        gate::begun(connection, &limited).await?;
    }
    if let (false, Some(token)) = (waiting.is_empty(), jobs.first().map(|job| job.token)) {
        let postponed: Vec<i64> = sqlx::query_scalar(
            "with key as materialized (
                select key, job from seaworthy_queue.unique_key where job = any($1) and until is null
            ), free as materialized (
                select key from seaworthy_queue.unique_key where key in (select key from key) and job = any($1) for update skip locked
            ), gone as (
                delete from seaworthy_queue.unique_key where key in (select key from free)
            ), held as materialized (
                select lease.token, held.id, held.attempt, held.place
                from seaworthy_queue.lease_batch lease, unnest(lease.job_ids, lease.attempts) with ordinality held (id, attempt, place)
                where lease.token = $2 and held.id in (select job from key where key not in (select key from free))
            ), done as (
                insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, detail)
                -- Numbers that the handlers of these jobs would have had.
                select token, - min(place)::smallint, 'returned', array_agg(id), 'somebody is about to find out that it waits' from held group by token
            )
            insert into seaworthy_queue.scheduled (id, run_at, attempt)
            select id, clock_timestamp() + interval '50 milliseconds', attempt from held returning id",
        )
        .bind(&waiting)
        .bind(token)
        .fetch_all(connection)
        .await?;
        let postponed: HashSet<i64> = postponed.into_iter().collect();
        jobs.retain(|job| !postponed.contains(&job.id.0));
    }
    Ok(())
}
