//! How a queue has done, and what it needs.

use std::time::Duration;

use crate::{Error, Queue, store};

/// What happened in some time, by queue and kind of job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Analytics {
    /// The time that was looked at, until now.
    pub span: Duration,
    /// The share of the records that was looked at, 1 for all. Counts are scaled by it, and quantiles are of that share. What happened to a hundred thousand jobs or so is looked at.
    pub sampled: f64,
    /// Those with the most attempts first, 1,000 at most.
    pub kinds: Vec<KindAnalytics>,
}

/// What happened to jobs of one kind in one queue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KindAnalytics {
    /// The queue.
    pub queue: String,
    /// The kind of job.
    pub kind: String,
    /// Jobs that were completed.
    pub completed: u64,
    /// Attempts that failed and were tried again.
    pub retried: u64,
    /// Jobs that were given up.
    pub dead: u64,
    /// Attempts whose worker died.
    pub rescued: u64,
    /// Jobs that somebody cancelled.
    pub cancelled: u64,
    /// Jobs that were not begun in time.
    pub expired: u64,
    /// Jobs that were completed, per second of the span.
    pub per_second: f64,
    /// How long handlers took; nothing when none ran to an end.
    pub run: Option<Quantiles>,
    /// From when a job was enqueued until the attempt that completed it began: the delay that it was enqueued with and earlier attempts are part of it. Nothing when none was completed.
    pub wait: Option<Quantiles>,
}

impl KindAnalytics {
    /// The share of the attempts that ran and failed, from 0 to 1.
    pub fn failure_rate(&self) -> f64 {
        let failed = self.retried + self.dead + self.rescued;
        failed as f64 / (failed + self.completed).max(1) as f64
    }
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quantiles {
    /// Half of them took no longer.
    pub p50: Duration,
    /// Nine of ten took no longer.
    pub p90: Duration,
    /// Of a hundred, 99 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// What workers are good for, for [`Queue::demand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    concurrency: usize,
    within: Duration,
    least: u32,
    most: u32,
}

impl Capacity {
    /// Workers that run so many jobs at once, as [`Worker::concurrency`](crate::Worker::concurrency) says; between 1 and 100 of them, which take what waits away within 30 seconds.
    pub fn of(concurrency: usize) -> Self {
        Capacity { concurrency: concurrency.max(1), within: Duration::from_secs(30), least: 1, most: 100 }
    }

    /// Takes what waits away within this time.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time.max(Duration::from_millis(1));
        self
    }

    /// At least and at most so many workers.
    pub fn workers(mut self, least: u32, most: u32) -> Self {
        (self.least, self.most) = (least.min(most), most);
        self
    }
}

/// What a queue needs.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Demand {
    /// So many workers could be used.
    pub workers: u32,
    /// Jobs that can be claimed, counted up to 10,000.
    pub ready: u64,
    /// For how long the oldest of them could have been.
    pub oldest: Duration,
    /// Attempts per second in the last minute.
    pub per_second: f64,
    /// What an attempt took on average in the last minute.
    pub run: Duration,
}

impl Demand {
    /// Handlers that run at once, on average, are as many as begin in the time that one takes (Little's law): those that keep up with what comes in, and those that take away what waits.
    fn new(capacity: Capacity, (ready, oldest): (u64, Duration), (per_second, run): (f64, Duration)) -> Self {
        /// When nothing is known yet.
        const A_RUN: Duration = Duration::from_millis(100);
        let one = if run.is_zero() { A_RUN } else { run }.as_secs_f64();
        let slots = one * (per_second + ready as f64 / capacity.within.as_secs_f64());
        let workers = (slots / capacity.concurrency as f64).ceil().min(f64::from(u32::MAX)) as u32;
        let workers = workers.max(u32::from(ready > 0)).clamp(capacity.least, capacity.most);
        Demand { workers, ready, oldest, per_second, run }
    }
}

/// What is asked over and again to run a queue; it needs Postgres.
impl Queue {
    /// What happened in this time until now, from the history; what was forgotten meanwhile is not in it.
    ///
    /// However much that is, a bounded sample is looked at: cheap enough for a page that somebody looks at, though not for each request.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn analytics(&self, span: Duration) -> Result<Analytics, Error> {
        let db = self.postgres("analytics")?;
        db.within(store::analytics(db, span)).await
    }

    /// How many workers this queue could use now, for whoever starts and stops them; also as the metric `queue_workers_wanted`. A scaler that reads it should be slow to take workers away, as Kubernetes'
    /// autoscaler is by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn demand(&self, queue: &str, capacity: Capacity) -> Result<Demand, Error> {
        let db = self.postgres("analytics")?;
        let waiting = db.within(store::pressure(db, &[queue])).await?;
        let pace = db.within(store::pace(db, queue)).await?;
        let demand = Demand::new(capacity, waiting, pace);
        if let Some(metrics) = &self.metrics {
            metrics.queue().wanted(queue, demand.workers);
        }
        Ok(demand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_workers_are_wanted_as_keep_up_and_take_away_what_waits() {
        let second = Duration::from_secs(1);
        let capacity = Capacity::of(10).within(10 * second).workers(1, 20);
        let wanted =
            |ready, per_second, run| Demand::new(capacity, (ready, second), (per_second, run)).workers;
        assert_eq!(wanted(0, 0.0, second), 1, "at least the least");
        assert_eq!(wanted(0, 50.0, second), 5, "50 handlers keep up");
        assert_eq!(wanted(500, 50.0, second), 10, "and 50 more take 500 away within 10 s");
        assert_eq!(wanted(10_000, 50.0, second), 20, "at most the most");
        assert_eq!(wanted(1_000, 0.0, Duration::ZERO), 1, "nothing is known yet: a tenth of a second each");
        let from_none = Capacity::of(10).workers(0, 5);
        let workers = |ready| Demand::new(from_none, (ready, second), (0.0, Duration::ZERO)).workers;
        assert_eq!((workers(0), workers(1)), (0, 1), "none while nothing waits");
    }
}
