//! The leases that a worker knows it holds, and how many of their jobs are still to be settled.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// Leases from just before they are claimed until they are settled. One that the database has and this map has not is the trace of a claim whose answer got lost: nobody
/// works on its jobs, and the worker lives, so nobody would rescue them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    open: Arc<Mutex<HashMap<Uuid, Lease>>>,
}

#[derive(Debug, Default)]
struct Lease {
    /// Jobs whose end is not recorded yet.
    left: usize,
    /// What is recorded of a lease has a number each, so that it is recorded once.
    parts: i16,
    /// Whether the end of a job was recorded by its handler, and has to be looked for.
    is_uncertain: bool,
}

impl Leases {
    pub(crate) fn open(&self) -> Uuid {
        let token = Uuid::new_v4();
        self.lock().insert(token, Lease::default());
        token
    }

    /// So many jobs were claimed.
    pub(crate) fn claimed(&self, token: Uuid, jobs: usize) {
        if let Some(lease) = self.lock().get_mut(&token) {
            lease.left = jobs;
        }
    }

    pub(crate) fn close(&self, token: Uuid) {
        self.lock().remove(&token);
    }

    pub(crate) fn is_open(&self, token: Uuid) -> bool {
        self.lock().contains_key(&token)
    }

    /// The number of the next record, and whether there is nothing left of the lease after these jobs.
    pub(crate) fn part(&self, token: Uuid, jobs: usize) -> (i16, bool) {
        match self.lock().get_mut(&token) {
            Some(lease) => {
                let part = lease.parts;
                lease.parts += 1;
                (part, lease.left <= jobs && !lease.is_uncertain)
            }
            None => (0, false),
        }
    }

    /// A handler says that it has recorded the end itself.
    pub(crate) fn doubt(&self, token: Uuid) {
        if let Some(lease) = self.lock().get_mut(&token) {
            lease.is_uncertain = true;
        }
    }

    /// So many jobs are settled. Says whether these were the last ones.
    pub(crate) fn settled(&self, token: Uuid, jobs: usize) -> bool {
        match self.lock().get_mut(&token) {
            Some(lease) => {
                lease.left = lease.left.saturating_sub(jobs);
                lease.left == 0
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Lease>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
