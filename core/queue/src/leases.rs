//! The leases that a worker knows it holds.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{PgPool, types::Uuid};

use crate::{Error, store};

/// Tokens from just before they are claimed until they are settled. A lease that the database has and this set has
/// not is the trace of a claim whose answer got lost: nobody works on its jobs, and the worker lives, so nobody
/// would rescue them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    open: Arc<Mutex<HashSet<Uuid>>>,
}

impl Leases {
    pub(crate) fn open(&self) -> Uuid {
        let token = Uuid::new_v4();
        self.lock().insert(token);
        token
    }

    pub(crate) fn close(&self, token: Uuid) {
        self.lock().remove(&token);
    }

    /// Returns the jobs of leases that are not open here, and says how many. The database is asked first: whatever it
    /// names was opened here before.
    pub(crate) async fn release_strays(
        &self,
        pool: &PgPool,
        worker: Uuid,
        deadline: Duration,
    ) -> Result<u64, Error> {
        let mut tokens = store::leases_of(pool, worker).await?;
        tokens.retain(|token| !self.lock().contains(token));
        if tokens.is_empty() { Ok(0) } else { store::release(pool, &tokens, deadline).await }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
