//! `show`: everything about one job.

use std::fmt::Write as _;

use clap::Args;
use seaworthy_queue::{Attempt, JobId, JobStory, Queue};
use serde_json::{Value, json};

use crate::{
    Exit, Problem,
    jobs::{no_job, to_json},
    print::{print, print_json},
    words::{block, line, maybe_rfc3339, rfc3339, since, took, until},
};

/// Tell everything about one job, with every attempt.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its number.
    job: i64,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        let job = JobId(self.job);
        let story = queue.job(job).await?.ok_or_else(|| Problem::refused(no_job(job)))?;
        if self.json { print_json(&as_json(&story)) } else { print(&text(&story)) }
    }
}

fn as_json(story: &JobStory) -> Value {
    let mut told = to_json(&story.job);
    if let Some(told) = told.as_object_mut() {
        told.remove("args_start");
    }
    let attempt = |one: &Attempt| {
        json!({
            "outcome": one.outcome,
            "at": rfc3339(one.at),
            "ran_seconds": one.ran.map(|ran| ran.as_secs_f64()),
            "why": one.why,
        })
    };
    let ids = |jobs: &[JobId]| jobs.iter().map(|id| id.0).collect::<Vec<_>>();
    told["args"] = story.args.clone();
    told["version"] = story.version.into();
    told["attempts"] = story.attempts.iter().map(attempt).collect();
    told["worker"] = story.worker.map(|worker| worker.to_string()).into();
    told["waits_for"] = ids(&story.parents).into();
    told["waiting_for_it"] = ids(&story.children).into();
    told["expires_at"] = maybe_rfc3339(story.expires_at);
    told["unique_key"] = story.unique_key.clone().into();
    told["replay_of"] = story.replay_of.map(|id| id.0).into();
    told["schedule"] = story.occurrence.as_ref().map(|(name, _)| name.clone()).into();
    told["due_at"] = maybe_rfc3339(story.occurrence.as_ref().map(|(_, due)| *due));
    told["result"] = story.result.clone().unwrap_or_default();
    told["progress"] = story.progress.as_ref().map_or(
        Value::Null,
        |progress| json!({ "done": progress.done, "total": progress.total, "note": progress.note }),
    );
    told["trace"] = story.trace.clone().into();
    told
}

/// What there is to know, a line for each; long texts come below.
fn text(story: &JobStory) -> String {
    let mut text = String::new();
    let mut tell = |what: &str, told: &str| {
        let _ = writeln!(text, "{what:<11}  {told}");
    };
    let job = &story.job;
    tell("job", &job.id.to_string());
    tell("kind", &line(&job.kind));
    tell("queue", &line(&job.queue));
    tell("state", &state(story));
    tell("enqueued", &format!("{} ago", since(job.created_at)));
    if job.priority != 0 {
        tell("priority", &job.priority.to_string());
    }
    if let Some(at) = story.expires_at {
        tell("expires", &until(at));
    }
    if let Some(worker) = story.worker {
        tell("worker", &worker.to_string());
    }
    if let Some(progress) = &story.progress {
        tell("progress", &format!("{} of {}, {}", progress.done, progress.total, line(&progress.note)));
    }
    for (what, jobs) in [("waits for", &story.parents), ("waited for by", &story.children)] {
        if !jobs.is_empty() {
            tell(what, &jobs.iter().map(JobId::to_string).collect::<Vec<_>>().join(", "));
        }
    }
    if let Some(key) = &story.unique_key {
        tell("unique key", &line(key));
    }
    if let Some(old) = story.replay_of {
        tell("replays", &format!("job {old}"));
    }
    if let Some((schedule, due)) = &story.occurrence {
        tell("schedule", &format!("{}, due {} ago", line(schedule), since(*due)));
    }
    if let Some(trace) = &story.trace {
        tell("trace", &line(trace));
    }
    if story.version != 1 {
        tell("version", &story.version.to_string());
    }
    tell("arguments", &value(&story.args));
    if let Some(result) = &story.result {
        tell("result", &value(result));
    }
    if let Some((at, why)) = &job.given_up {
        tell("given up", &format!("{} ago", since(*at)));
        tell("error", &indented(why));
    }
    if !story.attempts.is_empty() {
        text.push_str("attempts\n");
        story.attempts.iter().for_each(|one| attempt(&mut text, one));
    }
    text
}

fn state(story: &JobStory) -> String {
    let job = &story.job;
    let due = job.run_at.map_or_else(String::new, |at| format!(", {}", until(at)));
    let attempt = job.attempt.map(|attempt| format!(", attempt {attempt} of {}", job.max_attempts));
    format!("{}{due}{}", job.state.as_str(), attempt.unwrap_or_default())
}

fn attempt(text: &mut String, one: &Attempt) {
    let ran = one.ran.map_or_else(String::new, |ran| format!(", ran {}", took(ran)));
    let _ = writeln!(text, "  {:<9}  {} ago{ran}", one.outcome, since(one.at));
    if let Some(why) = &one.why {
        let _ = writeln!(text, "{:13}{}", "", indented(why));
    }
}

/// JSON that is readable and can be copied.
fn value(value: &Value) -> String {
    indented(&format!("{value:#}"))
}

/// Under its first line's beginning.
fn indented(text: &str) -> String {
    block(text.trim_end()).replace('\n', &format!("\n{:13}", ""))
}
