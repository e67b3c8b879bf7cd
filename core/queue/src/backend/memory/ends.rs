//! Jobs come to an end, or back to the queue. Whoever has lost the lease changes nothing.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

use super::{
    change::Change,
    state::{Micros, Place, State},
};
use crate::{
    Error, JobId,
    answers::{Cancelled, Progress},
    backend::{Completed, Ending, Unfinished},
    job::microseconds,
};

/// Where the jobs of a lease were when it was voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Interrupted {
    /// A handler may have run: the attempt counts.
    Running,
    /// No handler has seen them.
    NotStarted,
}

impl State {
    pub(super) fn complete(&mut self, done: &[Completed]) -> HashSet<Uuid> {
        let mut stood = HashSet::new();
        let mut recorded = Vec::new();
        for one in done {
            let is_repeated = self.has_part(one.token, one.part);
            let Some(lease) = self.leases.get_mut(&one.token).filter(|_| !is_repeated) else {
                stood.extend(is_repeated.then_some(one.token));
                continue;
            };
            lease.parts.insert(one.part);
            let ended: Vec<i64> = one.jobs.iter().copied().filter(|job| lease.open.remove(job)).collect();
            let is_over = one.is_over && lease.open.is_empty();
            for (job, result) in &one.results {
                if ended.contains(job) {
                    self.results.entry(*job).or_insert_with(|| result.clone());
                }
            }
            for job in ended {
                self.counts.completed += 1;
                self.release_children(job);
                self.forget_job(job);
            }
            if is_over {
                self.forget_lease(one.token);
            }
            stood.insert(one.token);
            recorded.push(one.clone());
        }
        if !recorded.is_empty() {
            self.changes.push(Change::Complete(recorded));
        }
        stood
    }

    pub(super) fn end_unfinished(&mut self, all: &[Unfinished]) -> usize {
        let mut recorded = Vec::new();
        for one in all {
            let id = one.job.0;
            let Some(lease) = self.leases.get_mut(&one.token) else { continue };
            if lease.parts.contains(&one.part) || !lease.open.remove(&id) {
                continue;
            }
            lease.parts.insert(one.part);
            recorded.push(one.clone());
            match one.ending {
                Ending::RetryIn(wait) | Ending::ReturnIn(wait) => {
                    let counts = matches!(one.ending, Ending::RetryIn(_));
                    if let Some(job) = self.jobs.get_mut(&id) {
                        job.attempt = one.attempt + i16::from(counts);
                    }
                    self.schedule(id, self.now + microseconds(wait));
                }
                Ending::Dead => self.bury(id, one.why.clone()),
                Ending::Cancelled | Ending::Expired => {
                    let count = match one.ending {
                        Ending::Expired => &mut self.counts.expired,
                        _ => &mut self.counts.cancelled,
                    };
                    *count += 1;
                    self.forget_job(id);
                    self.cancel_children(id);
                }
            }
        }
        let count = recorded.len();
        if count > 0 {
            self.changes.push(Change::End(recorded));
        }
        count
    }

    fn bury(&mut self, id: i64, error: String) {
        self.free_key(id);
        let now = self.now;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.place = Place::Dead { at: now, error };
            self.dead.insert((now, id));
        }
    }

    /// The children of this job wait for it no longer.
    fn release_children(&mut self, parent: i64) {
        for child in self.children.remove(&parent).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(&child) else { continue };
            job.waits_for.remove(&parent);
            if job.waits_for.is_empty() && job.place == Place::Blocked {
                self.begin(child);
            }
        }
    }

    /// What waits for a job that is never completed is never done either, however many steps away.
    fn cancel_children(&mut self, parent: i64) {
        let mut parents = vec![parent];
        while let Some(parent) = parents.pop() {
            for child in self.children.remove(&parent).unwrap_or_default() {
                if self.jobs.get(&child).is_some_and(|job| job.place == Place::Blocked) {
                    self.leave_parents(child);
                    self.counts.cancelled += 1;
                    self.forget_job(child);
                    parents.push(child);
                }
            }
        }
    }

    fn leave_parents(&mut self, child: i64) {
        let Some(job) = self.jobs.get(&child) else { return };
        for parent in &job.waits_for {
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(&child);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
    }

    pub(super) fn cancel(&mut self, id: JobId) -> Cancelled {
        let JobId(id) = id;
        let Some(job) = self.jobs.get_mut(&id) else { return Cancelled::Over };
        match job.place {
            Place::Dead { .. } => return Cancelled::Over,
            Place::Leased { .. } => {
                job.is_cancelled = true;
                self.changes.push(Change::Cancel(JobId(id)));
                return Cancelled::Running;
            }
            Place::Ready { rank } => {
                if let Some(ready) = self.ready.get_mut(&job.entry.queue) {
                    ready.remove(&(rank, id));
                }
            }
            Place::Scheduled { run_at } => {
                self.scheduled.remove(&(run_at, id));
            }
            Place::Blocked => self.leave_parents(id),
        }
        self.changes.push(Change::Cancel(JobId(id)));
        self.counts.cancelled += 1;
        self.forget_job(id);
        self.cancel_children(id);
        Cancelled::Queued
    }

    pub(super) fn purge(&mut self, dead: &[JobId]) -> u64 {
        let mut purged = 0;
        for JobId(id) in dead {
            let Some(at) = self.dead_since(*id) else { continue };
            self.dead.remove(&(at, *id));
            self.forget_job(*id);
            self.cancel_children(*id);
            purged += 1;
        }
        if purged > 0 {
            self.changes.push(Change::Purge(dead.to_vec()));
        }
        purged
    }

    pub(super) fn give_back(&mut self, token: Uuid, part: i16, jobs: &[JobId]) {
        let Some(lease) = self.leases.get_mut(&token) else { return };
        if !lease.parts.insert(part) {
            return;
        }
        self.changes.push(Change::GiveBack { token, part, jobs: jobs.to_vec() });
        let back: Vec<i64> = jobs.iter().map(|id| id.0).filter(|id| lease.open.remove(id)).collect();
        for id in back {
            self.make_ready_again(id);
        }
    }

    fn make_ready_again(&mut self, id: i64) {
        if let Some(created_at) = self.jobs.get(&id).map(|job| job.created_at) {
            self.make_ready(id, created_at);
        }
    }

    /// Voids these leases, and returns their unfinished jobs to the queue or, after their last attempt, to the dead letters.
    pub(super) fn take_back(&mut self, tokens: &[Uuid], jobs: Interrupted, why: &str) -> u64 {
        let mut returned = 0;
        let there: Vec<Uuid> =
            tokens.iter().copied().filter(|token| self.leases.contains_key(token)).collect();
        if there.is_empty() {
            return 0;
        }
        self.changes.push(Change::TakeBack { tokens: there.clone(), jobs, why: why.to_owned() });
        for token in there {
            let open = self.leases.get_mut(&token).map(|lease| std::mem::take(&mut lease.open));
            self.forget_lease(token);
            for id in open.unwrap_or_default() {
                returned += 1;
                self.counts.rescued += 1;
                self.interrupted(id, jobs, why);
            }
        }
        returned
    }

    fn interrupted(&mut self, id: i64, jobs: Interrupted, why: &str) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let attempt = job.attempt;
        if jobs == Interrupted::NotStarted {
            return self.make_ready_again(id);
        }
        if attempt >= job.entry.max_attempts {
            return self.bury(id, format!("{why} in the last attempt"));
        }
        job.attempt += 1;
        if attempt > 1 {
            // If it is what kills workers, it comes back without those that were in the same batch.
            self.schedule(id, self.now + spread(id, attempt));
        } else {
            self.make_ready_again(id);
        }
    }

    pub(super) fn dismiss(&mut self, worker: Uuid, why: &str) -> u64 {
        if self.workers.remove(&worker).is_none() {
            return 0;
        }
        let mark = self.changes.len();
        let of_worker = self.leases.iter().filter(|(_, lease)| lease.worker == worker);
        let tokens: Vec<Uuid> = of_worker.map(|(token, _)| *token).collect();
        let returned = self.take_back(&tokens, Interrupted::Running, why);
        // One change says it all.
        self.changes.truncate(mark);
        self.changes.push(Change::Dismiss { worker, why: why.to_owned() });
        returned
    }

    pub(super) fn dismiss_all(&mut self, why: &str, is_dead: impl Fn(&super::state::Alive) -> bool) -> u64 {
        let dead: BTreeSet<Uuid> =
            self.workers.iter().filter(|(_, alive)| is_dead(alive)).map(|(worker, _)| *worker).collect();
        dead.into_iter().map(|worker| self.dismiss(worker, why)).sum()
    }

    pub(super) fn tell_progress(
        &mut self,
        token: Uuid,
        job: JobId,
        progress: &Progress,
    ) -> Result<(), Error> {
        if !self.leases.get(&token).is_some_and(|lease| lease.open.contains(&job.0)) {
            return Err(Error::Fenced { job: job.0 });
        }
        self.changes.push(Change::Progress { token, job, progress: progress.clone() });
        self.progress.insert(job.0, progress.clone());
        Ok(())
    }
}

/// A wait up to a minute, longer after each attempt. It differs from job to job, and is the same when the log is read again.
fn spread(id: i64, attempt: i16) -> Micros {
    // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
    let mut bits = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(attempt.unsigned_abs());
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let share = (bits ^ (bits >> 31)) % 1_000;
    let longest = (1_i64 << attempt.clamp(0, 6)).min(60) * 1_000_000;
    longest / 1_000 * share as i64
}
