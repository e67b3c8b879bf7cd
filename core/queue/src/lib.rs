//! A job queue on Postgres: enqueue in your own transaction, run at least once, take effect exactly once.
//!
//! - A job is enqueued **inside the caller's transaction**: it exists if and only if what it belongs to does. Thousands take one statement.
//! - It may run [later](NewJob::run_in), [not too late](NewJob::expires_in), [once at a time](Unique), before [less urgent](NewJob::priority) ones, and after
//!   [others](Flow). It can be [cancelled](Queue::cancel), also while it runs, tell its [progress](LeasedJob::progress), and leave a [result](LeasedJob::done_with).
//! - Workers claim jobs in batches under a lease. A worker that dies is noticed by its missing heartbeats, and
//!   its unfinished jobs go back to the queue.
//! - **Every completion is fenced**: a worker that was given up and comes back changes nothing. A handler that
//!   writes to the same database calls [`LeasedJob::complete_in_tx`], and its effect happens exactly once.
//! - [Periodic jobs](Schedule) are enqueued exactly once per occurrence, in [time zones](Cron) and over changes of the clock, by one leader among the workers, which also [forgets](Retention) what is old.
//! - Arguments have [versions](Job::VERSION), so that old and new workers and producers work side by side.
//! - Operators [list](Queue::jobs) jobs, read a job's whole [story](Queue::job), and [see](Queue::analytics) what happened; a worker has a [health check](RunningWorker::check), may [scale](Worker::scale) itself, and a
//!   queue says how many workers it [wants](Queue::demand).
//! - Failed jobs are retried after a [`Backoff`], and end as dead letters, which can be [replayed](Queue::replay) or [purged](Queue::purge).
//! - Of what can't be had without end, a [`Limit`] lets so many jobs through at once, and so many in some time, [for each key](NewJob::limited_by) and over all workers. A [`Batch`] knows how far its jobs
//!   are, and what is to be done when they are over. A [`Debounce`]d job waits until it is quiet around its key.
//! - Failed jobs are retried after a [`Backoff`], which may depend on their [kind](Worker::backoff_of) and on the [error](Backoff::when), and end as dead letters, which can be [replayed](Queue::replay) or [purged](Queue::purge).
//!
//! ```no_run
//! use seaworthy_queue::{NewJob, Queue, Worker};
//! # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! let queue = Queue::new(pool.clone());
//! queue.migrate().await?;
//!
//! // The producer: the order and its fulfilment are written together or not at all.
//! let mut tx = pool.begin().await?;
//! sqlx::query("insert into orders (id) values (42)").execute(&mut *tx).await?;
//! queue.enqueue(&mut tx, &NewJob::new("fulfil", &42)?).await?;
//! tx.commit().await?;
//!
//! // The worker: recording the fulfilment completes the job.
//! let worker = Worker::new(queue).concurrency(8).handle("fulfil", move |job| {
//!     let pool = pool.clone();
//!     async move {
//!         let order: i64 = job.args()?;
//!         let mut tx = pool.begin().await?;
//!         sqlx::query("insert into fulfilment (order_id) values ($1)").bind(order).execute(&mut *tx).await?;
//!         let done = job.complete_in_tx(&mut tx).await?;
//!         tx.commit().await?;
//!         Ok(done)
//!     }
//! }).start();
//! worker.drain(std::time::Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where jobs are kept
//!
//! In the application's Postgres, as above; or, without its transactions, [in memory](Queue::in_memory), [in a file](backend::Memory::open), or in Redis (the feature `redis`). See [`backend`].
//!
//! # The data model on Postgres
//!
//! Everything lives in the schema `seaworthy_queue`. A `job` row never changes. `ready` holds what can be
//! claimed, `scheduled` what becomes ready later, `blocked` what waits for other jobs, `gated` what waits for a limit, `draft` what is not a job yet, `dead_letter` what was given up. A claim moves a batch of rows
//! from `ready` into one `lease_batch` row, whose random token is the fence; what became of the batch's jobs is
//! appended to `done_batch`. Heartbeats touch only the worker's own row.
//!
//! A worker claims ahead of its handlers what they will have begun within some 50 ms, and records what they have done by the hundred: jobs that take no time cost a few microseconds each, and of
//! those that take long, a worker holds no more than it runs. It has connections of its own, on which whatever did not end well is not used again.

mod analytics;
mod answers;
pub mod backend;
mod backoff;
mod batch;
mod connections;
mod cron;
mod debounce;
pub mod error;
mod failure;
mod failures;
mod flow;
mod job;
mod leased;
mod leases;
mod limit;
mod listing;
mod notifier;
mod queue;
mod retention;
mod schedule;
mod store;
mod transactional;
mod worker;

pub use analytics::{Analytics, Capacity, Demand, KindAnalytics, Quantiles};
pub use answers::{Cancelled, DeadLetter, Enqueued, Progress, Stats};
pub use backoff::Backoff;
pub use batch::{Batch, BatchId, BatchProgress};
pub use cron::{Cron, CronError};
pub use debounce::Debounce;
pub use error::{CODES, Error};
pub use failure::Failure;
pub use failures::FailedAttempt;
pub use flow::{Flow, Step};
pub use job::{Job, JobId, NewJob, Unique};
pub use leased::{Done, LeasedJob};
pub use limit::{AtLimit, Limit};
pub use listing::{Attempt, JobFilter, JobPage, JobState, JobStory, JobSummary, QueueInfo, WorkerInfo};
pub use queue::Queue;
pub use retention::Retention;
pub use schedule::{Missed, Schedule, Scheduled};
pub use worker::{RunningWorker, Worker};
