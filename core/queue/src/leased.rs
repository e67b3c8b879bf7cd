//! A job while a worker has it.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Error, Failure, Job, JobId, Progress, backend::Backend};

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
    pub(crate) backend: Arc<dyn Backend>,
    /// How long a handler may take.
    pub(crate) timeout: Duration,
}

/// A job as it was claimed.
#[derive(Debug)]
pub struct Claimed {
    /// Its number.
    pub id: JobId,
    /// Where it came from.
    pub queue: Arc<str>,
    /// What kind of job it is.
    pub kind: String,
    /// As JSON text: one job whose arguments can't be read must not keep the rest of its batch from being claimed.
    pub args: String,
    /// The number of this attempt, from 1.
    pub attempt: i16,
    /// How often it is tried in all.
    pub max_attempts: i16,
    /// What its end touches besides, in the back end's own terms: it gets them back with that end.
    pub flags: i16,
    /// The version of its arguments.
    pub version: u8,
    /// Whether it is too late to begin it.
    pub is_expired: bool,
    /// The request that it belongs to.
    pub trace: Option<String>,
    /// How long ago it was enqueued, when it was claimed.
    pub age: Duration,
    /// The lease that it is under.
    pub token: Uuid,
    /// Its place in the batch.
    pub place: i16,
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
        let progress = Progress { done, total, note: note.to_owned() };
        self.worker.backend.tell_progress(self.claimed.token, self.claimed.id, &progress).await
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
}

/// The proof that a handler did its work.
#[derive(Debug)]
#[must_use = "return it from the handler"]
pub struct Done {
    pub(crate) recorded: bool,
    /// As JSON text.
    pub(crate) result: Option<String>,
}
