//! A queue as simple as can be: what the back ends have to agree with, call by call.

use std::collections::{BTreeMap, BTreeSet};

use seaworthy_queue::{JobId, Stats, backend::Claimed};
use uuid::Uuid;

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Ready,
    /// Until time passes.
    Scheduled,
    /// As long as these are not completed.
    Blocked(BTreeSet<i64>),
    Leased(Uuid),
    Dead,
    Over,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) place: Place,
    attempt: i16,
    max_attempts: i16,
    expires: Option<u32>,
    key: Option<u8>,
    is_delayed: bool,
}

/// What is enqueued: so many jobs, each of which may wait for the one before it.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) jobs: u8,
    pub(crate) is_chain: bool,
    pub(crate) is_delayed: bool,
    pub(crate) expires: bool,
    pub(crate) max_attempts: i16,
    /// Only where it is a single job.
    pub(crate) key: Option<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) jobs: BTreeMap<i64, Job>,
    pub(crate) is_paused: bool,
    /// How often time has passed.
    age: u32,
    completed: i64,
    rescued: i64,
    cancelled: i64,
    expired: i64,
    /// Jobs that came to an end, and how often.
    pub(crate) ends: BTreeMap<i64, u32>,
}

impl Model {
    pub(crate) fn stats(&self) -> Stats {
        let at = |is: fn(&Place) -> bool| self.jobs.values().filter(|job| is(&job.place)).count() as i64;
        Stats {
            ready: at(|place| *place == Place::Ready),
            scheduled: at(|place| *place == Place::Scheduled),
            limited: 0,
            blocked: at(|place| matches!(place, Place::Blocked(_))),
            leased: at(|place| matches!(place, Place::Leased(_))),
            dead: at(|place| *place == Place::Dead),
            completed: self.completed,
            rescued: self.rescued,
            cancelled: self.cancelled,
            expired: self.expired,
        }
    }

    /// Those that are in such a place.
    pub(crate) fn at(&self, is: impl Fn(&Place) -> bool) -> Vec<JobId> {
        self.jobs.iter().filter(|(_, job)| is(&job.place)).map(|(id, _)| JobId(*id)).collect()
    }

    /// The job that has this key.
    pub(crate) fn owner(&self, key: u8) -> Option<JobId> {
        let has_key = |job: &Job| job.key == Some(key) && !matches!(job.place, Place::Over | Place::Dead);
        self.jobs.iter().find(|(_, job)| has_key(job)).map(|(id, _)| JobId(*id))
    }

    pub(crate) fn enqueued(&mut self, new: &New, ids: &[JobId]) {
        let mut before = None;
        for id in ids {
            let place = match before.filter(|_| new.is_chain) {
                Some(parent) => Place::Blocked([parent].into()),
                None if new.is_delayed => Place::Scheduled,
                None => Place::Ready,
            };
            let job = Job {
                place,
                attempt: 1,
                max_attempts: new.max_attempts,
                expires: new.expires.then_some(self.age),
                key: new.key.filter(|_| ids.len() == 1),
                is_delayed: new.is_delayed,
            };
            assert!(self.jobs.insert(id.0, job).is_none(), "{id} was given out twice");
            before = Some(id.0);
        }
    }

    /// Only what is ready may be claimed, as it is.
    pub(crate) fn claimed(&mut self, claimed: &[Claimed], limit: usize) {
        let ready = self.at(|place| *place == Place::Ready).len();
        let expected = if self.is_paused { 0 } else { ready.min(limit) };
        assert_eq!(claimed.len(), expected, "of {ready} jobs that are ready");
        for one in claimed {
            let job = self.jobs.get_mut(&one.id.0).expect("it was enqueued");
            assert_eq!(job.place, Place::Ready, "{one:?}");
            assert_eq!((one.attempt, one.max_attempts), (job.attempt, job.max_attempts), "{one:?}");
            assert_eq!(one.is_expired, job.expires.is_some_and(|at| at < self.age), "{one:?}");
            job.place = Place::Leased(one.token);
        }
    }

    /// Whether the job is under this lease.
    pub(crate) fn has(&self, token: Uuid, id: JobId) -> bool {
        self.jobs.get(&id.0).is_some_and(|job| job.place == Place::Leased(token))
    }

    /// Whether the lease is there, for jobs of it.
    pub(crate) fn complete(&mut self, id: JobId) {
        self.completed += 1;
        self.over(id.0);
        let delayed = |job: &Job| if job.is_delayed { Place::Scheduled } else { Place::Ready };
        for job in self.jobs.values_mut() {
            if let Place::Blocked(parents) = &mut job.place
                && parents.remove(&id.0)
                && parents.is_empty()
            {
                job.place = delayed(job);
            }
        }
    }

    pub(crate) fn retry(&mut self, id: JobId) {
        self.put(id, Place::Scheduled).attempt += 1;
    }

    /// The attempt does not count.
    pub(crate) fn return_later(&mut self, id: JobId) {
        self.put(id, Place::Scheduled);
    }

    pub(crate) fn bury(&mut self, id: JobId) {
        self.put(id, Place::Dead);
    }

    pub(crate) fn expire(&mut self, id: JobId) {
        self.expired += 1;
        self.over(id.0);
        self.cancel_children(id.0);
    }

    pub(crate) fn cancel(&mut self, id: JobId) {
        self.cancelled += 1;
        self.over(id.0);
        self.cancel_children(id.0);
    }

    fn cancel_children(&mut self, id: i64) {
        let waits = |place: &Place| matches!(place, Place::Blocked(parents) if parents.contains(&id));
        for child in self.at(waits) {
            self.cancel(child);
        }
    }

    pub(crate) fn purge(&mut self, id: JobId) {
        self.over(id.0);
        self.cancel_children(id.0);
    }

    pub(crate) fn replayed(&mut self, old: JobId, new: JobId) {
        let job = self.jobs.get_mut(&old.0).expect("it was enqueued");
        assert_eq!(job.place, Place::Dead);
        let again = Job {
            place: Place::Ready,
            attempt: 1,
            max_attempts: job.max_attempts,
            expires: None,
            key: None,
            is_delayed: false,
        };
        self.over(old.0);
        assert!(self.jobs.insert(new.0, again).is_none());
        for job in self.jobs.values_mut() {
            if let Place::Blocked(parents) = &mut job.place
                && parents.remove(&old.0)
            {
                parents.insert(new.0);
            }
        }
    }

    /// Jobs of this lease come back: as they were, or after one more attempt.
    pub(crate) fn take_back(&mut self, token: Uuid, attempt_counts: bool) -> u64 {
        let held = self.at(|place| *place == Place::Leased(token));
        for id in &held {
            self.rescued += 1;
            let Some(job) = self.jobs.get_mut(&id.0) else { continue };
            job.place = match attempt_counts {
                false => Place::Ready,
                true if job.attempt >= job.max_attempts => Place::Dead,
                // One that was interrupted before waits for a random time.
                true if job.attempt > 1 => Place::Scheduled,
                true => Place::Ready,
            };
            job.attempt += i16::from(attempt_counts && job.place != Place::Dead);
        }
        held.len() as u64
    }

    pub(crate) fn give_back(&mut self, id: JobId) {
        self.put(id, Place::Ready);
    }

    /// Longer than anything waits.
    pub(crate) fn time_passes(&mut self) {
        self.age += 1;
        for job in self.jobs.values_mut().filter(|job| job.place == Place::Scheduled) {
            job.place = Place::Ready;
        }
    }

    fn put(&mut self, id: JobId, place: Place) -> &mut Job {
        let job = self.jobs.get_mut(&id.0).expect("it was enqueued");
        job.place = place;
        job
    }

    fn over(&mut self, id: i64) {
        *self.ends.entry(id).or_default() += 1;
        self.put(JobId(id), Place::Over);
    }
}
