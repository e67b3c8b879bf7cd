//! Job queues on Postgres, behind one face, so that the same work can be given to ours and to its peers.
//!
//! Handlers are real: they read their arguments, and count. A queue is done with its jobs once the end of the last one is recorded, not when its handler ran.

mod measure;
mod ours;
mod raw;
mod server;
mod tally;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

pub use measure::{BATCH, Burst, Pickup, burst, enqueue, peak_memory_mib, pickup, wal_position};
pub use ours::Ours;
pub use raw::RawBatches;
pub use server::Server;
pub use tally::Tally;

/// What a job is to do: its handler adds the number to a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Which job it is.
    pub number: u64,
}

impl Work {
    /// Jobs with these numbers.
    pub fn numbered(numbers: std::ops::Range<u64>) -> Vec<Work> {
        numbers.map(|number| Work { number }).collect()
    }
}

/// A queue that is measured.
#[async_trait]
pub trait Contender: Send + Sync {
    /// Its name in the tables.
    fn name(&self) -> &'static str;

    /// Its database.
    fn pool(&self) -> &PgPool;

    /// How many times fewer jobs it is given, so that its turn takes about as long as those of others.
    fn times_fewer(&self) -> u64 {
        1
    }

    /// Enqueues jobs at once, in the fastest way that it offers.
    async fn enqueue(&self, jobs: &[Work]) -> anyhow::Result<()>;

    /// Enqueues a job by itself, and lets workers know if that is a step of its own.
    async fn push(&self, job: Work) -> anyhow::Result<()>;

    /// Starts a worker that runs so many jobs at once.
    async fn start(&self, concurrency: usize, tally: Arc<Tally>) -> anyhow::Result<Box<dyn Running>>;

    /// Whether some job's end is not recorded yet.
    async fn has_unfinished(&self) -> anyhow::Result<bool>;
}

/// A worker of a [`Contender`].
#[async_trait]
pub trait Running: Send {
    /// Ends it in good order.
    async fn stop(self: Box<Self>) -> anyhow::Result<()>;
}
