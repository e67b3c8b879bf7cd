//! Jobs in this process alone, for tests and tools; if wanted, with a log in a file that survives it.

mod change;
mod counting;
mod ends;
mod log;
mod state;

use std::{
    collections::HashSet,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use seaworthy_telemetry::metrics::Backlog;
use tokio::{sync::broadcast, task::spawn_blocking, time::timeout};
use uuid::Uuid;

pub use log::Fsync;

use self::{change::Entry, ends::Interrupted, log::Log, state::State};
use super::{Backend, Claim, Claimed, ClaimedBatch, Completed, Listener, Unfinished};
use crate::{
    Error, JobId, NewJob, Queue,
    answers::{Cancelled, DeadLetter, Enqueued, Progress, Stats},
    job::microseconds,
};

/// How long the disk may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Names of queues that a listener may be behind.
const UNHEARD: usize = 1_024;

/// Jobs in this process alone: the same promises as on Postgres, for as long as the process lives, and no transactions. Clones are the same queue.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_queue::{NewJob, Queue, Worker, backend::Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), seaworthy_queue::Error> {
/// let memory = Memory::new();
/// let queue = Queue::on(memory.clone());
/// let tomorrow = Duration::from_secs(86_400);
/// let job = queue.push(&NewJob::new("greet", &"Ada")?.run_in(tomorrow)).await?;
/// memory.advance(tomorrow);
/// queue.promote_due().await?;
/// assert_eq!(queue.stats().await?.ready, 1);
/// # Ok(())
/// # }
/// ```
///
/// What is over is forgotten, except for the results and the progress of the last 10,000 jobs.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
    deadline: Duration,
}

struct Inner {
    kept: Mutex<Kept>,
    wakes: broadcast::Sender<String>,
}

struct Kept {
    state: State,
    log: Option<Log>,
    /// By how much the clock was put forward.
    ahead: Duration,
}

impl Memory {
    /// Without jobs.
    pub fn new() -> Self {
        Memory::of(State::default(), None)
    }

    /// With the jobs that this file has, which is made if it is not there. It is a log, one JSON document a line, of what happened to them; a last line that was not written to its end is
    /// left out. One process at a time can have it open. Jobs that were running when the last one died go back to the queue, and that attempt counts.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] when the file can't be read or written, is damaged, or belongs to another process.
    pub fn open(path: impl AsRef<Path>, sync: Fsync) -> Result<Self, Error> {
        let (state, log) = Log::open(path.as_ref(), sync)?;
        let memory = Memory::of(state, Some(log));
        let (_, pending) =
            memory.change(|state| state.dismiss_all("the worker's process ended", |_| true))?;
        pending.map_or(Ok(()), log::Pending::wait)?;
        Ok(memory)
    }

    fn of(state: State, log: Option<Log>) -> Self {
        let kept = Mutex::new(Kept { state, log, ahead: Duration::ZERO });
        let inner = Inner { kept, wakes: broadcast::Sender::new(UNHEARD) };
        Memory { inner: Arc::new(inner), deadline: DEADLINE }
    }

    /// Puts the queue's clock forward, for tests of what happens later: what is scheduled becomes due, keys and jobs expire, and workers that don't beat seem dead.
    pub fn advance(&self, time: Duration) {
        self.kept().ahead += time;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call, all of it or nothing, at the time that the clock has now.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<(T, Option<log::Pending>), Error> {
        let mut kept = self.kept();
        let Kept { state, log, ahead } = &mut *kept;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + *ahead;
        // A clock that is put back must not undo what has become due.
        state.now = state.now.max(microseconds(now));
        let answer = change(state);
        let pending = match log {
            Some(log) => log.write(state)?,
            None => {
                state.changes.clear();
                None
            }
        };
        Ok((answer, pending))
    }

    async fn run<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let (answer, pending) = self.change(change)?;
        if let Some(pending) = pending {
            let synced = timeout(self.deadline, spawn_blocking(move || pending.wait())).await;
            let no_answer = Error::NoAnswer { backend: self.name(), within: self.deadline };
            // A task that is gone means that the runtime is being shut down.
            synced.map_or(Err(no_answer), |synced| synced.unwrap_or(Ok(())))?;
        }
        Ok(answer)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Queue {
    /// A queue in this process alone, for tests and tools: see [`Memory`].
    pub fn in_memory() -> Self {
        Queue::on(Memory::new())
    }
}

#[async_trait]
impl Backend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn for_worker(&self, deadline: Duration) -> Arc<dyn Backend> {
        Arc::new(Memory { inner: self.inner.clone(), deadline })
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn close(&self) {}

    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn enqueue(&self, jobs: &[NewJob], edges: &[(usize, usize)]) -> Result<Vec<Enqueued>, Error> {
        let entries: Vec<Entry> = jobs.iter().map(Entry::from).collect();
        self.run(|state| state.enqueue(&entries, edges)).await
    }

    async fn notify(&self, queues: &[String]) -> Result<(), Error> {
        for queue in queues {
            // Nobody may be listening.
            let _ = self.inner.wakes.send(queue.clone());
        }
        Ok(())
    }

    async fn register_worker(&self, worker: Uuid, lease_timeout: Duration) -> Result<(), Error> {
        self.run(|state| state.register(worker, lease_timeout)).await
    }

    async fn heartbeat(&self, worker: Uuid) -> Result<bool, Error> {
        self.run(|state| state.heartbeat(worker)).await
    }

    async fn retire_worker(&self, worker: Uuid) -> Result<u64, Error> {
        self.run(|state| state.dismiss(worker, "the worker signed off")).await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>, Error> {
        Ok(Box::new(Hearing {
            wakes: self.inner.wakes.subscribe(),
            backend: self.name(),
            deadline: self.deadline,
        }))
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<ClaimedBatch, Error> {
        self.run(|state| state.claim(claim)).await?
    }

    async fn give_back(&self, part: i16, jobs: &[Claimed]) -> Result<(), Error> {
        let Some(token) = jobs.first().map(|job| job.token) else { return Ok(()) };
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        self.run(|state| state.give_back(token, part, &ids)).await
    }

    async fn leases_of(&self, worker: Uuid) -> Result<Vec<Uuid>, Error> {
        self.run(|state| {
            let of_worker = state.leases.iter().filter(|(_, lease)| lease.worker == worker);
            of_worker.map(|(token, _)| *token).collect()
        })
        .await
    }

    async fn release(&self, tokens: &[Uuid]) -> Result<u64, Error> {
        let why = "the answer to the claim got lost";
        self.run(|state| state.take_back(tokens, Interrupted::NotStarted, why)).await
    }

    async fn complete(&self, done: &[Completed]) -> Result<HashSet<Uuid>, Error> {
        self.run(|state| state.complete(done)).await
    }

    async fn end_unfinished(&self, all: &[Unfinished]) -> Result<usize, Error> {
        self.run(|state| state.end_unfinished(all)).await
    }

    async fn close_lease(&self, token: Uuid) -> Result<u64, Error> {
        let why = "the handler said that the job was done, and its end was not recorded";
        self.run(|state| state.take_back(&[token], Interrupted::Running, why)).await
    }

    async fn tell_progress(&self, token: Uuid, job: JobId, progress: &Progress) -> Result<(), Error> {
        self.run(|state| state.tell_progress(token, job, progress)).await?
    }

    async fn promote_due(&self) -> Result<u64, Error> {
        self.run(State::promote_due).await
    }

    async fn rescue_expired(&self) -> Result<u64, Error> {
        self.run(|state| {
            let now = state.now;
            state.dismiss_all("the worker died", |alive| alive.beat_at + alive.lease_timeout < now)
        })
        .await
    }

    async fn cancelled_on(&self, worker: Uuid) -> Result<Vec<JobId>, Error> {
        self.run(|state| state.cancelled_on(worker)).await
    }

    async fn cancel(&self, job: JobId) -> Result<Cancelled, Error> {
        self.run(|state| state.cancel(job)).await
    }

    async fn progress(&self, job: JobId) -> Result<Option<Progress>, Error> {
        self.run(|state| state.progress.get(&job.0).cloned()).await
    }

    async fn result(&self, job: JobId) -> Result<Option<String>, Error> {
        self.run(|state| state.results.get(&job.0).cloned()).await
    }

    async fn pause(&self, queue: &str) -> Result<bool, Error> {
        self.run(|state| state.pause(queue)).await
    }

    async fn resume(&self, queue: &str) -> Result<bool, Error> {
        self.run(|state| state.resume(queue)).await
    }

    async fn backlog(&self, queue: &str) -> Result<Backlog, Error> {
        self.run(|state| state.backlog(queue)).await
    }

    async fn stats(&self) -> Result<Stats, Error> {
        self.run(|state| state.stats()).await
    }

    async fn dead_letters(&self, kind: Option<&str>, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        self.run(|state| state.dead_letters(kind, limit)).await?
    }

    async fn replay(&self, dead: &[JobId]) -> Result<Vec<(JobId, JobId)>, Error> {
        self.run(|state| state.replay(dead)).await
    }

    async fn purge(&self, dead: &[JobId]) -> Result<u64, Error> {
        self.run(|state| state.purge(dead)).await
    }
}

struct Hearing {
    wakes: broadcast::Receiver<String>,
    backend: &'static str,
    deadline: Duration,
}

#[async_trait]
impl Listener for Hearing {
    async fn next(&mut self) -> Result<String, Error> {
        // It was too slow, or the queue is gone: it has to look, and listen again.
        let (backend, within) = (self.backend, self.deadline);
        self.wakes.recv().await.map_err(|_| Error::NoAnswer { backend, within })
    }
}
