//! A worker that does one thing at a time, as a test tells it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI16, Ordering},
    },
    time::Duration,
};

use seaworthy_queue::{
    JobId,
    backend::{Backend, Claim, Claimed, Completed, Ending, Unfinished},
};
use uuid::Uuid;

/// How long a worker lives without a heartbeat.
pub(crate) const LEASE: Duration = Duration::from_secs(70);

pub(crate) struct Hand {
    pub(crate) id: Uuid,
    parts: AtomicI16,
}

impl Hand {
    pub(crate) async fn new(backend: &dyn Backend) -> Self {
        let id = Uuid::new_v4();
        backend.register_worker(id, LEASE).await.unwrap();
        Hand { id, parts: AtomicI16::new(0) }
    }

    pub(crate) async fn claim(&self, backend: &dyn Backend, limit: usize) -> Vec<Claimed> {
        self.try_claim(backend, "default", limit).await.unwrap()
    }

    pub(crate) async fn try_claim(
        &self,
        backend: &dyn Backend,
        queue: &str,
        limit: usize,
    ) -> Result<Vec<Claimed>, seaworthy_queue::Error> {
        let queue: Arc<str> = queue.into();
        let token = Uuid::new_v4();
        let claim = Claim { worker: self.id, token, queue: &queue, limit, from: i64::MIN };
        Ok(backend.claim(claim).await?.jobs)
    }

    /// The only job that there is.
    pub(crate) async fn claim_one(&self, backend: &dyn Backend) -> Claimed {
        let mut jobs = self.claim(backend, 2).await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }

    /// This job, which is the next one or one of the next few; the others go back.
    pub(crate) async fn claim_one_of(&self, backend: &dyn Backend, wanted: JobId) -> Claimed {
        let (mut found, others): (Vec<_>, Vec<_>) =
            self.claim(backend, 8).await.into_iter().partition(|job| job.id == wanted);
        self.give_back(backend, &others).await;
        found.pop().expect("the job is ready")
    }

    fn part(&self) -> i16 {
        self.parts.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn completion(&self, job: &Claimed) -> Completed {
        Completed {
            token: job.token,
            part: self.part(),
            is_over: false,
            jobs: vec![job.id.0],
            ran: vec![0.5],
            flags: job.flags,
            results: Vec::new(),
        }
    }

    /// Says whether the lease stood.
    pub(crate) async fn complete(&self, backend: &dyn Backend, job: &Claimed) -> bool {
        let completion = self.completion(job);
        backend.complete(&[completion]).await.unwrap().contains(&job.token)
    }

    pub(crate) fn ending(&self, job: &Claimed, ending: Ending) -> Unfinished {
        Unfinished {
            token: job.token,
            part: self.part(),
            job: job.id,
            attempt: job.attempt,
            flags: job.flags,
            ending,
            why: format!("{ending:?}"),
            ran: Some(0.5),
        }
    }

    /// Says whether it was recorded.
    pub(crate) async fn end(&self, backend: &dyn Backend, job: &Claimed, ending: Ending) -> bool {
        backend.end_unfinished(&[self.ending(job, ending)]).await.unwrap() == 1
    }

    pub(crate) async fn give_back(&self, backend: &dyn Backend, jobs: &[Claimed]) {
        backend.give_back(self.part(), jobs).await.unwrap();
    }
}
