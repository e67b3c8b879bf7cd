//! `dead`: what was given up.

use clap::{Args, Subcommand};
use seaworthy_queue::{JobId, JobState, JobSummary, Queue};

use crate::{
    Exit, Problem,
    jobs::{Page, filter, start_of},
    print::print,
    table::{
        Column::{Name, Number, Rest},
        table, width,
    },
    words::{line, many, since},
};

/// Dead letters that one transaction handles.
const BATCH: usize = 1_000;

/// Look at what was given up, try it again, or forget it.
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, those of the newest jobs first.
    List(Page),
    /// Enqueue new jobs in the place of dead letters.
    Replay(Chosen),
    /// Forget dead letters, and cancel what waited for them; their jobs stay in the history.
    Purge {
        #[command(flatten)]
        chosen: Chosen,
        /// Do it: it can't be undone.
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// The numbers of their jobs.
    #[arg(value_name = "JOB", required_unless_present = "all", conflicts_with = "all")]
    jobs: Vec<i64>,
    /// All that are there now.
    #[arg(long)]
    all: bool,
    /// All of this kind.
    #[arg(long, requires = "all")]
    kind: Option<String>,
    /// All of this queue.
    #[arg(long, requires = "all")]
    queue: Option<String>,
}

impl Dead {
    pub(crate) async fn execute(self, queue: &Queue) -> Result<Exit, Problem> {
        match self {
            Dead::List(page) => {
                page.execute(queue, Some(JobState::Dead), "no dead letter matches", show).await
            }
            Dead::Replay(chosen) => replay(queue, chosen).await,
            Dead::Purge { chosen, yes: true } => purge(queue, chosen).await,
            Dead::Purge { chosen, yes: false } => Err(refuse_to_purge(queue, chosen).await?),
        }
    }
}

fn show(jobs: &[JobSummary]) -> String {
    let columns =
        [Number("job"), Name("queue"), Name("kind"), Number("tried"), Number("given up"), Rest("error")];
    let row = |job: &JobSummary| {
        let [id, queue, kind, attempt] = start_of(job);
        let (at, why) = match &job.given_up {
            Some((at, why)) => (format!("{} ago", since(*at)), line(why)),
            None => Default::default(),
        };
        [id, queue, kind, attempt, at, why]
    };
    table(width(), columns, jobs.iter().map(row))
}

async fn replay(queue: &Queue, chosen: Chosen) -> Result<Exit, Problem> {
    let mut batches = Batches::new(chosen);
    let mut exit = None;
    while let Some(batch) = batches.next(queue).await? {
        let replayed = queue.replay(&batch).await?;
        let lines = replayed.iter().map(|(old, new)| format!("job {old} runs again as job {new}\n"));
        print(&lines.collect::<String>())?;
        let missing = batches.names(&batch, |job| replayed.iter().any(|(old, _)| *old == job));
        exit = exit.or(Some(Exit::Done)).map(|exit| exit.and(missing));
    }
    exit.ok_or_else(none)
}

async fn purge(queue: &Queue, chosen: Chosen) -> Result<Exit, Problem> {
    let mut batches = Batches::new(chosen);
    let (mut purged, mut exit) = (0, Exit::Done);
    while let Some(batch) = batches.next(queue).await? {
        // Those that are named are few: one by one, it is known which of them there are.
        let apart = if batches.is_named() { 1 } else { BATCH };
        for part in batch.chunks(apart) {
            let gone = queue.purge(part).await?;
            purged += gone;
            exit = exit.and(batches.names(part, |_| gone > 0));
        }
    }
    if purged == 0 && exit == Exit::Done {
        return Err(none());
    }
    print(&format!("purged {}\n", many(purged, "dead letter")))?;
    Ok(exit)
}

/// Says what would be gone.
async fn refuse_to_purge(queue: &Queue, chosen: Chosen) -> Result<Problem, Problem> {
    /// Counting goes no further.
    const MOST: usize = 10_000;
    let mut batches = Batches::new(chosen);
    let mut letters = 0;
    while let Some(batch) = batches.next(queue).await? {
        for job in batch.iter().filter(|_| batches.is_named()) {
            let story = queue.job(*job).await?;
            letters += usize::from(story.is_some_and(|story| story.job.state == JobState::Dead));
        }
        if !batches.is_named() {
            letters += batch.len();
        }
        if letters >= MOST {
            break;
        }
    }
    if letters == 0 {
        return Ok(none());
    }
    let at_least = if letters >= MOST { "at least " } else { "" };
    let letters = many(letters as u64, "dead letter");
    Ok(Problem::refused(format!(
        "{at_least}{letters} would be gone for ever; --yes purges: nothing was done"
    )))
}

fn none() -> Problem {
    Problem::refused("no dead letter matches: nothing was done")
}

/// The numbers of dead letters, some at a time.
enum Batches {
    Named(Option<Vec<JobId>>),
    /// Downwards: what is replayed meanwhile gets a higher number, and is not met again.
    Found(Option<seaworthy_queue::JobFilter>),
}

impl Batches {
    fn new(chosen: Chosen) -> Self {
        if chosen.all {
            Batches::Found(Some(filter(Some(JobState::Dead), chosen.kind, chosen.queue).limit(BATCH)))
        } else {
            Batches::Named(Some(chosen.jobs.into_iter().map(JobId).collect()))
        }
    }

    fn is_named(&self) -> bool {
        matches!(self, Batches::Named(_))
    }

    async fn next(&mut self, queue: &Queue) -> Result<Option<Vec<JobId>>, Problem> {
        match self {
            Batches::Named(jobs) => Ok(jobs.take()),
            Batches::Found(place) => {
                let Some(filter) = place.take() else { return Ok(None) };
                let page = queue.jobs(&filter).await?;
                *place = page.next.map(|next| filter.before(next));
                let jobs: Vec<JobId> = page.jobs.iter().map(|job| job.id).collect();
                Ok(Some(jobs).filter(|jobs| !jobs.is_empty()))
            }
        }
    }

    /// Tells which of those that were named are no dead letters.
    fn names(&self, batch: &[JobId], is_there: impl Fn(JobId) -> bool) -> Exit {
        let missing = batch.iter().filter(|job| self.is_named() && !is_there(**job));
        missing.fold(Exit::Done, |exit, job| {
            exit.and(Problem::refused(format!("job {job} is no dead letter: nothing was done")).tell())
        })
    }
}
