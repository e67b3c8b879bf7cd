//! Jobs come in.

use std::collections::HashMap;

use sqlx::{PgConnection, Row};

use super::flag;
use crate::{Error, JobId, NewJob, job::Start, queue::Enqueued};

/// From so many jobs on, COPY is faster than arrays, though it takes three statements.
const COPY: usize = 256;

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
    if jobs.iter().any(|job| job.unique.is_some()) {
        return unique(tx, jobs, flags, waits).await;
    }
    let is_plain = |job: &NewJob| job.start == Start::Now && job.expires_in.is_none();
    if jobs.len() >= COPY && jobs.iter().all(is_plain) && waits.iter().all(|waits| *waits == 0) {
        return copy(tx, jobs, flags).await;
    }
    let all: Vec<&NewJob> = jobs.iter().collect();
    let ids = insert(tx, &all, flags, waits, None).await?;
    Ok(ids.into_iter().map(Enqueued::new).collect())
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
            select queue, seaworthy_queue.rank(now, priority), id, 1 from new where waits = 0 and coalesce(run_at <= now, true)
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

/// Many at once, all of which can run now.
async fn copy(tx: &mut PgConnection, jobs: &[NewJob], flags: &[i16]) -> Result<Vec<Enqueued>, Error> {
    let first = sqlx::query(
        "select nextval('seaworthy_queue.job_id_seq') as id, (extract(epoch from clock_timestamp()) * 1000000)::bigint as now
         from generate_series(1, $1)",
    )
    .bind(jobs.len() as i64)
    .fetch_all(&mut *tx)
    .await?;
    let mut ids = Vec::with_capacity(jobs.len());
    for row in &first {
        ids.push(row.try_get::<i64, _>("id")?);
    }
    ids.sort_unstable();
    let now: i64 = first[0].try_get("now")?;
    let (mut job_rows, mut ready_rows) = (BinaryRows::new(), BinaryRows::new());
    for ((job, id), flags) in jobs.iter().zip(&ids).zip(flags) {
        job_rows.row(9);
        job_rows.bigint(*id);
        job_rows.text(&job.queue);
        job_rows.text(&job.kind);
        job_rows.text(&job.args);
        job_rows.smallint(job.priority);
        job_rows.smallint(job.max_attempts);
        job_rows.smallint(*flags);
        job_rows.timestamp(now);
        match &job.trace {
            Some(trace) => job_rows.text(trace),
            None => job_rows.null(),
        }
        ready_rows.row(4);
        ready_rows.text(&job.queue);
        ready_rows.bigint(rank(now, job.priority));
        ready_rows.bigint(*id);
        ready_rows.smallint(1);
    }
    let into = [
        (
            "seaworthy_queue.job (id, queue, kind, args, priority, max_attempts, flags, created_at, trace)",
            job_rows,
        ),
        ("seaworthy_queue.ready (queue, rank, id, attempt)", ready_rows),
    ];
    for (table, rows) in into {
        let mut copy = tx.copy_in_raw(&format!("copy {table} from stdin (format binary)")).await?;
        if let Err(error) = copy.send(rows.end()).await {
            // The server's reason is better than ours.
            copy.abort("the rows could not be sent").await?;
            return Err(error.into());
        }
        copy.finish().await?;
    }
    Ok(ids.into_iter().map(|id| Enqueued::new(JobId(id))).collect())
}

/// As `seaworthy_queue.rank`.
fn rank(micros: i64, priority: i16) -> i64 {
    (micros + 500) / 1000 + i64::from(priority) * 60_000
}

/// Rows in the form of `copy … (format binary)`: a header, a count of fields for each row, a length before each field, all numbers in network order
/// ([PostgreSQL](https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4)).
struct BinaryRows(Vec<u8>);

impl BinaryRows {
    fn new() -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        bytes.extend([0; 8]);
        BinaryRows(bytes)
    }

    fn row(&mut self, fields: i16) {
        self.0.extend(fields.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).expect("a field of a job is a megabyte at most");
        self.0.extend(length.to_be_bytes());
        self.0.extend(bytes);
    }

    fn null(&mut self) {
        self.0.extend((-1_i32).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    fn bigint(&mut self, number: i64) {
        self.field(&number.to_be_bytes());
    }

    fn smallint(&mut self, number: i16) {
        self.field(&number.to_be_bytes());
    }

    /// From microseconds after 1970; Postgres counts from 2000.
    fn timestamp(&mut self, micros: i64) {
        const FROM_1970_TO_2000: i64 = 946_684_800_000_000;
        self.bigint(micros - FROM_1970_TO_2000);
    }

    fn end(mut self) -> Vec<u8> {
        self.row(-1);
        self.0
    }
}

/// Takes the keys first, then enqueues those jobs that got theirs.
async fn unique(
    tx: &mut PgConnection,
    jobs: &[NewJob],
    flags: &[i16],
    waits: &[i32],
) -> Result<Vec<Enqueued>, Error> {
    let ids: Vec<i64> =
        sqlx::query_scalar("select nextval('seaworthy_queue.job_id_seq') from generate_series(1, $1)")
            .bind(jobs.len() as i64)
            .fetch_all(&mut *tx)
            .await?;
    // Of those with the same key here, the first one counts.
    let mut wanted: HashMap<String, (i64, Option<i64>)> = HashMap::new();
    for (job, id) in jobs.iter().zip(&ids) {
        if let (Some(key), Some(unique)) = (job.key(), &job.unique) {
            wanted.entry(key).or_insert((*id, unique.period));
        }
    }
    let mut keys: Vec<(&String, &(i64, Option<i64>))> = wanted.iter().collect();
    // Those who enqueue the same keys at once take them in the same order.
    keys.sort();
    let owner = take_keys(tx, &keys).await?;
    let mut enqueued = Vec::with_capacity(jobs.len());
    let (mut new, mut new_flags, mut new_waits, mut new_ids) = (vec![], vec![], vec![], vec![]);
    for (at, (job, id)) in jobs.iter().zip(&ids).enumerate() {
        let there = job.key().map_or(*id, |key| owner.get(&key).copied().unwrap_or(*id));
        enqueued.push(Enqueued { id: JobId(there), is_new: there == *id });
        if there == *id {
            let until_over = job.unique.as_ref().is_some_and(|unique| unique.period.is_none());
            new.push(job);
            new_flags.push(flags[at] | if until_over { flag::UNIQUE } else { 0 });
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
    keys: &[(&String, &(i64, Option<i64>))],
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
            "insert into seaworthy_queue.unique_key (key, job, until)
             select key, id, clock_timestamp() + period * interval '1 microsecond'
             from unnest($1::text[], $2::bigint[], $3::bigint[]) with ordinality as new (key, id, period, position)
             order by position on conflict (key) do nothing",
        )
        .bind(&names)
        .bind(left.iter().map(|(_, (id, _))| *id).collect::<Vec<_>>())
        .bind(left.iter().map(|(_, (_, period))| *period).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        // A statement of its own, which sees what others have committed meanwhile.
        let owners = sqlx::query("select key, job from seaworthy_queue.unique_key where key = any($1)")
            .bind(&names)
            .fetch_all(&mut *tx)
            .await?;
        for row in owners {
            owner.insert(row.try_get("key")?, row.try_get("job")?);
        }
    }
    Ok(owner)
}
