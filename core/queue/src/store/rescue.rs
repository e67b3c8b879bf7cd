//! Jobs come back: those whose time has come, those of workers that died, and those that nobody began.

use sqlx::{Connection as _, PgConnection, Row, types::Uuid};

use super::{
    MAINTENANCE_BATCH,
    end::{End, consequences},
    limit_lock_waits,
};
use crate::{Error, backend::Claimed, connections::Connections};

/// Dead workers that one look rescues from at most.
const MAX_RESCUES: usize = 16;

/// Makes scheduled jobs whose time has come ready, or has them wait at their gates.
pub(super) async fn promote_scheduled(db: &Connections) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let promoted: i64 = sqlx::query_scalar(concat!(
        "with due as materialized (
            select ctid from seaworthy_queue.scheduled where run_at <= clock_timestamp()
            order by run_at limit $1 for update skip locked
        ), taken as (
            delete from seaworthy_queue.scheduled where ctid = any(array(select ctid from due)) returning id, run_at, attempt
        ), due_now as materialized (
            select id, queue, seaworthy_queue.rank(run_at, priority) as rank, attempt, flags, expires_at from taken join seaworthy_queue.job using (id)
        ), ",
        go_on!("due_now"),
        "select count(*) from due_now",
    ))
    .bind(MAINTENANCE_BATCH)
    .fetch_one(&mut *held)
    .await?;
    held.release();
    Ok(promoted.unsigned_abs())
}

/// Takes everything back from workers whose heartbeats stopped, and forgets them.
///
/// Worker by worker, each in a transaction of its own, and only those of whose leases none is held by a completion that is on its way:
/// one that hangs must not keep the jobs of others from being rescued.
pub(crate) async fn rescue_expired(db: &Connections) -> Result<u64, Error> {
    let mut rescued = 0;
    for _ in 0..MAX_RESCUES {
        let mut held = db.acquire().await?;
        let mut tx = held.begin().await?;
        let worker: Option<Uuid> = sqlx::query_scalar(
            "select id from seaworthy_queue.worker where beat_at < clock_timestamp() - lease_timeout
             order by random() limit 1 for update skip locked",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let is_last = worker.is_none();
        if let Some(worker) = worker {
            let in_use: i64 = sqlx::query_scalar(
                "with free as materialized (
                    select token from seaworthy_queue.lease_batch where worker = $1 order by token for update skip locked
                )
                select (select count(*) from seaworthy_queue.lease_batch where worker = $1) - (select count(*) from free)",
            )
            .bind(worker)
            .fetch_one(&mut *tx)
            .await?;
            if in_use == 0 {
                rescued += dismiss(&mut tx, worker, "the worker died").await?;
            }
        }
        tx.commit().await?;
        held.release();
        if is_last {
            break;
        }
    }
    Ok(rescued)
}

/// Returns the jobs of leases that nobody works on: claims whose answer got lost.
pub(crate) async fn release(db: &Connections, tokens: &[Uuid]) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    let released =
        take_back(&mut tx, tokens, Interrupted::NotStarted, "the answer to the claim got lost").await?;
    tx.commit().await?;
    held.release();
    Ok(released)
}

/// Returns jobs of one lease that were not begun, in this part of its history.
pub(crate) async fn give_back(db: &Connections, part: i16, jobs: &[Claimed]) -> Result<(), Error> {
    let Some(token) = jobs.first().map(|job| job.token) else { return Ok(()) };
    let mut held = db.acquire().await?;
    sqlx::query(
        "with lease as materialized (
            select token from seaworthy_queue.lease_batch where token = $1 for share
        ), done as (
            insert into seaworthy_queue.done_batch (token, part, outcome, job_ids)
            select token, $2, 'returned', $3 from lease on conflict (token, part) do nothing returning token
        )
        insert into seaworthy_queue.ready (queue, rank, id, attempt)
        select queue, seaworthy_queue.rank(created_at, priority), id, attempt
        from unnest($3::bigint[], $4::smallint[]) as back (id, attempt) join seaworthy_queue.job using (id)
        where exists (select from done)",
    )
    .bind(token)
    .bind(part)
    .bind(jobs.iter().map(|job| job.id.0).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.attempt).collect::<Vec<_>>())
    .execute(&mut *held)
    .await?;
    held.release();
    Ok(())
}

/// Forgets this worker, whose row is locked: that keeps it from claiming more in the meantime.
pub(super) async fn dismiss(tx: &mut PgConnection, worker: Uuid, why: &str) -> Result<u64, Error> {
    let tokens: Vec<Uuid> =
        sqlx::query_scalar("select token from seaworthy_queue.lease_batch where worker = $1")
            .bind(worker)
            .fetch_all(&mut *tx)
            .await?;
    let rescued = take_back(tx, &tokens, Interrupted::Running, why).await?;
    sqlx::query("delete from seaworthy_queue.worker where id = $1").bind(worker).execute(tx).await?;
    Ok(rescued)
}

/// Where the jobs of a lease were when it was voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupted {
    /// A handler may have run: the attempt counts.
    Running,
    /// No handler has seen them: the attempt does not count.
    NotStarted,
}

/// Voids these leases and returns their unfinished jobs to the queue, or, after their last attempt, to the dead letters.
///
/// A job that was interrupted before waits for a random time, longer each time: if it is what kills workers, it comes back without those that were in the same batch, and is the one whose
/// attempts come to an end.
pub(super) async fn take_back(
    tx: &mut PgConnection,
    tokens: &[Uuid],
    jobs: Interrupted,
    why: &str,
) -> Result<u64, Error> {
    // First wait for completions that are on their way, then look at what they left, in a statement of its own: in
    // one statement, the old snapshot would return jobs that were finished while it waited.
    sqlx::query("select from seaworthy_queue.lease_batch where token = any($1) order by token for update")
        .bind(tokens)
        .execute(&mut *tx)
        .await?;
    let row = sqlx::query(concat!(
        "with unfinished as materialized (
            select lease.token, held.id, held.attempt, held.attempt + $3::smallint as next_attempt,
                case when held.attempt > 1 and $3::smallint > 0
                    then random() * least(60, 2 ^ least(held.attempt, 6)) * interval '1 second' end as wait
            from seaworthy_queue.lease_batch lease, unnest(lease.job_ids, lease.attempts) held (id, attempt)
            where lease.token = any($1) and not exists (
                select from seaworthy_queue.done_batch done
                where done.token = lease.token and held.id = any(done.job_ids)
            )
        ), history as (
            insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, detail)
            select token, (select max(part) + 1 from (
                select part from seaworthy_queue.done_batch done where done.token = unfinished.token union all select -1::smallint
            ) parts), 'rescued', array_agg(id), $2 from unfinished group by token
        ), job as materialized (
            select * from unfinished join seaworthy_queue.job using (id)
        ), again as materialized (
            -- Those that nobody has begun keep the slots of their limits.
            select id, queue, seaworthy_queue.rank(created_at, priority) as rank, next_attempt as attempt, case when $3 > 0 then flags else 0 end as flags, expires_at
            from job where next_attempt <= max_attempts and wait is null
        ), ",
        go_on!("again"),
        ", slot as (
            delete from seaworthy_queue.slot where $3 > 0 and id in (select id from job where flags & 4 <> 0 and next_attempt <= max_attempts)
            returning name, key
        ), slot_event as (
            insert into seaworthy_queue.gate_event (name, key) select distinct name, key from slot
        ), later as (
            insert into seaworthy_queue.scheduled (id, run_at, attempt)
            select id, clock_timestamp() + wait, next_attempt from job where next_attempt <= max_attempts and wait is not null
        ), dead as (
            insert into seaworthy_queue.dead_letter (id, attempt, error)
            select id, attempt, $2 || ' in the last attempt' from job where next_attempt > max_attempts
        )
        select count(*) as returned, coalesce(array_agg(id) filter (where next_attempt > max_attempts), '{}') as dead,
            coalesce(bit_or(flags) filter (where next_attempt > max_attempts), 0::smallint) as flags
        from job",
    ))
    .bind(tokens)
    .bind(why)
    .bind(i16::from(jobs == Interrupted::Running))
    .fetch_one(&mut *tx)
    .await?;
    let dead: Vec<i64> = row.try_get("dead")?;
    if !dead.is_empty() {
        consequences(tx, &dead, row.try_get("flags")?, End::Dead).await?;
    }
    sqlx::query("delete from seaworthy_queue.lease_batch where token = any($1)")
        .bind(tokens)
        .execute(tx)
        .await?;
    Ok(row.try_get::<i64, _>("returned")?.unsigned_abs())
}
