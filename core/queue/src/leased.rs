//! A job while a worker has it.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{PgConnection, types::Uuid};
use tokio::time::Instant;

use crate::{Error, Failure, Job, JobId, connections::Connections, store};

/// How long a job that this worker is too old for is left to others, at most.
const FOR_A_NEWER_WORKER: Duration = Duration::from_secs(10);

/// A job that a worker holds a lease on.
#[derive(Debug)]
pub struct LeasedJob {
    pub(crate) claimed: Claimed,
    pub(crate) worker: Arc<Holder>,
    pub(crate) began: Instant,
}

/// What a worker's jobs need of it.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) db: Connections,
    /// How long a handler may take.
    pub(crate) timeout: Duration,
}

/// A job as it was claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) id: JobId,
    pub(crate) queue: Arc<str>,
    pub(crate) kind: String,
    /// As JSON text: one job whose arguments can't be read must not keep the rest of its batch from being claimed.
    pub(crate) args: String,
    pub(crate) attempt: i16,
    pub(crate) max_attempts: i16,
    pub(crate) flags: i16,
    pub(crate) version: u8,
    pub(crate) is_expired: bool,
    pub(crate) trace: Option<String>,
    /// How long ago it was enqueued, when it was claimed.
    pub(crate) age: Duration,
    pub(crate) token: Uuid,
    /// Its place in the batch.
    pub(crate) place: i16,
}

impl LeasedJob {
    /// The job's number.
    pub fn id(&self) -> JobId {
        self.claimed.id
    }

    /// The queue that it came from.
    pub fn queue(&self) -> &str {
        &self.claimed.queue
    }

    /// What kind of job it is.
    pub fn kind(&self) -> &str {
        &self.claimed.kind
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> i16 {
        self.claimed.attempt
    }

    /// How often the job is tried in all.
    pub fn max_attempts(&self) -> i16 {
        self.claimed.max_attempts
    }

    /// The [version](crate::Job::VERSION) of its arguments; 1 unless it was enqueued as a [`Job`](crate::Job) of another.
    pub fn version(&self) -> u8 {
        self.claimed.version
    }

    /// The arguments as a job of this type, whatever version they have.
    pub(crate) fn read<J: Job>(&self) -> Result<J, Failure> {
        let Claimed { kind, args, version, .. } = &self.claimed;
        if *version > J::VERSION {
            let known = J::VERSION;
            let why = format!(
                "version {version} of a `{kind}` job is newer than version {known}, which this worker knows: it waits for a newer worker"
            );
            return Err(Failure::give_back(
                FOR_A_NEWER_WORKER.mul_f64(rand::rng().random_range(0.5..=1.0)),
                why,
            ));
        }
        // What can't be read today can't be read tomorrow.
        let unreadable = |source| Failure::discard(Error::Arguments { kind: kind.clone(), source });
        if *version == J::VERSION {
            return serde_json::from_str(args).map_err(unreadable);
        }
        let old = serde_json::from_str(args).map_err(unreadable)?;
        serde_json::from_value(J::upcast(*version, old).map_err(unreadable)?).map_err(unreadable)
    }

    /// The arguments that the job was enqueued with.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when they don't have the form of `T`.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.claimed.args)
            .map_err(|source| Error::Arguments { kind: self.claimed.kind.clone(), source })
    }

    /// Tells whoever asks [`Queue::progress`](crate::Queue::progress) how far the job is: so much of so much, in units of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when the lease is gone: another worker has the job. [`Error::Database`].
    pub async fn progress(&self, done: i64, total: i64, note: &str) -> Result<(), Error> {
        let db = &self.worker.db;
        db.within(store::progress(db, self.claimed.token, self.claimed.id, done, total, note)).await
    }

    /// Says that the job's work is done; the worker records it, soon after the handler returns. If the worker dies
    /// before that, the job runs again: make the work idempotent, or use [`complete_in_tx`](Self::complete_in_tx).
    pub fn done(self) -> Done {
        Done { recorded: false, result: None }
    }

    /// As [`done`](Self::done), with a result for whoever asks [`Queue::result`](crate::Queue::result).
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when the result has no JSON form.
    pub fn done_with(self, result: &impl Serialize) -> Result<Done, Error> {
        let result = serde_json::to_string(result)
            .map_err(|source| Error::Arguments { kind: self.claimed.kind.clone(), source })?;
        Ok(Done { recorded: false, result: Some(result) })
    }

    /// Completes the job in the transaction that makes its effect: both become true together, and only if the lease
    /// still stands. Commit, then return the [`Done`] from the handler. A transaction that was not committed after all sends the
    /// job back to the queue.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when the lease is gone: roll back. [`Error::Database`].
    pub async fn complete_in_tx(self, tx: &mut PgConnection) -> Result<Done, Error> {
        store::complete_one(tx, &self.claimed, self.began.elapsed(), self.worker.timeout).await?;
        Ok(Done { recorded: true, result: None })
    }
}

/// The proof that a handler did its work.
#[derive(Debug)]
#[must_use = "return it from the handler"]
pub struct Done {
    pub(crate) recorded: bool,
    /// As JSON text.
    pub(crate) result: Option<String>,
}
