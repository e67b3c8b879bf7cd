//! `schedules`: periodic jobs.

use clap::{Args, Subcommand};
use seaworthy_queue::{Missed, Queue, Scheduled};
use serde_json::{Value, json};

use crate::{
    Exit, Problem,
    print::{print, print_json, print_list},
    table::{
        Column::{Name, Rest, Word},
        table, width,
    },
    words::{line, maybe_rfc3339, rfc3339, since, until},
};

/// Look at periodic jobs, and pause them.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedules {
    /// List the schedules and when they are due next.
    List {
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let schedules enqueue nothing for the time being.
    Pause(Named),
    /// Let schedules enqueue jobs again, from their next occurrence on.
    Resume(Named),
}

/// Schedules that are named.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Their names.
    #[arg(required = true, value_name = "SCHEDULE")]
    schedules: Vec<String>,
}

impl Schedules {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        match self {
            Schedules::List { json } => list(queue, json).await,
            Schedules::Pause(named) => turn(queue, named, false).await,
            Schedules::Resume(named) => turn(queue, named, true).await,
        }
    }
}

async fn list(queue: &Queue, json: bool) -> Result<Exit, Problem> {
    let schedules = queue.schedules().await?;
    if json {
        print_json(&json!({ "schedules": schedules.iter().map(to_json).collect::<Vec<_>>() }))?;
        return Ok(if schedules.is_empty() { Exit::Refused } else { Exit::Done });
    }
    print_list(schedules.is_empty(), "there is no schedule", || {
        let columns =
            [Name("schedule"), Word("next"), Word("last"), Name("queue"), Name("kind"), Rest("expression")];
        table(width(), columns, schedules.iter().map(row))
    })
}

fn row(schedule: &Scheduled) -> [String; 6] {
    let next = match schedule.paused_since {
        Some(at) => format!("paused {}", since(at)),
        None => schedule.next.first().map_or_else(|| "never".to_owned(), |at| until(*at)),
    };
    let last = schedule.last.map_or_else(|| "never".to_owned(), |(at, _)| format!("{} ago", since(at)));
    let expression = format!("{} {}", schedule.expression, schedule.zone);
    let [name, queue, kind, expression] =
        [&schedule.name, &schedule.queue, &schedule.kind, &expression].map(|text| line(text));
    [name, next, last, queue, kind, expression]
}

fn to_json(schedule: &Scheduled) -> Value {
    let missed = match schedule.missed {
        Missed::Skip => json!({ "run": "skip" }),
        Missed::Once => json!({ "run": "once" }),
        Missed::All { most } => json!({ "run": "all", "most": most }),
    };
    json!({
        "name": schedule.name,
        "expression": schedule.expression,
        "zone": schedule.zone,
        "missed": missed,
        "queue": schedule.queue,
        "kind": schedule.kind,
        "paused_since": maybe_rfc3339(schedule.paused_since),
        "next": schedule.next.iter().map(|at| rfc3339(*at)).collect::<Vec<_>>(),
        "last": maybe_rfc3339(schedule.last.map(|(at, _)| at)),
        "last_job": schedule.last.map(|(_, job)| job.0),
    })
}

async fn turn(queue: &Queue, named: Named, on: bool) -> Result<Exit, Problem> {
    let known = queue.schedules().await?;
    let mut exit = Exit::Done;
    for name in &named.schedules {
        let turned = if on { queue.resume_schedule(name).await? } else { queue.pause_schedule(name).await? };
        let is_known = known.iter().any(|one| one.name == *name);
        let said = match (turned, on) {
            (false, _) if !is_known => {
                let there = known.iter().take(20).map(|one| line(&one.name)).collect::<Vec<_>>().join(", ");
                exit = exit
                    .and(Problem::refused(format!("no schedule {}; there are: {there}", line(name))).tell());
                continue;
            }
            (true, true) => "enqueues jobs again",
            (true, false) => "is paused",
            (false, true) => "was not paused",
            (false, false) => "is paused already",
        };
        print(&format!("schedule {} {said}\n", line(name)))?;
    }
    Ok(exit)
}
