//! What the history says.

use std::time::Duration;

use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{clock::seconds, interval};
use crate::{Analytics, Error, KindAnalytics, Quantiles, connections::Connections};

/// Jobs that are looked at, more or less: records are of many jobs, and are taken as a whole.
const SAMPLE: i64 = 100_000;
/// The time that the pace is measured in.
const RECENT: Duration = Duration::from_secs(60);
/// Jobs of which the pace is measured, more or less.
const PACED: i64 = 10_000;

pub(crate) async fn analytics(db: &Connections, span: Duration) -> Result<Analytics, Error> {
    let mut held = db.acquire().await?;
    let sampled = share(&mut held, span, SAMPLE).await?;
    let rows = sqlx::query(
        // The hash of a random token is as good as a random number, and the same each time.
        "with record as materialized (
            select outcome, job_ids, ran, at from seaworthy_queue.done_batch
            where at >= clock_timestamp() - $1::interval and (uuid_hash(token)::bigint + 2147483648) < $2 * 4294967296
        ), ended as materialized (
            select queue, kind, outcome, ended.ran::float8 as ran,
                case when outcome = 'completed' then greatest(0, extract(epoch from record.at - created_at)::float8 - coalesce(ended.ran, 0)) end as wait
            from record, unnest(job_ids, record.ran) as ended (id, ran) join seaworthy_queue.job using (id)
        )
        select queue, kind,
            count(*) filter (where outcome = 'completed') as completed, count(*) filter (where outcome = 'retried') as retried,
            count(*) filter (where outcome = 'dead') as dead, count(*) filter (where outcome = 'rescued') as rescued,
            count(*) filter (where outcome = 'cancelled') as cancelled, count(*) filter (where outcome = 'expired') as expired,
            percentile_cont(array[0.5, 0.9, 0.99, 1]) within group (order by ran) as run,
            percentile_cont(array[0.5, 0.9, 0.99, 1]) within group (order by wait) as wait
        from ended group by queue, kind order by count(*) desc, queue, kind limit 1000",
    )
    .bind(interval(span))
    .bind(sampled)
    .fetch_all(&mut *held)
    .await?;
    held.release();
    let kinds = rows.iter().map(|row| kind(row, span, sampled)).collect::<Result<_, Error>>()?;
    Ok(Analytics { span, sampled, kinds })
}

fn kind(row: &PgRow, span: Duration, sampled: f64) -> Result<KindAnalytics, Error> {
    let count = |name: &str| Ok::<_, Error>((row.try_get::<i64, _>(name)? as f64 / sampled).round() as u64);
    let completed = count("completed")?;
    Ok(KindAnalytics {
        queue: row.try_get("queue")?,
        kind: row.try_get("kind")?,
        completed,
        retried: count("retried")?,
        dead: count("dead")?,
        rescued: count("rescued")?,
        cancelled: count("cancelled")?,
        expired: count("expired")?,
        per_second: completed as f64 / span.as_secs_f64().max(1e-6),
        run: quantiles(row, "run")?,
        wait: quantiles(row, "wait")?,
    })
}

fn quantiles(row: &PgRow, name: &str) -> Result<Option<Quantiles>, Error> {
    let of: Option<Vec<Option<f64>>> = row.try_get(name)?;
    Ok(match of.as_deref() {
        Some([Some(p50), Some(p90), Some(p99), Some(max)]) => {
            Some(Quantiles { p50: seconds(*p50), p90: seconds(*p90), p99: seconds(*p99), max: seconds(*max) })
        }
        _ => None,
    })
}

/// The share of the records in this time that has about so many jobs.
async fn share(connection: &mut PgConnection, span: Duration, jobs: i64) -> Result<f64, Error> {
    let all: i64 = sqlx::query_scalar(
        "select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.done_batch where at >= clock_timestamp() - $1::interval",
    )
    .bind(interval(span))
    .fetch_one(connection)
    .await?;
    Ok((jobs as f64 / all.max(1) as f64).min(1.0))
}

/// Attempts per second in a queue lately, and what one took on average.
pub(crate) async fn pace(db: &Connections, queue: &str) -> Result<(f64, Duration), Error> {
    let mut held = db.acquire().await?;
    let sampled = share(&mut held, RECENT, PACED).await?;
    let row = sqlx::query(
        "with record as materialized (
            select job_ids, ran from seaworthy_queue.done_batch
            where at >= clock_timestamp() - $1::interval and ran is not null and (uuid_hash(token)::bigint + 2147483648) < $2 * 4294967296
        )
        select count(ended.ran) as attempts, avg(ended.ran)::float8 as run
        from record, unnest(job_ids, record.ran) as ended (id, ran) join seaworthy_queue.job using (id) where queue = $3",
    )
    .bind(interval(RECENT))
    .bind(sampled)
    .bind(queue)
    .fetch_one(&mut *held)
    .await?;
    held.release();
    let attempts = row.try_get::<i64, _>("attempts")? as f64 / sampled;
    let run: Option<f64> = row.try_get("run")?;
    Ok((attempts / RECENT.as_secs_f64(), seconds(run.unwrap_or_default())))
}
