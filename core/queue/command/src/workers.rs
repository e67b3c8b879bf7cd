//! `workers`.

use clap::Args;
use seaworthy_queue::{Queue, WorkerInfo};
use serde_json::{Value, json};

use crate::{
    Exit, Problem,
    print::{print_json, print_list},
    table::{
        Column::{Name, Number, Rest, Word},
        table, width,
    },
    words::{age, line, rfc3339, since},
};

/// List the workers and their heartbeats.
#[derive(Debug, Args)]
pub(crate) struct Workers {
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Workers {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        let workers = queue.workers().await?;
        if self.json {
            print_json(&json!({ "workers": workers.iter().map(to_json).collect::<Vec<_>>() }))?;
            return Ok(if workers.is_empty() { Exit::Refused } else { Exit::Done });
        }
        print_list(workers.is_empty(), "no worker is there", || {
            let columns = [
                Word("worker"),
                Name("host"),
                Number("process"),
                Number("jobs"),
                Number("up"),
                Number("heartbeat"),
                Word(""),
                Rest("queues"),
            ];
            table(width(), columns, workers.iter().map(row))
        })
    }
}

fn row(worker: &WorkerInfo) -> [String; 8] {
    [
        name(worker),
        worker.host.as_deref().map(line).unwrap_or_default(),
        worker.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        jobs(worker.jobs, worker.concurrency),
        since(worker.started_at),
        format!("{} ago", age(worker.silent_for)),
        mark(worker).to_owned(),
        line(&worker.queues.join(", ")),
    ]
}

/// The first digits of its number, which tell workers apart.
pub(crate) fn name(worker: &WorkerInfo) -> String {
    worker.id.to_string().chars().take(8).collect()
}

/// What it has, of what it runs at most.
pub(crate) fn jobs(jobs: u64, concurrency: Option<u32>) -> String {
    concurrency.map_or_else(|| jobs.to_string(), |most| format!("{jobs}/{most}"))
}

/// What is special about it.
pub(crate) fn mark(worker: &WorkerInfo) -> &'static str {
    match (worker.is_lost, worker.is_leader) {
        (true, _) => "lost",
        (false, true) => "leads",
        (false, false) => "",
    }
}

fn to_json(worker: &WorkerInfo) -> Value {
    json!({
        "id": worker.id.to_string(),
        "host": worker.host,
        "process": worker.pid,
        "queues": worker.queues,
        "concurrency": worker.concurrency,
        "jobs": worker.jobs,
        "started_at": rfc3339(worker.started_at),
        "silent_for_seconds": worker.silent_for.as_secs_f64(),
        "is_lost": worker.is_lost,
        "is_leader": worker.is_leader,
    })
}
