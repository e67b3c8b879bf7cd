//! The consumer's side of the queue: claims jobs, runs their handlers, and stays alive in the eyes of others.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use seaworthy_errors::{Boundary, Retry};
use seaworthy_telemetry::{
    metrics::JobOutcome,
    trace::{Context, Work},
};
use sqlx::{PgPool, types::Uuid};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use crate::{
    Backoff, Done, Error, Failure, LeasedJob, Queue,
    leases::Leases,
    settle::{End, News, settle, within},
    store::{self, Verdict},
};

type Handler =
    Arc<dyn Fn(LeasedJob) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send>> + Send + Sync>;

/// A worker that is being set up.
#[derive(Clone)]
pub struct Worker {
    queue: Queue,
    name: String,
    concurrency: usize,
    heartbeat: Duration,
    lease_timeout: Duration,
    job_timeout: Duration,
    poll: Duration,
    backoff: Backoff,
    handlers: HashMap<String, Handler>,
}

impl Worker {
    /// A worker on the queue `default` that runs up to 16 jobs at once.
    pub fn new(queue: Queue) -> Self {
        Worker {
            queue,
            name: "default".to_owned(),
            concurrency: 16,
            heartbeat: Duration::from_secs(2),
            lease_timeout: Duration::from_secs(10),
            job_timeout: Duration::from_secs(60),
            poll: Duration::from_millis(100),
            backoff: Backoff::default(),
            handlers: HashMap::new(),
        }
    }

    /// Takes jobs from this queue instead.
    pub fn on_queue(mut self, queue: impl Into<String>) -> Self {
        self.name = queue.into();
        self
    }

    /// Runs up to this many jobs at once, between 1 and 10,000.
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.clamp(1, 10_000);
        self
    }

    /// Sends a heartbeat this often (default 2 s), and gives the worker up for dead once none has come for
    /// `lease_timeout` (default 10 s); keep that at three heartbeats or more.
    pub fn heartbeat(mut self, every: Duration, lease_timeout: Duration) -> Self {
        self.heartbeat = every;
        self.lease_timeout = lease_timeout;
        self
    }

    /// Stops a handler after this time (default 60 s) and counts the attempt as failed.
    pub fn job_timeout(mut self, timeout: Duration) -> Self {
        self.job_timeout = timeout;
        self
    }

    /// Looks for work this often when there is none (default 100 ms).
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every;
        self
    }

    /// How long failed jobs wait before they are tried again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Runs this handler for jobs of this kind. A job of a kind without a handler counts as failed: it is retried, so
    /// that a newer worker can take it, and ends in the dead-letter table.
    pub fn handle<F, Fut>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(LeasedJob) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Done, Failure>> + Send + 'static,
    {
        self.handlers.insert(kind.into(), Arc::new(move |job| Box::pin(handler(job))));
        self
    }

    /// Starts the worker. It outlives every failure of the database: it waits and tries again.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(self) -> RunningWorker {
        let stop = watch::Sender::new(None);
        let running = Running {
            pool: self.queue.pool.clone(),
            statement_deadline: (self.lease_timeout / 3).max(Duration::from_millis(100)),
            slots: Arc::new(Semaphore::new(self.concurrency)),
            leases: Leases::default(),
            stop: stop.subscribe(),
            worker: self,
        };
        RunningWorker { stop, task: tokio::spawn(running.run()) }
    }
}

/// A worker at work. Dropping it stops it at once, as a crash would: its jobs are rescued by others. Call
/// [`drain`](Self::drain) for an orderly end.
#[derive(Debug)]
pub struct RunningWorker {
    /// The deadline of the drain, once there is one.
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<bool>,
}

impl RunningWorker {
    /// Claims nothing more, waits for running jobs until the deadline, then stops those that still run and returns them to the
    /// queue. Says whether everything was finished in time.
    pub async fn drain(mut self, deadline: Duration) -> bool {
        /// What recording the last outcomes and signing off may take beyond the deadline.
        const GRACE: Duration = Duration::from_secs(5);
        self.stop.send_replace(Some(Instant::now() + deadline));
        matches!(timeout(deadline + GRACE, &mut self.task).await, Ok(Ok(true)))
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Running {
    worker: Worker,
    pool: PgPool,
    statement_deadline: Duration,
    slots: Arc<Semaphore>,
    leases: Leases,
    stop: watch::Receiver<Option<Instant>>,
}

impl Running {
    /// Works until told to stop, and says whether everything was finished in time.
    async fn run(mut self) -> bool {
        let (news, inbox) = mpsc::channel(self.worker.concurrency * 2);
        // Dropped with this future, so that an abort ends the jobs too.
        let mut jobs = JoinSet::new();
        let mut settling = JoinSet::new();
        settling.spawn(settle(self.pool.clone(), self.statement_deadline, self.leases.clone(), inbox));
        let mut last_id = None;
        while self.stop.borrow().is_none() {
            let id = Uuid::new_v4();
            let register = store::register_worker(&self.pool, id, self.worker.lease_timeout);
            match within(self.statement_deadline, register).await {
                Ok(()) => {
                    last_id = Some(id);
                    self.live_as(id, &news, &mut jobs).await;
                }
                Err(error) => {
                    warn!(%error, "the worker can't register yet");
                    self.pause(self.worker.heartbeat).await;
                }
            }
        }
        // Jobs that still run need heartbeats, or they would be rescued while they finish.
        let mut upkeep = JoinSet::new();
        if let Some(id) = last_id {
            upkeep.spawn(self.heartbeats(id));
        }
        let deadline = self.stop.borrow().unwrap_or_else(Instant::now);
        let finishing = async { while jobs.join_next().await.is_some() {} };
        let finished = timeout_at(deadline, finishing).await.is_ok();
        jobs.shutdown().await;
        drop(news);
        let settled = timeout(self.statement_deadline, settling.join_next()).await.is_ok();
        upkeep.abort_all();
        if let Some(id) = last_id {
            let retire = store::retire_worker(&self.pool, id, self.statement_deadline);
            if let Err(error) = within(self.statement_deadline, retire).await {
                warn!(%error, "the worker could not sign off; it will be taken for dead");
            }
        }
        finished && settled
    }

    /// Claims and runs jobs under one identity, until told to stop or given up by the others.
    async fn live_as(&mut self, id: Uuid, news: &mpsc::Sender<News>, jobs: &mut JoinSet<()>) {
        let mut upkeep = JoinSet::new();
        upkeep.spawn(self.heartbeats(id));
        upkeep.spawn(self.maintenance(id));
        loop {
            let slots = tokio::select! {
                // A worker that was told to stop claims nothing more.
                biased;
                _ = self.stop.wait_for(Option::is_some) => return,
                _ = upkeep.join_next() => return,
                slots = free_slots(&self.slots) => slots,
            };
            while jobs.try_join_next().is_some() {}
            let token = self.leases.open();
            let (name, timeout) = (&self.worker.name, self.worker.job_timeout);
            let claim = store::claim(&self.pool, id, token, name, slots.len(), timeout);
            match within(self.statement_deadline, claim).await {
                Ok(claimed) if claimed.is_empty() => {
                    self.leases.close(token);
                    drop(slots);
                    self.pause(self.worker.poll).await;
                }
                Ok(claimed) => {
                    let _ = news.send(News::Claimed { token, jobs: claimed.len() }).await;
                    for (job, slot) in claimed.into_iter().zip(slots) {
                        jobs.spawn(self.worker.clone().run_job(job, slot, news.clone()));
                    }
                }
                Err(Error::Database(sqlx::Error::Database(error))) if error.is_foreign_key_violation() => {
                    self.leases.close(token);
                    warn!("the worker was taken for dead and starts again under a new identity");
                    return;
                }
                Err(error) => {
                    // The claim may have worked all the same; then the upkeep finds a lease that is not open here.
                    self.leases.close(token);
                    warn!(%error, "jobs can't be claimed");
                    drop(slots);
                    self.pause(self.worker.poll).await;
                }
            }
        }
    }

    /// Says that the worker lives, whatever else it does; ends when others have given it up.
    fn heartbeats(&self, id: Uuid) -> impl Future<Output = ()> + Send + 'static {
        let (pool, heartbeat, deadline) = (self.pool.clone(), self.worker.heartbeat, self.statement_deadline);
        async move {
            /// A beat that failed is repeated sooner.
            const REPEAT: Duration = Duration::from_millis(100);
            loop {
                match within(deadline, store::heartbeat(&pool, id)).await {
                    Ok(true) => sleep(heartbeat).await,
                    Ok(false) => return,
                    Err(error) => {
                        warn!(%error, "a heartbeat failed");
                        sleep(heartbeat.min(REPEAT)).await;
                    }
                }
            }
        }
    }

    /// Makes scheduled jobs ready, rescues the jobs of dead workers, and returns those of claims whose answer got lost. Never
    /// ends by itself.
    fn maintenance(&self, id: Uuid) -> impl Future<Output = ()> + Send + 'static {
        let (pool, worker, deadline) = (self.pool.clone(), self.worker.clone(), self.statement_deadline);
        let leases = self.leases.clone();
        async move {
            // Not at once: after an outage the others' heartbeats must have a chance to come first.
            let mut next_rescue = Instant::now() + worker.heartbeat;
            loop {
                if let Err(error) = within(deadline, store::promote_due(&pool)).await {
                    warn!(%error, "scheduled jobs could not be made ready");
                }
                if Instant::now() >= next_rescue {
                    next_rescue = Instant::now() + worker.heartbeat;
                    match within(deadline, store::rescue_expired(&pool)).await {
                        Ok(0) => {}
                        Ok(jobs) => {
                            info!(jobs, "rescued jobs of workers that died");
                            if let Some(metrics) = &worker.queue.metrics {
                                metrics.queue().ended(&worker.name, "any", JobOutcome::Rescued, jobs);
                            }
                        }
                        Err(error) => warn!(%error, "a look for dead workers failed"),
                    }
                    match within(deadline, leases.release_strays(&pool, id, deadline)).await {
                        Ok(0) => {}
                        Ok(jobs) => info!(jobs, "returned jobs of claims whose answer got lost"),
                        Err(error) => warn!(%error, "a look for lost claims failed"),
                    }
                }
                sleep(worker.poll.min(worker.heartbeat)).await;
            }
        }
    }

    async fn pause(&mut self, pause: Duration) {
        let _ = timeout(pause, self.stop.wait_for(Option::is_some)).await;
    }
}

impl Worker {
    async fn run_job(self, job: LeasedJob, slot: OwnedSemaphorePermit, news: mpsc::Sender<News>) {
        let (token, id, attempt, max_attempts) = (job.token, job.id, job.attempt, job.max_attempts);
        let kind = job.kind.clone();
        let waited = (attempt == 1).then_some(job.age);
        let metrics = self.queue.metrics.as_ref().map(|metrics| metrics.queue());
        let running = metrics.map(|metrics| metrics.running(&self.name, &kind, waited));
        let began = Instant::now();
        let context = job.trace.as_deref().map_or_else(Context::new, Context::from_carrier);
        let trace_id = context.trace_id();
        let result = match self.handlers.get(job.kind()).cloned() {
            None => {
                Err(Failure::retry(format!("this worker has no handler for jobs of kind `{}`", job.kind())))
            }
            Some(handler) => {
                let work = Work::new(format!("job {kind}"), context);
                // A handler's own failure is an outcome; what the boundary makes is a panic, or that it took too long.
                let boundary = Boundary::new("job").deadline(self.job_timeout);
                let run = boundary.run(async move { Ok::<_, seaworthy_errors::Error>(handler(job).await) });
                let ended = async {
                    let result = match run.await {
                        Ok(result) => result,
                        Err(error) => Err(Failure::retry(self.why_it_was_stopped(&error))),
                    };
                    // Within the work, so that the line has the ids of the request.
                    let elapsed_ms = began.elapsed().as_millis() as u64;
                    match &result {
                        Ok(_) => debug!(kind, job = id.0, attempt, elapsed_ms, "a job ended"),
                        Err(failure) => {
                            let error = failure.text.as_str();
                            info!(kind, job = id.0, attempt, max_attempts, elapsed_ms, error, "a job failed");
                        }
                    }
                    result
                };
                work.run(ended).await
            }
        };
        let end = match result {
            Ok(Done { recorded: true }) => End::Recorded,
            Ok(Done { recorded: false }) => End::Done,
            Err(failure) => {
                let verdict = match failure.retry {
                    _ if attempt >= max_attempts => Verdict::Dead,
                    Retry::Never => Verdict::Dead,
                    Retry::Backoff => Verdict::RetryIn(self.backoff.after(attempt)),
                    Retry::After(wait) => Verdict::RetryIn(wait),
                };
                End::Failed { attempt, verdict, error: failure.text }
            }
        };
        if let Some(metrics) = metrics {
            metrics.finished(&self.name, &kind, end.outcome(), began.elapsed(), Some(trace_id));
        }
        drop(running);
        // Only an abort closes the channel before its senders are gone, and then nobody is left to tell.
        let _ = news.send(News::Ended { token, job: id, end }).await;
        drop(slot);
    }

    /// A panic or a handler that took too long, for whoever reads the dead letters.
    fn why_it_was_stopped(&self, error: &seaworthy_errors::Error) -> String {
        match error.sources().next() {
            Some(panic) => format!("{}: the handler {panic}", error.code()),
            None => format!("{}: the handler took longer than {:?}", error.code(), self.job_timeout),
        }
    }
}

/// Waits for a free slot and takes all that are free, rounded down to a power of two: the number becomes part of a
/// statement, and few different statements stay prepared.
async fn free_slots(slots: &Arc<Semaphore>) -> Vec<OwnedSemaphorePermit> {
    /// Jobs that one claim takes at most.
    const MAX_BATCH: usize = 256;
    let Ok(first) = slots.clone().acquire_owned().await else { return Vec::new() };
    let mut taken = vec![first];
    while taken.len() < MAX_BATCH
        && let Ok(slot) = slots.clone().try_acquire_owned()
    {
        taken.push(slot);
    }
    taken.truncate(1 << taken.len().ilog2());
    taken
}
