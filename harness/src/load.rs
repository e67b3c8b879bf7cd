//! Load that does not wait for the service: every operation begins when its time has come.

use std::{future::Future, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use crate::history::{History, Operation, Outcome};

/// Open-loop load at a constant rate. Latency counts from the intended start of each operation (as in Gil Tene's wrk2),
/// so a service that stalls can't hide it by slowing its clients down.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Operations per second, more than zero.
    pub rate: f64,
    /// For how long operations begin.
    pub duration: Duration,
    /// How long a client waits for an answer, from the intended start.
    pub deadline: Duration,
}

impl Load {
    /// Runs `operation` for each arrival, numbered from 0, and records what became of it. Returns when the last one has
    /// its answer or its deadline has passed.
    ///
    /// # Panics
    ///
    /// When the rate is not a positive number.
    pub async fn run<F, Fut>(&self, kind: &str, history: &History, mut operation: F)
    where
        F: FnMut(u64) -> (String, Fut),
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        assert!(self.rate > 0.0 && self.rate.is_finite(), "a load needs a positive rate, not {}", self.rate);
        let offset = history.now();
        let started = Instant::now();
        let mut running = JoinSet::new();
        for number in 0.. {
            let after = Duration::from_secs_f64(number as f64 / self.rate);
            if after >= self.duration {
                break;
            }
            sleep_until(started + after).await;
            while running.try_join_next().is_some() {}
            let (key, answer) = operation(number);
            let (history, kind) = (history.clone(), kind.to_owned());
            let deadline = started + after + self.deadline;
            running.spawn(async move {
                let outcome = timeout_at(deadline, answer).await.unwrap_or(Outcome::TimedOut);
                let intended = offset + after;
                history.record(Operation { kind, key, intended, ended: history.now(), outcome });
            });
        }
        while running.join_next().await.is_some() {}
    }
}
