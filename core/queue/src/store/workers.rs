//! Workers come and go, and queues are paused.

use std::time::Duration;

use sqlx::{Connection as _, types::Uuid};

use super::{interval, limit_lock_waits, rescue::dismiss};
use crate::{Error, connections::Connections};

pub(crate) async fn register_worker(
    db: &Connections,
    worker: Uuid,
    lease_timeout: Duration,
) -> Result<(), Error> {
    let mut held = db.acquire().await?;
    sqlx::query("insert into seaworthy_queue.worker (id, lease_timeout) values ($1, $2)")
        .bind(worker)
        .bind(interval(lease_timeout))
        .execute(&mut *held)
        .await?;
    held.release();
    Ok(())
}

/// Who the worker is, for operators.
pub(crate) async fn describe_worker(
    db: &Connections,
    worker: Uuid,
    queues: &[&str],
    concurrency: usize,
) -> Result<(), Error> {
    let mut held = db.acquire().await?;
    sqlx::query(
        "update seaworthy_queue.worker set host = $2, pid = $3, queues = $4, concurrency = $5 where id = $1",
    )
    .bind(worker)
    .bind(host())
    .bind(std::process::id() as i32)
    .bind(queues)
    .bind(concurrency as i32)
    .execute(&mut *held)
    .await?;
    held.release();
    Ok(())
}

/// What the machine calls itself.
fn host() -> Option<String> {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    named
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}

/// Whether the worker is still alive in the eyes of the others.
pub(crate) async fn heartbeat(db: &Connections, worker: Uuid) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let beat = sqlx::query("update seaworthy_queue.worker set beat_at = clock_timestamp() where id = $1")
        .bind(worker)
        .execute(&mut *held)
        .await?;
    held.release();
    Ok(beat.rows_affected() == 1)
}

/// Workers that signed on and neither signed off nor were given up.
pub(crate) async fn count_workers(db: &Connections) -> Result<usize, Error> {
    let mut held = db.acquire().await?;
    let count: i64 =
        sqlx::query_scalar("select count(*) from seaworthy_queue.worker").fetch_one(&mut *held).await?;
    held.release();
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Signs a worker off, which no longer leads, and returns what it did not finish.
pub(crate) async fn retire_worker(db: &Connections, worker: Uuid) -> Result<u64, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    sqlx::query("select from seaworthy_queue.worker where id = $1 for update")
        .bind(worker)
        .execute(&mut *tx)
        .await?;
    let returned = dismiss(&mut tx, worker, "the worker signed off").await?;
    sqlx::query("update seaworthy_queue.leader set until = clock_timestamp() where worker = $1")
        .bind(worker)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    held.release();
    Ok(returned)
}

/// The leases that the database holds for a worker.
pub(crate) async fn leases_of(db: &Connections, worker: Uuid) -> Result<Vec<Uuid>, Error> {
    let mut held = db.acquire().await?;
    let tokens = sqlx::query_scalar("select token from seaworthy_queue.lease_batch where worker = $1")
        .bind(worker)
        .fetch_all(&mut *held)
        .await?;
    held.release();
    Ok(tokens)
}

/// Says whether it was not paused before.
pub(crate) async fn pause(db: &Connections, queue: &str) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let paused = sqlx::query("insert into seaworthy_queue.paused (queue) values ($1) on conflict do nothing")
        .bind(queue)
        .execute(&mut *held)
        .await?;
    held.release();
    Ok(paused.rows_affected() == 1)
}

/// Says whether it was paused before.
pub(crate) async fn resume(db: &Connections, queue: &str) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let resumed = sqlx::query("delete from seaworthy_queue.paused where queue = $1")
        .bind(queue)
        .execute(&mut *held)
        .await?;
    held.release();
    Ok(resumed.rows_affected() == 1)
}
