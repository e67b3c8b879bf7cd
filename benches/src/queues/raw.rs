//! What the database gives at most: rows that are deleted by the hundred, and nothing is kept of them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Executor as _, PgPool, postgres::PgListener};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{Contender, Running, Tally, Work};

const CLIENTS: usize = 4;
const CLAIM: &str = "delete from raw_batch where ctid = any(array(
        select ctid from raw_batch order by id limit 500 for update skip locked
    )) returning args::text";

/// One table; a batch of its rows is deleted in the transaction in which their handlers run. No attempts, no history, no fence, and a failure repeats the whole batch.
#[derive(Debug, Clone)]
pub struct RawBatches {
    pool: PgPool,
}

impl RawBatches {
    /// Creates its table.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn create(pool: PgPool) -> anyhow::Result<Self> {
        pool.execute(
            "create table raw_batch (id bigint generated always as identity primary key, args json not null)",
        )
        .await?;
        Ok(RawBatches { pool })
    }

    async fn work(self, tally: Arc<Tally>, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen("raw_batch").await?;
        while !*stop.borrow() {
            let mut tx = self.pool.begin().await?;
            let jobs: Vec<String> = sqlx::query_scalar(CLAIM).fetch_all(&mut *tx).await?;
            for job in &jobs {
                tally.did(serde_json::from_str(job)?);
            }
            tx.commit().await?;
            if jobs.is_empty() {
                tokio::select! {
                    heard = timeout(Duration::from_millis(100), listener.recv()) => drop(heard),
                    _ = stop.changed() => {}
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Contender for RawBatches {
    fn name(&self) -> &'static str {
        "raw batches, no history"
    }

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn enqueue(&self, jobs: &[Work]) -> anyhow::Result<()> {
        let args = jobs.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        sqlx::query("insert into raw_batch (args) select args::json from unnest($1::text[]) args")
            .bind(args)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn push(&self, job: Work) -> anyhow::Result<()> {
        sqlx::query(
            "with job as (insert into raw_batch (args) values ($1::json)) select pg_notify('raw_batch', '')",
        )
        .bind(serde_json::to_string(&job)?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn start(&self, _: usize, tally: Arc<Tally>) -> anyhow::Result<Box<dyn Running>> {
        let stop = watch::Sender::new(false);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(self.clone().work(tally.clone(), stop.subscribe()));
        }
        Ok(Box::new(Clients { clients, stop }))
    }

    async fn has_unfinished(&self) -> anyhow::Result<bool> {
        Ok(sqlx::query_scalar("select exists (select from raw_batch)").fetch_one(&self.pool).await?)
    }
}

struct Clients {
    clients: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
}

#[async_trait]
impl Running for Clients {
    async fn stop(mut self: Box<Self>) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok(())
    }
}
