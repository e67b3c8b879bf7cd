//! What is to be seen now.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use seaworthy_queue::{Analytics, FailedAttempt, JobFilter, JobState, Queue, WorkerInfo};
use serde_json::{Value, json};

use crate::{
    Problem,
    words::{line, rfc3339},
    workers::{mark, name},
};

/// Failures that are looked at.
const FAILURES: usize = 20;
/// Jobs that workers have and that are counted by their queue.
const LEASED: usize = 1_000;

/// The state of everything at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    pub(crate) at: SystemTime,
    /// By name.
    pub(crate) queues: Vec<QueueNow>,
    pub(crate) workers: Vec<WorkerNow>,
    /// The newest first.
    pub(crate) failures: Vec<FailureNow>,
    /// Whether workers have more jobs than were counted by their queue.
    pub(crate) more_leased: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct QueueNow {
    pub(crate) name: String,
    pub(crate) is_paused: bool,
    pub(crate) ready: u64,
    pub(crate) scheduled: u64,
    /// Held up by a limit.
    pub(crate) limited: u64,
    pub(crate) leased: u64,
    pub(crate) dead: u64,
    /// Since the last look.
    pub(crate) done_per_second: f64,
    /// Attempts that failed, since the last look.
    pub(crate) failed_per_second: f64,
    pub(crate) oldest: Option<Duration>,
    pub(crate) workers: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerNow {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) pid: Option<u32>,
    pub(crate) jobs: u64,
    pub(crate) concurrency: Option<u32>,
    pub(crate) queues: String,
    pub(crate) silent_for: Duration,
    /// `lost`, `leads` or nothing.
    pub(crate) mark: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FailureNow {
    pub(crate) job: i64,
    pub(crate) queue: String,
    pub(crate) kind: String,
    pub(crate) outcome: String,
    pub(crate) at: SystemTime,
    pub(crate) why: String,
}

impl Look {
    /// Looks at what is there, and at what happened in this time until now.
    pub(crate) async fn take(queue: &Queue, span: Duration) -> Result<Look, Problem> {
        let infos = queue.queues().await?;
        let workers = queue.workers().await?;
        let leased = queue.jobs(&JobFilter::new().state(JobState::Running).limit(LEASED)).await?;
        let analytics = queue.analytics(span).await?;
        let failures = queue.failures(FAILURES).await?;

        let mut queues: BTreeMap<String, QueueNow> = BTreeMap::new();
        for info in infos {
            let now = QueueNow {
                name: line(&info.name),
                is_paused: info.paused_since.is_some(),
                ready: info.ready,
                scheduled: info.scheduled,
                limited: info.limited,
                dead: info.dead,
                oldest: info.oldest,
                workers: info.workers,
                ..QueueNow::default()
            };
            queues.insert(info.name, now);
        }
        for job in &leased.jobs {
            named(&mut queues, &job.queue).leased += 1;
        }
        add_rates(&mut queues, &analytics);
        Ok(Look {
            at: SystemTime::now(),
            queues: queues.into_values().collect(),
            workers: workers.iter().map(WorkerNow::new).collect(),
            failures: failures.into_iter().map(FailureNow::new).collect(),
            more_leased: leased.next.is_some(),
        })
    }

    /// One line of JSON.
    pub(crate) fn to_json(&self) -> Value {
        let queue = |one: &QueueNow| {
            json!({
                "name": one.name,
                "is_paused": one.is_paused,
                "ready": one.ready,
                "scheduled": one.scheduled,
                "limited": one.limited,
                "leased": one.leased,
                "dead": one.dead,
                "done_per_second": one.done_per_second,
                "failed_per_second": one.failed_per_second,
                "oldest_seconds": one.oldest.map(|oldest| oldest.as_secs_f64()),
                "workers": one.workers,
            })
        };
        let worker = |one: &WorkerNow| {
            json!({
                "name": one.name,
                "host": one.host,
                "process": one.pid,
                "jobs": one.jobs,
                "concurrency": one.concurrency,
                "queues": one.queues,
                "silent_for_seconds": one.silent_for.as_secs_f64(),
                "is_lost": one.mark == "lost",
            })
        };
        let failure = |one: &FailureNow| {
            json!({
                "job": one.job,
                "queue": one.queue,
                "kind": one.kind,
                "outcome": one.outcome,
                "at": rfc3339(one.at),
                "why": one.why,
            })
        };
        json!({
            "at": rfc3339(self.at),
            "queues": self.queues.iter().map(queue).collect::<Vec<_>>(),
            "workers": self.workers.iter().map(worker).collect::<Vec<_>>(),
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
        })
    }
}

/// A queue of which there is something to be told, though nothing waits in it.
fn named<'a>(queues: &'a mut BTreeMap<String, QueueNow>, name: &str) -> &'a mut QueueNow {
    queues.entry(name.to_owned()).or_insert_with(|| QueueNow { name: line(name), ..QueueNow::default() })
}

fn add_rates(queues: &mut BTreeMap<String, QueueNow>, analytics: &Analytics) {
    let seconds = analytics.span.as_secs_f64().max(0.001);
    for kind in &analytics.kinds {
        let now = named(queues, &kind.queue);
        now.done_per_second += kind.completed as f64 / seconds;
        now.failed_per_second += (kind.retried + kind.dead + kind.rescued) as f64 / seconds;
    }
}

impl WorkerNow {
    fn new(info: &WorkerInfo) -> Self {
        WorkerNow {
            name: name(info),
            host: info.host.as_deref().map(line).unwrap_or_default(),
            pid: info.pid,
            jobs: info.jobs,
            concurrency: info.concurrency,
            queues: line(&info.queues.join(", ")),
            silent_for: info.silent_for,
            mark: mark(info),
        }
    }
}

impl FailureNow {
    fn new(failed: FailedAttempt) -> Self {
        FailureNow {
            job: failed.job.0,
            queue: line(&failed.queue),
            kind: line(&failed.kind),
            outcome: failed.outcome,
            at: failed.at,
            why: failed.why.as_deref().map(line).unwrap_or_default(),
        }
    }
}
