//! `seaworthy-queue`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use seaworthy_queue::{Job, NewJob, Queue, RunningWorker, Worker};
use sqlx::PgPool;

use super::{Contender, Running, Tally, Work};

impl Job for Work {
    const KIND: &str = "work";
}

/// Ours: every completion fenced, the whole history kept.
#[derive(Debug, Clone)]
pub struct Ours {
    queue: Queue,
    pool: PgPool,
}

impl Ours {
    /// Creates its tables.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn create(pool: PgPool) -> anyhow::Result<Self> {
        let queue = Queue::new(pool.clone());
        queue.migrate().await?;
        Ok(Ours { queue, pool })
    }

    /// The queue itself.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }
}

#[async_trait]
impl Contender for Ours {
    fn name(&self) -> &'static str {
        "seaworthy-queue"
    }

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn enqueue(&self, jobs: &[Work]) -> anyhow::Result<()> {
        let jobs = jobs.iter().map(NewJob::of).collect::<Result<Vec<_>, _>>()?;
        let mut tx = self.pool.begin().await?;
        self.queue.enqueue_many(&mut tx, &jobs).await?;
        tx.commit().await?;
        self.queue.wake("default");
        Ok(())
    }

    async fn push(&self, job: Work) -> anyhow::Result<()> {
        self.queue.push(&NewJob::of(&job)?).await?;
        Ok(())
    }

    async fn start(&self, concurrency: usize, tally: Arc<Tally>) -> anyhow::Result<Box<dyn Running>> {
        let worker =
            Worker::new(self.queue.clone()).concurrency(concurrency).handle_job(move |work: Work, job| {
                let tally = tally.clone();
                async move {
                    tally.did(work);
                    Ok(job.done())
                }
            });
        Ok(Box::new(worker.start()))
    }

    async fn has_unfinished(&self) -> anyhow::Result<bool> {
        let unfinished = sqlx::query_scalar(
            "select exists (select from seaworthy_queue.ready) or exists (select from seaworthy_queue.lease_batch)",
        );
        Ok(unfinished.fetch_one(&self.pool).await?)
    }
}

#[async_trait]
impl Running for RunningWorker {
    async fn stop(self: Box<Self>) -> anyhow::Result<()> {
        anyhow::ensure!(self.drain(Duration::from_secs(10)).await, "the worker did not finish in time");
        Ok(())
    }
}
