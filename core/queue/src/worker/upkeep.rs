//! What a worker does besides running jobs: it says that it lives, wakes what is due, and rescues the jobs of those that died.

use std::{future::Future, ops::RangeInclusive, sync::Arc, time::Duration};

use rand::RngExt as _;
use seaworthy_telemetry::metrics::JobOutcome;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{Worker, run_job::Runner};
use crate::{Error, backend::Backend, leases::Leases};

#[derive(Clone)]
pub(super) struct Upkeep {
    pub(super) worker: Arc<Worker>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) leases: Leases,
    pub(super) runner: Arc<Runner>,
}

impl Upkeep {
    /// Says that the worker lives, whatever else it does; ends when others have given it up.
    pub(super) async fn heartbeats(self, id: Uuid) {
        /// A beat that failed is repeated sooner.
        const REPEAT: Duration = Duration::from_millis(100);
        let heartbeat = self.worker.heartbeat;
        let life = self.runner.life();
        life.begins(id, self.worker.lease_timeout);
        loop {
            let sent = Instant::now();
            match self.backend.heartbeat(id).await {
                Ok(true) => {
                    life.goes_on(sent, self.worker.lease_timeout);
                    self.worker.vitals.beats();
                    sleep(heartbeat).await;
                }
                Ok(false) => {
                    life.ends();
                    return;
                }
                Err(error) => {
                    warn!(%error, "a heartbeat failed");
                    sleep(heartbeat.min(REPEAT)).await;
                }
            }
        }
    }

    /// What every worker does, though one would be enough: all of it is safe however many do it at once, and costs a look into an index. So jobs that are due, and those of a worker that died, don't have to wait until
    /// somebody leads again.
    ///
    /// Makes scheduled jobs ready, stops jobs that were cancelled, rescues those of dead workers, and returns those of claims whose answer got lost. Never
    /// ends by itself.
    pub(super) async fn maintenance(self, id: Uuid) {
        let Upkeep { worker, backend, .. } = &self;
        // Not at once: after an outage the others' heartbeats must have a chance to come first.
        let mut next_rescue = Instant::now() + worker.heartbeat;
        loop {
            tell(self.promote(), "scheduled jobs could not be made ready").await;
            match backend.cancelled_on(id).await {
                Ok(jobs) => self.runner.cancel(jobs.into_iter().collect()),
                Err(error) => debug!(%error, "a look for cancelled jobs failed"),
            }
            if Instant::now() >= next_rescue {
                next_rescue = Instant::now() + worker.heartbeat;
                tell(self.rescue(), "a look for dead workers failed").await;
                tell(self.release_strays(id), "a look for lost claims failed").await;
                tell(self.count(), "the workers could not be counted").await;
            }
            sleep(pause(worker.poll, worker.heartbeat, worker.vitals.workers())).await;
        }
    }

    async fn count(&self) -> Result<(), Error> {
        self.worker.vitals.is_one_of(self.backend.workers().await?);
        Ok(())
    }

    async fn promote(&self) -> Result<(), Error> {
        if self.backend.promote_due().await? > 0 {
            self.worker.queues.iter().for_each(|(queue, _)| self.worker.queue.wake(queue));
        }
        Ok(())
    }

    async fn rescue(&self) -> Result<(), Error> {
        let jobs = self.backend.rescue_expired().await?;
        if jobs > 0 {
            info!(jobs, "rescued jobs of workers that died");
            if let Some(metrics) = &self.worker.queue.metrics {
                metrics.queue().ended("any", "any", JobOutcome::Rescued, jobs);
            }
        }
        Ok(())
    }

    /// Returns the jobs of leases that are not open here. The database is asked first: whatever it names was opened here before.
    async fn release_strays(&self, id: Uuid) -> Result<(), Error> {
        let mut tokens = self.backend.leases_of(id).await?;
        tokens.retain(|token| !self.leases.is_open(*token));
        if tokens.is_empty() {
            return Ok(());
        }
        let jobs = self.backend.release(&tokens).await?;
        if jobs > 0 {
            info!(jobs, "returned jobs of claims whose answer got lost");
        }
        Ok(())
    }

    /// Wakes the worker when somebody says that there is work. Never ends by itself.
    pub(super) async fn listen(self, wake: Arc<Notify>) {
        /// How soon it listens again, whatever time there is between two looks.
        const SOON: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1);
        loop {
            if let Ok(mut listener) = self.backend.listen().await {
                // What came before it listened is found by a look.
                wake.notify_one();
                while let Ok(named) = listener.next().await {
                    if self.worker.queues.iter().any(|(queue, _)| **queue == *named) {
                        wake.notify_one();
                    }
                }
            }
            debug!("the worker hears of no new work, and looks for it itself");
            sleep(self.worker.poll.clamp(*SOON.start(), *SOON.end())).await;
        }
    }
}

/// Until a worker looks again for what every worker looks for. Where there are many, each looks less often, and at random moments: so all of them together look often enough, and a hundred workers are not a load by
/// themselves. A heartbeat at most.
fn pause(poll: Duration, heartbeat: Duration, workers: usize) -> Duration {
    /// So many workers each look once in the time of a poll.
    const FEW: usize = 4;
    let share = u32::try_from(workers / FEW).unwrap_or(u32::MAX).max(1);
    let pause = poll.saturating_mul(share);
    let pause = if share > 1 { pause.mul_f64(rand::rng().random_range(0.5..1.5)) } else { pause };
    pause.min(heartbeat)
}

async fn tell(upkeep: impl Future<Output = Result<(), Error>>, what: &str) {
    if let Err(error) = upkeep.await {
        warn!(%error, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_workers_look_as_often_together_as_a_few() {
        const POLL: Duration = Duration::from_millis(100);
        const HEARTBEAT: Duration = Duration::from_secs(60);
        assert_eq!(pause(POLL, HEARTBEAT, 1), POLL);
        assert_eq!(pause(POLL, HEARTBEAT, 7), POLL);
        for workers in [8, 40, 400] {
            let looks = 1_000.0;
            let average =
                (0..1_000).map(|_| pause(POLL, HEARTBEAT, workers)).sum::<Duration>().div_f64(looks);
            let together = POLL.as_secs_f64() * workers as f64 / average.as_secs_f64();
            assert!((3.5..4.5).contains(&together), "{workers} workers look {together} times in a poll");
        }
        assert_eq!(pause(POLL, Duration::from_secs(2), 10_000), Duration::from_secs(2));
        assert_eq!(pause(POLL, Duration::from_secs(2), usize::MAX), Duration::from_secs(2));
    }
}
