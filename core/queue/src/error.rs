//! What can go wrong in the queue.

use std::{path::PathBuf, time::Duration};

use seaworthy_errors::{Code, codes};
use uuid::Uuid;

/// An error of the queue, with a stable [`code`](Error::code).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database refused a statement or could not be reached.
    #[error("the queue's database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The Redis that the queue is in refused a call or could not be reached.
    #[cfg(feature = "redis")]
    #[error("the queue's Redis failed: {0}")]
    Redis(#[from] redis::RedisError),
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
    /// Jobs of a [`Flow`](crate::Flow) wait for each other, so that none of them could ever run.
    #[error("jobs wait for each other in a circle, or for one: {}", kinds.join(", "))]
    Cycle {
        /// The kinds of those that could not run.
        kinds: Vec<String>,
    },
    /// A job of a [`Flow`](crate::Flow) has to be unique: what waits for it could not say which one it waits for.
    #[error(
        "a `{kind}` job has to be unique, and is a part of a flow: enqueue it by itself, or let its key go"
    )]
    UniqueInFlow {
        /// The kind of job.
        kind: String,
    },
    /// A schedule's expression or time zone can't be used.
    #[error("the schedule can't be used: {0}")]
    Cron(#[from] crate::CronError),
    /// Only a queue in Postgres can do this.
    #[error("{what} need a queue in Postgres, and this one is kept in {backend}")]
    OnlyPostgres {
        /// Where the queue is.
        backend: &'static str,
        /// What was wanted.
        what: &'static str,
    },
    /// A [`Limit`](crate::Limit)'s numbers make no sense.
    #[error("the limit `{name}` can't be set: {why}")]
    Limit {
        /// What it is called.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A job is [limited by](crate::NewJob::limited_by) something that nobody has set.
    #[error(
        "there is no limit `{name}`: call `set_limit` before jobs are limited by it, or correct its name"
    )]
    NoSuchLimit {
        /// What it would be called.
        name: String,
    },
    /// A key of a job is too long to be indexed, or has a NUL character, which Postgres does not store.
    #[error("the {what} of a `{kind}` job has more than {max} bytes or a NUL character: use a hash of it")]
    Key {
        /// The kind of job.
        kind: String,
        /// Which key.
        what: &'static str,
        /// How many bytes are allowed.
        max: usize,
    },
    /// A job can't be both: which job runs, and when, would not be certain.
    #[error("a `{kind}` job is {what}, and can't be {part} at the same time: let one of them go")]
    Together {
        /// The kind of job.
        kind: String,
        /// What it is.
        what: &'static str,
        /// What it can't be besides.
        part: &'static str,
    },
    /// Jobs were to be added to a [`Batch`](crate::Batch) that has ended or was cancelled, or that is not there.
    #[error(
        "batch {batch} takes no more jobs: it has ended, was cancelled, or is not there; keep it open until all are added"
    )]
    BatchOver {
        /// The batch.
        batch: i64,
    },
    /// The worker's lease on the job is gone: another worker has it, or will. Roll back; nothing was completed.
    #[error("the lease on job {job} is gone: the worker was taken for dead and the job went to another one")]
    Fenced {
        /// The job that was leased.
        job: i64,
    },
    /// The worker was taken for dead by the others, and may claim nothing under this identity. Workers go on under a new one by themselves.
    #[error(
        "the worker {worker} was taken for dead: its jobs went to other workers, and it can claim no more of them under this identity"
    )]
    Dismissed {
        /// The identity that was given up.
        worker: Uuid,
    },
    /// The file of a queue that is kept in one could not be read or written, or is damaged.
    #[error("the queue's file {} failed: {source}", path.display())]
    Log {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The storage did not answer in time; what was asked for may have happened or not.
    #[error("no answer from `{backend}` within {within:?}")]
    NoAnswer {
        /// Where the queue is.
        backend: &'static str,
        /// The deadline.
        within: Duration,
    },
    /// The transactional API was called on a queue that is not in the transaction's database.
    #[error(
        "a queue on `{backend}` can't take part in a Postgres transaction: call `{instead}`, and make the work idempotent; or keep the queue in that database (`Queue::new`)"
    )]
    NotTransactional {
        /// Where the queue is.
        backend: &'static str,
        /// What to call on such a queue.
        instead: &'static str,
    },
}

codes! {
    /// The codes of the queue.
    pub static CODES;

    /// The database refused a statement of the queue, or could not be reached.
    pub DATABASE = "QUEUE-0001", Unavailable, "The queue is not available right now" {
        example: "Postgres is being restarted.",
        remedy: "Look at the source of the error and at the health of Postgres. Workers go on by themselves when it is back.",
    }

    /// The queue's tables could not be created or brought up to date.
    pub MIGRATION = "QUEUE-0002", FailedPrecondition, "The queue's tables are not as they should be" {
        example: "The database's user may not create a schema.",
        remedy: "Run the migration as the owner of the database, or grant the user `create` on it. An older program does not start on tables that a newer one has changed.",
    }

    /// A job's arguments could not be turned into JSON, or JSON into the type that the handler wants. A worker tries such a job again, since
    /// a newer one may be able to read it.
    pub ARGUMENTS = "QUEUE-0003", InvalidArgument, "The job's arguments are not what its handler expects" {
        example: "A producer was deployed before the workers, and sends a new field that is an object where they read a text.",
        remedy: "Deploy workers that read both forms before producers that send the new one.",
        retry: Retry::Backoff,
    }

    /// A job's arguments are larger than the queue takes.
    pub ARGUMENTS_TOO_LARGE = "QUEUE-0004", InvalidArgument, "The job's arguments are too large" {
        example: "A picture is enqueued instead of its address.",
        remedy: "Store the data elsewhere, and enqueue a reference to it.",
    }

    /// The worker's lease on a job is gone: it was taken for dead, and the job went to another one. Nothing was completed. What the failure advises changes
    /// nothing then; and should the lease stand after all, the job is tried again and not given up.
    pub FENCED = "QUEUE-0005", Aborted, "Another worker has the job" {
        example: "A worker's machine was suspended for longer than the lease's time.",
        remedy: "Nothing: the other worker does the job. If it is frequent, give workers more time between heartbeats, or look what stalls them.",
        retry: Retry::Backoff,
    }

    /// A text in a job's arguments has a NUL character, which Postgres does not store.
    pub NUL = "QUEUE-0006", InvalidArgument, "A text in the job's arguments has a NUL character" {
        example: "Binary data was put into a text.",
        remedy: "Encode binary data, for example as base64, or remove the character.",
    }

    /// Jobs wait for each other.
    pub CYCLE = "QUEUE-0007", InvalidArgument, "Jobs wait for each other" {
        example: "An import waits for a report, which waits for the import.",
        remedy: "Look at the jobs that the error names, and take away one of the dependencies between them.",
    }

    /// A job that has to be unique is a part of a flow.
    pub UNIQUE_IN_FLOW = "QUEUE-0008", InvalidArgument, "A job of a flow can't be unique" {
        example: "A flow has a job that is enqueued once per day by its key.",
        remedy: "Enqueue the unique job by itself, and let its handler enqueue the flow.",
    }

    /// The expression of a periodic job can't be read or never fires, or its time zone is not known.
    pub CRON = "QUEUE-0020", InvalidArgument, "The schedule's expression or time zone is not valid" {
        example: "A job is scheduled for the 30th of February, or for 24 o'clock.",
        remedy: "The error says which field it is, and what can stand there.",
    }

    /// A worker that was taken for dead wanted to claim jobs. It goes on under a new identity.
    pub DISMISSED = "QUEUE-0021", Aborted, "The worker was taken for dead" {
        example: "A worker's machine was suspended for longer than the lease's time.",
        remedy: "Nothing: the worker registers again. If it is frequent, give workers more time between heartbeats, or look what stalls them.",
        retry: Retry::Backoff,
    }

    /// The file of a queue that is kept in one could not be read or written, or is damaged.
    pub LOG = "QUEUE-0023", Unavailable, "The queue's file is not available" {
        example: "The disk is full, or another process has the queue open.",
        remedy: "Make room, and the queue goes on by itself; end the other process; or restore the file from a copy.",
    }

    /// The transactional API was called on a queue that is not in the transaction's database.
    pub NOT_TRANSACTIONAL = "QUEUE-0022", FailedPrecondition, "The queue can't take part in a transaction" {
        example: "A program that enqueues in its own transaction is started with a queue on Redis.",
        remedy: "Push jobs after the commit, and make the work idempotent; or keep the queue in the application's own Postgres.",
    }

    /// Schedules, lists of jobs, analytics, limits, batches or debounced jobs were asked of a queue that is not in Postgres.
    pub ONLY_POSTGRES = "QUEUE-0024", Unimplemented, "Only a queue in Postgres can do this" {
        example: "A program that has periodic jobs is started with a queue on Redis.",
        remedy: "Keep the queue in Postgres.",
    }

    /// A limit's numbers make no sense.
    pub LIMIT = "QUEUE-0040", InvalidArgument, "The limit's numbers make no sense" {
        example: "A limit of zero jobs at once is set, to stop them all.",
        remedy: "Give it at least one job. To stop jobs, pause their queue or cancel them.",
    }

    /// A job is limited by something that nobody has set.
    pub NO_SUCH_LIMIT = "QUEUE-0041", FailedPrecondition, "There is no such limit" {
        example: "A job is limited by `strpie`, and the limit is called `stripe`.",
        remedy: "Correct the name, or set the limit where the application starts, before jobs are enqueued.",
    }

    /// A key of a job is too long to be indexed, or has a NUL character, which Postgres does not store.
    pub KEY = "QUEUE-0042", InvalidArgument, "A job's key can't be stored" {
        example: "A job is unique by the whole text of a document.",
        remedy: "Use a hash of it as the key.",
    }

    /// A job can't be both of two things.
    pub TOGETHER = "QUEUE-0043", InvalidArgument, "A job can't be both of these" {
        example: "A part of a batch is debounced, so that nobody could say when the batch is over.",
        remedy: "Let one of them go, or enqueue the job from the handler of another one.",
    }

    /// Jobs were to be added to a batch that takes no more.
    pub BATCH_OVER = "QUEUE-0044", FailedPrecondition, "The batch takes no more jobs" {
        example: "A web request adds a job to a batch whose jobs have all ended meanwhile.",
        remedy: "Keep the batch open until all jobs are added, or enqueue another batch.",
    }
}

impl Error {
    /// The code, which stays the same over releases.
    pub fn code(&self) -> &'static Code {
        match self {
            Error::Database(_) | Error::NoAnswer { .. } => &DATABASE,
            #[cfg(feature = "redis")]
            Error::Redis(_) => &DATABASE,
            Error::Log { .. } => &LOG,
            Error::Migration(_) => &MIGRATION,
            Error::Arguments { .. } => &ARGUMENTS,
            Error::ArgumentsTooLarge { .. } => &ARGUMENTS_TOO_LARGE,
            Error::Fenced { .. } => &FENCED,
            Error::Nul { .. } => &NUL,
            Error::Cycle { .. } => &CYCLE,
            Error::UniqueInFlow { .. } => &UNIQUE_IN_FLOW,
            Error::Cron(_) => &CRON,
            Error::OnlyPostgres { .. } => &ONLY_POSTGRES,
            Error::Limit { .. } => &LIMIT,
            Error::NoSuchLimit { .. } => &NO_SUCH_LIMIT,
            Error::Key { .. } => &KEY,
            Error::Together { .. } => &TOGETHER,
            Error::BatchOver { .. } => &BATCH_OVER,
            Error::Dismissed { .. } => &DISMISSED,
            Error::NotTransactional { .. } => &NOT_TRANSACTIONAL,
        }
    }
}

impl Error {
    /// Whether the storage understood what it was asked for and refused it: bad data, a broken constraint, a missing privilege or table. Asking again does not help.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Error::Database(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| ["22", "23", "42"].iter().any(|class| code.starts_with(class))),
            #[cfg(feature = "redis")]
            Error::Redis(error) => {
                use redis::{ErrorKind, ServerErrorKind};
                matches!(
                    error.kind(),
                    ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoPerm)
                )
            }
            _ => false,
        }
    }
}

impl From<Error> for seaworthy_errors::Error {
    #[track_caller]
    fn from(error: Error) -> Self {
        seaworthy_errors::Error::new(error.code()).caused_by(error)
    }
}
