//! The producer's side of the queue, and what an operator asks of it.

use seaworthy_telemetry::metrics::{Backlog, Metrics};
use sqlx::{
    PgConnection, PgPool, Row,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgRow,
};

use crate::{Error, JobId, NewJob, store};

/// A queue in a Postgres database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) pool: PgPool,
    pub(crate) metrics: Option<Metrics>,
}

/// How many jobs are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Jobs that can be claimed now.
    pub ready: i64,
    /// Jobs that wait for their time, retries included.
    pub scheduled: i64,
    /// Jobs that a worker has.
    pub leased: i64,
    /// Jobs that were completed.
    pub completed: i64,
    /// Jobs that were given up.
    pub dead: i64,
    /// How many times a job was taken back from a worker that died.
    pub rescued: i64,
}

/// A job that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The job's number.
    pub id: JobId,
    /// What kind of job it was.
    pub kind: String,
    /// Its arguments.
    pub args: serde_json::Value,
    /// How often it was tried.
    pub attempts: i32,
    /// Why the last attempt failed.
    pub error: String,
}

impl Queue {
    /// A queue that works through this pool.
    pub fn new(pool: PgPool) -> Self {
        Queue { pool, metrics: None }
    }

    /// Counts and times jobs into these metrics: what is enqueued through this queue, and what its workers do.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Creates the queue's tables, or brings them up to date. Safe to call from many processes at once.
    ///
    /// # Errors
    ///
    /// [`Error::Migration`], [`Error::Database`].
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(Self::migrations().run(&self.pool).await?)
    }

    /// What [`migrate`](Self::migrate) runs, for those who put the queue's tables in place with their own, as a test's schema does.
    pub fn migrations() -> Migrator {
        let steps = [("queue", include_str!("schema.sql")), ("trace", include_str!("trace.sql"))];
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

    /// Enqueues a job in the caller's transaction: it can be claimed as soon as that commits.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn enqueue(&self, tx: &mut PgConnection, job: &NewJob) -> Result<JobId, Error> {
        let ids = self.enqueue_many(tx, std::slice::from_ref(job)).await?;
        Ok(ids[0])
    }

    /// Enqueues many jobs in one statement, in the caller's transaction; the numbers come in the jobs' order.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn enqueue_many(&self, tx: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<JobId>, Error> {
        let ids = store::enqueue(tx, jobs).await?;
        if let Some(metrics) = &self.metrics {
            jobs.iter().for_each(|job| metrics.queue().enqueued(&job.queue, &job.kind, 1));
        }
        Ok(ids)
    }

    /// How many jobs of a queue wait, and how long the oldest has, for metrics and health checks. Jobs are counted up to 10,000 in each
    /// state, so that it stays cheap however many there are; those that workers have are counted over all queues.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn backlog(&self, queue: &str) -> Result<Backlog, Error> {
        let backlog = store::backlog(&self.pool, queue).await?;
        if let Some(metrics) = &self.metrics {
            metrics.queue().backlog(queue, backlog);
        }
        Ok(backlog)
    }

    /// Counts the jobs. Reads the whole history: for tests, reports and a human, not for a hot path.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        let row = sqlx::query(
            "select
                (select count(*) from seaworthy_queue.ready) as ready,
                (select count(*) from seaworthy_queue.scheduled) as scheduled,
                (select count(*) from seaworthy_queue.lease_batch l, unnest(l.job_ids) job where not exists (
                    select from seaworthy_queue.done_batch d where d.token = l.token and job = any(d.job_ids)
                )) as leased,
                (select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.done_batch
                  where outcome = 'completed') as completed,
                (select count(*) from seaworthy_queue.dead_letter) as dead,
                (select coalesce(sum(cardinality(job_ids)), 0)::bigint from seaworthy_queue.done_batch
                  where outcome = 'rescued') as rescued",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Stats {
            ready: row.try_get("ready")?,
            scheduled: row.try_get("scheduled")?,
            leased: row.try_get("leased")?,
            completed: row.try_get("completed")?,
            dead: row.try_get("dead")?,
            rescued: row.try_get("rescued")?,
        })
    }

    /// The newest `limit` dead letters.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn dead_letters(&self, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        let rows = sqlx::query(
            "select id, kind, args, attempt, error from seaworthy_queue.dead_letter
             join seaworthy_queue.job using (id) order by at desc, id desc limit $1",
        )
        .bind(limit)
        .try_map(|row: PgRow| {
            Ok(DeadLetter {
                id: JobId(row.try_get("id")?),
                kind: row.try_get("kind")?,
                args: row.try_get("args")?,
                attempts: row.try_get("attempt")?,
                error: row.try_get("error")?,
            })
        })
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Returns the jobs of workers whose heartbeats stopped to the queue, and says how many. Workers do this
    /// themselves; an application without one can call it.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn rescue(&self) -> Result<u64, Error> {
        store::rescue_expired(&self.pool).await
    }

    /// Makes scheduled jobs that are due ready, and says how many.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn promote_due(&self) -> Result<u64, Error> {
        store::promote_due(&self.pool).await
    }
}
