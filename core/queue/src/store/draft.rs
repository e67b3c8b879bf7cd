//! What becomes a job when something happens.

use std::collections::BTreeSet;

use sqlx::{PgConnection, Row};

use super::{flag, gate};
use crate::{Error, NewJob};

/// Puts these drafts down, each under the number that it will have as a job; those that are there already become what these are.
pub(super) async fn put(
    tx: &mut PgConnection,
    drafts: &[(i64, &NewJob)],
    batch: Option<i64>,
) -> Result<(), Error> {
    let jobs = || drafts.iter().map(|(_, job)| job);
    sqlx::query(
        "insert into seaworthy_queue.draft (id, queue, kind, args, priority, max_attempts, flags, expires_in, trace, limit_name, limit_key, batch)
         select id, queue, kind, args::json, priority, max_attempts, flags, expires * interval '1 microsecond', trace, limit_name, limit_key, $12
         from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::smallint[], $7::smallint[], $8::bigint[], $9::text[], $10::text[], $11::text[])
            as new (id, queue, kind, args, priority, max_attempts, flags, expires, trace, limit_name, limit_key)
         on conflict (id) do update set (queue, kind, args, priority, max_attempts, flags, expires_in, trace, limit_name, limit_key) =
            (excluded.queue, excluded.kind, excluded.args, excluded.priority, excluded.max_attempts, excluded.flags, excluded.expires_in, excluded.trace,
             excluded.limit_name, excluded.limit_key)",
    )
    .bind(drafts.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.queue.as_str()).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.kind.as_str()).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.args.as_str()).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.priority).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.max_attempts).collect::<Vec<_>>())
    .bind(jobs().map(|job| flags(job)).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.expires_in).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.trace.as_deref()).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.limit.as_ref().map(|limit| limit.name.as_str())).collect::<Vec<_>>())
    .bind(jobs().map(|job| job.limit.as_ref().map(|limit| limit.key.as_str())).collect::<Vec<_>>())
    .bind(batch)
    .execute(tx)
    .await?;
    Ok(())
}

fn flags(job: &NewJob) -> i16 {
    flag::of_version(job.version) | if job.limit.is_some() { flag::LIMITED } else { 0 }
}

/// Makes jobs of these drafts, and says how many; adds the queues that got jobs. Who calls has taken away what the drafts waited for, so it happens once.
pub(super) async fn enqueue(
    tx: &mut PgConnection,
    drafts: &[i64],
    queues: &mut BTreeSet<String>,
) -> Result<u64, Error> {
    let rows = sqlx::query(
        "with draft as (
            delete from seaworthy_queue.draft where id = any($1) returning *
        ), job as (
            insert into seaworthy_queue.job (id, queue, kind, args, priority, max_attempts, flags, created_at, expires_at, trace)
            select id, queue, kind, args, priority, max_attempts, flags, now, now + expires_in, trace
            from draft, (select clock_timestamp() as now) clock
            returning id, queue, priority, flags, created_at
        ), belonging as (
            insert into seaworthy_queue.belonging (id, limit_name, limit_key, batch)
            select id, limit_name, limit_key, batch from draft where limit_name is not null or batch is not null
        ), ready as (
            insert into seaworthy_queue.ready (queue, rank, id, attempt)
            select queue, seaworthy_queue.rank(created_at, priority), id, 1 from job where flags & 4 = 0
        )
        select id, queue, flags & 4 <> 0 as is_limited from job",
    )
    .bind(drafts)
    .fetch_all(&mut *tx)
    .await?;
    let mut limited = Vec::new();
    for row in &rows {
        queues.insert(row.try_get("queue")?);
        if row.try_get("is_limited")? {
            limited.push(row.try_get("id")?);
        }
    }
    if !limited.is_empty() {
        gate::hold(tx, &limited).await?;
    }
    Ok(rows.len() as u64)
}
