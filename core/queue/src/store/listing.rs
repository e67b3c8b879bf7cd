//! What operators look at.

use std::{collections::HashMap, time::Duration};

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::clock::{seconds, time};
use crate::{
    Error, JobFilter, JobId, JobPage, JobState, JobSummary, QueueInfo, WorkerInfo, connections::Connections,
};

/// Jobs that one page looks at, at most.
const SCANNED: i64 = 5_000;
/// Queues that are listed at most.
const QUEUES: usize = 1_000;

/// What a list says of a row of `job`.
pub(super) const SUMMARY: &str =
    "job.id, job.queue, kind, priority, max_attempts, left(args::text, 200) as args_start,
    (extract(epoch from created_at) * 1000000)::bigint as created_at";
/// What it says of a dead letter, from a row `dead` that may be missing.
pub(super) const GIVEN_UP: &str = "dead.error, (extract(epoch from dead.at) * 1000000)::bigint as dead_at";

/// Jobs that workers have and that are not over, as a table `held`.
pub(super) const HELD: &str = "(
    select held.id, held.attempt, lease.worker from seaworthy_queue.lease_batch lease, unnest(lease.job_ids, lease.attempts) held (id, attempt)
    where not exists (select from seaworthy_queue.done_batch done where done.token = lease.token and held.id = any(done.job_ids))
) held";

/// The tables in one of which a job is until it is over, beside a row of `job`; `held` is the other one.
pub(super) const PLACES: &str =
    "left join seaworthy_queue.ready on ready.queue = job.queue and ready.id = job.id
    left join seaworthy_queue.scheduled on scheduled.id = job.id
    left join seaworthy_queue.blocked on blocked.id = job.id
    left join seaworthy_queue.gated on gated.id = job.id
    left join seaworthy_queue.dead_letter dead on dead.id = job.id
    left join seaworthy_queue.purged on purged.id = job.id";

/// In which of them it is, which attempt is next or runs, and when that may begin.
pub(super) const STATE: &str = "case when ready.id is not null then 'ready' when scheduled.id is not null then 'scheduled' when blocked.id is not null then 'blocked'
        when gated.id is not null then 'limited' when held.id is not null then 'running' when dead.id is not null then 'dead' when purged.id is not null then 'purged' else 'elsewhere' end as state,
    coalesce(ready.attempt, scheduled.attempt, gated.attempt, held.attempt, dead.attempt) as attempt,
    (extract(epoch from scheduled.run_at) * 1000000)::bigint as run_at";

pub(crate) async fn jobs(db: &Connections, filter: &JobFilter) -> Result<JobPage, Error> {
    let mut held = db.acquire().await?;
    let page = match filter.state.and_then(place) {
        Some((state, place)) => waiting(&mut held, filter, state, &place).await?,
        None => newest(&mut held, filter).await?,
    };
    held.release();
    Ok(page)
}

/// Where jobs of a state are, if they have a place.
fn place(state: JobState) -> Option<(JobState, String)> {
    let place = match state {
        JobState::Ready => "(select id, attempt, null::timestamptz as run_at from seaworthy_queue.ready where $3::text is null or queue = $3) place".to_owned(),
        JobState::Scheduled => "seaworthy_queue.scheduled place".to_owned(),
        JobState::Blocked => "(select id, null::smallint as attempt, null::timestamptz as run_at from seaworthy_queue.blocked) place".to_owned(),
        JobState::Limited => "(select id, attempt, null::timestamptz as run_at from seaworthy_queue.gated) place".to_owned(),
        JobState::Running => format!("(select id, attempt, null::timestamptz as run_at from {HELD}) place"),
        JobState::Dead => "(select id, attempt, null::timestamptz as run_at from seaworthy_queue.dead_letter) place".to_owned(),
        _ => return None,
    };
    Some((state, place))
}

async fn waiting(
    connection: &mut PgConnection,
    filter: &JobFilter,
    state: JobState,
    place: &str,
) -> Result<JobPage, Error> {
    let statement = format!(
        "select {SUMMARY}, place.attempt, (extract(epoch from place.run_at) * 1000000)::bigint as run_at, {GIVEN_UP}
         from {place} join seaworthy_queue.job using (id) left join seaworthy_queue.dead_letter dead using (id)
         where ($1::bigint is null or id < $1) and ($2::text is null or kind = $2) and ($3::text is null or job.queue = $3)
         order by id desc limit $4"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(filter.before.map(|id| id.0))
        .bind(&filter.kind)
        .bind(&filter.queue)
        .bind(filter.limit as i64)
        .fetch_all(connection)
        .await?;
    let jobs = rows.iter().map(|row| summary(row, state)).collect::<Result<Vec<_>, Error>>()?;
    let next = jobs.last().filter(|_| jobs.len() == filter.limit).map(|job| job.id);
    Ok(JobPage { jobs, next })
}

/// Walks down the numbers of jobs, and looks where each of them is.
async fn newest(connection: &mut PgConnection, filter: &JobFilter) -> Result<JobPage, Error> {
    let is_filtered = filter.state.is_some() || filter.kind.is_some() || filter.queue.is_some();
    let scanned = if is_filtered { SCANNED } else { filter.limit as i64 };
    let statement = format!(
        "with page as materialized (
            select id, queue, kind, priority, max_attempts, args, created_at from seaworthy_queue.job
            where $1::bigint is null or id < $1 order by id desc limit $2
        ), job as materialized (
            select * from page where ($3::text is null or kind = $3) and ($4::text is null or queue = $4)
        ), held as materialized (
            select * from {HELD} where held.id in (select id from job)
        )
        select {SUMMARY}, {STATE}, {GIVEN_UP}, (select min(id) from page) as last, (select count(*) from page) as seen
        from (values (true)) as one left join job on true {PLACES} left join held on held.id = job.id
        order by job.id desc"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(filter.before.map(|id| id.0))
        .bind(scanned)
        .bind(&filter.kind)
        .bind(&filter.queue)
        .fetch_all(&mut *connection)
        .await?;
    // There is a row even when no job fits, which says how far the walk came.
    let (mut jobs, mut last, mut seen) = (Vec::new(), None, 0);
    for row in &rows {
        (last, seen) = (row.try_get::<Option<i64>, _>("last")?, row.try_get("seen")?);
        if row.try_get::<Option<i64>, _>("id")?.is_some() {
            jobs.push(summary(row, JobState::named(row.try_get("state")?))?);
        }
    }
    let mut next = last.filter(|_| seen == scanned).map(JobId);
    let ended = ends_of(connection, &jobs).await?;
    for job in &mut jobs {
        if let Some(state) = ended.get(&job.id) {
            job.state = *state;
        }
    }
    jobs.retain(|job| filter.state.is_none_or(|state| job.state == state));
    if jobs.len() > filter.limit {
        jobs.truncate(filter.limit);
        next = jobs.last().map(|job| job.id);
    }
    Ok(JobPage { jobs, next })
}

/// What became of those jobs that are in no table. Most come to their end soon after they were enqueued, so the history is searched in spans that grow from there.
async fn ends_of(
    connection: &mut PgConnection,
    jobs: &[JobSummary],
) -> Result<HashMap<JobId, JobState>, Error> {
    let mut sought: Vec<i64> =
        jobs.iter().filter(|job| job.state == JobState::Elsewhere).map(|job| job.id.0).collect();
    let mut ends = HashMap::new();
    let Some(&oldest) = sought.iter().min() else { return Ok(ends) };
    for (from, until) in spans() {
        let rows = sqlx::query(
            "with span as materialized (
                select created_at + $3 * interval '1 second' as since, created_at + $4 * interval '1 second' as until from seaworthy_queue.job where id = $1
            )
            select wanted.id, outcome, (select until > clock_timestamp() from span) as is_last from (
                select id, outcome from seaworthy_queue.done_batch, unnest(job_ids) as id
                where at >= (select since from span) and at < (select until from span) and outcome in ('completed', 'cancelled', 'expired')
            ) ended right join unnest($2::bigint[]) as wanted (id) using (id)",
        )
        .bind(oldest)
        .bind(&sought)
        .bind(from)
        .bind(until)
        .fetch_all(&mut *connection)
        .await?;
        let mut is_last = false;
        for row in &rows {
            is_last |= row.try_get::<Option<bool>, _>("is_last")?.unwrap_or(true);
            if let Some(outcome) = row.try_get::<Option<&str>, _>("outcome")? {
                ends.insert(JobId(row.try_get("id")?), JobState::named(outcome));
            }
        }
        sought.retain(|id| !ends.contains_key(&JobId(*id)));
        if sought.is_empty() || is_last {
            break;
        }
    }
    Ok(ends)
}

/// Spans of the history from when a job was enqueued, in seconds: each as long as all before it and more, until everything is searched.
pub(super) fn spans() -> impl Iterator<Item = (f64, f64)> {
    const FIRST: f64 = 60.0;
    const LONGEST: i32 = 9;
    // Clocks are the database's, and a record may be a little older than the transaction that enqueued the job is long.
    (0..=LONGEST)
        .map(|step| (if step == 0 { -FIRST } else { FIRST * 8_f64.powi(step - 1) }, FIRST * 8_f64.powi(step)))
}

pub(super) fn summary(row: &PgRow, state: JobState) -> Result<JobSummary, Error> {
    Ok(JobSummary {
        id: JobId(row.try_get("id")?),
        queue: row.try_get("queue")?,
        kind: row.try_get("kind")?,
        state,
        priority: row.try_get("priority")?,
        attempt: row.try_get("attempt")?,
        max_attempts: row.try_get("max_attempts")?,
        created_at: time(row.try_get("created_at")?)?,
        run_at: row.try_get::<Option<i64>, _>("run_at")?.map(time).transpose()?,
        args_start: row.try_get("args_start")?,
        given_up: match (row.try_get::<Option<i64>, _>("dead_at")?, row.try_get("error")?) {
            (Some(at), Some(why)) => Some((time(at)?, why)),
            _ => None,
        },
    })
}

pub(crate) async fn queues(db: &Connections) -> Result<Vec<QueueInfo>, Error> {
    let mut held = db.acquire().await?;
    // Steps from one name to the next in the index, however many jobs there are of each.
    let rows = sqlx::query(
        "with recursive waiting (name) as (
            (select queue from seaworthy_queue.ready order by queue limit 1)
            union all
            select (select queue from seaworthy_queue.ready where queue > name order by queue limit 1) from waiting where name is not null
        ), worked as materialized (
            select name, count(*) as workers from seaworthy_queue.worker, unnest(queues) as name where beat_at >= clock_timestamp() - lease_timeout group by name
        ), scheduled as materialized (
            select queue as name, count(*) as jobs from (select id from seaworthy_queue.scheduled order by run_at limit 10000) few join seaworthy_queue.job using (id) group by queue
        ), limited as materialized (
            select queue as name, count(*) as jobs from (select id from seaworthy_queue.gated limit 10000) few join seaworthy_queue.job using (id) group by queue
        ), dead as materialized (
            select queue as name, count(*) as jobs from (select id from seaworthy_queue.dead_letter order by at desc limit 10000) few join seaworthy_queue.job using (id) group by queue
        ), names as materialized (
            select name from waiting where name is not null union select queue from seaworthy_queue.paused
            union select name from worked union select name from scheduled union select name from limited union select name from dead order by name limit $1
        )
        select name, (extract(epoch from since) * 1000000)::bigint as since, coalesce(workers, 0) as workers,
            coalesce(scheduled.jobs, 0) as scheduled, coalesce(limited.jobs, 0) as limited, coalesce(dead.jobs, 0) as dead,
            (select count(*) from (select from seaworthy_queue.ready where queue = name limit 10000) few) as ready,
            (select extract(epoch from clock_timestamp())::float8 - min(rank - priority * 60000::bigint) / 1000.0::float8 from (
                select id, rank from seaworthy_queue.ready where queue = name order by rank, id limit 100
            ) first join seaworthy_queue.job using (id)) as oldest
        from names left join seaworthy_queue.paused on paused.queue = name
            left join worked using (name) left join scheduled using (name) left join limited using (name) left join dead using (name)
        order by name",
    )
    .bind(QUEUES as i64)
    .fetch_all(&mut *held)
    .await?;
    held.release();
    let count = |row: &PgRow, name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    let queue = |row: &PgRow| {
        Ok(QueueInfo {
            name: row.try_get("name")?,
            paused_since: row.try_get::<Option<i64>, _>("since")?.map(time).transpose()?,
            ready: count(row, "ready")?,
            scheduled: count(row, "scheduled")?,
            limited: count(row, "limited")?,
            dead: count(row, "dead")?,
            oldest: row.try_get::<Option<f64>, _>("oldest")?.map(seconds),
            workers: count(row, "workers")?,
        })
    };
    rows.iter().map(queue).collect()
}

pub(crate) async fn workers(db: &Connections) -> Result<Vec<WorkerInfo>, Error> {
    let mut held = db.acquire().await?;
    let rows = sqlx::query(
        "select id, host, pid, queues, concurrency, (extract(epoch from started_at) * 1000000)::bigint as started_at,
            extract(epoch from clock_timestamp() - beat_at)::float8 as silent, beat_at < clock_timestamp() - lease_timeout as is_lost,
            (select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.lease_batch where lease_batch.worker = worker.id) - (
                select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.done_batch
                where token in (select token from seaworthy_queue.lease_batch where lease_batch.worker = worker.id)
            ) as jobs,
            exists (select from seaworthy_queue.leader where leader.worker = worker.id and until > clock_timestamp()) as is_leader
         from seaworthy_queue.worker order by started_at, id limit 10000",
    )
    .fetch_all(&mut *held)
    .await?;
    held.release();
    let worker = |row: &PgRow| {
        Ok(WorkerInfo {
            id: row.try_get("id")?,
            host: row.try_get("host")?,
            pid: row.try_get::<Option<i32>, _>("pid")?.map(i32::unsigned_abs),
            queues: row.try_get::<Option<Vec<String>>, _>("queues")?.unwrap_or_default(),
            concurrency: row.try_get::<Option<i32>, _>("concurrency")?.map(i32::unsigned_abs),
            jobs: row.try_get::<i64, _>("jobs")?.unsigned_abs(),
            started_at: time(row.try_get("started_at")?)?,
            silent_for: seconds(row.try_get("silent")?),
            is_lost: row.try_get("is_lost")?,
            is_leader: row.try_get("is_leader")?,
        })
    };
    rows.iter().map(worker).collect()
}

/// How many jobs of some queues can be claimed, counted up to 10,000 of each, and for how long the oldest of them could have been.
pub(crate) async fn pressure(db: &Connections, queues: &[&str]) -> Result<(u64, Duration), Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "select coalesce(sum(ready), 0)::bigint as ready, max(oldest) as oldest from unnest($1::text[]) as name,
            lateral (select count(*) as ready from (select from seaworthy_queue.ready where queue = name limit 10000) few) counted,
            lateral (select extract(epoch from clock_timestamp())::float8 - min(rank - priority * 60000::bigint) / 1000.0::float8 as oldest from (
                select id, rank from seaworthy_queue.ready where queue = name order by rank, id limit 100
            ) first join seaworthy_queue.job using (id)) aged",
    )
    .bind(queues)
    .fetch_one(&mut *held)
    .await?;
    held.release();
    let oldest: Option<f64> = row.try_get("oldest")?;
    Ok((row.try_get::<i64, _>("ready")?.unsigned_abs(), seconds(oldest.unwrap_or_default())))
}
