//! The producer's side of the queue, and what an operator asks of it.

use std::time::Duration;

use seaworthy_telemetry::metrics::{Backlog, Metrics};
use serde::de::DeserializeOwned;
use sqlx::{
    PgConnection, PgPool,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::{Error, Flow, JobId, NewJob, connections::Connections, notifier::Notifier, store};

/// A queue in a Postgres database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) pool: PgPool,
    db: Connections,
    pub(crate) metrics: Option<Metrics>,
    notifier: Notifier,
}

/// How many jobs are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Jobs that can be claimed now.
    pub ready: i64,
    /// Jobs that wait for their time, retries included.
    pub scheduled: i64,
    /// Jobs that wait for others.
    pub blocked: i64,
    /// Jobs that a worker has.
    pub leased: i64,
    /// Jobs that were completed.
    pub completed: i64,
    /// Jobs that were given up.
    pub dead: i64,
    /// How many times a job was taken back from a worker that died.
    pub rescued: i64,
    /// Jobs that somebody cancelled, and those that waited for them.
    pub cancelled: i64,
    /// Jobs that were not begun in time.
    pub expired: i64,
}

/// What became of a job that was to be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// Its number, or that of the job that is there in its place.
    pub id: JobId,
    /// Whether it was enqueued; `false` when a job that has to be unique is there already.
    pub is_new: bool,
}

impl Enqueued {
    pub(crate) fn new(id: JobId) -> Self {
        Enqueued { id, is_new: true }
    }
}

/// What became of a job that was to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// No worker had it: it is cancelled, and so is what waited for it.
    Queued,
    /// A worker has it and will stop it soon, unless it comes to its end before.
    Running,
    /// It is over, or there is no such job.
    Over,
}

/// How far a job is, in units of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// So much is done.
    pub done: i64,
    /// Of so much.
    pub total: i64,
    /// What its handler says about it.
    pub note: String,
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
    pub attempts: i16,
    /// Why the last attempt failed.
    pub error: String,
}

/// What the queue asks the database for, beyond what workers do, may take so long.
const DEADLINE: Duration = Duration::from_secs(30);

impl Queue {
    /// A queue that works through this pool.
    pub fn new(pool: PgPool) -> Self {
        let db = Connections::shared(pool.clone(), DEADLINE);
        Queue { notifier: Notifier::new(db.clone()), pool, db, metrics: None }
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
        let steps = [("queue", include_str!("schema.sql"))];
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

    /// Enqueues a job in the caller's transaction: it can be claimed as soon as that commits. Idle workers find it at their next look; to tell them at once, call
    /// [`wake`](Self::wake) after the commit.
    ///
    /// A job that has to be unique and is there already is not enqueued; the number is that of the one that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn enqueue(&self, tx: &mut PgConnection, job: &NewJob) -> Result<JobId, Error> {
        Ok(self.offer(tx, job).await?.id)
    }

    /// As [`enqueue`](Self::enqueue), and says whether the job is new.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn offer(&self, tx: &mut PgConnection, job: &NewJob) -> Result<Enqueued, Error> {
        let enqueued = store::enqueue(tx, std::slice::from_ref(job), &[0], &[0]).await?;
        self.count([job]);
        Ok(enqueued[0])
    }

    /// Enqueues many jobs in the caller's transaction; the numbers come in the jobs' order. Many take one statement.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn enqueue_many(&self, tx: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<JobId>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let enqueued = store::enqueue(tx, jobs, &vec![0; jobs.len()], &vec![0; jobs.len()]).await?;
        self.count(jobs);
        Ok(enqueued.into_iter().map(|one| one.id).collect())
    }

    /// Enqueues jobs of which some wait for others, in the caller's transaction; the numbers come in the order in which they were added.
    ///
    /// # Errors
    ///
    /// [`Error::Cycle`] when jobs wait for each other; [`Error::UniqueInFlow`]; [`Error::Database`].
    pub async fn enqueue_flow(&self, tx: &mut PgConnection, flow: &Flow) -> Result<Vec<JobId>, Error> {
        let edges = flow.edges()?;
        if flow.jobs.is_empty() {
            return Ok(Vec::new());
        }
        let enqueued = store::enqueue_flow(tx, &flow.jobs, &edges).await?;
        self.count(&flow.jobs);
        Ok(enqueued.into_iter().map(|one| one.id).collect())
    }

    /// Enqueues a job in a transaction of its own, and tells idle workers at once.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn push(&self, job: &NewJob) -> Result<JobId, Error> {
        let mut held = self.db.acquire().await?;
        // A job that is not unique takes one statement, which commits by itself.
        let id = if job.unique.is_none() {
            self.enqueue(&mut held, job).await?
        } else {
            let mut tx = sqlx::Connection::begin(&mut *held).await?;
            let id = self.enqueue(&mut tx, job).await?;
            tx.commit().await?;
            id
        };
        held.release();
        self.wake(&job.queue);
        Ok(id)
    }

    /// Tells idle workers of this queue, in all processes, to look for work at once: call it after the commit of a transaction that enqueued some. Many calls within a moment become
    /// one notification, which has a connection of its own: `NOTIFY` within the producers' transactions would make all of them commit one after the other.
    ///
    /// Outside a tokio runtime it does nothing; the workers' next look finds the job.
    pub fn wake(&self, queue: &str) {
        self.notifier.wake(queue);
    }

    fn count<'a>(&self, jobs: impl IntoIterator<Item = &'a NewJob>) {
        if let Some(metrics) = &self.metrics {
            jobs.into_iter().for_each(|job| metrics.queue().enqueued(&job.queue, &job.kind, 1));
        }
    }

    /// Cancels a job: one that no worker has at once, one that is running within moments. What waits for it is cancelled too.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn cancel(&self, job: JobId) -> Result<Cancelled, Error> {
        self.db.within(store::cancel(&self.db, job)).await
    }

    /// How far a job is, when its handler has said so.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn progress(&self, job: JobId) -> Result<Option<Progress>, Error> {
        self.db.within(store::progress_of(&self.db, job)).await
    }

    /// What a job's handler has left, once it is completed; nothing before that, and when it left nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when the result does not have the form of `T`; [`Error::Database`].
    pub async fn result<T: DeserializeOwned>(&self, job: JobId) -> Result<Option<T>, Error> {
        let json = self.db.within(store::result_of(&self.db, job)).await?;
        let read = |json: String| serde_json::from_str(&json);
        json.map(read).transpose().map_err(|source| Error::Arguments { kind: format!("job {job}"), source })
    }

    /// Lets workers claim nothing more from this queue; what they have comes to its end. Says whether it was not paused before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn pause(&self, queue: &str) -> Result<bool, Error> {
        self.db.within(store::pause(&self.db, queue)).await
    }

    /// Lets workers claim from this queue again. Says whether it was paused before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn resume(&self, queue: &str) -> Result<bool, Error> {
        let resumed = self.db.within(store::resume(&self.db, queue)).await?;
        self.wake(queue);
        Ok(resumed)
    }

    /// How many jobs of a queue wait, and how long the oldest has, for metrics and health checks. Jobs are counted up to 10,000 in each
    /// state, so that it stays cheap however many there are; those that workers have are counted over all queues.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn backlog(&self, queue: &str) -> Result<Backlog, Error> {
        let backlog = self.db.within(store::backlog(&self.db, queue)).await?;
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
        self.db.within(store::stats(&self.db)).await
    }

    /// The newest `limit` dead letters.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn dead_letters(&self, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        self.db.within(store::dead_letters(&self.db, None, limit)).await
    }

    /// The newest `limit` dead letters of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn dead_letters_of(&self, kind: &str, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        self.db.within(store::dead_letters(&self.db, Some(kind), limit)).await
    }

    /// Enqueues new jobs in the place of these dead letters, with all their attempts, and says which became which. A new job knows its old one (`replay_of` in the table), and what waited for
    /// that waits for it. Numbers that are no dead letter are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn replay(&self, dead: &[JobId]) -> Result<Vec<(JobId, JobId)>, Error> {
        self.db.within(store::replay(&self.db, dead)).await
    }

    /// Forgets these dead letters, cancels what waited for them, and says how many there were. Their jobs stay in the history.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn purge(&self, dead: &[JobId]) -> Result<u64, Error> {
        self.db.within(store::purge(&self.db, dead)).await
    }

    /// Returns the jobs of workers whose heartbeats stopped to the queue, and says how many. Workers do this
    /// themselves; an application without one can call it.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn rescue(&self) -> Result<u64, Error> {
        self.db.within(store::rescue_expired(&self.db)).await
    }

    /// Makes scheduled jobs that are due ready, and says how many.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn promote_due(&self) -> Result<u64, Error> {
        self.db.within(store::promote_due(&self.db)).await
    }
}
