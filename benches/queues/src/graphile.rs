//! `graphile_worker`, with a local queue and batched completion.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, Worker, WorkerContext, WorkerOptions,
    WorkerUtils,
};
use seaworthy_benches::queues::{Contender, Running, Tally, Work};
use sqlx::PgPool;
use tokio::task::JoinHandle;

const SCHEMA: &str = "graphile_worker";

/// A job's arguments: the trait is theirs and the type is not ours to implement it for.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Args(Work);

impl TaskHandler for Args {
    const IDENTIFIER: &'static str = "work";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let tally = context.get_ext::<Shared>().ok_or("the worker was started without a tally")?;
        tally.0.did(self.0);
        Ok::<(), &'static str>(())
    }
}

#[derive(Clone)]
struct Shared(Arc<Tally>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// `graphile_worker`: a job is deleted when it is completed; what is completed late, after another worker took the job over, is not fenced.
#[derive(Clone)]
pub struct Graphile {
    pool: PgPool,
    utils: WorkerUtils,
}

impl Graphile {
    /// Creates its tables.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn create(pool: PgPool) -> anyhow::Result<Self> {
        let utils = WorkerUtils::new(pool.clone(), SCHEMA);
        utils.migrate().await?;
        Ok(Graphile { pool, utils })
    }
}

#[async_trait]
impl Contender for Graphile {
    fn name(&self) -> &'static str {
        "graphile_worker"
    }

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn enqueue(&self, jobs: &[Work]) -> anyhow::Result<()> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = jobs.iter().map(|job| (Args(*job), &spec)).collect();
        self.utils.add_jobs::<Args>(&jobs).await?;
        Ok(())
    }

    async fn push(&self, job: Work) -> anyhow::Result<()> {
        self.utils.add_job(Args(job), JobSpec::default()).await?;
        Ok(())
    }

    async fn start(&self, concurrency: usize, tally: Arc<Tally>) -> anyhow::Result<Box<dyn Running>> {
        // As in its own benchmark of the local queue, with the concurrency that all contenders have.
        let worker = WorkerOptions::default()
            .concurrency(concurrency)
            .schema(SCHEMA)
            .pg_pool(self.pool.clone())
            .poll_interval(Duration::from_millis(100))
            .complete_job_batch_delay(Duration::from_millis(5))
            .local_queue(LocalQueueConfig::default().with_size(1000))
            .add_extension(Shared(tally))
            .define_job::<Args>()
            .init()
            .await?;
        let worker = Arc::new(worker);
        let running = worker.clone();
        let task = tokio::spawn(async move { running.run().await.map_err(anyhow::Error::from) });
        Ok(Box::new(Started { worker, task }))
    }

    async fn has_unfinished(&self) -> anyhow::Result<bool> {
        let unfinished = sqlx::query_scalar("select exists (select from graphile_worker._private_jobs)");
        Ok(unfinished.fetch_one(&self.pool).await?)
    }
}

struct Started {
    worker: Arc<Worker>,
    task: JoinHandle<anyhow::Result<()>>,
}

#[async_trait]
impl Running for Started {
    async fn stop(self: Box<Self>) -> anyhow::Result<()> {
        self.worker.request_shutdown();
        self.task.await?
    }
}
