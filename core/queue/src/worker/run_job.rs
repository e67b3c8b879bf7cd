//! Runs a job's handler, and says how that ended.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use seaworthy_errors::{Boundary, Retry};
use seaworthy_telemetry::metrics::JobOutcome;
use seaworthy_telemetry::trace::{Context, Work};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};
use tracing::{debug, info};

use super::{Worker, life::Life, settle::Outbox};
use crate::{
    Done, Failure, JobId, LeasedJob,
    backend::{Backend, Claimed, Completed, Ending, Unfinished},
    leased::Holder,
    store::flag,
};

/// What the jobs of a worker share.
pub(super) struct Runner {
    worker: Arc<Worker>,
    holder: Arc<Holder>,
    outbox: Outbox,
    /// Jobs that somebody wants to be stopped.
    cancelled: watch::Sender<HashSet<JobId>>,
    finished: AtomicU64,
    /// What their handlers took, in microseconds.
    ran: AtomicU64,
    life: Life,
}

impl Runner {
    pub(super) fn new(worker: Arc<Worker>, backend: Arc<dyn Backend>, outbox: Outbox) -> Self {
        let holder = Arc::new(Holder { backend, timeout: worker.job_timeout });
        Runner {
            worker,
            holder,
            outbox,
            cancelled: watch::Sender::default(),
            finished: AtomicU64::new(0),
            ran: AtomicU64::new(0),
            life: Life::default(),
        }
    }

    /// Handlers that have come to an end, in all.
    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// What they took, in all.
    pub(super) fn ran(&self) -> Duration {
        Duration::from_micros(self.ran.load(Ordering::Relaxed))
    }

    /// For how long the worker's leases stand.
    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Stops these jobs, if they run here.
    pub(super) fn cancel(&self, jobs: HashSet<JobId>) {
        self.cancelled.send_if_modified(|old| {
            let is_new = *old != jobs;
            *old = jobs;
            is_new
        });
    }

    pub(super) async fn run(self: Arc<Self>, job: Claimed, slot: OwnedSemaphorePermit) {
        let (token, id, attempt, flags) = (job.token, job.id, job.attempt, job.flags);
        let unfinished =
            |ending, why, ran| Unfinished { token, part: 0, job: id, attempt, flags, ending, why, ran };
        let began = Instant::now();
        let mut took = Duration::ZERO;
        let ended = if job.is_expired {
            Err(unfinished(Ending::Expired, "it was not begun in time".to_owned(), None))
        } else {
            let result = self.handle(job).await;
            took = began.elapsed();
            self.ran.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
            result.map_err(|(ending, why)| unfinished(ending, why, Some(took.as_secs_f32())))
        };
        self.finished.fetch_add(1, Ordering::Relaxed);
        match ended {
            Ok(Done { recorded: true, .. }) => self.outbox.recorded(token).await,
            Ok(Done { recorded: false, result }) => {
                let results = result.map(|result| (id.0, result)).into_iter().collect();
                let done = Completed {
                    token,
                    part: 0,
                    is_over: false,
                    jobs: vec![id.0],
                    ran: vec![took.as_secs_f32()],
                    flags,
                    results,
                };
                self.outbox.done(done).await;
            }
            Err(unfinished) => self.outbox.unfinished(unfinished).await,
        }
        drop(slot);
    }

    async fn handle(&self, job: Claimed) -> Result<Done, (Ending, String)> {
        let (id, attempt, max_attempts) = (job.id, job.attempt, job.max_attempts);
        let (queue, kind) = (job.queue.clone(), job.kind.clone());
        let is_limited = job.flags & flag::LIMITED != 0;
        let waited = (attempt == 1).then_some(job.age);
        let metrics = self.worker.queue.metrics.as_ref().map(|metrics| metrics.queue());
        let running = metrics.map(|metrics| metrics.running(&queue, &kind, waited));
        let began = Instant::now();
        let context = job.trace.as_deref().map_or_else(Context::new, Context::from_carrier);
        let trace_id = metrics.map(|_| context.trace_id());
        let Some(handler) = self.worker.handlers.get(&kind) else {
            let why = format!("this worker has no handler for jobs of kind `{kind}`");
            let failure = Failure::retry(why);
            return Err((self.after(&kind, attempt, max_attempts, &failure), failure.text));
        };
        // A handler's own failure is an outcome; what the boundary makes is a panic, or that it took too long.
        let boundary = Boundary::new("job").deadline(self.worker.job_timeout);
        let job = LeasedJob { claimed: job, worker: self.holder.clone(), began };
        let handler = handler.clone();
        let run = boundary.run(async move { Ok::<_, seaworthy_errors::Error>(handler(job).await) });
        let mut cancelled = self.cancelled.subscribe();
        let lease = self.life.lease();
        let ended = async {
            let result = tokio::select! {
                biased;
                result = run => match result {
                    Ok(result) => result,
                    Err(error) => Err(Failure::new(self.why_it_was_stopped(&error), Retry::Backoff, Some(error.code().id))),
                }
                .map_err(|failure| match failure.again_in {
                    Some(wait) => (Ending::ReturnIn(wait), failure.text),
                    None => (self.after(&kind, attempt, max_attempts, &failure), failure.text),
                }),
                _ = cancelled.wait_for(|cancelled| cancelled.contains(&id)) => {
                    Err((Ending::Cancelled, "somebody cancelled it while it ran".to_owned()))
                }
                () = lease.lapses(), if is_limited => {
                    let failure = Failure::retry("the worker could not say that it lives, and stopped the job before others begin it");
                    Err((self.after(&kind, attempt, max_attempts, &failure), failure.text))
                }
            };
            // Within the work, so that the line has the ids of the request.
            let elapsed_ms = began.elapsed().as_millis() as u64;
            match &result {
                Ok(_) => debug!(kind, job = id.0, attempt, elapsed_ms, "a job ended"),
                Err((ending, error)) => {
                    info!(
                        kind,
                        job = id.0,
                        attempt,
                        max_attempts,
                        elapsed_ms,
                        ?ending,
                        error,
                        "a job failed"
                    );
                }
            }
            result
        };
        // Boxed: each future that has it as an argument would have room for it twice, and all of that is moved when the job is spawned.
        let result = Work::new(format!("job {kind}"), context).run(Box::pin(ended)).await;
        if let Some(metrics) = metrics {
            let outcome = match &result {
                Ok(_) => JobOutcome::Completed,
                Err((Ending::RetryIn(_), _)) => JobOutcome::Retried,
                Err((Ending::ReturnIn(_), _)) => JobOutcome::Returned,
                Err((Ending::Dead, _)) => JobOutcome::Dead,
                Err((Ending::Cancelled | Ending::Expired, _)) => JobOutcome::Cancelled,
            };
            metrics.finished(&queue, &kind, outcome, began.elapsed(), trace_id);
        }
        drop(running);
        result
    }

    /// What becomes of a job whose attempt failed.
    fn after(&self, kind: &str, attempt: i16, max_attempts: i16, failure: &Failure) -> Ending {
        match failure.retry {
            _ if attempt >= max_attempts => Ending::Dead,
            Retry::Never => Ending::Dead,
            Retry::Backoff => {
                let backoff = self.worker.backoffs.get(kind).unwrap_or(&self.worker.backoff);
                backoff.after_failure(failure, attempt).map_or(Ending::Dead, Ending::RetryIn)
            }
            Retry::After(wait) => Ending::RetryIn(wait),
        }
    }

    /// A panic or a handler that took too long, for whoever reads the dead letters.
    fn why_it_was_stopped(&self, error: &seaworthy_errors::Error) -> String {
        match error.sources().next() {
            Some(panic) => format!("{}: the handler {panic}", error.code()),
            None => format!("{}: the handler took longer than {:?}", error.code(), self.worker.job_timeout),
        }
    }
}
