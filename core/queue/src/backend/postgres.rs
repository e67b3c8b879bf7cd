//! The reference: jobs in the application's own Postgres. The only back end with the transactional API.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use seaworthy_telemetry::metrics::Backlog;
use sqlx::{
    Connection as _, PgPool,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgListener,
};
use uuid::Uuid;

use super::{
    Backend, Claim, Claimed, ClaimedBatch, Completed, Coordination, Listener, Unfinished,
    crew::{Crew, Crews, deaf},
};
use crate::{
    Error, JobId, NewJob,
    answers::{Cancelled, DeadLetter, Enqueued, Progress, Stats},
    connections::Connections,
    store,
};

/// What the queue asks the database for, beyond what workers do, may take so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A queue's tables, and the connections to them.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// The application's.
    pool: PgPool,
    pub(super) db: Connections,
    crews: Arc<Crews>,
    /// Of a worker's own back end, the workers with which it shares connections.
    crew: Option<Arc<Crew>>,
}

impl Postgres {
    pub(crate) fn new(pool: PgPool) -> Self {
        Postgres { db: Connections::shared(pool.clone(), DEADLINE), pool, crews: Arc::default(), crew: None }
    }

    /// What [`Backend::migrate`] runs.
    pub(crate) fn migrations() -> Migrator {
        let steps =
            [("queue", include_str!("../schema.sql")), ("operations", include_str!("../operations.sql"))];
        let migrations = steps.into_iter().zip(1..).map(|((name, sql), version)| {
            Migration::new(
                version,
                name.into(),
                MigrationType::Simple,
                sqlx::SqlSafeStr::into_sql_str(sql),
                false,
            )
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        // A version table of our own, so that the application's migrations and ours don't meet.
        migrator.create_schema("seaworthy_queue");
        migrator.dangerous_set_table_name("seaworthy_queue.migration");
        migrator
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.db
    }

    async fn push(&self, jobs: &[NewJob], edges: &[(usize, usize)]) -> Result<Vec<Enqueued>, Error> {
        let mut held = self.db.acquire().await?;
        let enqueued = if edges.is_empty() && !jobs.iter().any(NewJob::is_special) {
            // They take one statement, which commits by itself.
            store::enqueue_flow(&mut held, jobs, edges).await?
        } else {
            let mut tx = held.begin().await?;
            let enqueued = store::enqueue_flow(&mut tx, jobs, edges).await?;
            tx.commit().await?;
            enqueued
        };
        held.release();
        if jobs.iter().any(|job| job.limit.is_some()) {
            store::advance_after(&self.db, store::flag::LIMITED).await;
        }
        Ok(enqueued)
    }
}

#[async_trait]
impl Backend for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn coordination(&self) -> Option<&dyn Coordination> {
        Some(self)
    }

    fn for_worker(&self, deadline: Duration) -> Arc<dyn Backend> {
        let crew = self.crews.join(&self.pool, deadline);
        Arc::new(Postgres {
            pool: self.pool.clone(),
            db: crew.connections().clone(),
            crews: self.crews.clone(),
            crew: Some(crew),
        })
    }

    fn deadline(&self) -> Duration {
        self.db.deadline()
    }

    async fn close(&self) {
        if let Some(crew) = &self.crew {
            self.crews.leave(crew).await;
        }
    }

    async fn migrate(&self) -> Result<(), Error> {
        Ok(Postgres::migrations().run(&self.pool).await?)
    }

    async fn enqueue(&self, jobs: &[NewJob], edges: &[(usize, usize)]) -> Result<Vec<Enqueued>, Error> {
        self.db.within(self.push(jobs, edges)).await
    }

    async fn notify(&self, queues: &[String]) -> Result<(), Error> {
        self.db.within(store::notify(&self.db, queues)).await
    }

    async fn register_worker(&self, worker: Uuid, lease_timeout: Duration) -> Result<(), Error> {
        self.db.within(store::register_worker(&self.db, worker, lease_timeout)).await
    }

    async fn describe_worker(&self, worker: Uuid, queues: &[&str], concurrency: usize) -> Result<(), Error> {
        self.db.within(store::describe_worker(&self.db, worker, queues, concurrency)).await
    }

    async fn heartbeat(&self, worker: Uuid) -> Result<bool, Error> {
        self.db.within(store::heartbeat(&self.db, worker)).await
    }

    async fn workers(&self) -> Result<usize, Error> {
        self.db.within(store::count_workers(&self.db)).await
    }

    async fn retire_worker(&self, worker: Uuid) -> Result<u64, Error> {
        self.db.within(store::retire_worker(&self.db, worker)).await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, Error> {
        let listen = async {
            if let Some(crew) = &self.crew {
                return crew.listen().await;
            }
            Ok(Box::new(self.db.listener(store::CHANNEL).await?) as Box<dyn Listener>)
        };
        self.db.within(listen).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<ClaimedBatch, Error> {
        let claim = async {
            match &self.crew {
                Some(crew) => crew.claim(claim).await,
                None => store::claim(&self.db, claim).await,
            }
        };
        self.db.within(claim).await
    }

    async fn give_back(&self, part: i16, jobs: &[Claimed]) -> Result<(), Error> {
        self.db.within(store::give_back(&self.db, part, jobs)).await
    }

    async fn leases_of(&self, worker: Uuid) -> Result<Vec<Uuid>, Error> {
        self.db.within(store::leases_of(&self.db, worker)).await
    }

    async fn release(&self, tokens: &[Uuid]) -> Result<u64, Error> {
        self.db.within(store::release(&self.db, tokens)).await
    }

    async fn complete(&self, done: &[Completed]) -> Result<HashSet<Uuid>, Error> {
        self.db.within(store::complete_many(&self.db, done)).await
    }

    async fn end_unfinished(&self, all: &[Unfinished]) -> Result<usize, Error> {
        self.db.within(store::end_unfinished(&self.db, all)).await
    }

    async fn close_lease(&self, token: Uuid) -> Result<u64, Error> {
        self.db.within(store::close_lease(&self.db, token)).await
    }

    async fn tell_progress(&self, token: Uuid, job: JobId, progress: &Progress) -> Result<(), Error> {
        self.db.within(store::progress(&self.db, token, job, progress)).await
    }

    async fn promote_due(&self) -> Result<u64, Error> {
        self.db.within(store::promote_due(&self.db)).await
    }

    async fn rescue_expired(&self) -> Result<u64, Error> {
        self.db.within(store::rescue_expired(&self.db)).await
    }

    async fn cancelled_on(&self, worker: Uuid) -> Result<Vec<JobId>, Error> {
        self.db.within(store::cancelled_on(&self.db, worker)).await
    }

    async fn cancel(&self, job: JobId) -> Result<Cancelled, Error> {
        self.db.within(store::cancel(&self.db, job)).await
    }

    async fn progress(&self, job: JobId) -> Result<Option<Progress>, Error> {
        self.db.within(store::progress_of(&self.db, job)).await
    }

    async fn result(&self, job: JobId) -> Result<Option<String>, Error> {
        self.db.within(store::result_of(&self.db, job)).await
    }

    async fn pause(&self, queue: &str) -> Result<bool, Error> {
        self.db.within(store::pause(&self.db, queue)).await
    }

    async fn resume(&self, queue: &str) -> Result<bool, Error> {
        self.db.within(store::resume(&self.db, queue)).await
    }

    async fn backlog(&self, queue: &str) -> Result<Backlog, Error> {
        self.db.within(store::backlog(&self.db, queue)).await
    }

    async fn pressure(&self, queues: &[&str]) -> Result<(u64, Duration), Error> {
        self.db.within(store::pressure(&self.db, queues)).await
    }

    async fn stats(&self) -> Result<Stats, Error> {
        self.db.within(store::stats(&self.db)).await
    }

    async fn dead_letters(&self, kind: Option<&str>, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        self.db.within(store::dead_letters(&self.db, kind, limit)).await
    }

    async fn replay(&self, dead: &[JobId]) -> Result<Vec<(JobId, JobId)>, Error> {
        self.db.within(store::replay(&self.db, dead)).await
    }

    async fn purge(&self, dead: &[JobId]) -> Result<u64, Error> {
        self.db.within(store::purge(&self.db, dead)).await
    }
}

#[async_trait]
impl Listener for PgListener {
    async fn next(&mut self) -> Result<String, Error> {
        let heard = self.try_recv().await?;
        heard
            .map(|notification| notification.payload().to_owned())
            .ok_or_else(|| deaf("the connection was lost"))
    }
}
