//! What has become possible by the end of jobs, by new ones, or by time.

use std::{collections::BTreeSet, time::Duration};

use sqlx::Row;
use tokio::time::timeout;
use tracing::debug;

use super::{batch, debounce, flag, gate, notify::notify, rescue};
use crate::{Error, connections::Connections};

/// How often one look begins again.
const ROUNDS: usize = 8;

/// Makes scheduled jobs whose time has come ready, lets limited ones through, begins debounced ones, and ends batches whose jobs have ended, as far as that is possible by now. Says how many jobs
/// became ready, and tells the workers. When there is nothing of the kind, it costs one statement: a worker asks it ten times a second, and less often where there are many.
pub(crate) async fn promote_due(db: &Connections) -> Result<u64, Error> {
    let (mut made, mut queues) = (0, BTreeSet::new());
    // What one makes possible, another one may have to do: a batch's end may enqueue a limited job. Not for ever, whatever comes in meanwhile.
    for _ in 0..ROUNDS {
        let due = due(db).await?;
        let mut now = 0;
        if due.scheduled {
            now += rescue::promote_scheduled(db).await?;
        }
        if due.debounced {
            now += debounce::end_quiet(db, &mut queues).await?;
        }
        if due.batches {
            now += batch::fold(db, &mut queues).await?;
        }
        if due.gates {
            now += gate::let_through(db, &mut queues).await?;
        }
        made += now;
        if now == 0 {
            break;
        }
    }
    if !queues.is_empty() {
        notify(db, &queues.into_iter().collect::<Vec<_>>()).await?;
    }
    Ok(made)
}

/// Does so at once after the end of jobs with these flags. What does not work now is done at the next look of any worker: the jobs are over all the same.
pub(crate) async fn advance_after(db: &Connections, flags: i16) {
    if flags & (flag::LIMITED | flag::BATCH) == 0 {
        return;
    }
    let half: Duration = db.deadline() / 2;
    match timeout(half, promote_due(db)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => debug!(%error, "what waits for the end of jobs has to wait a little longer"),
        Err(_) => debug!("what waits for the end of jobs has to wait a little longer"),
    }
}

#[derive(Debug)]
struct Due {
    scheduled: bool,
    gates: bool,
    batches: bool,
    debounced: bool,
}

async fn due(db: &Connections) -> Result<Due, Error> {
    let mut held = db.acquire().await?;
    let row = sqlx::query(
        "select exists (select from seaworthy_queue.scheduled where run_at <= clock_timestamp()) as scheduled,
            exists (select from seaworthy_queue.gate_event)
                or exists (select from seaworthy_queue.gate where next_at <= clock_timestamp())
                or exists (select from seaworthy_queue.gated where expires_at <= clock_timestamp()) as gates,
            exists (select from seaworthy_queue.batch_delta) as batches,
            exists (select from seaworthy_queue.debounce where run_at <= clock_timestamp()) as debounced",
    )
    .fetch_one(&mut *held)
    .await?;
    held.release();
    Ok(Due {
        scheduled: row.try_get("scheduled")?,
        gates: row.try_get("gates")?,
        batches: row.try_get("batches")?,
        debounced: row.try_get("debounced")?,
    })
}
