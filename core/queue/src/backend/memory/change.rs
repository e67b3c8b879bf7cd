//! What happens to the jobs, as it is written to a log.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ends::Interrupted, state::State};
use crate::{
    JobId, NewJob,
    answers::Progress,
    backend::{Claim, Completed, Unfinished},
    job::Start,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Enqueue { jobs: Vec<Entry>, edges: Vec<(usize, usize)> },
    Promote,
    Register { worker: Uuid, lease_timeout: i64 },
    Dismiss { worker: Uuid, why: String },
    Claim { worker: Uuid, token: Uuid, queue: String, limit: usize },
    GiveBack { token: Uuid, part: i16, jobs: Vec<JobId> },
    TakeBack { tokens: Vec<Uuid>, jobs: Interrupted, why: String },
    Complete(Vec<Completed>),
    End(Vec<Unfinished>),
    Progress { token: Uuid, job: JobId, progress: Progress },
    Cancel(JobId),
    Pause(String),
    Resume(String),
    Replay(Vec<JobId>),
    Purge(Vec<JobId>),
}

/// A job as it came in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) args: String,
    pub(super) priority: i16,
    pub(super) max_attempts: i16,
    pub(super) start: Start,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_in: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// For how long the key is taken; nothing for as long as the job is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) period: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<String>,
    /// Of the arguments.
    pub(super) version: u8,
}

impl From<&NewJob> for Entry {
    fn from(job: &NewJob) -> Self {
        Entry {
            queue: job.queue.clone(),
            kind: job.kind.clone(),
            args: job.args.clone(),
            priority: job.priority,
            max_attempts: job.max_attempts,
            start: job.start,
            expires_in: job.expires_in,
            key: job.key(),
            period: job.unique.as_ref().and_then(|unique| unique.period),
            trace: job.trace.clone(),
            version: job.version,
        }
    }
}

impl State {
    /// Lets this happen again, as of the time that the state has.
    pub(super) fn again(&mut self, change: Change) {
        match change {
            Change::Enqueue { jobs, edges } => _ = self.enqueue(&jobs, &edges),
            Change::Promote => _ = self.promote_due(),
            Change::Register { worker, lease_timeout } => {
                self.register(worker, Duration::from_micros(lease_timeout.unsigned_abs()));
            }
            Change::Dismiss { worker, why } => _ = self.dismiss(worker, &why),
            Change::Claim { worker, token, queue, limit } => {
                let queue: Arc<str> = queue.into();
                _ = self.claim(Claim { worker, token, queue: &queue, limit, from: i64::MIN });
            }
            Change::GiveBack { token, part, jobs } => self.give_back(token, part, &jobs),
            Change::TakeBack { tokens, jobs, why } => _ = self.take_back(&tokens, jobs, &why),
            Change::Complete(done) => _ = self.complete(&done),
            Change::End(all) => _ = self.end_unfinished(&all),
            Change::Progress { token, job, progress } => _ = self.tell_progress(token, job, &progress),
            Change::Cancel(job) => _ = self.cancel(job),
            Change::Pause(queue) => _ = self.pause(&queue),
            Change::Resume(queue) => _ = self.resume(&queue),
            Change::Replay(dead) => _ = self.replay(&dead),
            Change::Purge(dead) => _ = self.purge(&dead),
        }
        self.changes.clear();
    }

    pub(super) fn pause(&mut self, queue: &str) -> bool {
        let is_new = self.paused.insert(queue.to_owned());
        if is_new {
            self.changes.push(Change::Pause(queue.to_owned()));
        }
        is_new
    }

    pub(super) fn resume(&mut self, queue: &str) -> bool {
        let was_paused = self.paused.remove(queue);
        if was_paused {
            self.changes.push(Change::Resume(queue.to_owned()));
        }
        was_paused
    }
}
