//! Jobs that are enqueued again and again.

use std::{collections::VecDeque, time::SystemTime};

use jiff::{SignedDuration, Timestamp};
use sqlx::{Row, postgres::PgRow};

use super::{
    Term,
    clock::{time, timestamp},
    enqueue::enqueue,
    leader,
};
use crate::{
    Cron, CronError, Error, JobId, Missed, NewJob, Schedule, Scheduled, Unique,
    connections::Connections,
    job::{LimitedBy, Start},
};

/// Schedules that are listed at most.
const LISTED: i64 = 10_000;
/// Schedules that one look enqueues jobs of at most.
const FIRED: usize = 64;
/// Occurrences that are not older than this are in time: a leader may have died meanwhile.
const IN_TIME: SignedDuration = SignedDuration::from_secs(60);

pub(crate) async fn upsert_schedule(db: &Connections, schedule: &Schedule) -> Result<(), Error> {
    let Schedule { name, cron, job, missed } = schedule;
    let mut held = db.acquire().await?;
    let now: i64 = sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
        .fetch_one(&mut *held)
        .await?;
    let never = || CronError::NeverFires { text: cron.expression().to_owned() };
    let next = cron.next(timestamp(now)?).ok_or_else(never)?;
    // Who comes second must not move on what the first has made due, unless it means other times.
    sqlx::query(
        "insert into seaworthy_queue.schedule
            (name, expression, zone, missed, most, queue, kind, args, priority, max_attempts, expires_in, unique_key, unique_period, version, next_at,
             unique_while_waiting, limit_name, limit_key)
         values ($1, $2, $3, $4, $5, $6, $7, $8::json, $9, $10, $11, $12, $13, $14, timestamptz 'epoch' + $15 * interval '1 microsecond', $16, $17, $18)
         on conflict (name) do update set expression = excluded.expression, zone = excluded.zone, missed = excluded.missed, most = excluded.most,
            queue = excluded.queue, kind = excluded.kind, args = excluded.args, priority = excluded.priority, max_attempts = excluded.max_attempts,
            expires_in = excluded.expires_in, unique_key = excluded.unique_key, unique_period = excluded.unique_period, version = excluded.version,
            unique_while_waiting = excluded.unique_while_waiting, limit_name = excluded.limit_name, limit_key = excluded.limit_key,
            next_at = case when (schedule.expression, schedule.zone) = (excluded.expression, excluded.zone) then schedule.next_at else excluded.next_at end",
    )
    .bind(name)
    .bind(cron.expression())
    .bind(cron.zone())
    .bind(missed.name())
    .bind(missed.most() as i32)
    .bind(&job.queue)
    .bind(&job.kind)
    .bind(&job.args)
    .bind(job.priority)
    .bind(job.max_attempts)
    .bind(job.expires_in)
    .bind(job.unique.as_ref().map(|unique| &unique.key))
    .bind(job.unique.as_ref().and_then(|unique| unique.period))
    .bind(i16::from(job.version))
    .bind(next.as_microsecond())
    .bind(job.unique.as_ref().is_some_and(|unique| unique.while_waiting))
    .bind(job.limit.as_ref().map(|limit| &limit.name))
    .bind(job.limit.as_ref().map(|limit| &limit.key))
    .execute(&mut *held)
    .await?;
    held.release();
    Ok(())
}

pub(crate) async fn remove_schedule(db: &Connections, name: &str) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let removed = sqlx::query("delete from seaworthy_queue.schedule where name = $1")
        .bind(name)
        .execute(&mut *held)
        .await?;
    held.release();
    Ok(removed.rows_affected() == 1)
}

pub(crate) async fn pause_schedule(db: &Connections, name: &str) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let paused = sqlx::query(
        "update seaworthy_queue.schedule set paused_at = clock_timestamp() where name = $1 and paused_at is null",
    )
    .bind(name)
    .execute(&mut *held)
    .await?;
    held.release();
    Ok(paused.rows_affected() == 1)
}

pub(crate) async fn resume_schedule(db: &Connections, name: &str) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "select expression, zone, (extract(epoch from clock_timestamp()) * 1000000)::bigint as now
         from seaworthy_queue.schedule where name = $1 and paused_at is not null",
    )
    .bind(name)
    .fetch_optional(&mut *held)
    .await?;
    let mut is_resumed = false;
    if let Some(row) = row {
        let (expression, zone): (&str, &str) = (row.try_get("expression")?, row.try_get("zone")?);
        let never = || CronError::NeverFires { text: expression.to_owned() };
        let next = cron(expression, zone)?.next(timestamp(row.try_get("now")?)?).ok_or_else(never)?;
        // Only if it is still the schedule that was looked at.
        let resumed = sqlx::query(
            "update seaworthy_queue.schedule set paused_at = null, next_at = timestamptz 'epoch' + $4 * interval '1 microsecond'
             where name = $1 and expression = $2 and zone = $3 and paused_at is not null",
        )
        .bind(name)
        .bind(expression)
        .bind(zone)
        .bind(next.as_microsecond())
        .execute(&mut *held)
        .await?;
        is_resumed = resumed.rows_affected() == 1;
    }
    held.release();
    Ok(is_resumed)
}

pub(crate) async fn schedules(db: &Connections) -> Result<Vec<Scheduled>, Error> {
    let mut held = db.acquire().await?;
    let rows = sqlx::query(
        "select name, expression, zone, missed, most, queue, kind, last_job,
            (extract(epoch from paused_at) * 1000000)::bigint as paused_at,
            (extract(epoch from next_at) * 1000000)::bigint as next_at,
            (extract(epoch from last_at) * 1000000)::bigint as last_at
         from seaworthy_queue.schedule order by name limit $1",
    )
    .bind(LISTED)
    .fetch_all(&mut *held)
    .await?;
    held.release();
    rows.iter().map(scheduled).collect()
}

fn scheduled(row: &PgRow) -> Result<Scheduled, Error> {
    const NEXT: usize = 5;
    let (expression, zone): (String, String) = (row.try_get("expression")?, row.try_get("zone")?);
    let paused_since = row.try_get::<Option<i64>, _>("paused_at")?.map(time).transpose()?;
    let mut next = Vec::new();
    if paused_since.is_none() {
        let first = time(row.try_get("next_at")?)?;
        next.push(first);
        // One that this program can't read was written by a newer one.
        if let Ok(cron) = cron(&expression, &zone) {
            next.extend(cron.upcoming(first).take(NEXT - 1));
        }
    }
    let last = match (row.try_get("last_at")?, row.try_get("last_job")?) {
        (Some(at), Some(job)) => Some((time(at)?, JobId(job))),
        _ => None,
    };
    let missed = Missed::from_parts(row.try_get("missed")?, row.try_get::<i32, _>("most")?.unsigned_abs());
    let (name, queue, kind) = (row.try_get("name")?, row.try_get("queue")?, row.try_get("kind")?);
    Ok(Scheduled { name, expression, zone, missed, queue, kind, paused_since, next, last })
}

pub(crate) async fn occurrence_of(
    db: &Connections,
    job: JobId,
) -> Result<Option<(String, SystemTime)>, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "select schedule, (extract(epoch from at) * 1000000)::bigint as at from seaworthy_queue.occurrence
         where job = $1 order by at limit 1",
    )
    .bind(job.0)
    .fetch_optional(&mut *held)
    .await?;
    held.release();
    row.map(|row| Ok((row.try_get("schedule")?, time(row.try_get("at")?)?))).transpose()
}

/// What a look at the schedules came to.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    pub(crate) jobs: Vec<NewJob>,
    /// Schedules whose expression or zone can't be read here, and why.
    pub(crate) unreadable: Vec<(String, CronError)>,
    /// Whether the term was over: then nothing more was enqueued.
    pub(crate) is_deposed: bool,
}

/// Enqueues the occurrences that are due. Schedule by schedule, each in a transaction that locks its row, looks whether the term stands, and moves the row on.
pub(crate) async fn fire(db: &Connections, term: Term) -> Result<Fired, Error> {
    let mut fired = Fired::default();
    for _ in 0..FIRED {
        let mut held = db.acquire().await?;
        let mut tx = leader::begin(&mut held, db.deadline()).await?;
        if !leader::still_leads(&mut tx, term).await? {
            tx.rollback().await?;
            held.release();
            fired.is_deposed = true;
            break;
        }
        let unreadable: Vec<&str> = fired.unreadable.iter().map(|(name, _)| name.as_str()).collect();
        let row = sqlx::query(
            "select name, expression, zone, missed, most, queue, kind, args::text as args, priority, max_attempts, expires_in, unique_key, unique_period, version,
                unique_while_waiting, limit_name, limit_key, (extract(epoch from next_at) * 1000000)::bigint as next_at,
                (extract(epoch from clock_timestamp()) * 1000000)::bigint as now
             from seaworthy_queue.schedule
             where paused_at is null and next_at <= clock_timestamp() and name <> all($1) order by next_at limit 1 for update",
        )
        .bind(unreadable)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            tx.rollback().await?;
            held.release();
            break;
        };
        let name: String = row.try_get("name")?;
        let cron = match cron(row.try_get("expression")?, row.try_get("zone")?) {
            Ok(cron) => cron,
            Err(error) => {
                tx.rollback().await?;
                held.release();
                fired.unreadable.push((name, error));
                continue;
            }
        };
        let missed =
            Missed::from_parts(row.try_get("missed")?, row.try_get::<i32, _>("most")?.unsigned_abs());
        let (next, now) = (timestamp(row.try_get("next_at")?)?, timestamp(row.try_get("now")?)?);
        let mut due = due(&cron, missed, next, now);
        // The clock may have been put back, or the schedule removed and made again.
        let done: Vec<i64> = sqlx::query_scalar(
            "select (extract(epoch from at) * 1000000)::bigint from seaworthy_queue.occurrence
             where schedule = $1 and at = any(array(select timestamptz 'epoch' + due * interval '1 microsecond' from unnest($2::bigint[]) as due))",
        )
        .bind(&name)
        .bind(due.iter().map(|at| at.as_microsecond()).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
        due.retain(|at| !done.contains(&at.as_microsecond()));
        let jobs = vec![template(&row)?; due.len()];
        let mut ids = Vec::new();
        if !jobs.is_empty() {
            let enqueued = enqueue(&mut tx, &jobs, &vec![0; jobs.len()], &vec![0; jobs.len()]).await?;
            ids.extend(enqueued.into_iter().map(|one| one.id.0));
        }
        sqlx::query(
            "with new as materialized (
                select timestamptz 'epoch' + at * interval '1 microsecond' as at, job from unnest($2::bigint[], $3::bigint[]) as new (at, job)
            ), occurrence as (
                insert into seaworthy_queue.occurrence (schedule, at, job) select $1, at, job from new
            ), last as (
                select at, job from new order by at desc limit 1
            )
            update seaworthy_queue.schedule set next_at = coalesce(timestamptz 'epoch' + $4 * interval '1 microsecond', next_at),
                paused_at = case when $4 is null then clock_timestamp() end,
                last_at = coalesce((select at from last), last_at), last_job = coalesce((select job from last), last_job)
            where name = $1",
        )
        .bind(&name)
        .bind(due.iter().map(|at| at.as_microsecond()).collect::<Vec<_>>())
        .bind(ids)
        // It may have been due for the last time: then it is paused.
        .bind(cron.next(now).map(|next| next.as_microsecond()))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        held.release();
        fired.jobs.extend(jobs);
    }
    Ok(fired)
}

/// Which occurrences, from the first that was not enqueued until now, are enqueued.
fn due(cron: &Cron, missed: Missed, next: Timestamp, now: Timestamp) -> Vec<Timestamp> {
    let cutoff = now.checked_sub(IN_TIME).unwrap_or(Timestamp::MIN);
    let from = |first: Option<Timestamp>, until: Timestamp| {
        std::iter::successors(first, |last| cron.next(*last)).take_while(move |at| *at <= until)
    };
    if next > cutoff {
        return from(Some(next), now).collect();
    }
    let in_time: Vec<Timestamp> = from(cron.next(cutoff), now).collect();
    let most = match missed {
        Missed::Skip => 0,
        Missed::Once => usize::from(in_time.is_empty()),
        Missed::All { most } => most as usize,
    };
    let missed = if most == 0 { Vec::new() } else { latest(cron, most, next, cutoff) };
    missed.into_iter().chain(in_time).collect()
}

/// The last so many occurrences from the first one until then. Looks back further and further: what comes every second may have been missed for months.
fn latest(cron: &Cron, most: usize, first: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut width = SignedDuration::from_secs(60);
    loop {
        let begin = until.checked_sub(width).unwrap_or(first).max(first);
        let mut next = if begin == first { Some(first) } else { cron.next(begin) };
        let mut last: VecDeque<Timestamp> = VecDeque::new();
        while let Some(at) = next.filter(|at| *at <= until) {
            last.push_back(at);
            if last.len() > most {
                last.pop_front();
            }
            next = cron.next(at);
        }
        if last.len() == most || begin == first {
            return last.into();
        }
        width = width.saturating_mul(4);
    }
}

fn template(row: &PgRow) -> Result<NewJob, Error> {
    let unique = match row.try_get("unique_key")? {
        Some(key) => Some(Unique {
            key,
            period: row.try_get("unique_period")?,
            while_waiting: row.try_get("unique_while_waiting")?,
        }),
        None => None,
    };
    let limit = match (row.try_get("limit_name")?, row.try_get("limit_key")?) {
        (Some(name), Some(key)) => Some(LimitedBy { name, key }),
        _ => None,
    };
    Ok(NewJob {
        queue: row.try_get("queue")?,
        args: row.try_get("args")?,
        priority: row.try_get("priority")?,
        max_attempts: row.try_get("max_attempts")?,
        start: Start::Now,
        expires_in: row.try_get("expires_in")?,
        unique,
        limit,
        trace: None,
        version: u8::try_from(row.try_get::<i16, _>("version")?).unwrap_or(1),
        ..NewJob::new(row.try_get::<String, _>("kind")?, &())?
    })
}

fn cron(expression: &str, zone: &str) -> Result<Cron, CronError> {
    expression.parse::<Cron>()?.in_zone(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, missed: Missed, next: &str, now: &str, expected: &[&str]) {
        let cron: Cron = expression.parse().unwrap();
        let at = |text: &str| format!("2026-03-{text}Z").parse::<Timestamp>().unwrap();
        let found: Vec<Timestamp> = due(&cron, missed, at(next), at(now));
        let expected: Vec<Timestamp> = expected.iter().map(|text| at(text)).collect();
        assert_eq!(found, expected, "{expression} {missed:?} from {next} until {now}");
    }

    #[test]
    fn what_is_in_time_is_enqueued_whatever_is_done_about_the_rest() {
        for missed in [Missed::Skip, Missed::Once, Missed::All { most: 1 }] {
            check("0 2 * * *", missed, "01T02:00:00", "01T02:00:00", &["01T02:00:00"]);
            check("0 2 * * *", missed, "01T02:00:00", "01T02:00:50", &["01T02:00:00"]);
            check(
                "*/20 * * * * *",
                missed,
                "01T02:00:00",
                "01T02:00:41",
                &["01T02:00:00", "01T02:00:20", "01T02:00:40"],
            );
        }
    }

    #[test]
    fn missed_occurrences_are_left_out_run_once_or_run_up_to_a_number() {
        check("0 2 * * *", Missed::Skip, "01T02:00:00", "05T12:00:00", &[]);
        check("0 2 * * *", Missed::Once, "01T02:00:00", "05T12:00:00", &["05T02:00:00"]);
        check("0 2 * * *", Missed::Once, "01T02:00:00", "05T02:00:30", &["05T02:00:00"]);
        check("0 2 * * *", Missed::Skip, "01T02:00:00", "05T02:00:30", &["05T02:00:00"]);
        let two = Missed::All { most: 2 };
        check("0 2 * * *", two, "01T02:00:00", "05T12:00:00", &["04T02:00:00", "05T02:00:00"]);
        check("0 2 * * *", two, "01T02:00:00", "05T02:00:30", &["03T02:00:00", "04T02:00:00", "05T02:00:00"]);
        let many = Missed::All { most: 9 };
        check(
            "0 2 * * *",
            many,
            "03T02:00:00",
            "05T12:00:00",
            &["03T02:00:00", "04T02:00:00", "05T02:00:00"],
        );
        // A day of seconds, of which few count.
        check(
            "* * * * * *",
            two,
            "01T00:00:00",
            "02T00:00:00",
            &["01T23:58:59", "01T23:59:00"]
                .into_iter()
                .chain(seconds().iter().map(String::as_str))
                .collect::<Vec<_>>(),
        );
    }

    fn seconds() -> Vec<String> {
        (1..60).map(|second| format!("01T23:59:{second:02}")).chain(["02T00:00:00".to_owned()]).collect()
    }
}
