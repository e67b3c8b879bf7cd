//! Jobs come in.

use std::collections::HashMap;

use sqlx::{PgConnection, Row};

use super::{debounce::debounce, flag, gate, limit::check_limits};
use crate::{Error, JobId, NewJob, Unique, answers::Enqueued, job::Start};

/// Whose key it will be, for how long, and whether only while the job waits.
type Wanted = (i64, Option<i64>, bool);

/// Enqueues jobs, the i-th of which has `flags[i]` and waits for `waits[i]` others, and says which numbers they have; those that must be unique and are there already are not
/// enqueued, and have the number of the one that is there.
pub(crate) async fn enqueue(
    tx: &mut PgConnection,
    jobs: &[NewJob],
    flags: &[i16],
    waits: &[i32],
) -> Result<Vec<Enqueued>, Error> {
    debug_assert!(jobs.len() == flags.len() && jobs.len() == waits.len());
    let flags: Vec<i16> =
        jobs.iter().zip(flags).map(|(job, flags)| flags | flag::of_version(job.version)).collect();
    let flags = flags.as_slice();
    if jobs.iter().any(|job| job.unique.is_some() || job.debounce.is_some() || job.limit.is_some()) {
        return special(tx, jobs, flags, waits).await;
    }
    let is_plain = |job: &NewJob| job.start == Start::Now && job.expires_in.is_none();
    if jobs.iter().all(is_plain) && waits.iter().all(|waits| *waits == 0) {
        return bulk(tx, jobs, flags).await;
    }
    let all: Vec<&NewJob> = jobs.iter().collect();
    let ids = insert(tx, &all, flags, waits, None).await?;
    Ok(ids.into_iter().map(Enqueued::new).collect())
}

/// Those that others like them can hold up, or make unnecessary.
async fn special(
    tx: &mut PgConnection,
    jobs: &[NewJob],
    flags: &[i16],
    waits: &[i32],
) -> Result<Vec<Enqueued>, Error> {
    jobs.iter().try_for_each(NewJob::check_keys)?;
    if jobs.iter().any(|job| job.limit.is_some()) {
        check_limits(tx, jobs).await?;
    }
    let (mut off, mut at) = (Vec::new(), Vec::new());
    let (mut others, mut other_flags, mut other_waits) = (Vec::new(), Vec::new(), Vec::new());
    for (place, job) in jobs.iter().enumerate() {
        if job.debounce.is_some() {
            job.check_draft("debounced")?;
            off.push(job);
            at.push(place);
        } else {
            others.push(job);
            other_flags.push(flags[place] | if job.limit.is_some() { flag::LIMITED } else { 0 });
            other_waits.push(waits[place]);
        }
    }
    let mut enqueued: Vec<Enqueued> = if others.is_empty() {
        Vec::new()
    } else if others.iter().any(|job| job.unique.is_some()) {
        unique(tx, &others, &other_flags, &other_waits).await?
    } else {
        let ids = insert(tx, &others, &other_flags, &other_waits, None).await?;
        ids.into_iter().map(Enqueued::new).collect()
    };
    let limited: Vec<(&NewJob, i64)> = others
        .iter()
        .zip(&enqueued)
        .filter(|(job, one)| job.limit.is_some() && one.is_new)
        .map(|(job, one)| (*job, one.id.0))
        .collect();
    if !limited.is_empty() {
        limit(tx, &limited).await?;
    }
    if !off.is_empty() {
        for (place, one) in at.into_iter().zip(debounce(tx, &off).await?) {
            enqueued.insert(place, one);
        }
    }
    Ok(enqueued)
}

/// Has these jobs wait at their gates.
async fn limit(tx: &mut PgConnection, jobs: &[(&NewJob, i64)]) -> Result<(), Error> {
    let ids: Vec<i64> = jobs.iter().map(|(_, id)| *id).collect();
    let limits = || jobs.iter().filter_map(|(job, _)| job.limit.as_ref());
    sqlx::query(
        "insert into seaworthy_queue.belonging (id, limit_name, limit_key) select * from unnest($1::bigint[], $2::text[], $3::text[])",
    )
    .bind(&ids)
    .bind(limits().map(|limit| limit.name.as_str()).collect::<Vec<_>>())
    .bind(limits().map(|limit| limit.key.as_str()).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    gate::hold(tx, &ids).await
}

/// With numbers that were given out before, or with new ones.
async fn insert(
    tx: &mut PgConnection,
    jobs: &[&NewJob],
    flags: &[i16],
    waits: &[i32],
    ids: Option<Vec<i64>>,
) -> Result<Vec<JobId>, Error> {
    let delay = |job: &&NewJob| match job.start {
        Start::In(delay) => Some(delay),
        _ => None,
    };
    let at = |job: &&NewJob| match job.start {
        Start::At(at) => Some(at),
        _ => None,
    };
    let given = ids.unwrap_or_else(|| vec![0; jobs.len()]);
    let ids: Vec<i64> = sqlx::query_scalar(
        "with clock as materialized (select clock_timestamp() as now), new as materialized (
            select case given when 0 then nextval('seaworthy_queue.job_id_seq') else given end as id, clock.now,
                case when delay is not null then clock.now + delay * interval '1 microsecond'
                     when at is not null then timestamptz 'epoch' + at * interval '1 microsecond' end as run_at,
                row.*
            from clock, (
                select * from unnest(
                    $1::text[], $2::text[], $3::text[], $4::smallint[], $5::smallint[], $6::text[], $7::smallint[], $8::int[], $9::bigint[], $10::bigint[], $11::bigint[],
                    $12::bigint[]
                ) with ordinality as job (
                    queue, kind, args, priority, max_attempts, trace, flags, waits, delay, at, expires, given, position
                ) order by position
            ) row
        ), job as (
            insert into seaworthy_queue.job (id, queue, kind, args, priority, max_attempts, trace, flags, created_at, expires_at)
            select id, queue, kind, args::json, priority, max_attempts, trace, flags, now, now + expires * interval '1 microsecond' from new
        ), ready as (
            insert into seaworthy_queue.ready (queue, rank, id, attempt)
            select queue, seaworthy_queue.rank(now, priority), id, 1 from new where waits = 0 and coalesce(run_at <= now, true) and flags & 4 = 0
        ), scheduled as (
            insert into seaworthy_queue.scheduled (id, run_at, attempt) select id, run_at, 1 from new where waits = 0 and run_at > now
        ), blocked as (
            insert into seaworthy_queue.blocked (id, waits_for, run_at, delay)
            select id, waits, case when at is not null then run_at end, delay * interval '1 microsecond' from new where waits > 0
        )
        select id from new order by position",
    )
    .bind(jobs.iter().map(|job| job.queue.as_str()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.args.as_str()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.priority).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.max_attempts).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.trace.as_deref()).collect::<Vec<_>>())
    .bind(flags)
    .bind(waits)
    .bind(jobs.iter().map(delay).collect::<Vec<_>>())
    .bind(jobs.iter().map(at).collect::<Vec<_>>())
    .bind(jobs.iter().map(|job| job.expires_in).collect::<Vec<_>>())
    .bind(given)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(JobId).collect())
}

/// The statement of `bulk`, for jobs that come from this one.
macro_rules! bulk {
    ($jobs:literal) => {
        concat!(
            "with clock as materialized (
                select now, seaworthy_queue.rank(now, 0::smallint) as rank from (select clock_timestamp() as now) clock
            ), new as materialized (
                select nextval('seaworthy_queue.job_id_seq') as id, job.* from (",
            $jobs,
            ") job
            ), job as (
                insert into seaworthy_queue.job (id, queue, kind, args, priority, max_attempts, flags, created_at, trace)
                select id, queue, kind, args::json, priority, max_attempts, flags, (select now from clock), trace from new
            ), ready as (
                insert into seaworthy_queue.ready (queue, rank, id, attempt)
                select queue, (select rank from clock) + priority * 60000::bigint, id, 1 from new
            )
            select array_agg(id) from new"
        )
    };
}

/// Many at once, all of which can run now: what `insert` does for them, without what they don't need.
///
/// Not with COPY, which would be faster still: sqlx sends the end of the data in a packet of its own, and since it does not set `TCP_NODELAY`, that packet waits for 40 ms until the server acknowledges
/// the one before it.
async fn bulk(tx: &mut PgConnection, jobs: &[NewJob], flags: &[i16]) -> Result<Vec<Enqueued>, Error> {
    let args: Vec<&str> = jobs.iter().map(|job| job.args.as_str()).collect();
    let traces: Vec<Option<&str>> = jobs.iter().map(|job| job.trace.as_deref()).collect();
    let ids: Option<Vec<i64>> = match same_of_all(jobs, flags) {
        // Most that are enqueued together differ in their arguments and traces alone: the rest is sent once.
        Some((job, flags)) => {
            sqlx::query_scalar(bulk!(
                "select $1::text as queue, $2::text as kind, args, $4::smallint as priority, $5::smallint as max_attempts, $6::smallint as flags, trace
                from unnest($3::text[], $7::text[]) with ordinality as job (args, trace, position) order by position"
            ))
            .bind(&job.queue)
            .bind(&job.kind)
            .bind(args)
            .bind(job.priority)
            .bind(job.max_attempts)
            .bind(flags)
            .bind(traces)
            .fetch_one(tx)
            .await?
        }
        None => {
            sqlx::query_scalar(bulk!(
                "select queue, kind, args, priority, max_attempts, flags, trace
                from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::smallint[], $6::smallint[], $7::text[])
                    with ordinality as job (queue, kind, args, priority, max_attempts, flags, trace, position) order by position"
            ))
            .bind(jobs.iter().map(|job| job.queue.as_str()).collect::<Vec<_>>())
            .bind(jobs.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>())
            .bind(args)
            .bind(jobs.iter().map(|job| job.priority).collect::<Vec<_>>())
            .bind(jobs.iter().map(|job| job.max_attempts).collect::<Vec<_>>())
            .bind(flags)
            .bind(traces)
            .fetch_one(tx)
            .await?
        }
    };
    // Numbers grow: in their order they are those of the jobs in theirs.
    let mut ids = ids.unwrap_or_default();
    ids.sort_unstable();
    Ok(ids.into_iter().map(|id| Enqueued::new(JobId(id))).collect())
}

/// One of them and its flags, if all have the same but for their arguments and traces.
fn same_of_all<'a>(jobs: &'a [NewJob], flags: &[i16]) -> Option<(&'a NewJob, i16)> {
    let (first, flag) = (jobs.first()?, *flags.first()?);
    let of = |job: &'a NewJob| (&job.queue, &job.kind, job.priority, job.max_attempts);
    let is_same = |job| of(job) == of(first);
    (flags.iter().all(|other| *other == flag) && jobs.iter().all(is_same)).then_some((first, flag))
}

/// Takes the keys first, then enqueues those jobs that got theirs.
async fn unique(
    tx: &mut PgConnection,
    jobs: &[&NewJob],
    flags: &[i16],
    waits: &[i32],
) -> Result<Vec<Enqueued>, Error> {
    let ids: Vec<i64> =
        sqlx::query_scalar("select nextval('seaworthy_queue.job_id_seq') from generate_series(1, $1)")
            .bind(jobs.len() as i64)
            .fetch_all(&mut *tx)
            .await?;
    // Of those with the same key here, the first one counts.
    let mut wanted: HashMap<String, Wanted> = HashMap::new();
    for (job, id) in jobs.iter().zip(&ids) {
        if let (Some(key), Some(unique)) = (job.key(), &job.unique) {
            wanted.entry(key).or_insert((*id, unique.period, unique.while_waiting));
        }
    }
    let mut keys: Vec<(&String, &Wanted)> = wanted.iter().collect();
    // Those who enqueue the same keys at once take them in the same order.
    keys.sort();
    let owner = take_keys(tx, &keys).await?;
    let mut enqueued = Vec::with_capacity(jobs.len());
    let (mut new, mut new_flags, mut new_waits, mut new_ids) = (vec![], vec![], vec![], vec![]);
    for (at, (job, id)) in jobs.iter().zip(&ids).enumerate() {
        let there = job.key().map_or(*id, |key| owner.get(&key).copied().unwrap_or(*id));
        enqueued.push(Enqueued { id: JobId(there), is_new: there == *id });
        if there == *id {
            new.push(*job);
            new_flags.push(flags[at] | job.unique.as_ref().map_or(0, Unique::flags));
            new_waits.push(waits[at]);
            new_ids.push(*id);
        }
    }
    insert(tx, &new, &new_flags, &new_waits, Some(new_ids)).await?;
    Ok(enqueued)
}

/// Says which job has each key. Keys that others have are not locked: who enqueues a job must not keep the end of another one waiting.
async fn take_keys(
    tx: &mut PgConnection,
    keys: &[(&String, &Wanted)],
) -> Result<HashMap<String, i64>, Error> {
    /// A key may be given back just when we have seen that it is taken, though not for ever.
    const TRIES: usize = 10;
    let mut owner: HashMap<String, i64> = HashMap::new();
    for _ in 0..TRIES {
        let left: Vec<_> = keys.iter().filter(|(key, _)| !owner.contains_key(*key)).collect();
        if left.is_empty() {
            break;
        }
        let names: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
        sqlx::query(
            "delete from seaworthy_queue.unique_key where key = any($1) and until < clock_timestamp()",
        )
        .bind(&names)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "insert into seaworthy_queue.unique_key (key, job, until, while_waiting)
             select key, id, clock_timestamp() + period * interval '1 microsecond', while_waiting
             from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bool[]) with ordinality as new (key, id, period, while_waiting, position)
             order by position on conflict (key) do nothing",
        )
        .bind(&names)
        .bind(left.iter().map(|(_, (id, _, _))| *id).collect::<Vec<_>>())
        .bind(left.iter().map(|(_, (_, period, _))| *period).collect::<Vec<_>>())
        .bind(left.iter().map(|(_, (_, _, while_waiting))| *while_waiting).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        // A statement of its own, which sees what others have committed meanwhile.
        let owners = sqlx::query(
            "select key, job from seaworthy_queue.unique_key where key = any($1) and not while_waiting",
        )
        .bind(&names)
        .fetch_all(&mut *tx)
        .await?;
        // A job that waits is not begun before those who were told of it have committed: what they wrote is what it has to see.
        let waiting = sqlx::query(
            "select key, job from seaworthy_queue.unique_key where key = any($1) and while_waiting order by key for key share",
        )
        .bind(&names)
        .fetch_all(&mut *tx)
        .await?;
        for row in owners.into_iter().chain(waiting) {
            owner.insert(row.try_get("key")?, row.try_get("job")?);
        }
    }
    Ok(owner)
}
