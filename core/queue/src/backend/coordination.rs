//! What a back end may offer besides: jobs that have to do with each other.

use async_trait::async_trait;

use super::{Backend, Postgres};
use crate::{AtLimit, Batch, BatchId, BatchProgress, Error, JobId, Limit, NewJob, store};

/// Limits and batches, on a back end that has them; such a one also takes jobs that are limited or debounced.
///
/// The fence holds here too: whoever has lost the lease on a job frees no slot and is not counted.
#[async_trait]
pub trait Coordination: Send + Sync {
    /// Sets a limit, whose numbers were checked, for the jobs that wait too.
    async fn set_limit(&self, name: &str, limit: Limit) -> Result<(), Error>;

    /// Takes a limit away, lets through what waits for it, and says whether there was one.
    async fn remove_limit(&self, name: &str) -> Result<bool, Error>;

    /// How many jobs a key of a limit has.
    async fn at_limit(&self, name: &str, key: &str) -> Result<AtLimit, Error>;

    /// Enqueues a batch, which was checked: all of its jobs or none.
    async fn push_batch(&self, batch: &Batch) -> Result<BatchId, Error>;

    /// Lets an open batch end when its jobs have, and says whether it was open.
    async fn close_batch(&self, batch: BatchId) -> Result<bool, Error>;

    /// Cancels what is not over of a batch, takes no more, and says how many jobs were cancelled or asked to stop.
    async fn cancel_batch(&self, batch: BatchId) -> Result<u64, Error>;

    /// How far a batch is.
    async fn batch(&self, batch: BatchId) -> Result<Option<BatchProgress>, Error>;

    /// The batch that a job is a part of, or at whose end it was enqueued.
    async fn batch_of(&self, job: JobId) -> Result<Option<BatchId>, Error>;
}

/// That part of a back end, if it has it.
pub(crate) fn coordination(backend: &dyn Backend) -> Result<&dyn Coordination, Error> {
    backend
        .coordination()
        .ok_or_else(|| Error::OnlyPostgres { backend: backend.name(), what: "limits and batches" })
}

/// Whether a back end takes these jobs.
pub(crate) fn check(backend: &dyn Backend, jobs: &[NewJob]) -> Result<(), Error> {
    let needs = |job: &NewJob| match (&job.limit, &job.debounce, &job.unique) {
        (Some(_), _, _) => Some("limits"),
        (_, Some(_), _) => Some("debounced jobs"),
        (_, _, Some(unique)) if unique.while_waiting => Some("jobs that are unique while they wait"),
        _ => None,
    };
    match jobs.iter().find_map(needs) {
        Some(what) if backend.coordination().is_none() => {
            Err(Error::OnlyPostgres { backend: backend.name(), what })
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Coordination for Postgres {
    async fn set_limit(&self, name: &str, limit: Limit) -> Result<(), Error> {
        self.db.within(store::set_limit(&self.db, name, limit)).await
    }

    async fn remove_limit(&self, name: &str) -> Result<bool, Error> {
        self.db.within(store::remove_limit(&self.db, name)).await
    }

    async fn at_limit(&self, name: &str, key: &str) -> Result<AtLimit, Error> {
        self.db.within(store::at_limit(&self.db, name, key)).await
    }

    async fn push_batch(&self, batch: &Batch) -> Result<BatchId, Error> {
        self.db.within(store::push_batch(&self.db, batch)).await
    }

    async fn close_batch(&self, batch: BatchId) -> Result<bool, Error> {
        self.db.within(store::close_batch(&self.db, batch)).await
    }

    async fn cancel_batch(&self, batch: BatchId) -> Result<u64, Error> {
        self.db.within(store::cancel_batch(&self.db, batch)).await
    }

    async fn batch(&self, batch: BatchId) -> Result<Option<BatchProgress>, Error> {
        self.db.within(store::batch_progress(&self.db, batch)).await
    }

    async fn batch_of(&self, job: JobId) -> Result<Option<BatchId>, Error> {
        self.db.within(store::batch_of(&self.db, job)).await
    }
}
