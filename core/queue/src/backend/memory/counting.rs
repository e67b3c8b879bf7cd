//! What operators look at.

use std::time::Duration;

use seaworthy_telemetry::metrics::Backlog;

use super::state::{Place, State};
use crate::{
    Error, JobId,
    answers::{DeadLetter, Stats},
};

impl State {
    pub(super) fn stats(&self) -> Stats {
        let leased: usize = self.leases.values().map(|lease| lease.open.len()).sum();
        let ready: usize = self.ready.values().map(|queue| queue.len()).sum();
        let blocked = self.jobs.values().filter(|job| job.place == Place::Blocked).count();
        Stats {
            ready: ready as i64,
            scheduled: self.scheduled.len() as i64,
            limited: 0,
            blocked: blocked as i64,
            leased: leased as i64,
            dead: self.dead.len() as i64,
            completed: self.counts.completed,
            rescued: self.counts.rescued,
            cancelled: self.counts.cancelled,
            expired: self.counts.expired,
        }
    }

    pub(super) fn backlog(&self, queue: &str) -> Backlog {
        let ready = self.ready.get(queue);
        let of_queue = |id: &i64| self.jobs.get(id).is_some_and(|job| job.entry.queue == queue);
        let oldest = ready
            .into_iter()
            .flatten()
            .filter_map(|(_, id)| self.jobs.get(id))
            .map(|job| job.created_at)
            .min();
        let waited = oldest.map_or(0, |at| self.now - at);
        Backlog {
            ready: ready.map_or(0, |ready| ready.len() as u64),
            scheduled: self.scheduled.iter().filter(|(_, id)| of_queue(id)).count() as u64,
            limited: 0,
            leased: self.leases.values().map(|lease| lease.open.len() as u64).sum(),
            dead: self.dead.iter().filter(|(_, id)| of_queue(id)).count() as u64,
            oldest: Duration::from_micros(waited.max(0).unsigned_abs()),
        }
    }

    pub(super) fn dead_letters(&self, kind: Option<&str>, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        let newest = self.dead.iter().rev().filter_map(|(_, id)| Some((*id, self.jobs.get(id)?)));
        let of_kind = newest.filter(|(_, job)| kind.is_none_or(|kind| kind == job.entry.kind));
        of_kind
            .take(usize::try_from(limit).unwrap_or(0))
            .map(|(id, job)| {
                let error = match &job.place {
                    Place::Dead { error, .. } => error.clone(),
                    _ => String::new(),
                };
                let args = serde_json::from_str(&job.entry.args)
                    .map_err(|source| Error::Arguments { kind: job.entry.kind.clone(), source })?;
                Ok(DeadLetter {
                    id: JobId(id),
                    kind: job.entry.kind.clone(),
                    args,
                    attempts: job.attempt,
                    error,
                })
            })
            .collect()
    }

    /// Those of a worker's jobs that somebody wants to be stopped.
    pub(super) fn cancelled_on(&self, worker: uuid::Uuid) -> Vec<JobId> {
        let of_worker = self.leases.values().filter(|lease| lease.worker == worker);
        let open = of_worker.flat_map(|lease| &lease.open);
        open.filter(|id| self.jobs.get(id).is_some_and(|job| job.is_cancelled)).map(|id| JobId(*id)).collect()
    }
}
