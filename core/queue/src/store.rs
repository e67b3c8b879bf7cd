//! The statements behind the queue. Each one keeps the invariants that the crate's front page states.

use std::time::Duration;

use seaworthy_telemetry::metrics::Backlog;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Row,
    postgres::{PgRow, types::PgInterval},
    types::Uuid,
};

use crate::{Error, JobId, LeasedJob, NewJob};

/// Rows that one maintenance statement handles at most.
const MAINTENANCE_BATCH: i64 = 256;
/// Dead workers that one look rescues from at most.
const MAX_RESCUES: usize = 16;

pub(crate) async fn enqueue(tx: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<JobId>, Error> {
    let ids = sqlx::query_scalar(
        "with job as (
            insert into seaworthy_queue.job (queue, kind, args, priority, max_attempts, trace)
            select queue, kind, args, priority, max_attempts, trace
            from unnest($1::text[], $2::text[], $3::jsonb[], $4::smallint[], $5::int[], $6::text[])
                 with ordinality as new (queue, kind, args, priority, max_attempts, trace, position)
            order by position
            returning id, queue, priority
        ), ready as (
            insert into seaworthy_queue.ready (queue, priority, id, attempt) select queue, priority, id, 1 from job
        )
        select id from job order by id",
    )
    .bind(jobs.iter().map(|job| job.queue.as_str()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| &job.args).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.priority).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.max_attempts).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.trace.as_deref()).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// What waits in a queue. The oldest job is the one with the lowest number: numbers grow with time.
pub(crate) async fn backlog(pool: &PgPool, queue: &str) -> Result<Backlog, Error> {
    let row = sqlx::query(
        "select
            (select count(*) from (select from seaworthy_queue.ready where queue = $1 limit 10000) few) as ready,
            (select count(*) from (
                select from seaworthy_queue.scheduled join seaworthy_queue.job using (id) where queue = $1 limit 10000
            ) few) as scheduled,
            (select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.lease_batch) as leased,
            (select count(*) from (
                select from seaworthy_queue.dead_letter join seaworthy_queue.job using (id) where queue = $1 limit 10000
            ) few) as dead,
            (select extract(epoch from clock_timestamp() - min(created_at))::float8 from seaworthy_queue.job where id in (
                select (select min(id) from seaworthy_queue.ready oldest where oldest.queue = $1 and oldest.priority = p.priority)
                from (select distinct priority from seaworthy_queue.ready where queue = $1) p
            )) as oldest",
    )
    .bind(queue)
    .fetch_one(pool)
    .await?;
    let count = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    let oldest: Option<f64> = row.try_get("oldest")?;
    Ok(Backlog {
        ready: count("ready")?,
        scheduled: count("scheduled")?,
        leased: count("leased")?,
        dead: count("dead")?,
        oldest: Duration::try_from_secs_f64(oldest.unwrap_or(0.0)).unwrap_or_default(),
    })
}

pub(crate) async fn register_worker(
    pool: &PgPool,
    worker: Uuid,
    lease_timeout: Duration,
) -> Result<(), Error> {
    sqlx::query("insert into seaworthy_queue.worker (id, lease_timeout) values ($1, $2)")
        .bind(worker)
        .bind(interval(lease_timeout))
        .execute(pool)
        .await?;
    Ok(())
}

/// Whether the worker is still alive in the eyes of the others.
pub(crate) async fn heartbeat(pool: &PgPool, worker: Uuid) -> Result<bool, Error> {
    let beat = sqlx::query("update seaworthy_queue.worker set beat_at = clock_timestamp() where id = $1")
        .bind(worker)
        .execute(pool)
        .await?;
    Ok(beat.rows_affected() == 1)
}

/// Claims up to `limit` jobs under this new token. The foreign key to the worker's row is the fence against a worker
/// that was given up: its claim fails.
pub(crate) async fn claim(
    pool: &PgPool,
    worker: Uuid,
    token: Uuid,
    queue: &str,
    limit: usize,
    job_timeout: Duration,
) -> Result<Vec<LeasedJob>, Error> {
    // The limit is a literal, since as a parameter it makes Postgres plan for a large share of the table.
    let statement = format!(
        "with picked as materialized (
            select ctid from seaworthy_queue.ready where queue = $1
            order by priority, id limit {limit} for update skip locked
        ), taken as (
            delete from seaworthy_queue.ready where ctid = any(array(select ctid from picked))
            returning id, attempt
        ), lease as (
            insert into seaworthy_queue.lease_batch (token, worker, job_ids, attempts)
            select $2, $3, array_agg(id order by id), array_agg(attempt order by id) from taken having count(*) > 0
        )
        select id, kind, args::text as args, attempt, max_attempts, trace,
            extract(epoch from clock_timestamp() - created_at)::float8 as age from taken join seaworthy_queue.job using (id)
        order by priority, id"
    );
    let jobs = sqlx::query(AssertSqlSafe(statement))
        .bind(queue)
        .bind(token)
        .bind(worker)
        .try_map(|row: PgRow| {
            Ok(LeasedJob {
                id: JobId(row.try_get("id")?),
                kind: row.try_get("kind")?,
                args: row.try_get("args")?,
                attempt: row.try_get("attempt")?,
                max_attempts: row.try_get("max_attempts")?,
                trace: row.try_get("trace")?,
                age: Duration::try_from_secs_f64(row.try_get("age")?).unwrap_or_default(),
                token,
                timeout: job_timeout,
            })
        })
        .fetch_all(pool)
        .await?;
    Ok(jobs)
}

/// Completes one job in the caller's transaction, or says that the lease is gone.
///
/// The share lock on the lease keeps a rescue and a failure report waiting until the caller commits or rolls back,
/// so exactly one of them wins; the second statement sees what they committed before it. A caller that vanishes in between must
/// not keep them waiting for ever, so from here on the server ends the transaction when it idles for longer than a handler may run.
pub(crate) async fn complete_one(
    tx: &mut PgConnection,
    token: Uuid,
    job: JobId,
    timeout: Duration,
) -> Result<(), Error> {
    sqlx::query(
        "select set_config('idle_in_transaction_session_timeout', $2, true)
         from seaworthy_queue.lease_batch where token = $1 for share",
    )
    .bind(token)
    .bind(milliseconds(timeout))
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(Error::Fenced { job: job.0 })?;
    let inserted = sqlx::query(
        "insert into seaworthy_queue.done_batch (token, outcome, job_ids) select $1, 'completed', array[$2]
         where not exists (select from seaworthy_queue.done_batch where token = $1 and $2 = any(job_ids))",
    )
    .bind(token)
    .bind(job.0)
    .execute(tx)
    .await?;
    if inserted.rows_affected() == 1 { Ok(()) } else { Err(Error::Fenced { job: job.0 }) }
}

/// Completes jobs of one lease whose work is done. Repeating it, after an answer that got lost, changes nothing.
/// Says whether the lease still stood.
pub(crate) async fn complete_many(pool: &PgPool, token: Uuid, jobs: &[i64]) -> Result<bool, Error> {
    let stands = sqlx::query_scalar(
        "with lease as materialized (
            select token from seaworthy_queue.lease_batch where token = $1 for share
        ), done as (
            insert into seaworthy_queue.done_batch (token, outcome, job_ids) select token, 'completed', $2 from lease
            where not exists (select from seaworthy_queue.done_batch where token = $1 and job_ids && $2)
            on conflict (token, job_ids) do nothing
        )
        select exists (select from lease)",
    )
    .bind(token)
    .bind(jobs)
    .fetch_one(pool)
    .await?;
    Ok(stands)
}

/// What is to become of a job that failed.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    RetryIn(Duration),
    Dead,
}

/// Records that an attempt failed, unless the lease is gone or the job was completed after all, by a commit whose
/// answer got lost. Says whether the failure was recorded.
pub(crate) async fn fail(
    pool: &PgPool,
    token: Uuid,
    job: JobId,
    attempt: i32,
    verdict: Verdict,
    error: &str,
    deadline: Duration,
) -> Result<bool, Error> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    limit_lock_waits(&mut tx, deadline).await?;
    // Waits for completions that are on their way; the next statement sees them.
    let lease = sqlx::query("select from seaworthy_queue.lease_batch where token = $1 for update")
        .bind(token)
        .fetch_optional(&mut *tx)
        .await?;
    if lease.is_none() {
        return Ok(false);
    }
    let outcome = if matches!(verdict, Verdict::Dead) { "dead" } else { "retried" };
    let recorded = sqlx::query(
        "insert into seaworthy_queue.done_batch (token, outcome, job_ids, detail) select $1, $2, array[$3], $4
         where not exists (select from seaworthy_queue.done_batch where token = $1 and $3 = any(job_ids))",
    )
    .bind(token)
    .bind(outcome)
    .bind(job.0)
    .bind(error)
    .execute(&mut *tx)
    .await?;
    if recorded.rows_affected() == 0 {
        return Ok(false);
    }
    match verdict {
        Verdict::RetryIn(wait) => {
            sqlx::query(
                "insert into seaworthy_queue.scheduled (id, run_at, attempt)
                 values ($1, clock_timestamp() + $2, $3)",
            )
            .bind(job.0)
            .bind(interval(wait))
            .bind(attempt + 1)
            .execute(&mut *tx)
            .await?;
        }
        Verdict::Dead => {
            sqlx::query("insert into seaworthy_queue.dead_letter (id, attempt, error) values ($1, $2, $3)")
                .bind(job.0)
                .bind(attempt)
                .bind(error)
                .execute(&mut *tx)
                .await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}

/// Forgets a lease whose jobs are all settled, and says how many were not: jobs whose handler said that it had completed them in
/// its transaction, and whose transaction was not committed. Those go back to the queue.
pub(crate) async fn close_lease(pool: &PgPool, token: Uuid, deadline: Duration) -> Result<u64, Error> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    limit_lock_waits(&mut tx, deadline).await?;
    let why = "the handler said that the job was done, and did not commit";
    let unfinished = take_back(&mut tx, &[token], Interrupted::Running, why).await?;
    tx.commit().await?;
    Ok(unfinished)
}

pub(crate) async fn promote_due(pool: &PgPool) -> Result<u64, Error> {
    let promoted = sqlx::query(
        "with due as materialized (
            select ctid from seaworthy_queue.scheduled where run_at <= clock_timestamp()
            order by run_at limit $1 for update skip locked
        ), taken as (
            delete from seaworthy_queue.scheduled where ctid = any(array(select ctid from due)) returning id, attempt
        )
        insert into seaworthy_queue.ready (queue, priority, id, attempt)
        select queue, priority, id, attempt from taken join seaworthy_queue.job using (id)",
    )
    .bind(MAINTENANCE_BATCH)
    .execute(pool)
    .await?;
    Ok(promoted.rows_affected())
}

/// Takes everything back from workers whose heartbeats stopped, and forgets them.
///
/// Worker by worker, each in a transaction of its own, and only those of whose leases none is held by a completion that is on its way:
/// one that hangs must not keep the jobs of others from being rescued.
pub(crate) async fn rescue_expired(pool: &PgPool) -> Result<u64, Error> {
    let mut rescued = 0;
    for _ in 0..MAX_RESCUES {
        let mut connection = pool.acquire().await?;
        let mut tx = connection.begin().await?;
        let worker: Option<Uuid> = sqlx::query_scalar(
            "select id from seaworthy_queue.worker where beat_at < clock_timestamp() - lease_timeout
             order by random() limit 1 for update skip locked",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(worker) = worker else { break };
        let held: i64 = sqlx::query_scalar(
            "with free as materialized (
                select token from seaworthy_queue.lease_batch where worker = $1 order by token for update skip locked
            )
            select (select count(*) from seaworthy_queue.lease_batch where worker = $1) - (select count(*) from free)",
        )
        .bind(worker)
        .fetch_one(&mut *tx)
        .await?;
        if held == 0 {
            rescued += dismiss(&mut tx, worker, "the worker died").await?;
            tx.commit().await?;
        }
    }
    Ok(rescued)
}

/// Signs a worker off and returns what it did not finish.
pub(crate) async fn retire_worker(pool: &PgPool, worker: Uuid, deadline: Duration) -> Result<u64, Error> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    limit_lock_waits(&mut tx, deadline).await?;
    sqlx::query("select from seaworthy_queue.worker where id = $1 for update")
        .bind(worker)
        .execute(&mut *tx)
        .await?;
    let returned = dismiss(&mut tx, worker, "the worker signed off").await?;
    tx.commit().await?;
    Ok(returned)
}

/// The leases that the database holds for a worker.
pub(crate) async fn leases_of(pool: &PgPool, worker: Uuid) -> Result<Vec<Uuid>, Error> {
    let tokens = sqlx::query_scalar("select token from seaworthy_queue.lease_batch where worker = $1");
    Ok(tokens.bind(worker).fetch_all(pool).await?)
}

/// Returns the jobs of leases that nobody works on: claims whose answer got lost.
pub(crate) async fn release(pool: &PgPool, tokens: &[Uuid], deadline: Duration) -> Result<u64, Error> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    limit_lock_waits(&mut tx, deadline).await?;
    let released =
        take_back(&mut tx, tokens, Interrupted::NotStarted, "the answer to the claim got lost").await?;
    tx.commit().await?;
    Ok(released)
}

/// Forgets this worker, whose row is locked: that keeps it from claiming more in the meantime.
async fn dismiss(tx: &mut PgConnection, worker: Uuid, why: &str) -> Result<u64, Error> {
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
enum Interrupted {
    /// A handler may have run: the attempt counts.
    Running,
    /// No handler has seen them: the attempt does not count.
    NotStarted,
}

/// Voids these leases and returns their unfinished jobs to the queue, or, after their last attempt, to the dead letters.
async fn take_back(
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
    let returned: i64 = sqlx::query_scalar(
        "with unfinished as materialized (
            select lease.token, held.id, held.attempt, held.attempt + $3 as next_attempt
            from seaworthy_queue.lease_batch lease, unnest(lease.job_ids, lease.attempts) held (id, attempt)
            where lease.token = any($1) and not exists (
                select from seaworthy_queue.done_batch done
                where done.token = lease.token and held.id = any(done.job_ids)
            )
        ), history as (
            insert into seaworthy_queue.done_batch (token, outcome, job_ids, detail)
            select token, 'rescued', array_agg(id), $2 from unfinished group by token
        ), again as (
            insert into seaworthy_queue.ready (queue, priority, id, attempt)
            select queue, priority, id, next_attempt from unfinished join seaworthy_queue.job using (id)
            where next_attempt <= max_attempts
        ), dead as (
            insert into seaworthy_queue.dead_letter (id, attempt, error)
            select id, attempt, $2 || ' in the last attempt'
            from unfinished join seaworthy_queue.job using (id) where next_attempt > max_attempts
        )
        select count(*) from unfinished",
    )
    .bind(tokens)
    .bind(why)
    .bind(i32::from(jobs == Interrupted::Running))
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query("delete from seaworthy_queue.lease_batch where token = any($1)")
        .bind(tokens)
        .execute(tx)
        .await?;
    Ok(u64::try_from(returned).unwrap_or(0))
}

/// Makes the server give up on a lock before the client gives up on the statement: a statement that nobody waits for any more would
/// keep its connection and its own locks.
async fn limit_lock_waits(tx: &mut PgConnection, deadline: Duration) -> Result<(), Error> {
    sqlx::query("select set_config('lock_timeout', $1, true)")
        .bind(milliseconds(deadline / 2))
        .execute(tx)
        .await?;
    Ok(())
}

/// A time as a setting of Postgres takes it, at least a millisecond: zero would mean for ever.
fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().clamp(1, i32::MAX as u128))
}

/// A duration as Postgres takes it, in whole microseconds; a century at most, so that it can be added to a time.
fn interval(duration: Duration) -> PgInterval {
    const CENTURY: i64 = 100 * 365 * 86_400 * 1_000_000;
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(CENTURY).min(CENTURY);
    PgInterval { months: 0, days: 0, microseconds }
}
