//! `pause`, `resume` and `stats`.

use std::time::Duration;

use clap::Args;
use seaworthy_queue::{Analytics, KindAnalytics, Quantiles, Queue, QueueInfo};
use serde_json::{Value, json};

use crate::{
    Exit, Problem,
    print::{print, print_json},
    table::{
        Column::{Name, Number, Word},
        table, width,
    },
    words::{age, count, line, maybe_rfc3339, rate, since, took},
};

/// Let workers claim nothing more from queues.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Their names.
    #[arg(required = true)]
    queues: Vec<String>,
    /// Pause also what nobody knows: no worker takes jobs from it, and none waits in it.
    #[arg(long)]
    anyway: bool,
}

/// Let workers claim from queues again.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Their names.
    #[arg(required = true)]
    queues: Vec<String>,
}

/// Tell what waits in each queue, and what happened lately by kind of job.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// How far to look back.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    last: Duration,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        let known = queue.queues().await?;
        let mut exit = Exit::Done;
        for name in &self.queues {
            let info = known.iter().find(|one| one.name == *name);
            exit = exit.and(match info.and_then(|info| info.paused_since) {
                Some(at) => print(&format!("queue {} is paused already, for {}\n", line(name), since(at)))?,
                None if info.is_none() && !self.anyway => {
                    Problem::refused(format!("{}; --anyway pauses it all the same", unknown(name, &known)))
                        .tell()
                }
                None => {
                    queue.pause(name).await?;
                    print(&format!("queue {} is paused; what workers have comes to its end\n", line(name)))?
                }
            });
        }
        Ok(exit)
    }
}

impl Resume {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        let known = queue.queues().await?;
        let mut exit = Exit::Done;
        for name in &self.queues {
            exit = exit.and(if queue.resume(name).await? {
                print(&format!("queue {} goes on\n", line(name)))?
            } else if known.iter().any(|one| one.name == *name) {
                print(&format!("queue {} was not paused\n", line(name)))?
            } else {
                Problem::refused(unknown(name, &known)).tell()
            });
        }
        Ok(exit)
    }
}

fn unknown(name: &str, known: &[QueueInfo]) -> String {
    /// So many names are a help.
    const MOST: usize = 20;
    let mut names: Vec<String> = known.iter().take(MOST).map(|one| line(&one.name)).collect();
    if known.len() > MOST {
        names.push("…".to_owned());
    }
    let there =
        if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
    format!("no queue {} is known: {there}", line(name))
}

impl Stats {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        let queues = queue.queues().await?;
        let analytics = queue.analytics(self.last).await?;
        let is_empty = queues.is_empty() && analytics.kinds.is_empty();
        if self.json {
            print_json(&json!({
                "queues": queues.iter().map(queue_json).collect::<Vec<_>>(),
                "span_seconds": analytics.span.as_secs_f64(),
                "sampled": analytics.sampled,
                "kinds": analytics.kinds.iter().map(kind_json).collect::<Vec<_>>(),
            }))?;
            return Ok(if is_empty { Exit::Refused } else { Exit::Done });
        }
        if is_empty {
            return Err(Problem::refused(
                "no queue: nothing waits, no worker is there, and nothing happened lately",
            ));
        }
        print(&format!("{}\n{}", queues_table(&queues), kinds_table(&analytics)))
    }
}

fn queues_table(queues: &[QueueInfo]) -> String {
    let columns = [
        Name("queue"),
        Number("ready"),
        Number("scheduled"),
        Number("limited"),
        Number("dead"),
        Number("oldest"),
        Number("workers"),
        Word(""),
    ];
    let row = |one: &QueueInfo| {
        [
            line(&one.name),
            count(one.ready),
            count(one.scheduled),
            count(one.limited),
            count(one.dead),
            one.oldest.map_or_else(String::new, age),
            one.workers.to_string(),
            one.paused_since.map_or_else(String::new, |at| format!("paused {}", since(at))),
        ]
    };
    table(width(), columns, queues.iter().map(row))
}

fn kinds_table(analytics: &Analytics) -> String {
    let span = humantime::format_duration(analytics.span);
    if analytics.kinds.is_empty() {
        return format!("nothing happened in the last {span}\n");
    }
    let columns = [
        Name("queue"),
        Name("kind"),
        Number("done"),
        Number("/s"),
        Number("failed"),
        Number("dead"),
        Number("wait"),
        Number("p99"),
        Number("run"),
        Number("p99"),
    ];
    let row = |one: &KindAnalytics| {
        let of = |quantiles: Option<Quantiles>| {
            quantiles.map_or_else(Default::default, |of| (took(of.p50), took(of.p99)))
        };
        let ((wait, long_wait), (run, long_run)) = (of(one.wait), of(one.run));
        let failed = format!("{:.0}%", one.failure_rate() * 100.0);
        let (done, dead) = (one.completed.to_string(), one.dead.to_string());
        let [queue, kind] = [line(&one.queue), line(&one.kind)];
        [queue, kind, done, rate(one.per_second), failed, dead, wait, long_wait, run, long_run]
    };
    let sample = if analytics.sampled < 1.0 {
        format!(", from {:.1}% of the records", analytics.sampled * 100.0)
    } else {
        String::new()
    };
    format!("in the last {span}{sample}\n{}", table(width(), columns, analytics.kinds.iter().map(row)))
}

fn queue_json(one: &QueueInfo) -> Value {
    json!({
        "name": one.name,
        "paused_since": maybe_rfc3339(one.paused_since),
        "ready": one.ready,
        "scheduled": one.scheduled,
        "limited": one.limited,
        "dead": one.dead,
        "oldest_seconds": one.oldest.map(|oldest| oldest.as_secs_f64()),
        "workers": one.workers,
    })
}

fn kind_json(one: &KindAnalytics) -> Value {
    let seconds = |of: Option<Quantiles>| {
        of.map_or(Value::Null, |of| {
            json!({
                "p50": of.p50.as_secs_f64(), "p90": of.p90.as_secs_f64(),
                "p99": of.p99.as_secs_f64(), "max": of.max.as_secs_f64(),
            })
        })
    };
    json!({
        "queue": one.queue,
        "kind": one.kind,
        "completed": one.completed,
        "retried": one.retried,
        "dead": one.dead,
        "rescued": one.rescued,
        "cancelled": one.cancelled,
        "expired": one.expired,
        "per_second": one.per_second,
        "failure_rate": one.failure_rate(),
        "run_seconds": seconds(one.run),
        "wait_seconds": seconds(one.wait),
    })
}
