//! What limits are there, and who waits at them.

use sqlx::{Connection as _, Row};

use super::limit_lock_waits;
use crate::{AtLimit, Error, Limit, NewJob, connections::Connections};

pub(crate) async fn set_limit(db: &Connections, name: &str, limit: Limit) -> Result<(), Error> {
    let number = |jobs: Option<u64>| jobs.and_then(|jobs| i32::try_from(jobs).ok());
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    sqlx::query(
        "insert into seaworthy_queue.limit_rule (name, at_once, every, burst) values ($1, $2, $3, coalesce($4, 1))
         on conflict (name) do update set at_once = excluded.at_once, every = excluded.every, burst = excluded.burst",
    )
    .bind(name)
    .bind(number(limit.at_once))
    .bind(limit.seconds_per_job())
    .bind(number(limit.burst))
    .execute(&mut *tx)
    .await?;
    look_again(&mut tx, name).await?;
    tx.commit().await?;
    held.release();
    Ok(())
}

pub(crate) async fn remove_limit(db: &Connections, name: &str) -> Result<bool, Error> {
    let mut held = db.acquire().await?;
    let mut tx = held.begin().await?;
    limit_lock_waits(&mut tx, db.deadline()).await?;
    let removed = sqlx::query("delete from seaworthy_queue.limit_rule where name = $1")
        .bind(name)
        .execute(&mut *tx)
        .await?;
    look_again(&mut tx, name).await?;
    tx.commit().await?;
    held.release();
    Ok(removed.rows_affected() == 1)
}

/// Has every key of a limit at which jobs wait looked at. Those that come meanwhile bring an event of their own.
async fn look_again(tx: &mut sqlx::PgConnection, name: &str) -> Result<(), Error> {
    sqlx::query(
        "insert into seaworthy_queue.gate_event (name, key) select distinct name, key from seaworthy_queue.gated where name = $1",
    )
    .bind(name)
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn at_limit(db: &Connections, name: &str, key: &str) -> Result<AtLimit, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "select (select count(*) from seaworthy_queue.gated where name = $1 and key = $2) as waiting,
            (select count(*) from seaworthy_queue.slot where name = $1 and key = $2) as let_through",
    )
    .bind(name)
    .bind(key)
    .fetch_one(&mut *held)
    .await?;
    held.release();
    let count = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    Ok(AtLimit { waiting: count("waiting")?, let_through: count("let_through")? })
}

/// Whether there is every limit that these jobs are limited by, before anything is written: a name that is misspelt must not mean that there is no limit.
pub(super) async fn check_limits(tx: &mut sqlx::PgConnection, jobs: &[NewJob]) -> Result<(), Error> {
    let mut names: Vec<&str> =
        jobs.iter().filter_map(|job| job.limit.as_ref()).map(|limit| limit.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let unknown: Option<String> = sqlx::query_scalar(
        "select name from unnest($1::text[]) as wanted (name)
         where not exists (select from seaworthy_queue.limit_rule rule where rule.name = wanted.name) order by name limit 1",
    )
    .bind(&names)
    .fetch_optional(tx)
    .await?;
    match unknown {
        Some(name) => Err(Error::NoSuchLimit { name }),
        None => Ok(()),
    }
}
