//! `apalis` with its Postgres backend.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage, queries::push_tasks};
use async_trait::async_trait;
use seaworthy_benches::queues::{Contender, Running, Tally, Work};
use sqlx::PgPool;
use tokio::{sync::oneshot, task::JoinHandle};

const QUEUE: &str = "work";

/// `apalis-postgres`: jobs stay in their table, marked as done.
#[derive(Debug)]
pub struct Apalis {
    pool: PgPool,
    workers: AtomicU32,
}

impl Apalis {
    /// Creates its tables.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn create(pool: PgPool) -> anyhow::Result<Self> {
        PostgresStorage::setup(&pool).await?;
        Ok(Apalis { pool, workers: AtomicU32::new(0) })
    }
}

async fn work(work: Work, tally: Data<Arc<Tally>>) -> Result<(), BoxDynError> {
    tally.did(work);
    Ok(())
}

#[async_trait]
impl Contender for Apalis {
    fn name(&self) -> &'static str {
        "apalis-postgres"
    }

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    fn times_fewer(&self) -> u64 {
        4
    }

    async fn enqueue(&self, jobs: &[Work]) -> anyhow::Result<()> {
        let task = |job| Ok::<_, serde_json::Error>(TaskBuilder::new(serde_json::to_vec(job)?).build());
        let tasks = jobs.iter().map(task).collect::<Result<Vec<_>, _>>()?;
        let mut tx = self.pool.begin().await?;
        push_tasks(&mut *tx, QUEUE, tasks).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn push(&self, job: Work) -> anyhow::Result<()> {
        self.enqueue(&[job]).await
    }

    async fn start(&self, concurrency: usize, tally: Arc<Tally>) -> anyhow::Result<Box<dyn Running>> {
        // Its default batch is 10; a large one is ten times as fast.
        let config = Config::default().queue(QUEUE).batch_size(500).lock_tasks(false);
        let backend = PostgresStorage::<Work>::new(&self.pool)
            .with_config(config)
            .with_pubsub()
            .poll_with_interval(Duration::from_millis(100));
        let name = format!("worker-{}", self.workers.fetch_add(1, Ordering::Relaxed));
        let worker =
            WorkerBuilder::new(name).backend(backend).data(tally).concurrency(concurrency).build(work);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let signal = async move {
                let _ = stopped.await;
                Ok::<(), std::io::Error>(())
            };
            worker.run_until(signal).await.map_err(anyhow::Error::from)
        });
        Ok(Box::new(Started { stop, task }))
    }

    async fn has_unfinished(&self) -> anyhow::Result<bool> {
        let unfinished = sqlx::query_scalar("select exists (select from apalis.jobs where status <> 'Done')");
        Ok(unfinished.fetch_one(&self.pool).await?)
    }
}

struct Started {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

#[async_trait]
impl Running for Started {
    async fn stop(self: Box<Self>) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.task.await?
    }
}
