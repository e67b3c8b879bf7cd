//! Everything about one job.

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{
    clock::{seconds, time},
    flag,
    listing::{GIVEN_UP, HELD, PLACES, STATE, SUMMARY, spans, summary},
};
use crate::{Attempt, Error, JobId, JobState, JobStory, Progress, connections::Connections};

pub(crate) async fn story(db: &Connections, job: JobId) -> Result<Option<JobStory>, Error> {
    let mut held = db.acquire().await?;
    let statement = format!(
        "select {SUMMARY}, args::text as args, flags, trace, replay_of, (extract(epoch from job.expires_at) * 1000000)::bigint as expires_at,
            {STATE}, held.worker, {GIVEN_UP},
            array(select parent from seaworthy_queue.dependency where child = job.id order by parent limit 10000) as parents,
            array(select child from seaworthy_queue.dependency where parent = job.id order by child limit 10000) as children,
            (select key from seaworthy_queue.unique_key where unique_key.job = job.id limit 1) as unique_key,
            (select value::text from seaworthy_queue.result where result.id = job.id) as result,
            progress.done, progress.total, progress.note, occurrence.schedule, (extract(epoch from occurrence.at) * 1000000)::bigint as due
         from seaworthy_queue.job
            {PLACES}
            left join {HELD} on held.id = job.id
            left join seaworthy_queue.progress on progress.id = job.id
            left join lateral (select schedule, at from seaworthy_queue.occurrence where occurrence.job = job.id order by at limit 1) occurrence on true
         where job.id = $1"
    );
    let row = sqlx::query(AssertSqlSafe(statement)).bind(job.0).fetch_optional(&mut *held).await?;
    let told = match row {
        Some(row) => Some(tell(&mut held, &row, job).await?),
        None => None,
    };
    held.release();
    Ok(told)
}

async fn tell(connection: &mut PgConnection, row: &PgRow, id: JobId) -> Result<JobStory, Error> {
    let json = |text: Option<String>| {
        let read = |text: String| serde_json::from_str(&text);
        text.map(read).transpose().map_err(|error| Error::Database(sqlx::Error::Decode(error.into())))
    };
    let ids = |name: &str| {
        Ok::<_, Error>(row.try_get::<Vec<i64>, _>(name)?.into_iter().map(JobId).collect::<Vec<_>>())
    };
    let mut job = summary(row, JobState::named(row.try_get("state")?))?;
    // As many attempts as there were, if that is known; those that are running or still to come are in no record.
    let ended = match (job.state, job.attempt) {
        (JobState::Blocked, _) => Some(0),
        (JobState::Dead, Some(attempt)) => Some(attempt),
        (_, attempt) => attempt.map(|attempt| attempt - 1),
    };
    let attempts = attempts(connection, id, ended).await?;
    if job.state == JobState::Elsewhere
        && let Some(last) = attempts.last()
    {
        job.state = match JobState::named(&last.outcome) {
            state @ (JobState::Completed | JobState::Cancelled | JobState::Expired) => state,
            _ => JobState::Elsewhere,
        };
    }
    let progress = match row.try_get::<Option<i64>, _>("done")? {
        Some(done) => Some(Progress { done, total: row.try_get("total")?, note: row.try_get("note")? }),
        None => None,
    };
    let occurrence = match (row.try_get("schedule")?, row.try_get("due")?) {
        (Some(schedule), Some(due)) => Some((schedule, time(due)?)),
        _ => None,
    };
    Ok(JobStory {
        job,
        args: json(row.try_get("args")?)?.unwrap_or_default(),
        version: flag::version(row.try_get("flags")?),
        attempts,
        worker: row.try_get("worker")?,
        parents: ids("parents")?,
        children: ids("children")?,
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(time).transpose()?,
        unique_key: row.try_get("unique_key")?,
        replay_of: row.try_get::<Option<i64>, _>("replay_of")?.map(JobId),
        occurrence,
        result: json(row.try_get("result")?)?,
        progress,
        error: row.try_get("error")?,
        trace: row.try_get("trace")?,
    })
}

/// What is recorded of a job, until its end or so many attempts are found: the history has no index by job, which would be written more often than it is read.
async fn attempts(
    connection: &mut PgConnection,
    job: JobId,
    ended: Option<i16>,
) -> Result<Vec<Attempt>, Error> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for (step, (from, until)) in spans().enumerate() {
        let counting = ["retried", "rescued", "dead"];
        let counted = attempts.iter().filter(|attempt| counting.contains(&attempt.outcome.as_str())).count();
        let is_over = attempts
            .last()
            .is_some_and(|last| ["completed", "cancelled", "expired"].contains(&last.outcome.as_str()));
        // What was given back does not count, and is told if it is in the first minutes.
        let is_all = ended.is_some_and(|ended| counted >= usize::try_from(ended).unwrap_or(0));
        if is_over || (is_all && step > 1) {
            break;
        }
        let rows = sqlx::query(
            "with span as materialized (
                select created_at + $2 * interval '1 second' as since, created_at + $3 * interval '1 second' as until from seaworthy_queue.job where id = $1
            )
            select (select until > clock_timestamp() from span) as is_last, ended.* from (values (true)) as one left join (
                select outcome, (extract(epoch from at) * 1000000)::bigint as at, ran[array_position(job_ids, $1)]::float8 as ran, detail
                from seaworthy_queue.done_batch
                where at >= (select since from span) and at < (select until from span) and $1 = any(job_ids)
                order by done_batch.at, token, part limit 10000
            ) ended on true",
        )
        .bind(job.0)
        .bind(from)
        .bind(until)
        .fetch_all(&mut *connection)
        .await?;
        let mut is_last = false;
        for row in &rows {
            is_last |= row.try_get::<Option<bool>, _>("is_last")?.unwrap_or(true);
            if let Some(outcome) = row.try_get("outcome")? {
                let ran = row.try_get::<Option<f64>, _>("ran")?.map(seconds);
                attempts.push(Attempt {
                    outcome,
                    at: time(row.try_get("at")?)?,
                    ran,
                    why: row.try_get("detail")?,
                });
            }
        }
        if is_last {
            break;
        }
    }
    Ok(attempts)
}
