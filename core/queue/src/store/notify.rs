//! Workers are told that there is work.

use crate::{Error, connections::Connections};

/// The channel of notifications, whose messages are names of queues.
pub(crate) const CHANNEL: &str = "seaworthy_queue";

pub(crate) async fn notify(db: &Connections, queues: &[String]) -> Result<(), Error> {
    let mut held = db.acquire().await?;
    // A notification is a transaction, though there is nothing to be kept of it: it does not wait for the disk.
    sqlx::query(
        "with now as materialized (select set_config('synchronous_commit', 'off', true))
         select pg_notify($1, queue) from now, unnest($2::text[]) as queue",
    )
    .bind(CHANNEL)
    .bind(queues)
    .execute(&mut *held)
    .await?;
    held.release();
    Ok(())
}
