//! The producer's side of the queue, and what an operator asks of it.

use std::{collections::BTreeSet, sync::Arc};

use seaworthy_telemetry::metrics::{Backlog, Metrics};
use serde::de::DeserializeOwned;

use crate::{
    Error, Flow, JobId, NewJob,
    answers::{Cancelled, DeadLetter, Enqueued, Progress, Stats},
    backend::{self, Backend},
    connections::Connections,
    notifier::Notifier,
};

/// A queue, in a Postgres database or on another [back end](crate::backend). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) metrics: Option<Metrics>,
    notifier: Notifier,
}

impl Queue {
    /// A queue whose jobs are kept here.
    pub fn on(backend: impl Backend) -> Self {
        let backend: Arc<dyn Backend> = Arc::new(backend);
        Queue { notifier: Notifier::new(backend.clone()), backend, metrics: None }
    }

    /// Where its jobs are kept.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The connections of a queue that is kept in Postgres, for what only that can do.
    pub(crate) fn postgres(&self, what: &'static str) -> Result<&Connections, Error> {
        backend::connections(&*self.backend, what)
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
        self.backend.migrate().await
    }

    /// Enqueues a job by itself, outside of any transaction of the application, and tells idle workers at once.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn push(&self, job: &NewJob) -> Result<JobId, Error> {
        Ok(self.push_or_find(job).await?.id)
    }

    /// As [`push`](Self::push), and says whether the job is new, or had to be unique and was there.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn push_or_find(&self, job: &NewJob) -> Result<Enqueued, Error> {
        let enqueued = self.push_all(std::slice::from_ref(job), &[]).await?;
        Ok(enqueued[0])
    }

    /// Enqueues many jobs, all or none of them; the numbers come in the jobs' order.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn push_many(&self, jobs: &[NewJob]) -> Result<Vec<JobId>, Error> {
        Ok(self.push_all(jobs, &[]).await?.into_iter().map(|one| one.id).collect())
    }

    /// Enqueues jobs of which some wait for others, all or none of them; the numbers come in the order in which they were added.
    ///
    /// # Errors
    ///
    /// [`Error::Cycle`] when jobs wait for each other; [`Error::UniqueInFlow`]; [`Error::Database`].
    pub async fn push_flow(&self, flow: &Flow) -> Result<Vec<JobId>, Error> {
        let edges = flow.edges()?;
        Ok(self.push_all(&flow.jobs, &edges).await?.into_iter().map(|one| one.id).collect())
    }

    async fn push_all(&self, jobs: &[NewJob], edges: &[(usize, usize)]) -> Result<Vec<Enqueued>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        backend::check(&*self.backend, jobs)?;
        let enqueued = self.backend.enqueue(jobs, edges).await?;
        self.count(jobs);
        jobs.iter()
            .map(|job| &job.queue)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .for_each(|queue| self.wake(queue));
        Ok(enqueued)
    }

    /// Tells idle workers of this queue, in all processes, to look for work at once: call it after the commit of a transaction that enqueued some. Many calls within a moment become
    /// one notification, which has a connection of its own: `NOTIFY` within the producers' transactions would make all of them commit one after the other.
    ///
    /// Outside a tokio runtime it does nothing; the workers' next look finds the job.
    pub fn wake(&self, queue: &str) {
        self.notifier.wake(queue);
    }

    pub(crate) fn count<'a>(&self, jobs: impl IntoIterator<Item = &'a NewJob>) {
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
        self.backend.cancel(job).await
    }

    /// How far a job is, when its handler has said so.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn progress(&self, job: JobId) -> Result<Option<Progress>, Error> {
        self.backend.progress(job).await
    }

    /// What a job's handler has left, once it is completed; nothing before that, and when it left nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when the result does not have the form of `T`; [`Error::Database`].
    pub async fn result<T: DeserializeOwned>(&self, job: JobId) -> Result<Option<T>, Error> {
        let json = self.backend.result(job).await?;
        let read = |json: String| serde_json::from_str(&json);
        json.map(read).transpose().map_err(|source| Error::Arguments { kind: format!("job {job}"), source })
    }

    /// Lets workers claim nothing more from this queue; what they have comes to its end. Says whether it was not paused before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn pause(&self, queue: &str) -> Result<bool, Error> {
        self.backend.pause(queue).await
    }

    /// Lets workers claim from this queue again. Says whether it was paused before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn resume(&self, queue: &str) -> Result<bool, Error> {
        let resumed = self.backend.resume(queue).await?;
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
        let backlog = self.backend.backlog(queue).await?;
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
        self.backend.stats().await
    }

    /// The newest `limit` dead letters.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn dead_letters(&self, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        self.backend.dead_letters(None, limit).await
    }

    /// The newest `limit` dead letters of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn dead_letters_of(&self, kind: &str, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        self.backend.dead_letters(Some(kind), limit).await
    }

    /// Enqueues new jobs in the place of these dead letters, with all their attempts, and says which became which. A new job knows its old one (`replay_of` in the table), and what waited for
    /// that waits for it. Numbers that are no dead letter are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn replay(&self, dead: &[JobId]) -> Result<Vec<(JobId, JobId)>, Error> {
        self.backend.replay(dead).await
    }

    /// Forgets these dead letters, cancels what waited for them, and says how many there were. Their jobs stay in the history.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn purge(&self, dead: &[JobId]) -> Result<u64, Error> {
        self.backend.purge(dead).await
    }

    /// Returns the jobs of workers whose heartbeats stopped to the queue, and says how many. Workers do this
    /// themselves; an application without one can call it.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn rescue(&self) -> Result<u64, Error> {
        self.backend.rescue_expired().await
    }

    /// Makes ready what can run by now, and says how many jobs that were: scheduled ones that are due, limited ones that can be let through, debounced ones around which it is quiet, and what
    /// waited for the end of batches. Workers do this themselves; an application without one can call it.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn promote_due(&self) -> Result<u64, Error> {
        self.backend.promote_due().await
    }
}
