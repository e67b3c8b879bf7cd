//! What went wrong lately.

use std::time::SystemTime;

use crate::{Error, JobId, Queue, store};

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The job's number.
    pub job: JobId,
    /// The queue that it belongs to.
    pub queue: String,
    /// What kind of job it is.
    pub kind: String,
    /// What became of it then: `retried`, `dead`, or `rescued` when its worker died.
    pub outcome: String,
    /// When that was recorded.
    pub at: SystemTime,
    /// The error, or another reason.
    pub why: Option<String>,
}

/// What somebody who watches a queue asks; it needs Postgres.
impl Queue {
    /// The newest failed attempts, 1,000 at most. They are looked for among the newest 5,000 records of the history, each of which is of up to hundreds of jobs: cheap enough to be
    /// asked every second, however rare failures are.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn failures(&self, limit: usize) -> Result<Vec<FailedAttempt>, Error> {
        let db = self.postgres("the newest failures")?;
        db.within(store::failures(db, limit.clamp(1, 1_000))).await
    }
}
