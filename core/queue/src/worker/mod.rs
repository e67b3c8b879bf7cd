//! The consumer's side of the queue: claims jobs, runs their handlers, and stays alive in the eyes of others.

mod dispatch;
mod lead;
mod life;
mod prefetch;
mod run_job;
mod scaling;
mod settle;
mod upkeep;
mod vitals;

use std::{collections::HashMap, future::Future, ops::RangeInclusive, pin::Pin, sync::Arc, time::Duration};

use seaworthy_telemetry::health::Check;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use self::{scaling::Bounds, vitals::Vitals};
use crate::{Backoff, Done, Failure, Job, LeasedJob, Queue, Retention};

type Handler =
    Arc<dyn Fn(LeasedJob) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send>> + Send + Sync>;

/// A worker that is being set up.
///
/// Workers of a queue in one process work through up to 16 connections of their own for every 128 of them, to the database of the queue's pool, whatever their concurrency; one alone uses up to seven. Handlers that use
/// up the pool can't keep a worker from recording what they did, or from saying that it lives.
#[derive(Clone)]
pub struct Worker {
    queue: Queue,
    /// With their weights.
    queues: Vec<(Arc<str>, u32)>,
    concurrency: usize,
    heartbeat: Duration,
    lease_timeout: Duration,
    job_timeout: Duration,
    poll: Duration,
    backoff: Backoff,
    backoffs: HashMap<String, Backoff>,
    handlers: HashMap<String, Handler>,
    retention: Retention,
    scaling: Option<Bounds>,
    vitals: Arc<Vitals>,
}

impl Worker {
    /// A worker on the queue `default` that runs up to 16 jobs at once.
    pub fn new(queue: Queue) -> Self {
        Worker {
            queue,
            queues: vec![("default".into(), 1)],
            concurrency: 16,
            heartbeat: Duration::from_secs(2),
            lease_timeout: Duration::from_secs(10),
            job_timeout: Duration::from_secs(60),
            poll: Duration::from_millis(100),
            backoff: Backoff::default(),
            backoffs: HashMap::new(),
            handlers: HashMap::new(),
            retention: Retention::default(),
            scaling: None,
            vitals: Arc::default(),
        }
    }

    /// Takes jobs from this queue instead.
    pub fn on_queue(self, queue: impl Into<String>) -> Self {
        self.on_queues([(queue, 1)])
    }

    /// Takes jobs from these queues instead, each with a weight: while all of them have work, one of weight 3 is looked at three times as often as one of weight 1. A weight of zero counts as one.
    pub fn on_queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = (Q, u32)>) -> Self {
        self.queues =
            queues.into_iter().map(|(queue, weight)| (queue.into().into(), weight.max(1))).collect();
        self
    }

    /// Runs up to this many jobs at once, between 1 and 10,000.
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.clamp(1, 10_000);
        self.scaling = None;
        self
    }

    /// Decides itself how many jobs it runs at once, within these bounds, of which both are between 1 and 10,000: more as soon as all slots are taken and the oldest job in its queues has waited for more than two
    /// seconds, up to twice as many each second; fewer, a quarter at a time, after ten seconds in which half of the slots were enough. It suits handlers that wait for others; those that use up a processor are not
    /// faster when more of them run.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use seaworthy_queue::{Queue, Worker};
    /// # fn example(queue: Queue) {
    /// let worker = Worker::new(queue).scale(4..=64).scale_above(Duration::from_secs(10));
    /// # }
    /// ```
    pub fn scale(mut self, jobs: RangeInclusive<usize>) -> Self {
        let bounds = Bounds::new(jobs);
        self.concurrency = bounds.least;
        self.scaling = Some(bounds);
        self
    }

    /// Runs more jobs at once when the oldest one has waited for longer than this; after [`scale`](Self::scale).
    pub fn scale_above(mut self, age: Duration) -> Self {
        if let Some(bounds) = &mut self.scaling {
            bounds.age = age;
        }
        self
    }

    /// How long what is over is kept, if this worker is the one that leads: a week, and dead letters for ever, unless said otherwise.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
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

    /// Looks for work this often when there is none (default 100 ms), unless somebody [wakes](Queue::wake) it.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every;
        self
    }

    /// How long failed jobs wait before they are tried again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long failed jobs of this kind wait before they are tried again, other than those of other kinds.
    pub fn backoff_of(mut self, kind: impl Into<String>, backoff: Backoff) -> Self {
        self.backoffs.insert(kind.into(), backoff);
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

    /// Runs this handler for jobs of this type, whatever [version](Job::VERSION) their arguments have: those of a newer one are given back for a newer worker, and those that can't be read end in the
    /// dead-letter table at once.
    ///
    /// ```no_run
    /// use seaworthy_queue::{Job, Queue, Worker};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Greet {
    ///     name: String,
    /// }
    ///
    /// impl Job for Greet {
    ///     const KIND: &str = "greet";
    /// }
    ///
    /// # fn example(queue: Queue) {
    /// let worker = Worker::new(queue).handle_job(|greet: Greet, job| async move {
    ///     println!("hello {}", greet.name);
    ///     Ok(job.done())
    /// });
    /// # }
    /// ```
    pub fn handle_job<J, F, Fut>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, LeasedJob) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Done, Failure>> + Send + 'static,
    {
        self.handle(J::KIND, move |job| {
            let running = job.read::<J>().map(|args| handler(args, job));
            async move { running?.await }
        })
    }

    /// Starts the worker. It outlives every failure of the database: it waits and tries again.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(mut self) -> RunningWorker {
        let stop = watch::Sender::new(None);
        // Clones of one worker may be started, and each has its own.
        self.vitals = Arc::default();
        self.vitals.has_slots(self.concurrency);
        let running = Ends(self.vitals.clone());
        let (lease_timeout, poll) = (self.lease_timeout, self.poll);
        let run = dispatch::run(self, stop.subscribe());
        let vitals = running.0.clone();
        let task = tokio::spawn(async move {
            let _running = running;
            run.await
        });
        RunningWorker { stop, task, vitals, lease_timeout, poll }
    }

    /// A statement may take so long before it is given up.
    fn statement_deadline(&self) -> Duration {
        (self.lease_timeout / 3).max(Duration::from_millis(100))
    }
}

/// A worker at work. Dropping it stops it at once, as a crash would: its jobs are rescued by others. Call
/// [`drain`](Self::drain) for an orderly end.
#[derive(Debug)]
pub struct RunningWorker {
    /// The deadline of the drain, once there is one.
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<bool>,
    vitals: Arc<Vitals>,
    lease_timeout: Duration,
    poll: Duration,
}

/// Takes note when a worker's task ends, however it does.
struct Ends(Arc<Vitals>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ends();
    }
}

impl RunningWorker {
    /// A health check of this worker. It fails when others may have taken the worker's jobs, since the database has heard nothing of it for the time of a lease, and when it has stopped; it warns when a heartbeat is
    /// late, and when jobs can't be claimed. It asks nothing of the database itself, and may outlive the worker.
    ///
    /// ```no_run
    /// # use seaworthy_queue::{Queue, Worker};
    /// use seaworthy_telemetry::health::Health;
    ///
    /// # fn example(queue: Queue) {
    /// let worker = Worker::new(queue).start();
    /// let health = Health::builder("mailer").check("worker", worker.check()).build();
    /// # }
    /// ```
    pub fn check(&self) -> impl Check + use<> {
        let (vitals, lease_timeout, poll) = (self.vitals.clone(), self.lease_timeout, self.poll);
        move || {
            let outcome = vitals.outcome(lease_timeout, poll);
            async move { outcome }
        }
    }

    /// Whether it does what one worker does for all, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.vitals.is_leader()
    }

    /// How many jobs it runs at once, at most: what it was given, or [decided](Worker::scale) itself.
    pub fn concurrency(&self) -> usize {
        self.vitals.slots()
    }

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
