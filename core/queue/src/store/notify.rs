//! Workers are told that there is work.

use crate::{Error, connections::Connections};

/// The channel of notifications, whose messages are names of queues.
pub(crate) const CHANNEL: &str = "seaworthy_queue";

pub(crate) async fn notify(db: &Connections, queues: &[String]) -> Result<(), Error> {
    let mut held = db.acquire().await?;
    sqlx::query("select pg_notify($1, queue) from unnest($2::text[]) as queue")
        .bind(CHANNEL)
        .bind(queues)
        .execute(&mut *held)
        .await?;
    held.release();
    Ok(())
}
