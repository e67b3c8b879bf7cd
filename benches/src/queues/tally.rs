//! What handlers leave behind.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::Notify, time::timeout};

use super::Work;

/// Counts jobs as their handlers run, and wakes whoever waits for the last one.
#[derive(Debug, Default)]
pub struct Tally {
    jobs: AtomicU64,
    sum: AtomicU64,
    target: AtomicU64,
    reached: Notify,
    reached_at: Mutex<Option<Instant>>,
}

impl Tally {
    /// What every handler does.
    pub fn did(&self, work: Work) {
        self.sum.fetch_add(work.number, Ordering::Relaxed);
        let jobs = self.jobs.fetch_add(1, Ordering::AcqRel) + 1;
        if jobs == self.target.load(Ordering::Acquire) {
            *self.reached_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            self.reached.notify_one();
        }
    }

    /// Handlers that ran so far.
    pub fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Acquire)
    }

    /// The numbers of all jobs, added up.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// Says what to wait for, before the jobs are enqueued: then [`reach`](Self::reach) knows to the microsecond when it happened.
    pub fn aim(&self, jobs: u64) {
        self.reached_at.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.target.store(jobs, Ordering::Release);
    }

    /// Waits until so many handlers ran in all, and says when the last of them did.
    ///
    /// # Errors
    ///
    /// When that takes longer than the deadline.
    pub async fn reach(&self, jobs: u64, deadline: Duration) -> anyhow::Result<Instant> {
        if self.target.load(Ordering::Acquire) != jobs {
            self.aim(jobs);
        }
        let all = async {
            while self.jobs() < jobs {
                self.reached.notified().await;
            }
        };
        timeout(deadline, all)
            .await
            .with_context(|| format!("{} of {jobs} jobs ran within {deadline:?}", self.jobs()))?;
        Ok(self.reached_at.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now))
    }
}
