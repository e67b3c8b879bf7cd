//! Tells workers in all processes that there is work.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::postgres::PgListener;
use tokio::runtime::Handle;
use tracing::debug;

use crate::{Error, connections::Connections};

/// The channel, whose messages are names of queues.
const CHANNEL: &str = "seaworthy_queue";

/// Sends notifications one after the other: what comes in while one is on its way goes with the next.
#[derive(Debug, Clone)]
pub(crate) struct Notifier {
    db: Connections,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    queues: BTreeSet<String>,
    is_sending: bool,
}

impl Notifier {
    pub(crate) fn new(db: Connections) -> Self {
        Notifier { db, waiting: Arc::default() }
    }

    pub(crate) fn wake(&self, queue: &str) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut waiting = self.lock();
        waiting.queues.insert(queue.to_owned());
        if !waiting.is_sending {
            waiting.is_sending = true;
            runtime.spawn(self.clone().send());
        }
    }

    async fn send(self) {
        loop {
            let queues: Vec<String> = {
                let mut waiting = self.lock();
                if waiting.queues.is_empty() {
                    // Under the same lock as the look: who comes now sends for itself.
                    waiting.is_sending = false;
                    return;
                }
                std::mem::take(&mut waiting.queues).into_iter().collect()
            };
            if let Err(error) = self.db.within(notify(&self.db, &queues)).await {
                debug!(%error, "workers were not told of work, and find it at their next look");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn notify(db: &Connections, queues: &[String]) -> Result<(), Error> {
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

/// Hears of work.
pub(crate) async fn listen(db: &Connections) -> Result<PgListener, Error> {
    let mut listener = db.listener().await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
