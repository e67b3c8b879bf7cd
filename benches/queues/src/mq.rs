//! `sqlxmq`.

use std::{path::PathBuf, process::Command, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use seaworthy_benches::queues::{Contender, Running, Tally, Work};
use sqlx::{PgPool, migrate::Migrator};
use sqlxmq::{CurrentJob, JobRegistry, JobRunnerHandle};

/// `sqlxmq`: a row at a time; a job is deleted when it is completed.
#[derive(Debug, Clone)]
pub struct SqlxMq {
    pool: PgPool,
    /// Through the version of sqlx that it uses.
    its_pool: sqlx_old::PgPool,
}

impl SqlxMq {
    /// Creates its tables.
    ///
    /// # Errors
    ///
    /// When Postgres refuses, or when cargo does not say where its migrations are.
    pub async fn create(pool: PgPool, connections: u32) -> anyhow::Result<Self> {
        Migrator::new(migrations()?).await?.run(&pool).await?;
        let url = sqlx::ConnectOptions::to_url_lossy(pool.connect_options().as_ref());
        let options = sqlx_old::postgres::PgPoolOptions::new().max_connections(connections);
        Ok(SqlxMq { pool, its_pool: options.connect(url.as_str()).await? })
    }
}

/// The crate has its migrations as files among its sources, for its users to copy.
fn migrations() -> anyhow::Result<PathBuf> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()?;
    anyhow::ensure!(
        metadata.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let manifest = packages.iter().find(|package| package["name"] == "sqlxmq");
    let manifest = manifest.and_then(|package| package["manifest_path"].as_str()).context("no sqlxmq")?;
    Ok(PathBuf::from(manifest).with_file_name("migrations"))
}

#[sqlxmq::job("work")]
async fn work(
    mut job: CurrentJob,
    tally: Arc<Tally>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
    tally.did(job.json()?.ok_or("a job without arguments")?);
    job.complete().await?;
    Ok(())
}

#[async_trait]
impl Contender for SqlxMq {
    fn name(&self) -> &'static str {
        "sqlxmq"
    }

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    fn times_fewer(&self) -> u64 {
        50
    }

    async fn enqueue(&self, jobs: &[Work]) -> anyhow::Result<()> {
        let mut tx = self.its_pool.begin().await?;
        for job in jobs {
            work.builder().set_json(job)?.spawn(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn push(&self, job: Work) -> anyhow::Result<()> {
        work.builder().set_json(&job)?.spawn(&self.its_pool).await?;
        Ok(())
    }

    async fn start(&self, concurrency: usize, tally: Arc<Tally>) -> anyhow::Result<Box<dyn Running>> {
        let mut registry = JobRegistry::new(&[work]);
        registry.set_context(tally);
        let runner =
            registry.runner(&self.its_pool).set_concurrency(concurrency / 2, concurrency).run().await?;
        Ok(Box::new(Started(runner)))
    }

    async fn has_unfinished(&self) -> anyhow::Result<bool> {
        let unfinished = sqlx::query_scalar(
            "select exists (select from mq_msgs where id <> '00000000-0000-0000-0000-000000000000')",
        );
        Ok(unfinished.fetch_one(&self.pool).await?)
    }
}

struct Started(JobRunnerHandle);

#[async_trait]
impl Running for Started {
    async fn stop(mut self: Box<Self>) -> anyhow::Result<()> {
        self.0.stop().await;
        Ok(())
    }
}
