//! What handlers tell of their jobs.

use sqlx::{Row, types::Uuid};

use crate::{Error, JobId, answers::Progress, connections::Connections};

pub(crate) async fn progress(
    db: &Connections,
    token: Uuid,
    job: JobId,
    progress: &Progress,
) -> Result<(), Error> {
    let mut held = db.acquire().await?;
    let told = sqlx::query(
        "insert into seaworthy_queue.progress (id, done, total, note)
         select $2, $3, $4, $5 from seaworthy_queue.lease_batch where token = $1
         on conflict (id) do update set done = $3, total = $4, note = $5, at = clock_timestamp()",
    )
    .bind(token)
    .bind(job.0)
    .bind(progress.done)
    .bind(progress.total)
    .bind(&progress.note)
    .execute(&mut *held)
    .await?;
    held.release();
    if told.rows_affected() == 1 { Ok(()) } else { Err(Error::Fenced { job: job.0 }) }
}

pub(crate) async fn progress_of(db: &Connections, job: JobId) -> Result<Option<Progress>, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query("select done, total, note from seaworthy_queue.progress where id = $1")
        .bind(job.0)
        .fetch_optional(&mut *held)
        .await?;
    held.release();
    row.map(|row| {
        Ok(Progress { done: row.try_get("done")?, total: row.try_get("total")?, note: row.try_get("note")? })
    })
    .transpose()
}

/// As JSON text.
pub(crate) async fn result_of(db: &Connections, job: JobId) -> Result<Option<String>, Error> {
    let mut held = db.acquire().await?;
    let value = sqlx::query_scalar("select value::text from seaworthy_queue.result where id = $1")
        .bind(job.0)
        .fetch_optional(&mut *held)
        .await?;
    held.release();
    Ok(value)
}
