//! A job before it is enqueued, and while a worker has it.

use std::{fmt, time::Duration};

use seaworthy_errors::Retry;
use seaworthy_telemetry::trace;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{PgConnection, types::Uuid};

use crate::{Error, store};

/// A job's number, unique in its database and growing with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub(crate) queue: String,
    pub(crate) kind: String,
    pub(crate) args: serde_json::Value,
    pub(crate) priority: i16,
    pub(crate) max_attempts: i32,
    pub(crate) trace: Option<String>,
}

impl NewJob {
    /// The largest size of a job's arguments as JSON, in bytes.
    pub const MAX_ARGUMENTS: usize = 1024 * 1024;
    /// How often a job is tried unless it says otherwise.
    pub const DEFAULT_MAX_ATTEMPTS: i32 = 25;

    /// A job of this kind for the queue `default`. It belongs to the request in whose [`trace::Work`] it is made, if there is one: its
    /// handler logs and traces with the same ids.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when the arguments have no JSON form, or one that can't be read back; [`Error::ArgumentsTooLarge`];
    /// [`Error::Nul`] when a text in them has a NUL character, which Postgres does not store.
    pub fn new(kind: impl Into<String>, args: &impl Serialize) -> Result<Self, Error> {
        let kind = kind.into();
        let fail = |source| Error::Arguments { kind: kind.clone(), source };
        let json = serde_json::to_vec(args).map_err(fail)?;
        if json.len() > Self::MAX_ARGUMENTS {
            return Err(Error::ArgumentsTooLarge { kind, bytes: json.len(), max: Self::MAX_ARGUMENTS });
        }
        // Read back: what is nested too deeply can be written, and no worker could read it.
        let args = serde_json::from_slice(&json).map_err(fail)?;
        if has_nul(&args) {
            return Err(Error::Nul { kind });
        }
        Ok(NewJob {
            args,
            queue: "default".to_owned(),
            kind,
            priority: 0,
            max_attempts: Self::DEFAULT_MAX_ATTEMPTS,
            trace: trace::current().map(|context| context.child().to_carrier()),
        })
    }

    /// Puts the job into this queue.
    pub fn on_queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Jobs with a lower priority number run first; the default is 0.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Tries the job at most this often, at least once, before it goes to the dead-letter table.
    pub fn max_attempts(mut self, attempts: i32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }
}

fn has_nul(value: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object, String};
    match value {
        String(text) => text.contains('\0'),
        Array(items) => items.iter().any(has_nul),
        Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// A job that a worker holds a lease on.
#[derive(Debug)]
pub struct LeasedJob {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    /// As JSON text: one job whose arguments can't be read must not keep the rest of its batch from being claimed.
    pub(crate) args: String,
    pub(crate) attempt: i32,
    pub(crate) max_attempts: i32,
    pub(crate) trace: Option<String>,
    /// How long ago it was enqueued, when it was claimed.
    pub(crate) age: Duration,
    pub(crate) token: Uuid,
    /// How long its handler may take.
    pub(crate) timeout: Duration,
}

impl LeasedJob {
    /// The job's number.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What kind of job it is.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> i32 {
        self.attempt
    }

    /// How often the job is tried in all.
    pub fn max_attempts(&self) -> i32 {
        self.max_attempts
    }

    /// The arguments that the job was enqueued with.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when they don't have the form of `T`.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.args)
            .map_err(|source| Error::Arguments { kind: self.kind.clone(), source })
    }

    /// Says that the job's work is done; the worker records it, soon after the handler returns. If the worker dies
    /// before that, the job runs again: make the work idempotent, or use [`complete_in_tx`](Self::complete_in_tx).
    pub fn done(self) -> Done {
        Done { recorded: false }
    }

    /// Completes the job in the transaction that makes its effect: both become true together, and only if the lease
    /// still stands. Commit, then return the [`Done`] from the handler. A transaction that was not committed after all sends the
    /// job back to the queue.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when the lease is gone: roll back. [`Error::Database`].
    pub async fn complete_in_tx(self, tx: &mut PgConnection) -> Result<Done, Error> {
        store::complete_one(tx, self.token, self.id, self.timeout).await?;
        Ok(Done { recorded: true })
    }
}

/// The proof that a handler did its work.
#[derive(Debug)]
#[must_use = "return it from the handler"]
pub struct Done {
    pub(crate) recorded: bool,
}

/// Why a handler could not do its work. Every error converts into one, so `?` works in handlers; what a
/// [`seaworthy_errors::Error`] advises on trying again is obeyed, any other error is tried again.
#[derive(Debug)]
pub struct Failure {
    pub(crate) text: String,
    pub(crate) retry: Retry,
}

impl Failure {
    /// The largest error text that is kept, in bytes.
    const MAX_TEXT: usize = 4096;

    fn new(reason: impl fmt::Display, retry: Retry) -> Self {
        let mut text = reason.to_string();
        text.truncate(text.floor_char_boundary(Self::MAX_TEXT));
        // Postgres stores no NUL in a text.
        Failure { text: text.replace('\0', "\u{fffd}"), retry }
    }

    /// Try the job again later, if it has attempts left.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Failure::new(reason, Retry::Backoff)
    }

    /// Try the job again after this time, if it has attempts left.
    pub fn retry_after(wait: Duration, reason: impl fmt::Display) -> Self {
        Failure::new(reason, Retry::After(wait))
    }

    /// Never try the job again: it goes to the dead-letter table at once.
    pub fn discard(reason: impl fmt::Display) -> Self {
        Failure::new(reason, Retry::Never)
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let any: &(dyn std::error::Error + 'static) = &error;
        if let Some(coded) = any.downcast_ref::<seaworthy_errors::Error>() {
            Failure::new(coded.details(), coded.retry_advice())
        } else if let Some(own) = any.downcast_ref::<Error>() {
            Failure::new(own, own.code().retry)
        } else {
            Failure::retry(error)
        }
    }
}
