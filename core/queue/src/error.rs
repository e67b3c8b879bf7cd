//! What can go wrong in the queue.

/// An error of the queue, with a stable [`code`](Error::code).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database refused a statement or could not be reached.
    #[error("the queue's database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The queue's tables could not be created or brought up to date.
    #[error("the queue's migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A job's arguments could not be turned into JSON, or JSON into the type that the handler wants.
    #[error("the arguments of a `{kind}` job are not what its handler expects: {source}")]
    Arguments {
        /// The kind of job.
        kind: String,
        /// What did not fit.
        source: serde_json::Error,
    },
    /// A job's arguments are larger than [`NewJob::MAX_ARGUMENTS`](crate::NewJob::MAX_ARGUMENTS).
    #[error(
        "the arguments of a `{kind}` job have {bytes} bytes, more than the {max} allowed: store them elsewhere and \
         enqueue a reference"
    )]
    ArgumentsTooLarge {
        /// The kind of job.
        kind: String,
        /// How many bytes the arguments have as JSON.
        bytes: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A text in a job's arguments has a NUL character, which Postgres does not store.
    #[error(
        "the arguments of a `{kind}` job have a NUL character, which Postgres does not store: encode or remove it"
    )]
    Nul {
        /// The kind of job.
        kind: String,
    },
    /// The worker's lease on the job is gone: another worker has it, or will. Roll back; nothing was completed.
    #[error("the lease on job {job} is gone: the worker was taken for dead and the job went to another one")]
    Fenced {
        /// The job that was leased.
        job: i64,
    },
}

impl Error {
    /// A code that stays the same over releases, for logs, alerts and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Database(_) => "QUEUE-0001",
            Error::Migration(_) => "QUEUE-0002",
            Error::Arguments { .. } => "QUEUE-0003",
            Error::ArgumentsTooLarge { .. } => "QUEUE-0004",
            Error::Fenced { .. } => "QUEUE-0005",
            Error::Nul { .. } => "QUEUE-0006",
        }
    }
}
