//! Limited jobs wait at a gate, key by key, until there is a slot and the rate allows it.
//!
//! Nobody who enqueues or completes a job touches the row of its key: they append an event, and whoever looks at the gates takes the events of many jobs at once, locks their keys
//! in order, and lets through as many of each as it can. So a key costs one update per look and not one per job.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection, Row};

use super::plain_plans;
use crate::{Error, connections::Connections};

/// Events that one look takes at most.
const EVENTS: i64 = 1024;
/// Jobs of one key that one look lets through at most, and late ones that it passes on.
const JOBS: i64 = 512;
/// How often one look goes on when there is more than it takes at a time.
const ROUNDS: usize = 8;
/// For so long the rate is made up for when nobody looked, and so much of it may wait for a worker, in seconds. What is let through while no worker is free is not
/// begun all at once when one is.
const SLACK: f64 = 0.5;

/// Lets the jobs that this transaction has made wait at their gates, unless they wait for their time or for others.
pub(super) async fn hold(tx: &mut PgConnection, jobs: &[i64]) -> Result<(), Error> {
    sqlx::query(
        "with held as (
            insert into seaworthy_queue.gated (name, key, rank, id, attempt, expires_at)
            select limit_name, limit_key, seaworthy_queue.rank(created_at, priority), id, 1, expires_at
            from seaworthy_queue.belonging join seaworthy_queue.job using (id)
            where id = any($1) and limit_name is not null
                and not exists (select from seaworthy_queue.scheduled where scheduled.id = job.id)
                and not exists (select from seaworthy_queue.blocked where blocked.id = job.id)
            returning name, key
        )
        insert into seaworthy_queue.gate_event (name, key) select distinct name, key from held",
    )
    .bind(jobs)
    .execute(tx)
    .await?;
    Ok(())
}

/// The slots of these jobs are free.
pub(super) async fn free(tx: &mut PgConnection, jobs: &[i64]) -> Result<(), Error> {
    sqlx::query(
        "with free as (
            delete from seaworthy_queue.slot where id = any($1) returning name, key
        )
        insert into seaworthy_queue.gate_event (name, key) select distinct name, key from free",
    )
    .bind(jobs)
    .execute(tx)
    .await?;
    Ok(())
}

/// A worker has taken these jobs: they don't count as waiting for one any more.
pub(super) async fn begun(connection: &mut PgConnection, jobs: &[i64]) -> Result<(), Error> {
    sqlx::query(
        "with begun as (
            update seaworthy_queue.slot set is_begun = true where id = any($1) and not is_begun returning name, key
        )
        insert into seaworthy_queue.gate_event (name, key) select distinct name, key from begun",
    )
    .bind(jobs)
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets through what can be, and says how many; adds the queues that got jobs.
pub(super) async fn let_through(db: &Connections, queues: &mut BTreeSet<String>) -> Result<u64, Error> {
    let mut passed = pass_late(db, queues).await?;
    for _ in 0..ROUNDS {
        let mut held = db.acquire().await?;
        let mut tx = held.begin().await?;
        plain_plans(&mut tx, db.deadline()).await?;
        let keys = take_events(&mut tx).await?;
        let looked = if keys.is_empty() { Looked::default() } else { look(&mut tx, keys, queues).await? };
        tx.commit().await?;
        held.release();
        passed += looked.jobs;
        if !looked.is_full {
            break;
        }
    }
    Ok(passed)
}

/// Jobs that waited longer than they were worth: a worker will record that. They take no slot.
async fn pass_late(db: &Connections, queues: &mut BTreeSet<String>) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let to: Vec<String> = sqlx::query_scalar(
        "with late as materialized (
            select ctid from seaworthy_queue.gated where expires_at <= clock_timestamp() order by expires_at limit $1 for update skip locked
        ), gone as (
            delete from seaworthy_queue.gated where ctid = any(array(select ctid from late)) returning id, rank, attempt
        )
        insert into seaworthy_queue.ready (queue, rank, id, attempt)
        select queue, rank, id, attempt from gone join seaworthy_queue.job using (id) returning queue",
    )
    .bind(JOBS)
    .fetch_all(&mut *held)
    .await?;
    held.release();
    let passed = to.len() as u64;
    queues.extend(to);
    Ok(passed)
}

/// The keys at which something has changed, or whose time has come.
async fn take_events(tx: &mut PgConnection) -> Result<Vec<(String, String)>, Error> {
    Ok(sqlx::query_as(
        "with picked as materialized (
            select ctid from seaworthy_queue.gate_event limit $1 for update skip locked
        ), event as (
            delete from seaworthy_queue.gate_event where ctid = any(array(select ctid from picked)) returning name, key
        ), due as (
            select name, key from seaworthy_queue.gate where next_at <= clock_timestamp() order by next_at limit $1
        )
        select name, key from event union select name, key from due order by name, key",
    )
    .bind(EVENTS)
    .fetch_all(tx)
    .await?)
}

#[derive(Debug, Default)]
struct Looked {
    jobs: u64,
    /// Whether there may be more at once.
    is_full: bool,
}

async fn look(
    tx: &mut PgConnection,
    keys: Vec<(String, String)>,
    queues: &mut BTreeSet<String>,
) -> Result<Looked, Error> {
    let (names, keys): (Vec<String>, Vec<String>) = keys.into_iter().unzip();
    lock(tx, &names, &keys).await?;
    // A statement of its own, which sees what those who held the locks before have done.
    let row = sqlx::query(
        "with clock as materialized (
            select extract(epoch from clock_timestamp())::float8 as now
        ), gate as materialized (
            select gate.name, gate.key, now, at_once, every, (burst - 1) * every as tolerance,
                (select count(*) from seaworthy_queue.slot where slot.name = gate.name and slot.key = gate.key) as taken,
                (select count(*) from seaworthy_queue.slot where slot.name = gate.name and slot.key = gate.key and not is_begun) as not_begun,
                -- How many may wait for a worker.
                case when every is not null then greatest(burst, ceil($4 / every)) end as most,
                -- Not later than it can be at this rate, which may be a new one; not before now, except for jobs that have waited since.
                least(
                    greatest(due_at, now - case when waits_for_rate then $4 else 0 end), now + burst * every
                ) as due_at
            from clock, unnest($1::text[], $2::text[]) as look (name, key) join seaworthy_queue.gate using (name, key)
            left join seaworthy_queue.limit_rule using (name)
        ), room as materialized (
            select *, greatest(0, least(
                $3,
                at_once - taken,
                -- Seconds after 1970 are exact to less than half a microsecond.
                floor((now + tolerance - due_at + 5e-7) / every) + 1,
                most - not_begun
            ))::bigint as jobs
            from gate
        ), picked as materialized (
            select waiting.place from room, lateral (
                select ctid as place from seaworthy_queue.gated where gated.name = room.name and gated.key = room.key
                order by rank, id limit room.jobs for update skip locked
            ) waiting
        ), passed as (
            delete from seaworthy_queue.gated where ctid = any(array(select place from picked)) returning name, key, rank, id, attempt
        ), slot as (
            insert into seaworthy_queue.slot (id, name, key, is_begun)
            select id, name, key, every is null from passed join room using (name, key)
            on conflict (id) do update set name = excluded.name, key = excluded.key, is_begun = excluded.is_begun
        ), ready as (
            insert into seaworthy_queue.ready (queue, rank, id, attempt)
            select queue, rank, id, attempt from passed join seaworthy_queue.job using (id) returning queue
        ), count as materialized (
            select name, key, count(*) as passed from passed group by name, key
        ), result as materialized (
            select name, key, now, at_once - taken - coalesce(passed, 0) as slots_left, most - not_begun - coalesce(passed, 0) as starts_left,
                room.jobs, taken, coalesce(passed, 0) as passed, due_at + coalesce(passed, 0) * every as due_at, tolerance,
                -- This statement still sees those that it has let through.
                exists (
                    select from seaworthy_queue.gated where gated.name = room.name and gated.key = room.key offset coalesce(passed, 0)
                ) as is_awaited
            from room left join count using (name, key)
        ), next as materialized (
            select *, case
                -- When nothing is left of it but the rate's memory, it is looked at once more, to be forgotten.
                when not is_awaited then to_timestamp(due_at)
                -- The end of a job, or its begin, is an event.
                when slots_left <= 0 or starts_left <= 0 then null
                -- Somebody else had his hand on one: he may let go of it.
                when passed < jobs then to_timestamp(now + 0.1)
                else to_timestamp(greatest(now, due_at - tolerance))
            end as next_at, not is_awaited and taken + passed = 0 and coalesce(due_at <= now, true) as is_idle
            from result
        ), state as (
            update seaworthy_queue.gate set due_at = coalesce(next.due_at, 0), next_at = next.next_at, waits_for_rate = is_awaited and next.next_at is not null
            from next where gate.name = next.name and gate.key = next.key and not is_idle
        ), forgotten as (
            delete from seaworthy_queue.gate using next where gate.name = next.name and gate.key = next.key and is_idle
        )
        select coalesce((select array_agg(distinct queue) from ready), '{}') as queues,
            (select count(*) from passed) as jobs,
            (select coalesce(bool_or(passed >= $3 and is_awaited), false) from result) as is_full",
    )
    .bind(&names)
    .bind(&keys)
    .bind(JOBS)
    .bind(SLACK)
    .fetch_one(&mut *tx)
    .await?;
    queues.extend(row.try_get::<Vec<String>, _>("queues")?);
    let jobs = row.try_get::<i64, _>("jobs")?.unsigned_abs();
    Ok(Looked { jobs, is_full: row.try_get::<bool, _>("is_full")? || names.len() as i64 >= EVENTS })
}

/// Locks the rows of these keys, which are sorted, so that two who look at the same keys don't wait for each other.
async fn lock(tx: &mut PgConnection, names: &[String], keys: &[String]) -> Result<(), Error> {
    loop {
        sqlx::query(
            "insert into seaworthy_queue.gate (name, key) select name, key from unnest($1::text[], $2::text[]) as new (name, key)
             order by name, key on conflict do nothing",
        )
        .bind(names)
        .bind(keys)
        .execute(&mut *tx)
        .await?;
        let locked = sqlx::query(
            "select from seaworthy_queue.gate join unnest($1::text[], $2::text[]) as wanted (name, key) using (name, key)
             order by name, key for update of gate",
        )
        .bind(names)
        .bind(keys)
        .execute(&mut *tx)
        .await?;
        // One that was forgotten between the two statements is made again.
        if locked.rows_affected() == names.len() as u64 {
            return Ok(());
        }
    }
}
