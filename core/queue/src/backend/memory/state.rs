//! The jobs, and what happens to them. Everything here follows from the changes and their times alone, so that a log of them leads to the same state again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::change::{Change, Entry};
use crate::{
    Error, JobId,
    answers::{Enqueued, Progress},
    backend::{Claim, Claimed, ClaimedBatch},
    job::{Start, microseconds},
};

/// Microseconds since 1970.
pub(super) type Micros = i64;

/// Jobs that are over whose result and progress can still be asked for.
const REMEMBERED_JOBS: usize = 10_000;
/// Leases that are gone whose records would still be known if they came again.
const REMEMBERED_LEASES: usize = 4_096;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// When the last change was; the clock goes on from here.
    pub(super) now: Micros,
    last_id: i64,
    /// Those that are not over, and dead letters.
    pub(super) jobs: BTreeMap<i64, Job>,
    /// By queue: rank and number.
    pub(super) ready: BTreeMap<String, BTreeSet<(i64, i64)>>,
    pub(super) scheduled: BTreeSet<(Micros, i64)>,
    pub(super) dead: BTreeSet<(Micros, i64)>,
    pub(super) children: BTreeMap<i64, BTreeSet<i64>>,
    keys: BTreeMap<String, Key>,
    /// Keys with a period, by its end.
    key_ends: BTreeSet<(Micros, String)>,
    pub(super) paused: BTreeSet<String>,
    pub(super) workers: BTreeMap<Uuid, Alive>,
    pub(super) leases: BTreeMap<Uuid, Lease>,
    /// Leases that are gone, with their records, the oldest first.
    gone: VecDeque<(Uuid, BTreeSet<i16>)>,
    pub(super) counts: Counts,
    pub(super) results: BTreeMap<i64, String>,
    pub(super) progress: BTreeMap<i64, Progress>,
    /// Jobs that are over, the oldest first.
    over: VecDeque<i64>,
    /// What has changed since this was last emptied.
    #[serde(skip)]
    pub(super) changes: Vec<Change>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) entry: Entry,
    pub(super) created_at: Micros,
    pub(super) expires_at: Option<Micros>,
    pub(super) attempt: i16,
    pub(super) place: Place,
    /// Parents that are not completed.
    pub(super) waits_for: BTreeSet<i64>,
    /// Somebody wants it to be stopped.
    pub(super) is_cancelled: bool,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    Ready { rank: i64 },
    Scheduled { run_at: Micros },
    Blocked,
    Leased { token: Uuid },
    Dead { at: Micros, error: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Key {
    job: i64,
    /// Until when another one is refused; nothing while the job is not over.
    until: Option<Micros>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Alive {
    pub(super) beat_at: Micros,
    pub(super) lease_timeout: Micros,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) worker: Uuid,
    /// Jobs whose end is not recorded.
    pub(super) open: BTreeSet<i64>,
    /// The numbers of what was recorded.
    pub(super) parts: BTreeSet<i16>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) completed: i64,
    pub(super) rescued: i64,
    pub(super) cancelled: i64,
    pub(super) expired: i64,
}

impl State {
    pub(super) fn enqueue(&mut self, entries: &[Entry], edges: &[(usize, usize)]) -> Vec<Enqueued> {
        self.changes.push(Change::Enqueue { jobs: entries.to_vec(), edges: edges.to_vec() });
        let mut enqueued: Vec<Enqueued> = Vec::with_capacity(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            let id = self.last_id + 1;
            if let Some(there) = self.take_key(entry, id) {
                enqueued.push(Enqueued { id: JobId(there), is_new: false });
                continue;
            }
            self.last_id = id;
            enqueued.push(Enqueued { id: JobId(id), is_new: true });
            let is_child = edges.iter().any(|(_, child)| *child == place);
            self.jobs.insert(
                id,
                Job {
                    created_at: self.now,
                    expires_at: entry.expires_in.map(|time| self.now + time),
                    attempt: 1,
                    place: Place::Blocked,
                    waits_for: BTreeSet::new(),
                    is_cancelled: false,
                    entry: entry.clone(),
                },
            );
            if !is_child {
                self.begin(id);
            }
        }
        for (parent, child) in edges {
            let (parent, child) = (enqueued[*parent].id.0, enqueued[*child].id.0);
            self.children.entry(parent).or_default().insert(child);
            if let Some(job) = self.jobs.get_mut(&child) {
                job.waits_for.insert(parent);
            }
        }
        enqueued
    }

    /// Says which job has the key of this one already.
    fn take_key(&mut self, entry: &Entry, id: i64) -> Option<i64> {
        let key = entry.key.as_ref()?;
        if let Some(there) = self.keys.get(key)
            && there.until.is_none_or(|until| until >= self.now)
        {
            return Some(there.job);
        }
        let until = entry.period.map(|period| self.now + period);
        self.keys.insert(key.clone(), Key { job: id, until });
        self.key_ends.extend(until.map(|until| (until, key.clone())));
        None
    }

    /// Puts a job that waits for no other one where its start says.
    pub(super) fn begin(&mut self, id: i64) {
        let Some(job) = self.jobs.get(&id) else { return };
        let run_at = match job.entry.start {
            Start::Now => self.now,
            Start::In(delay) => self.now + delay,
            Start::At(time) => time,
        };
        if run_at > self.now { self.schedule(id, run_at) } else { self.make_ready(id, self.now) }
    }

    pub(super) fn make_ready(&mut self, id: i64, due: Micros) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let rank = (due + 500) / 1_000 + i64::from(job.entry.priority) * 60_000;
        job.place = Place::Ready { rank };
        self.ready.entry(job.entry.queue.clone()).or_default().insert((rank, id));
    }

    pub(super) fn schedule(&mut self, id: i64, run_at: Micros) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.place = Place::Scheduled { run_at };
        self.scheduled.insert((run_at, id));
    }

    pub(super) fn promote_due(&mut self) -> u64 {
        while let Some((until, key)) = self.key_ends.first().filter(|(until, _)| *until < self.now).cloned() {
            self.key_ends.remove(&(until, key.clone()));
            if self.keys.get(&key).is_some_and(|key| key.until == Some(until)) {
                self.keys.remove(&key);
            }
        }
        let mut promoted = 0;
        while let Some((run_at, id)) = self.scheduled.first().filter(|(at, _)| *at <= self.now).copied() {
            self.scheduled.remove(&(run_at, id));
            self.make_ready(id, run_at);
            promoted += 1;
        }
        if promoted > 0 {
            self.changes.push(Change::Promote);
        }
        promoted
    }

    pub(super) fn register(&mut self, worker: Uuid, lease_timeout: Duration) {
        let lease_timeout = microseconds(lease_timeout);
        self.changes.push(Change::Register { worker, lease_timeout });
        self.workers.insert(worker, Alive { beat_at: self.now, lease_timeout });
    }

    /// Not a change that is kept: whoever opens the log finds all workers dead.
    pub(super) fn heartbeat(&mut self, worker: Uuid) -> bool {
        let now = self.now;
        self.workers.get_mut(&worker).map(|alive| alive.beat_at = now).is_some()
    }

    pub(super) fn claim(&mut self, claim: Claim<'_>) -> Result<ClaimedBatch, Error> {
        let Claim { worker, token, queue, limit, .. } = claim;
        if !self.workers.contains_key(&worker) {
            return Err(Error::Dismissed { worker });
        }
        let mut batch = ClaimedBatch::default();
        if self.paused.contains(&**queue) || self.leases.contains_key(&token) {
            return Ok(batch);
        }
        let ready = self.ready.entry(queue.to_string()).or_default();
        let taken: Vec<(i64, i64)> = ready.iter().take(limit).copied().collect();
        if taken.is_empty() {
            return Ok(batch);
        }
        self.changes.push(Change::Claim { worker, token, queue: queue.to_string(), limit });
        batch.first_rank = Some(taken[0].0);
        for (entry, place) in taken.iter().zip(0..) {
            ready.remove(entry);
            let id = entry.1;
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.place = Place::Leased { token };
            batch.jobs.push(Claimed {
                id: JobId(id),
                queue: queue.clone(),
                kind: job.entry.kind.clone(),
                args: job.entry.args.clone(),
                attempt: job.attempt,
                max_attempts: job.entry.max_attempts,
                flags: 0,
                version: job.entry.version,
                is_expired: job.expires_at.is_some_and(|at| at < self.now),
                trace: job.entry.trace.clone(),
                age: Duration::from_micros((self.now - job.created_at).unsigned_abs()),
                token,
                place,
            });
        }
        let open = taken.into_iter().map(|(_, id)| id).collect();
        self.leases.insert(token, Lease { worker, open, parts: BTreeSet::new() });
        Ok(batch)
    }

    /// Whether this record was made, of a lease that stands or of one that is gone.
    pub(super) fn has_part(&self, token: Uuid, part: i16) -> bool {
        let of_lease = self.leases.get(&token).map(|lease| &lease.parts);
        let of_gone = || self.gone.iter().find(|(gone, _)| *gone == token).map(|(_, parts)| parts);
        of_lease.or_else(of_gone).is_some_and(|parts| parts.contains(&part))
    }

    pub(super) fn forget_lease(&mut self, token: Uuid) {
        if let Some(lease) = self.leases.remove(&token) {
            self.gone.push_back((token, lease.parts));
            if self.gone.len() > REMEMBERED_LEASES {
                self.gone.pop_front();
            }
        }
    }

    /// The job is over: its key is free, and what it left is remembered for a while.
    pub(super) fn forget_job(&mut self, id: i64) {
        self.free_key(id);
        self.jobs.remove(&id);
        self.over.push_back(id);
        if self.over.len() > REMEMBERED_JOBS
            && let Some(oldest) = self.over.pop_front()
        {
            self.results.remove(&oldest);
            self.progress.remove(&oldest);
        }
    }

    pub(super) fn free_key(&mut self, id: i64) {
        let key = self.jobs.get(&id).and_then(|job| job.entry.key.as_ref());
        if let Some(key) = key
            && self.keys.get(key).is_some_and(|key| key.job == id && key.until.is_none())
        {
            self.keys.remove(key);
        }
    }

    /// A new job in the place of a dead letter.
    pub(super) fn replay(&mut self, dead: &[JobId]) -> Vec<(JobId, JobId)> {
        let wanted: BTreeSet<i64> = dead.iter().map(|id| id.0).collect();
        let mut replayed = Vec::new();
        for old in wanted {
            let Some(at) = self.dead_since(old) else { continue };
            self.dead.remove(&(at, old));
            let Some(mut job) = self.jobs.remove(&old) else { continue };
            self.last_id += 1;
            let id = self.last_id;
            (job.attempt, job.created_at, job.expires_at) = (1, self.now, None);
            job.is_cancelled = false;
            job.entry.key = None;
            self.jobs.insert(id, job);
            self.make_ready(id, self.now);
            if let Some(children) = self.children.remove(&old) {
                for child in &children {
                    if let Some(job) = self.jobs.get_mut(child) {
                        job.waits_for.remove(&old);
                        job.waits_for.insert(id);
                    }
                }
                self.children.insert(id, children);
            }
            replayed.push((JobId(old), JobId(id)));
        }
        if !replayed.is_empty() {
            self.changes.push(Change::Replay(dead.to_vec()));
        }
        replayed
    }

    pub(super) fn dead_since(&self, id: i64) -> Option<Micros> {
        match self.jobs.get(&id)?.place {
            Place::Dead { at, .. } => Some(at),
            _ => None,
        }
    }
}
