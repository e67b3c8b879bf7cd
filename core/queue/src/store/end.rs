//! Jobs end. Every statement looks whether the lease still stands: who has lost it changes nothing.

use std::{collections::HashSet, time::Duration};

use sqlx::{Connection as _, PgConnection, Row, types::Uuid};

use super::{
    advance::advance_after, batch, flag, flow, gate, interval, limit_lock_waits, milliseconds, rescue,
};
use crate::{
    Error,
    backend::{Claimed, Completed, Ending, Unfinished},
    connections::Connections,
};

/// Completes one job in the caller's transaction, or says that the lease is gone.
///
/// The share lock on the lease keeps a rescue and a failure report waiting until the caller commits or rolls back,
/// so exactly one of them wins; the second statement sees what they committed before it. A caller that vanishes in between must
/// not keep them waiting for ever, so from here on the server ends the transaction when it idles for longer than a handler may run.
pub(crate) async fn complete_one(
    tx: &mut PgConnection,
    job: &Claimed,
    ran: Duration,
    timeout: Duration,
) -> Result<(), Error> {
    sqlx::query("select set_config('idle_in_transaction_session_timeout', $1, true)")
        .bind(milliseconds(timeout))
        .execute(&mut *tx)
        .await?;
    let fenced = || Error::Fenced { job: job.id.0 };
    sqlx::query("select from seaworthy_queue.lease_batch where token = $1 for share")
        .bind(job.token)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(fenced)?;
    let inserted = sqlx::query(
        "insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, ran) select $1, $2, 'completed', array[$3], array[$4::real]
         where not exists (select from seaworthy_queue.done_batch where token = $1 and $3 = any(job_ids))",
    )
    .bind(job.token)
    // Not one of the numbers that the worker itself gives.
    .bind(-1 - job.place)
    .bind(job.id.0)
    .bind(ran.as_secs_f32())
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() != 1 {
        return Err(fenced());
    }
    consequences(tx, &[job.id.0], job.flags, End::Completed).await
}

/// Completes jobs of leases whose work is done. Repeating it, after an answer that got lost, changes nothing. Says which of the leases still stood.
pub(crate) async fn complete_many(db: &Connections, done: &[Completed]) -> Result<HashSet<Uuid>, Error> {
    let mut held = db.acquire().await?;
    let flags = done.iter().fold(0, |flags, one| flags | one.flags);
    let results: Vec<&(i64, String)> = done.iter().flat_map(|one| &one.results).collect();
    let stood = if flags == 0 && results.is_empty() {
        record_completed(&mut held, done).await?
    } else {
        let mut tx = held.begin().await?;
        limit_lock_waits(&mut tx, db.deadline()).await?;
        let stood = record_completed(&mut tx, done).await?;
        let ended: Vec<i64> =
            done.iter().filter(|one| stood.contains(&one.token)).flat_map(|one| one.jobs.clone()).collect();
        if !results.is_empty() {
            sqlx::query(
                "insert into seaworthy_queue.result (id, value) select id, value::json from unnest($1::bigint[], $2::text[]) as told (id, value)
                 where id = any($3) on conflict (id) do nothing",
            )
            .bind(results.iter().map(|(id, _)| *id).collect::<Vec<_>>())
            .bind(results.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>())
            .bind(&ended)
            .execute(&mut *tx)
            .await?;
        }
        consequences(&mut tx, &ended, flags, End::Completed).await?;
        tx.commit().await?;
        stood
    };
    held.release();
    advance_after(db, flags).await;
    Ok(stood)
}

/// A record under the same number that is no completion is that of a rescue, which began to count where the worker had not come yet.
async fn record_completed(tx: &mut PgConnection, done: &[Completed]) -> Result<HashSet<Uuid>, Error> {
    let (mut jobs, mut ran, mut first, mut last) =
        (Vec::<i64>::new(), Vec::<f32>::new(), Vec::new(), Vec::new());
    for one in done {
        first.push(jobs.len() as i32 + 1);
        jobs.extend(&one.jobs);
        ran.extend(&one.ran);
        last.push(jobs.len() as i32);
    }
    let stood = sqlx::query(
        "with new as materialized (
            select * from unnest($1::uuid[], $2::smallint[], $3::int[], $4::int[], $5::bool[]) as new (token, part, first, last, is_over)
        ), lease as materialized (
            select token from seaworthy_queue.lease_batch where token = any($1) order by token for share
        ), done as (
            insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, ran)
            select token, part, 'completed', ($6::bigint[])[first:last], ($7::real[])[first:last] from new join lease using (token)
            on conflict (token, part) do nothing
        ), over as (
            delete from seaworthy_queue.lease_batch where token in (select token from new join lease using (token) where is_over)
        )
        select token from lease
        union select token from seaworthy_queue.done_batch join new using (token, part) where outcome = 'completed'",
    )
    .bind(done.iter().map(|one| one.token).collect::<Vec<_>>())
    .bind(done.iter().map(|one| one.part).collect::<Vec<_>>())
    .bind(first)
    .bind(last)
    .bind(done.iter().map(|one| one.is_over).collect::<Vec<_>>())
    .bind(jobs)
    .bind(ran)
    .fetch_all(tx)
    .await?;
    Ok(stood.iter().map(|row| row.try_get("token")).collect::<Result<_, _>>()?)
}

impl Ending {
    /// As it is called in the history.
    fn outcome(self) -> &'static str {
        match self {
            Ending::RetryIn(_) => "retried",
            Ending::ReturnIn(_) => "returned",
            Ending::Dead => "dead",
            Ending::Cancelled => "cancelled",
            Ending::Expired => "expired",
        }
    }
}

/// Records how attempts of one lease ended, unless the lease is gone; and not of jobs that were completed after all, by a commit whose answer got lost. Says how many were
/// recorded.
pub(crate) async fn end_unfinished(db: &Connections, all: &[Unfinished]) -> Result<usize, Error> {
    let Some(token) = all.first().map(|one| one.token) else { return Ok(0) };
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    // Waits for completions that are on their way; the next statement sees them.
    let lease = sqlx::query("select from seaworthy_queue.lease_batch where token = $1 for update")
        .bind(token)
        .fetch_optional(&mut *tx)
        .await?;
    if lease.is_none() {
        tx.rollback().await?;
        held.release();
        return Ok(0);
    }
    let recorded: Vec<i64> = sqlx::query_scalar(
        "insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, detail, ran)
         select $1, part, outcome, array[id], detail, array[ran]
         from unnest($2::smallint[], $3::text[], $4::bigint[], $5::text[], $6::real[]) as new (part, outcome, id, detail, ran)
         where not exists (select from seaworthy_queue.done_batch where token = $1 and id = any(job_ids))
         on conflict (token, part) do nothing returning job_ids[1]",
    )
    .bind(token)
    .bind(all.iter().map(|one| one.part).collect::<Vec<_>>())
    .bind(all.iter().map(|one| one.ending.outcome()).collect::<Vec<_>>())
    .bind(all.iter().map(|one| one.job.0).collect::<Vec<_>>())
    .bind(all.iter().map(|one| one.why.as_str()).collect::<Vec<_>>())
    .bind(all.iter().map(|one| one.ran).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let recorded: HashSet<i64> = recorded.into_iter().collect();
    let of = |is: fn(Ending) -> bool| {
        all.iter().filter(move |one| is(one.ending)).filter(|one| recorded.contains(&one.job.0))
    };
    let retried: Vec<&Unfinished> =
        of(|ending| matches!(ending, Ending::RetryIn(_) | Ending::ReturnIn(_))).collect();
    if !retried.is_empty() {
        let waits = retried.iter().map(|one| match one.ending {
            Ending::RetryIn(wait) | Ending::ReturnIn(wait) => interval(wait),
            _ => interval(Duration::ZERO),
        });
        sqlx::query(
            "insert into seaworthy_queue.scheduled (id, run_at, attempt)
             select id, clock_timestamp() + wait, attempt from unnest($1::bigint[], $2::interval[], $3::smallint[]) as new (id, wait, attempt)",
        )
        .bind(retried.iter().map(|one| one.job.0).collect::<Vec<_>>())
        .bind(waits.collect::<Vec<_>>())
        .bind(
            retried
                .iter()
                .map(|one| one.attempt + i16::from(matches!(one.ending, Ending::RetryIn(_))))
                .collect::<Vec<_>>(),
        )
        .execute(&mut *tx)
        .await?;
        if any_flag(&retried) & flag::LIMITED != 0 {
            gate::free(&mut tx, &numbers(&retried)).await?;
        }
    }
    let dead: Vec<&Unfinished> = of(|ending| ending == Ending::Dead).collect();
    if !dead.is_empty() {
        sqlx::query(
            "insert into seaworthy_queue.dead_letter (id, attempt, error)
             select * from unnest($1::bigint[], $2::smallint[], $3::text[])",
        )
        .bind(dead.iter().map(|one| one.job.0).collect::<Vec<_>>())
        .bind(dead.iter().map(|one| one.attempt).collect::<Vec<_>>())
        .bind(dead.iter().map(|one| one.why.as_str()).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        consequences(&mut tx, &numbers(&dead), any_flag(&dead), End::Dead).await?;
    }
    let cancelled: Vec<&Unfinished> = of(|ending| ending == Ending::Cancelled).collect();
    let expired: Vec<&Unfinished> = of(|ending| ending == Ending::Expired).collect();
    for (never, end) in [(cancelled, End::Cancelled), (expired, End::Expired)] {
        if never.is_empty() {
            continue;
        }
        let (ids, flags) = (numbers(&never), any_flag(&never));
        consequences(&mut tx, &ids, flags, end).await?;
        if flags & flag::CHILDREN != 0 {
            flow::cancel_children(&mut tx, &ids).await?;
        }
        sqlx::query("delete from seaworthy_queue.cancellation where id = any($1)")
            .bind(&ids)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    held.release();
    advance_after(db, all.iter().fold(0, |flags, one| flags | one.flags)).await;
    Ok(recorded.len())
}

fn numbers(jobs: &[&Unfinished]) -> Vec<i64> {
    jobs.iter().map(|one| one.job.0).collect()
}

fn any_flag(jobs: &[&Unfinished]) -> i16 {
    jobs.iter().fold(0, |flags, one| flags | one.flags)
}

/// How a job ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Dead,
    Cancelled,
    Expired,
}

impl End {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            End::Completed => "completed",
            End::Dead => "dead",
            End::Cancelled => "cancelled",
            End::Expired => "expired",
        }
    }
}

/// What the end of jobs touches besides, if any of them has such a flag: unique keys and slots are free again, batches are counted, and the work that waits for what was completed can begin.
/// Done again for the same jobs, it changes nothing.
pub(super) async fn consequences(
    tx: &mut PgConnection,
    jobs: &[i64],
    flags: i16,
    end: End,
) -> Result<(), Error> {
    if flags & flag::UNIQUE != 0 {
        sqlx::query("delete from seaworthy_queue.unique_key where job = any($1) and until is null")
            .bind(jobs)
            .execute(&mut *tx)
            .await?;
    }
    if flags & flag::CHILDREN != 0 && end == End::Completed {
        flow::release_children(tx, jobs).await?;
    }
    if flags & flag::LIMITED != 0 {
        gate::free(tx, jobs).await?;
    }
    if flags & flag::BATCH != 0 {
        batch::count(tx, jobs, end).await?;
    }
    Ok(())
}

/// Forgets a lease whose jobs are all settled, and says how many were not: jobs whose handler said that it had completed them in
/// its transaction, and whose transaction was not committed. Those go back to the queue.
pub(crate) async fn close_lease(db: &Connections, token: Uuid) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    let why = "the handler said that the job was done, and did not commit";
    let unfinished = rescue::take_back(&mut tx, &[token], rescue::Interrupted::Running, why).await?;
    tx.commit().await?;
    held.release();
    Ok(unfinished)
}
