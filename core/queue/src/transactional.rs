//! The transactional API: jobs that are enqueued and completed in the application's own transactions. Only Postgres has it.

use sqlx::{PgConnection, PgPool, migrate::Migrator};

use crate::{
    Done, Enqueued, Error, Flow, JobId, LeasedJob, NewJob, Queue,
    backend::{Backend, Postgres},
    store,
};

impl Queue {
    /// A queue in the tables of a Postgres database, which it reaches through this pool.
    pub fn new(pool: PgPool) -> Self {
        Queue::on(Postgres::new(pool))
    }

    /// What [`migrate`](Self::migrate) runs on Postgres, for those who put the queue's tables in place with their own, as a test's schema does.
    pub fn migrations() -> Migrator {
        Postgres::migrations()
    }

    /// Enqueues a job in the caller's transaction: it can be claimed as soon as that commits. Idle workers find it at their next look; to tell them at once, call
    /// [`wake`](Self::wake) after the commit.
    ///
    /// A job that has to be unique and is there already is not enqueued; the number is that of the one that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::NotTransactional`] when the queue is not in Postgres.
    pub async fn enqueue(&self, tx: &mut PgConnection, job: &NewJob) -> Result<JobId, Error> {
        Ok(self.offer(tx, job).await?.id)
    }

    /// As [`enqueue`](Self::enqueue), and says whether the job is new.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue).
    pub async fn offer(&self, tx: &mut PgConnection, job: &NewJob) -> Result<Enqueued, Error> {
        needs_transactions(&*self.backend, "push")?;
        let enqueued = store::enqueue(tx, std::slice::from_ref(job), &[0], &[0]).await?;
        self.count([job]);
        Ok(enqueued[0])
    }

    /// Enqueues many jobs in the caller's transaction; the numbers come in the jobs' order. Many take one statement.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue).
    pub async fn enqueue_many(&self, tx: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<JobId>, Error> {
        needs_transactions(&*self.backend, "push_many")?;
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
    /// [`Error::Cycle`] when jobs wait for each other; [`Error::UniqueInFlow`]; and as [`enqueue`](Self::enqueue).
    pub async fn enqueue_flow(&self, tx: &mut PgConnection, flow: &Flow) -> Result<Vec<JobId>, Error> {
        needs_transactions(&*self.backend, "push_flow")?;
        let edges = flow.edges()?;
        if flow.jobs.is_empty() {
            return Ok(Vec::new());
        }
        let enqueued = store::enqueue_flow(tx, &flow.jobs, &edges).await?;
        self.count(&flow.jobs);
        Ok(enqueued.into_iter().map(|one| one.id).collect())
    }
}

impl LeasedJob {
    /// Completes the job in the transaction that makes its effect: both become true together, and only if the lease
    /// still stands. Commit, then return the [`Done`] from the handler. A transaction that was not committed after all sends the
    /// job back to the queue.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when the lease is gone: roll back. [`Error::Database`]; [`Error::NotTransactional`] when the queue is not in Postgres.
    pub async fn complete_in_tx(self, tx: &mut PgConnection) -> Result<Done, Error> {
        needs_transactions(&*self.worker.backend, "LeasedJob::done")?;
        store::complete_one(tx, &self.claimed, self.began.elapsed(), self.worker.timeout).await?;
        Ok(Done { recorded: true, result: None })
    }
}

/// Only what is in the same database as the caller's rows can be written together with them. Elsewhere, this is to be called instead.
pub(crate) fn needs_transactions(backend: &dyn Backend, instead: &'static str) -> Result<(), Error> {
    if backend.is_transactional() {
        return Ok(());
    }
    Err(Error::NotTransactional { backend: backend.name(), instead })
}
