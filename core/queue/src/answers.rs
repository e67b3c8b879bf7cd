//! What the queue answers.

use serde::{Deserialize, Serialize};

use crate::JobId;

/// How many jobs are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Jobs that can be claimed now.
    pub ready: i64,
    /// Jobs that wait for their time, or until it is quiet; retries included.
    pub scheduled: i64,
    /// Jobs that wait until a limit lets them through.
    pub limited: i64,
    /// Jobs that wait for others.
    pub blocked: i64,
    /// Jobs that a worker has.
    pub leased: i64,
    /// Jobs that were completed.
    pub completed: i64,
    /// Jobs that were given up.
    pub dead: i64,
    /// How many times a job was taken back from a worker that died.
    pub rescued: i64,
    /// Jobs that somebody cancelled, and those that waited for them.
    pub cancelled: i64,
    /// Jobs that were not begun in time.
    pub expired: i64,
}

/// What became of a job that was to be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// Its number, or that of the job that is there in its place.
    pub id: JobId,
    /// Whether it was enqueued; `false` when a job that has to be unique is there already.
    pub is_new: bool,
}

impl Enqueued {
    pub(crate) fn new(id: JobId) -> Self {
        Enqueued { id, is_new: true }
    }
}

/// What became of a job that was to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// No worker had it: it is cancelled, and so is what waited for it.
    Queued,
    /// A worker has it and will stop it soon, unless it comes to its end before.
    Running,
    /// It is over, or there is no such job.
    Over,
}

/// How far a job is, in units of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// So much is done.
    pub done: i64,
    /// Of so much.
    pub total: i64,
    /// What its handler says about it.
    pub note: String,
}

/// A job that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The job's number.
    pub id: JobId,
    /// What kind of job it was.
    pub kind: String,
    /// Its arguments.
    pub args: serde_json::Value,
    /// How often it was tried.
    pub attempts: i16,
    /// Why the last attempt failed.
    pub error: String,
}
