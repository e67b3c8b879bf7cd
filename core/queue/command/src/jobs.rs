//! `list`, `retry` and `cancel`.

use clap::{Args, builder::PossibleValuesParser, value_parser};
use seaworthy_queue::{Cancelled, JobFilter, JobId, JobState, JobSummary, Queue};
use serde_json::{Value, json};

use crate::{
    Exit, Problem,
    print::{print, print_json, print_list},
    table::{
        Column::{Name, Number, Rest, Word},
        table, width,
    },
    words::{line, maybe_rfc3339, rfc3339, since, until},
};

/// Pages that are looked through for as many jobs as are wanted: some hundred thousand jobs.
const MOST_PAGES: usize = 20;

/// List jobs, the newest first.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those in this state.
    #[arg(long, value_parser = PossibleValuesParser::new(JobState::ALL.map(JobState::as_str)))]
    state: Option<String>,
    #[command(flatten)]
    page: Page,
}

/// Which jobs are wanted, and how they are told.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// Only those of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// Only those of this queue.
    #[arg(long)]
    queue: Option<String>,
    /// So many, up to 1000.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Only those with a lower number: the next page.
    #[arg(long, value_name = "JOB")]
    before: Option<i64>,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Jobs that are named.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Their numbers.
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<i64>,
}

impl List {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        let state = JobState::ALL.into_iter().find(|state| self.state.as_deref() == Some(state.as_str()));
        let show = |jobs: &[JobSummary]| {
            let columns = [
                Number("job"),
                Name("queue"),
                Name("kind"),
                Word("state"),
                Number("try"),
                Number("age"),
                Rest("arguments"),
            ];
            let row = |job: &JobSummary| {
                let [id, queue, kind, attempt] = start_of(job);
                [id, queue, kind, state_of(job), attempt, since(job.created_at), line(&job.args_start)]
            };
            table(width(), columns, jobs.iter().map(row))
        };
        self.page.execute(queue, state, "no job matches", show).await
    }
}

impl Page {
    /// Prints the jobs in a state, with a table for people.
    pub(crate) async fn execute(
        self,
        queue: &Queue,
        state: Option<JobState>,
        nothing: &str,
        show: impl FnOnce(&[JobSummary]) -> String,
    ) -> Result<Exit, Problem> {
        let limit = usize::from(self.limit);
        let mut filter = filter(state, self.kind, self.queue);
        if let Some(before) = self.before {
            filter = filter.before(JobId(before));
        }
        let (mut jobs, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let page = queue.jobs(&filter.clone().limit(limit - jobs.len())).await?;
            jobs.extend(page.jobs);
            next = page.next;
            match next {
                Some(next) if jobs.len() < limit => filter = filter.before(next),
                _ => break,
            }
        }
        if self.json {
            let list: Vec<Value> = jobs.iter().map(to_json).collect();
            print_json(&json!({ "jobs": list, "next": next.map(|next| next.0) }))?;
            return Ok(if jobs.is_empty() { Exit::Refused } else { Exit::Done });
        }
        let more = next.map_or_else(String::new, |next| format!("there may be more: --before {next}"));
        let nothing = if next.is_some() { format!("{nothing} so far; {more}") } else { nothing.to_owned() };
        print_list(jobs.is_empty(), &nothing, || show(&jobs))?;
        if next.is_some() {
            eprintln!("{more}");
        }
        Ok(Exit::Done)
    }
}

impl Named {
    pub(crate) async fn retry(self, queue: &Queue) -> Result<Exit, Problem> {
        let mut exit = Exit::Done;
        for job in self.jobs.into_iter().map(JobId) {
            let replayed = queue.replay(&[job]).await?;
            exit = exit.and(match replayed.first() {
                Some((_, new)) => print(&format!("job {job} was given up, and runs again as job {new}\n"))?,
                None => Problem::refused(why_not_again(queue, job).await?).tell(),
            });
        }
        Ok(exit)
    }

    pub(crate) async fn cancel(self, queue: &Queue) -> Result<Exit, Problem> {
        let mut exit = Exit::Done;
        for job in self.jobs.into_iter().map(JobId) {
            exit = exit.and(match queue.cancel(job).await? {
                Cancelled::Queued => print(&format!("job {job} is cancelled\n"))?,
                Cancelled::Running => print(&format!("job {job} is running, and will be stopped\n"))?,
                Cancelled::Over => Problem::refused(why_not_cancelled(queue, job).await?).tell(),
            });
        }
        Ok(exit)
    }
}

pub(crate) fn filter(state: Option<JobState>, kind: Option<String>, queue: Option<String>) -> JobFilter {
    let mut filter = JobFilter::new();
    if let Some(state) = state {
        filter = filter.state(state);
    }
    if let Some(kind) = kind {
        filter = filter.kind(kind);
    }
    match queue {
        Some(queue) => filter.queue(queue),
        None => filter,
    }
}

/// Number, queue, kind and attempts: what the rows of all lists of jobs begin with.
pub(crate) fn start_of(job: &JobSummary) -> [String; 4] {
    let attempt = job.attempt.map_or_else(String::new, |attempt| format!("{attempt}/{}", job.max_attempts));
    [job.id.to_string(), line(&job.queue), line(&job.kind), attempt]
}

fn state_of(job: &JobSummary) -> String {
    let state = job.state.as_str();
    job.run_at.map_or_else(|| state.to_owned(), |at| format!("{state}, {}", until(at)))
}

pub(crate) fn to_json(job: &JobSummary) -> Value {
    json!({
        "id": job.id.0,
        "queue": job.queue,
        "kind": job.kind,
        "state": job.state.as_str(),
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "created_at": rfc3339(job.created_at),
        "run_at": maybe_rfc3339(job.run_at),
        "args_start": job.args_start,
        "given_up_at": maybe_rfc3339(job.given_up.as_ref().map(|(at, _)| *at)),
        "error": job.given_up.as_ref().map(|(_, why)| why),
    })
}

/// The number of a job that there is not.
pub(crate) fn no_job(job: JobId) -> String {
    format!("there is no job {job}, or it was forgotten")
}

async fn why_not_again(queue: &Queue, job: JobId) -> Result<String, Problem> {
    let Some(story) = queue.job(job).await? else { return Ok(no_job(job)) };
    Ok(match story.job.state {
        JobState::Scheduled => {
            let at = story.job.run_at.map_or_else(String::new, |at| format!(", {}", until(at)));
            format!("job {job} will be tried by itself{at}: nothing was done")
        }
        JobState::Purged => format!("job {job} was replayed or purged already: nothing was done"),
        state => format!("job {job} is {}, and was not given up: nothing was done", state.as_str()),
    })
}

async fn why_not_cancelled(queue: &Queue, job: JobId) -> Result<String, Problem> {
    let story = queue.job(job).await?;
    Ok(story.map_or_else(
        || no_job(job),
        |story| format!("job {job} is {} already: nothing was done", story.job.state.as_str()),
    ))
}
