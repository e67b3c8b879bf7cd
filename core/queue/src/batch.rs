//! Jobs that belong together.

use std::fmt;

use sqlx::PgConnection;

use crate::{
    Error, JobId, LeasedJob, NewJob, Queue, backend::coordination, store, transactional::needs_transactions,
};

/// A batch's number, unique in its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub i64);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Jobs that are enqueued all or none, whose progress can be asked for together, and other jobs that are enqueued when they have come to their ends. Each of those is enqueued once, whatever
/// happens to workers and connections meanwhile.
///
/// A job of a batch may [add](Queue::add_to_batch) others to it: as long as one of them is not over, the batch isn't. To add some from elsewhere, [keep it open](Self::keep_open).
///
/// ```
/// use seaworthy_queue::{Batch, NewJob};
///
/// let mut import = Batch::new("import of march")
///     .then(NewJob::new("publish", &"march")?)
///     .catch(NewJob::new("alarm", &"march")?)
///     .finally(NewJob::new("tidy up", &"march")?);
/// for part in 0..100 {
///     import.add(NewJob::new("import", &part)?);
/// }
/// # Ok::<(), seaworthy_queue::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) name: String,
    pub(crate) jobs: Vec<NewJob>,
    pub(crate) is_open: bool,
    pub(crate) on_success: Option<NewJob>,
    pub(crate) on_failure: Option<NewJob>,
    pub(crate) on_end: Option<NewJob>,
}

impl Batch {
    /// Without jobs, under a name for people, which need not be unique.
    pub fn new(name: impl Into<String>) -> Self {
        Batch {
            name: name.into(),
            jobs: Vec::new(),
            is_open: false,
            on_success: None,
            on_failure: None,
            on_end: None,
        }
    }

    /// Adds a job.
    pub fn add(&mut self, job: NewJob) -> &mut Self {
        self.jobs.push(job);
        self
    }

    /// With these jobs too.
    pub fn jobs(mut self, jobs: impl IntoIterator<Item = NewJob>) -> Self {
        self.jobs.extend(jobs);
        self
    }

    /// Enqueues this job when all of the batch's are completed; of an empty batch, at once.
    pub fn then(mut self, job: NewJob) -> Self {
        self.on_success = Some(job);
        self
    }

    /// Enqueues this job when the first of the batch's has been given up or was not begun in time. The others go on; [cancel](Queue::cancel_batch) the batch to stop them.
    pub fn catch(mut self, job: NewJob) -> Self {
        self.on_failure = Some(job);
        self
    }

    /// Enqueues this job when all of the batch's are over, however they ended.
    pub fn finally(mut self, job: NewJob) -> Self {
        self.on_end = Some(job);
        self
    }

    /// Does not end before somebody [closes](Queue::close_batch) it.
    pub fn keep_open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// The jobs that are enqueued when something happens to it.
    pub(crate) fn callbacks(&self) -> [&Option<NewJob>; 3] {
        [&self.on_success, &self.on_failure, &self.on_end]
    }

    fn check(&self) -> Result<(), Error> {
        self.callbacks()
            .into_iter()
            .flatten()
            .try_for_each(|job| job.check_draft("a callback of a batch"))?;
        check_members(&self.jobs)
    }
}

/// Which job is a part of a batch has to be certain, and when it is over too.
fn check_members(jobs: &[NewJob]) -> Result<(), Error> {
    jobs.iter().try_for_each(|job| job.check_alone("a part of a batch"))
}

/// How far a batch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchProgress {
    /// What it is called.
    pub name: String,
    /// All of its jobs, also those that were added later.
    pub total: u64,
    /// Those that were completed.
    pub completed: u64,
    /// Those that were given up.
    pub dead: u64,
    /// Those that somebody cancelled.
    pub cancelled: u64,
    /// Those that were not begun in time.
    pub expired: u64,
    /// Whether it has to be closed before it can end.
    pub is_open: bool,
    /// Whether somebody has cancelled it.
    pub is_cancelled: bool,
    /// Whether it has ended, and what waited for that was enqueued.
    pub is_over: bool,
}

impl BatchProgress {
    /// Jobs that are not over.
    pub fn pending(&self) -> u64 {
        self.total - self.completed - self.dead - self.cancelled - self.expired
    }
}

impl Queue {
    /// Enqueues a batch in the caller's transaction: all of its jobs or none.
    ///
    /// # Errors
    ///
    /// [`Error::Together`] when a job has to be unique or is debounced; [`Error::NoSuchLimit`]; [`Error::Database`]; [`Error::NotTransactional`] when the queue is not in Postgres.
    pub async fn enqueue_batch(&self, tx: &mut PgConnection, batch: &Batch) -> Result<BatchId, Error> {
        needs_transactions(&*self.backend, "push_batch")?;
        batch.check()?;
        let id = store::enqueue_batch(tx, batch).await?;
        self.count(&batch.jobs);
        Ok(id)
    }

    /// Enqueues a batch in a transaction of its own, and tells idle workers at once.
    ///
    /// # Errors
    ///
    /// As [`enqueue_batch`](Self::enqueue_batch).
    pub async fn push_batch(&self, batch: &Batch) -> Result<BatchId, Error> {
        batch.check()?;
        let id = coordination(&*self.backend)?.push_batch(batch).await?;
        self.count(&batch.jobs);
        let mut queues: Vec<&str> = batch.jobs.iter().map(|job| job.queue.as_str()).collect();
        queues.sort_unstable();
        queues.dedup();
        queues.into_iter().for_each(|queue| self.wake(queue));
        Ok(id)
    }

    /// Adds jobs to a batch in the caller's transaction, all or none. A handler adds to the batch of its own job, which is not over before; others to one that is
    /// [kept open](Batch::keep_open). The batch does not end before the transaction does.
    ///
    /// # Errors
    ///
    /// [`Error::BatchOver`] when the batch has ended or was cancelled, or there is none; [`Error::Together`]; [`Error::NoSuchLimit`]; [`Error::Database`].
    pub async fn add_to_batch(
        &self,
        tx: &mut PgConnection,
        batch: BatchId,
        jobs: &[NewJob],
    ) -> Result<Vec<JobId>, Error> {
        needs_transactions(&*self.backend, "push_batch")?;
        check_members(jobs)?;
        let ids = store::add_to_batch(tx, batch, jobs).await?;
        self.count(jobs);
        Ok(ids)
    }

    /// Lets an open batch end when its jobs have. Says whether it was open.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn close_batch(&self, batch: BatchId) -> Result<bool, Error> {
        coordination(&*self.backend)?.close_batch(batch).await
    }

    /// Cancels those of a batch's jobs that are not over, as [`cancel`](Self::cancel) does, and takes no more. When the last one has stopped, what waits for the end of the batch
    /// is enqueued. Says how many were cancelled or asked to stop.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn cancel_batch(&self, batch: BatchId) -> Result<u64, Error> {
        coordination(&*self.backend)?.cancel_batch(batch).await
    }

    /// How far a batch is, exactly, as of now; nothing when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn batch(&self, batch: BatchId) -> Result<Option<BatchProgress>, Error> {
        coordination(&*self.backend)?.batch(batch).await
    }
}

impl LeasedJob {
    /// The batch that the job is a part of, or at whose end it was enqueued.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn batch(&self) -> Result<Option<BatchId>, Error> {
        coordination(&*self.worker.backend)?.batch_of(self.claimed.id).await
    }
}
