//! Drafts that wait until it is quiet.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection as _, PgConnection, Row};

use super::{MAINTENANCE_BATCH, draft, limit_lock_waits};
use crate::{Error, JobId, NewJob, answers::Enqueued, connections::Connections};

/// Puts off the drafts of these jobs, which all have a key, or begins to wait with them. Of those with the same key here, the last one wins.
pub(super) async fn debounce(tx: &mut PgConnection, jobs: &[&NewJob]) -> Result<Vec<Enqueued>, Error> {
    // In the order of their keys, so that two who ask for the same ones don't wait for each other.
    let mut newest: BTreeMap<String, (&NewJob, i64, i64)> = BTreeMap::new();
    let keys: Vec<String> = jobs
        .iter()
        .filter_map(|job| {
            let calm = job.debounce.as_ref()?;
            let key = job.key_of(&calm.key);
            newest.insert(key.clone(), (job, calm.wait, calm.at_most));
            Some(key)
        })
        .collect();
    let rows = sqlx::query(
        "with new as materialized (
            select key, wait * interval '1 microsecond' as wait, at_most * interval '1 microsecond' as at_most, clock_timestamp() as now
            from unnest($1::text[], $2::bigint[], $3::bigint[]) as new (key, wait, at_most)
        )
        insert into seaworthy_queue.debounce as old (key, id, first_at, run_at)
        select key, nextval('seaworthy_queue.job_id_seq'), now, now + least(wait, at_most) from new order by key
        on conflict (key) do update set run_at = (
            select least(clock_timestamp() + wait, old.first_at + at_most) from new where new.key = old.key
        )
        returning key, id, xmax = 0 as is_new",
    )
    .bind(newest.keys().collect::<Vec<_>>())
    .bind(newest.values().map(|(_, wait, _)| *wait).collect::<Vec<_>>())
    .bind(newest.values().map(|(_, _, at_most)| *at_most).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let mut of: BTreeMap<String, Enqueued> = BTreeMap::new();
    for row in &rows {
        let (id, is_new) = (JobId(row.try_get("id")?), row.try_get("is_new")?);
        of.insert(row.try_get("key")?, Enqueued { id, is_new });
    }
    let drafts: Vec<(i64, &NewJob)> =
        newest.iter().filter_map(|(key, (job, _, _))| Some((of.get(key)?.id.0, *job))).collect();
    draft::put(tx, &drafts, None).await?;
    Ok(keys.iter().filter_map(|key| of.get(key).copied()).collect())
}

/// Makes jobs of the drafts around which it is quiet, or that have waited long enough; adds the queues that got jobs.
pub(super) async fn end_quiet(db: &Connections, queues: &mut BTreeSet<String>) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    let mut drafts: Vec<i64> = sqlx::query_scalar(
        "with due as materialized (
            select ctid from seaworthy_queue.debounce where run_at <= clock_timestamp() order by run_at limit $1 for update skip locked
        )
        delete from seaworthy_queue.debounce where ctid = any(array(select ctid from due)) returning id",
    )
    .bind(MAINTENANCE_BATCH)
    .fetch_all(&mut *tx)
    .await?;
    if drafts.is_empty() {
        // One that somebody always has his hand on would wait for ever: queue for it. One at a time, so that nobody who holds several waits for us and we for him.
        drafts = sqlx::query_scalar(
            "delete from seaworthy_queue.debounce where key = (
                select key from seaworthy_queue.debounce where run_at < clock_timestamp() - interval '1 second' order by run_at limit 1
             ) and run_at <= clock_timestamp() returning id",
        )
        .fetch_all(&mut *tx)
        .await?;
    }
    let made = draft::enqueue(&mut tx, &drafts, queues).await?;
    tx.commit().await?;
    held.release();
    Ok(made)
}

/// Forgets those of these drafts that wait, and says which.
pub(super) async fn forget(tx: &mut PgConnection, jobs: &[i64]) -> Result<Vec<i64>, Error> {
    let gone: Vec<i64> =
        sqlx::query_scalar("delete from seaworthy_queue.debounce where id = any($1) returning id")
            .bind(jobs)
            .fetch_all(&mut *tx)
            .await?;
    if !gone.is_empty() {
        sqlx::query("delete from seaworthy_queue.draft where id = any($1)").bind(&gone).execute(tx).await?;
    }
    Ok(gone)
}
