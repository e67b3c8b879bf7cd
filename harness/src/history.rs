//! What clients did and what became of it, in the order in which it was begun.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Operations that a history keeps at most; what is beyond is counted, not kept.
const MAX_OPERATIONS: usize = 1_000_000;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It took effect, and the client was told so.
    Ok,
    /// It did not take effect, and the client was told so.
    Failed(String),
    /// The client can't know: the connection broke before the answer.
    Unknown(String),
    /// No answer came within the client's deadline.
    TimedOut,
}

/// One operation of one client. Times count from the history's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What was done, for example `place-order`.
    pub kind: String,
    /// What it was done to.
    pub key: String,
    /// When it should have begun. Latency counts from here, so that a stall is not hidden by the requests that it held back.
    pub intended: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// From the intended start to the end.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.intended)
    }
}

/// A growing record of operations. Cheap to clone; all clones are the same history.
#[derive(Debug, Clone)]
pub struct History {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    operations: Vec<Operation>,
    dropped: u64,
}

/// Counts of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Operations that took effect.
    pub ok: u64,
    /// Operations that were refused.
    pub failed: u64,
    /// Operations whose effect the client can't know.
    pub unknown: u64,
    /// Operations without an answer within their deadline.
    pub timed_out: u64,
}

impl History {
    /// An empty history that starts now.
    pub fn start() -> Self {
        History { inner: Arc::new(Inner { started: Instant::now(), record: Mutex::default() }) }
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// Adds an operation.
    pub fn record(&self, operation: Operation) {
        let mut record = self.lock();
        if record.operations.len() < MAX_OPERATIONS {
            record.operations.push(operation);
        } else {
            record.dropped += 1;
        }
    }

    /// A copy of the operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().operations.clone()
    }

    /// Operations that were not kept, since the history was full. A check over an incomplete history can't hold.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// How the operations so far ended.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for operation in &self.lock().operations {
            match operation.outcome {
                Outcome::Ok => counts.ok += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Unknown(_) => counts.unknown += 1,
                Outcome::TimedOut => counts.timed_out += 1,
            }
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.inner.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
