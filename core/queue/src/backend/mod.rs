//! What the queue needs of the storage that keeps its jobs.
//!
//! Everything above this trait (workers, producers, operators) is the same on every back end: claims ahead of the handlers, batches, heartbeats, retries, and what becomes of an answer
//! that got lost. A back end keeps the state, and does each of these calls **as one**: all of it happens, or nothing.
//!
//! # What every back end promises
//!
//! - **The token is the fence.** A claim puts jobs under a lease with a token that the caller made. Whatever ends such a job says the token, and changes nothing, counters included, once the
//!   lease is gone.
//! - **A record has a number** (`part`) within its lease. What is recorded again under the same number, since the answer to the first try got lost, is recorded once.
//! - **The clock is the storage's**: clocks of workers and producers don't matter.
//! - **A call ends**: with an answer or an error, within the back end's deadline. After an error it may have happened or not.

mod coordination;
mod crew;
mod memory;
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::{any::Any, collections::HashSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use seaworthy_telemetry::metrics::Backlog;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[cfg(feature = "redis")]
pub use self::redis::Redis;
pub use crate::leased::Claimed;
pub use coordination::Coordination;
pub(crate) use coordination::{check, coordination};
pub use memory::{Fsync, Memory};
pub(crate) use postgres::Postgres;

use crate::{
    Error, JobId, NewJob,
    answers::{Cancelled, DeadLetter, Enqueued, Progress, Stats},
    connections::Connections,
};

/// Storage that keeps a queue's jobs; see the [module](self) for what each one promises.
#[async_trait]
pub trait Backend: fmt::Debug + Any + Send + Sync {
    /// What it is called in errors and logs.
    fn name(&self) -> &'static str;

    /// Whether jobs can be enqueued and completed in the caller's own Postgres transactions: what is kept in another place can't become true together with them.
    fn is_transactional(&self) -> bool {
        false
    }

    /// Limits and batches, where there are some. Jobs that are limited or debounced come only to a back end that has them.
    fn coordination(&self) -> Option<&dyn Coordination> {
        None
    }

    /// The same storage for one worker, through connections of its own, on which a call takes this long at most: what handlers do to the application's connections can't keep the worker
    /// from recording what is done, or from saying that it lives.
    fn for_worker(&self, deadline: Duration) -> Arc<dyn Backend>;

    /// How long a call takes at most.
    fn deadline(&self) -> Duration;

    /// Lets connections of [its own](Self::for_worker) go.
    async fn close(&self);

    /// Creates what the queue keeps its jobs in, or brings it up to date. Safe to call from many processes at once.
    async fn migrate(&self) -> Result<(), Error>;

    // ── Producers ──

    /// Enqueues these jobs, of which some wait for others: pairs of places in `jobs`, parent and child, each once and without a circle. Says which numbers they have, in
    /// their order; a job that has to be unique and is there already is not enqueued, and has the number of the one that is there.
    async fn enqueue(&self, jobs: &[NewJob], edges: &[(usize, usize)]) -> Result<Vec<Enqueued>, Error>;

    /// Tells those who [listen](Self::listen), in all processes, that there may be work in these queues.
    async fn notify(&self, queues: &[String]) -> Result<(), Error>;

    // ── A worker lives ──

    /// Enters a worker, which lives for as long as no two heartbeats are further apart than this.
    async fn register_worker(&self, worker: Uuid, lease_timeout: Duration) -> Result<(), Error>;

    /// Keeps for operators from which queues a worker takes jobs, and how many at once. A back end without a list of workers needs not.
    async fn describe_worker(&self, worker: Uuid, queues: &[&str], concurrency: usize) -> Result<(), Error> {
        let _ = (worker, queues, concurrency);
        Ok(())
    }

    /// Says that the worker lives; `false` when others have given it up.
    async fn heartbeat(&self, worker: Uuid) -> Result<bool, Error>;

    /// How many workers there are. Where it says so, they share the upkeep: each looks less often for what all of them look for.
    async fn workers(&self) -> Result<usize, Error> {
        Ok(1)
    }

    /// Signs a worker off, returns what it did not finish, and says how many jobs that were.
    async fn retire_worker(&self, worker: Uuid) -> Result<u64, Error>;

    /// Hears of work.
    async fn listen(&self) -> Result<Box<dyn Listener>, Error>;

    // ── Jobs are claimed ──

    /// Puts jobs that are ready under a lease. None from a queue that is paused, and [`Error::Dismissed`] for a worker that was given up.
    async fn claim(&self, claim: Claim<'_>) -> Result<ClaimedBatch, Error>;

    /// Returns jobs of one lease that were not begun, in this part of its history; the attempt does not count. Nothing happens when the lease is gone.
    async fn give_back(&self, part: i16, jobs: &[Claimed]) -> Result<(), Error>;

    /// The leases that the storage has for a worker.
    async fn leases_of(&self, worker: Uuid) -> Result<Vec<Uuid>, Error>;

    /// Returns the jobs of leases that nobody works on, claims whose answer got lost, and says how many. The attempt does not count.
    async fn release(&self, tokens: &[Uuid]) -> Result<u64, Error>;

    // ── Jobs end ──

    /// Completes jobs of leases whose work is done, and says which of the leases still stood, or had this record already.
    async fn complete(&self, done: &[Completed]) -> Result<HashSet<Uuid>, Error>;

    /// Records how attempts of one lease ended, unless the lease is gone; and not of jobs that were completed after all. Says how many were recorded.
    async fn end_unfinished(&self, all: &[Unfinished]) -> Result<usize, Error>;

    /// Forgets a lease whose jobs are all settled, and says how many were not: those go back to the queue.
    async fn close_lease(&self, token: Uuid) -> Result<u64, Error>;

    /// Keeps how far a job is.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when the lease is gone.
    async fn tell_progress(&self, token: Uuid, job: JobId, progress: &Progress) -> Result<(), Error>;

    // ── Upkeep, which every worker does ──

    /// Makes ready what can run by now, and says how many jobs that were, some thousand at most: scheduled jobs that are due, and what [coordination](Self::coordination) makes possible.
    async fn promote_due(&self) -> Result<u64, Error>;

    /// Returns the jobs of workers whose heartbeats stopped, forgets those workers, and says how many jobs that were.
    async fn rescue_expired(&self) -> Result<u64, Error>;

    /// The jobs that this worker has and that somebody wants to be stopped.
    async fn cancelled_on(&self, worker: Uuid) -> Result<Vec<JobId>, Error>;

    // ── Operators ──

    /// Cancels a job that no worker has, with what waits for it, or asks the worker that has it to stop it.
    async fn cancel(&self, job: JobId) -> Result<Cancelled, Error>;

    /// How far a job is.
    async fn progress(&self, job: JobId) -> Result<Option<Progress>, Error>;

    /// What a job's handler has left, as JSON text.
    async fn result(&self, job: JobId) -> Result<Option<String>, Error>;

    /// Lets nothing be claimed from this queue. Says whether it was not paused before.
    async fn pause(&self, queue: &str) -> Result<bool, Error>;

    /// Lets jobs be claimed from this queue again. Says whether it was paused before.
    async fn resume(&self, queue: &str) -> Result<bool, Error>;

    /// What waits in a queue, cheaply; numbers above 10,000 may be cut off there.
    async fn backlog(&self, queue: &str) -> Result<Backlog, Error>;

    /// How many jobs of these queues can be claimed, and for how long the oldest of them has waited: what a worker that scales itself asks each second.
    async fn pressure(&self, queues: &[&str]) -> Result<(u64, Duration), Error> {
        let (mut ready, mut oldest) = (0, Duration::ZERO);
        for queue in queues {
            let backlog = self.backlog(queue).await?;
            ready += backlog.ready;
            oldest = oldest.max(backlog.oldest);
        }
        Ok((ready, oldest))
    }

    /// How many jobs are where.
    async fn stats(&self) -> Result<Stats, Error>;

    /// The newest dead letters of a kind, or of all kinds.
    async fn dead_letters(&self, kind: Option<&str>, limit: i64) -> Result<Vec<DeadLetter>, Error>;

    /// Enqueues new jobs in the place of these dead letters, and says which became which. What waited for the old ones waits for the new ones.
    async fn replay(&self, dead: &[JobId]) -> Result<Vec<(JobId, JobId)>, Error>;

    /// Forgets these dead letters, cancels what waited for them, and says how many there were.
    async fn purge(&self, dead: &[JobId]) -> Result<u64, Error>;
}

/// The connections of a queue that is kept in Postgres, for what only that can do.
pub(crate) fn connections<'a>(
    backend: &'a (dyn Backend + 'static),
    what: &'static str,
) -> Result<&'a Connections, Error> {
    let any: &dyn Any = backend;
    let postgres = any.downcast_ref::<Postgres>();
    postgres.map(Postgres::connections).ok_or_else(|| Error::OnlyPostgres { backend: backend.name(), what })
}

/// Hears that there is work.
#[async_trait]
pub trait Listener: Send {
    /// Waits until there may be work in a queue, and names it. An error means that what comes now may not be heard: listen again, and look.
    async fn next(&mut self) -> Result<String, Error>;
}

/// What a worker asks for.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who asks.
    pub worker: Uuid,
    /// A new one: the fence around what is claimed.
    pub token: Uuid,
    /// From where.
    pub queue: &'a Arc<str>,
    /// How many at most; a power of two, so that a back end has few different statements to prepare.
    pub limit: usize,
    /// Jobs of lower ranks may be left for another time: those that were claimed before are there, and slow to pass on some storage.
    pub from: i64,
}

/// What a claim got.
#[derive(Debug, Default)]
pub struct ClaimedBatch {
    /// The jobs, the most urgent one first.
    pub jobs: Vec<Claimed>,
    /// The rank of the first one, from which the next claim may look.
    pub first_rank: Option<i64>,
}

/// Jobs of one lease whose work is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Completed {
    /// The lease.
    pub token: Uuid,
    /// The number of this record in it.
    pub part: i16,
    /// Whether nothing is left of the lease then.
    pub is_over: bool,
    /// The jobs' numbers.
    pub jobs: Vec<i64>,
    /// How long the handler of each took, in seconds.
    pub ran: Vec<f32>,
    /// What is so of any of the jobs.
    pub flags: i16,
    /// What their handlers left, as JSON text.
    pub results: Vec<(i64, String)>,
}

/// A job whose work was not done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unfinished {
    /// The lease.
    pub token: Uuid,
    /// The number of this record in it.
    pub part: i16,
    /// The job's number.
    pub job: JobId,
    /// The attempt that ended.
    pub attempt: i16,
    /// As it was [claimed](Claimed::flags).
    pub flags: i16,
    /// What becomes of it.
    pub ending: Ending,
    /// Why.
    pub why: String,
    /// How long its handler took, in seconds, if one ran.
    pub ran: Option<f32>,
}

/// How an attempt ended that did not do the job's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It is tried again after this time.
    RetryIn(Duration),
    /// It is given back, and can be claimed after this time: the attempt does not count.
    ReturnIn(Duration),
    /// It is given up, and becomes a dead letter.
    Dead,
    /// Somebody wanted it to be stopped.
    Cancelled,
    /// It was not begun in time.
    Expired,
}
