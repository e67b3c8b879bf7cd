//! Jobs.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    metrics::{counter::Counter, exemplar::HistogramWithExemplars, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Bounded, LONG_SECONDS};

type Exemplar = [(&'static str, String); 1];

/// How an attempt at a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// The job is done.
    Completed,
    /// It failed and will be tried again.
    Retried,
    /// It was given back for another worker, and the attempt does not count.
    Returned,
    /// It failed and was given up.
    Dead,
    /// Nobody wanted it any more: it was cancelled, or not begun in time.
    Cancelled,
    /// Its worker died, and it was taken back.
    Rescued,
    /// The worker had lost its lease: nothing was recorded.
    Fenced,
}

impl JobOutcome {
    fn as_str(self) -> &'static str {
        match self {
            JobOutcome::Completed => "completed",
            JobOutcome::Retried => "retried",
            JobOutcome::Returned => "returned",
            JobOutcome::Dead => "dead",
            JobOutcome::Cancelled => "cancelled",
            JobOutcome::Rescued => "rescued",
            JobOutcome::Fenced => "fenced",
        }
    }
}

/// How many jobs of a queue wait, as somebody counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Jobs that can run now.
    pub ready: u64,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Jobs that wait until a limit lets them through.
    pub limited: u64,
    /// Jobs that a worker has.
    pub leased: u64,
    /// Jobs that were given up.
    pub dead: u64,
    /// How long the oldest job that can run has waited.
    pub oldest: Duration,
}

/// Metrics of jobs.
#[derive(Debug, Clone)]
pub struct QueueMetrics {
    enqueued: Bounded<Counter, 2>,
    finished: Bounded<Counter, 3>,
    duration: Bounded<HistogramWithExemplars<Exemplar>, 2>,
    wait: Bounded<Histogram, 2>,
    running: Bounded<Gauge, 1>,
    depth: Bounded<Gauge, 2>,
    oldest: Bounded<Gauge<f64, AtomicU64>, 1>,
    wanted: Bounded<Gauge, 1>,
}

impl QueueMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = QueueMetrics {
            enqueued: Bounded::new(["queue", "kind"], Counter::default),
            finished: Bounded::new(["queue", "kind", "outcome"], Counter::default),
            duration: Bounded::new(["queue", "kind"], || {
                HistogramWithExemplars::new(LONG_SECONDS.into_iter())
            }),
            wait: Bounded::new(["queue", "kind"], || Histogram::new(LONG_SECONDS)),
            running: Bounded::new(["queue"], Gauge::default),
            depth: Bounded::new(["queue", "state"], Gauge::default),
            oldest: Bounded::new(["queue"], Gauge::default),
            wanted: Bounded::new(["queue"], Gauge::default),
        };
        registry.register(
            "queue_jobs_enqueued",
            "Jobs that were enqueued, whether or not their transaction was committed",
            metrics.enqueued.family(),
        );
        registry.register(
            "queue_jobs_finished",
            "Attempts at jobs that ended, by how they ended",
            metrics.finished.family(),
        );
        registry.register_with_unit(
            "queue_job_duration",
            "Time that a handler took",
            Unit::Seconds,
            metrics.duration.family(),
        );
        registry.register_with_unit(
            "queue_job_wait",
            "Time from the enqueueing of a job to its first attempt",
            Unit::Seconds,
            metrics.wait.family(),
        );
        registry.register("queue_jobs_running", "Jobs that this process runs now", metrics.running.family());
        registry.register_with_unit(
            "queue_depth",
            "Jobs by where they are",
            Unit::Other("jobs".to_owned()),
            metrics.depth.family(),
        );
        registry.register_with_unit(
            "queue_oldest_job_age",
            "How long the oldest job that can run has waited",
            Unit::Seconds,
            metrics.oldest.family(),
        );
        registry.register(
            "queue_workers_wanted",
            "Workers that a queue could use now, for whoever starts and stops them",
            metrics.wanted.family(),
        );
        metrics
    }

    /// Jobs were enqueued.
    pub fn enqueued(&self, queue: &str, kind: &str, jobs: u64) {
        self.enqueued.get([queue, kind]).inc_by(jobs);
    }

    /// A handler begins; it counts as running until what this returns is dropped. `waited` is the time since the job was enqueued,
    /// if this is its first attempt.
    pub fn running(&self, queue: &str, kind: &str, waited: Option<Duration>) -> Running {
        if let Some(waited) = waited {
            self.wait.get([queue, kind]).observe(waited.as_secs_f64());
        }
        let gauge = self.running.get([queue]);
        gauge.inc();
        Running { gauge }
    }

    /// An attempt ended, after the handler took this time.
    pub fn finished(
        &self,
        queue: &str,
        kind: &str,
        outcome: JobOutcome,
        took: Duration,
        trace_id: Option<String>,
    ) {
        self.finished.get([queue, kind, outcome.as_str()]).inc();
        let exemplar = trace_id.map(|id| [("trace_id", id)]);
        let now = exemplar.as_ref().map(|_| SystemTime::now());
        self.duration.get([queue, kind]).observe(took.as_secs_f64(), exemplar, now);
    }

    /// Attempts that ended without a handler: rescued from workers that died.
    pub fn ended(&self, queue: &str, kind: &str, outcome: JobOutcome, jobs: u64) {
        self.finished.get([queue, kind, outcome.as_str()]).inc_by(jobs);
    }

    /// So many workers could be used now.
    pub fn wanted(&self, queue: &str, workers: u32) {
        self.wanted.get([queue]).set(workers.into());
    }

    /// What somebody counted.
    pub fn backlog(&self, queue: &str, backlog: Backlog) {
        let Backlog { ready, scheduled, limited, leased, dead, oldest } = backlog;
        let states = [
            ("ready", ready),
            ("scheduled", scheduled),
            ("limited", limited),
            ("leased", leased),
            ("dead", dead),
        ];
        for (state, jobs) in states {
            self.depth.get([queue, state]).set(i64::try_from(jobs).unwrap_or(i64::MAX));
        }
        self.oldest.get([queue]).set(oldest.as_secs_f64());
    }
}

/// A handler that runs.
#[derive(Debug)]
pub struct Running {
    gauge: Gauge,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
