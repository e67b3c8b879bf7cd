//! For how long a worker can be sure that nobody else has its jobs.

use std::time::Duration;

use sqlx::types::Uuid;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Until when the worker's leases stand, by its own clock, which only has to run as fast as the database's. The others count from when a heartbeat came; the worker counts from when
/// it was sent, and so stops before they begin (Gray and Cheriton, *Leases*, 1989).
#[derive(Debug)]
pub(super) struct Life {
    lease: watch::Sender<Standing>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    /// Under which number the worker lives.
    worker: Uuid,
    until: Instant,
}

impl Default for Life {
    fn default() -> Self {
        Life { lease: watch::Sender::new(Standing { worker: Uuid::nil(), until: Instant::now() }) }
    }
}

impl Life {
    /// The worker has registered. The answer may have taken a third of the lease's time: the deadline of a statement.
    pub(super) fn begins(&self, worker: Uuid, lease_timeout: Duration) {
        let until = Instant::now() + lease_timeout / 2;
        // One that finishes its jobs under the number that it has goes on.
        self.lease.send_if_modified(|lease| {
            let is_new = lease.worker != worker;
            if is_new {
                *lease = Standing { worker, until };
            }
            is_new
        });
    }

    /// A heartbeat that was sent then has come.
    pub(super) fn goes_on(&self, sent: Instant, lease_timeout: Duration) {
        // A tenth for clocks that differ, and for handlers to stop.
        self.lease.send_modify(|lease| lease.until = sent + lease_timeout - lease_timeout / 10);
    }

    /// The others have given the worker up.
    pub(super) fn ends(&self) {
        self.lease.send_modify(|lease| lease.until = Instant::now());
    }

    /// What a job that begins now stands on.
    pub(super) fn lease(&self) -> Lease {
        let lease = self.lease.subscribe();
        let worker = lease.borrow().worker;
        Lease { lease, worker }
    }
}

/// The lease of a job.
#[derive(Debug)]
pub(super) struct Lease {
    lease: watch::Receiver<Standing>,
    worker: Uuid,
}

impl Lease {
    /// Waits until others may have the job.
    pub(super) async fn lapses(mut self) {
        loop {
            let Standing { worker, until } = *self.lease.borrow_and_update();
            if worker != self.worker {
                return;
            }
            tokio::select! {
                () = sleep_until(until) => return,
                changed = self.lease.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_lease_lapses_before_its_time_is_over_counted_from_when_the_heartbeat_was_sent() {
        let (life, sent) = (Life::default(), Instant::now());
        life.begins(Uuid::from_u128(1), SECOND);
        life.goes_on(sent, SECOND / 20);
        life.lease().lapses().await;
        assert!(sent.elapsed() >= SECOND / 20 * 9 / 10);
        life.goes_on(sent, SECOND);
        assert_eq!(life.lease.borrow().until - sent, SECOND * 9 / 10);
    }

    #[tokio::test]
    async fn a_lease_lapses_at_once_when_the_worker_is_given_up_or_lives_under_another_number() {
        let (life, long) = (Life::default(), 3_600 * SECOND);
        life.begins(Uuid::from_u128(1), long);
        let (one, other) = (life.lease(), life.lease());
        life.begins(Uuid::from_u128(1), long);
        let began = Instant::now();
        life.ends();
        one.lapses().await;
        life.begins(Uuid::from_u128(2), long);
        other.lapses().await;
        assert!(began.elapsed() < long / 4);
    }
}
