//! What operators look at: jobs, queues and workers.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::{Error, JobId, Progress, Queue, store};

/// Where a job is, or what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobState {
    /// It can be claimed.
    Ready,
    /// It waits for its time; retries too.
    Scheduled,
    /// It waits for other jobs.
    Blocked,
    /// It waits until a [`Limit`](crate::Limit) lets it through.
    Limited,
    /// A worker has it.
    Running,
    /// It is done.
    Completed,
    /// Somebody cancelled it, or a job that it waited for.
    Cancelled,
    /// It was not begun in time.
    Expired,
    /// It was given up, and is a dead letter.
    Dead,
    /// It was given up, and its dead letter was purged or replayed.
    Purged,
    /// It is in none of these places; its end may have been forgotten, or it changed its place just then.
    Elsewhere,
}

impl JobState {
    /// All of them.
    pub const ALL: [JobState; 11] = [
        JobState::Ready,
        JobState::Scheduled,
        JobState::Blocked,
        JobState::Limited,
        JobState::Running,
        JobState::Completed,
        JobState::Cancelled,
        JobState::Expired,
        JobState::Dead,
        JobState::Purged,
        JobState::Elsewhere,
    ];

    /// Its name, for example `ready`.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Ready => "ready",
            JobState::Scheduled => "scheduled",
            JobState::Blocked => "blocked",
            JobState::Limited => "limited",
            JobState::Running => "running",
            JobState::Completed => "completed",
            JobState::Cancelled => "cancelled",
            JobState::Expired => "expired",
            JobState::Dead => "dead",
            JobState::Purged => "purged",
            JobState::Elsewhere => "elsewhere",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == name).unwrap_or(JobState::Elsewhere)
    }
}

/// Which jobs are listed, the newest first.
///
/// ```no_run
/// use seaworthy_queue::{JobFilter, JobState, Queue};
///
/// # async fn example(queue: Queue) -> Result<(), seaworthy_queue::Error> {
/// let mut filter = JobFilter::new().state(JobState::Dead).kind("mail").limit(50);
/// loop {
///     let page = queue.jobs(&filter).await?;
///     page.jobs.iter().for_each(|job| println!("{} {}", job.id, job.kind));
///     let Some(next) = page.next else { break };
///     filter = filter.before(next);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct JobFilter {
    pub(crate) state: Option<JobState>,
    pub(crate) kind: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) before: Option<JobId>,
    pub(crate) limit: usize,
}

impl JobFilter {
    /// The 100 newest jobs, whatever they are.
    pub fn new() -> Self {
        JobFilter { state: None, kind: None, queue: None, before: None, limit: 100 }
    }

    /// Those in this state.
    pub fn state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    /// Those of this kind.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Those of this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Those with a lower number: what [`JobPage::next`] says, for the next page.
    pub fn before(mut self, job: JobId) -> Self {
        self.before = Some(job);
        self
    }

    /// So many, between 1 and 1,000.
    pub fn limit(mut self, jobs: usize) -> Self {
        self.limit = jobs.clamp(1, 1_000);
        self
    }
}

impl Default for JobFilter {
    fn default() -> Self {
        JobFilter::new()
    }
}

/// Some jobs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobPage {
    /// The newest first. There may be fewer than the limit, or none, though there are more: one page looks at some thousand jobs at most.
    pub jobs: Vec<JobSummary>,
    /// Where the next page begins, if there may be one.
    pub next: Option<JobId>,
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobSummary {
    /// Its number.
    pub id: JobId,
    /// The queue that it belongs to.
    pub queue: String,
    /// What kind of job it is.
    pub kind: String,
    /// Where it is, or what became of it.
    pub state: JobState,
    /// Its priority; lower numbers run first.
    pub priority: i16,
    /// The number of the attempt that is running or comes next, from 1; of a dead letter, of the last one. Nothing of a job that is over.
    pub attempt: Option<i16>,
    /// How often it is tried in all.
    pub max_attempts: i16,
    /// When it was enqueued.
    pub created_at: SystemTime,
    /// When a scheduled job becomes ready.
    pub run_at: Option<SystemTime>,
    /// How its arguments begin, as JSON: 200 characters at most.
    pub args_start: String,
    /// Of a dead letter: when it was given up, and why.
    pub given_up: Option<(SystemTime, String)>,
}

/// Everything about one job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobStory {
    /// What a list says.
    pub job: JobSummary,
    /// Its arguments.
    pub args: serde_json::Value,
    /// The version of the arguments.
    pub version: u8,
    /// What is recorded of it, in the order in which it happened.
    pub attempts: Vec<Attempt>,
    /// The worker that has it.
    pub worker: Option<Uuid>,
    /// Jobs that it still waits for.
    pub parents: Vec<JobId>,
    /// Jobs that still wait for it.
    pub children: Vec<JobId>,
    /// Until when it has to be begun.
    pub expires_at: Option<SystemTime>,
    /// The key that it holds, so that it is the only one.
    pub unique_key: Option<String>,
    /// The dead letter in whose place it was enqueued.
    pub replay_of: Option<JobId>,
    /// The schedule that it is an occurrence of, and when it was due.
    pub occurrence: Option<(String, SystemTime)>,
    /// What its handler left.
    pub result: Option<serde_json::Value>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Why it was given up.
    pub error: Option<String>,
    /// The request that it belongs to, as the header `traceparent` has it.
    pub trace: Option<String>,
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attempt {
    /// How it ended: `completed`, `retried`, `dead`, `rescued` (the worker died), `returned` (it does not count), `cancelled` or `expired`.
    pub outcome: String,
    /// When that was recorded.
    pub at: SystemTime,
    /// How long its handler took; nothing when none ran to an end.
    pub ran: Option<Duration>,
    /// The error, or another reason.
    pub why: Option<String>,
}

/// A queue, as operators see it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Since when it is paused, if it is.
    pub paused_since: Option<SystemTime>,
    /// Jobs that can be claimed, counted up to 10,000.
    pub ready: u64,
    /// Jobs that wait for their time, of the next 10,000 of all queues.
    pub scheduled: u64,
    /// Jobs that wait until a limit lets them through, of 10,000 of all queues.
    pub limited: u64,
    /// Dead letters, of the newest 10,000 of all queues.
    pub dead: u64,
    /// For how long the oldest job that can be claimed could have been.
    pub oldest: Option<Duration>,
    /// Workers that take jobs from it.
    pub workers: u64,
}

/// A worker, as operators see it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its number, which changes when it was taken for dead and comes back.
    pub id: Uuid,
    /// The machine that it runs on, as it calls itself.
    pub host: Option<String>,
    /// The process.
    pub pid: Option<u32>,
    /// The queues that it takes jobs from.
    pub queues: Vec<String>,
    /// How many jobs it runs at once, at most.
    pub concurrency: Option<u32>,
    /// How many jobs it has now, those included that it has not begun.
    pub jobs: u64,
    /// When it started.
    pub started_at: SystemTime,
    /// How long ago its last heartbeat was.
    pub silent_for: Duration,
    /// Whether that is so long that others take its jobs.
    pub is_lost: bool,
    /// Whether it does what one worker does for all.
    pub is_leader: bool,
}

/// What operators ask; it needs Postgres.
impl Queue {
    /// Lists jobs, the newest first, a page at a time.
    ///
    /// Jobs that are not over are found through the tables that they wait in. Those that are over are found among the newest jobs, page by page: with a filter that few of them pass, pages have few jobs.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn jobs(&self, filter: &JobFilter) -> Result<JobPage, Error> {
        let db = self.postgres("lists of jobs")?;
        db.within(store::jobs(db, filter)).await
    }

    /// Everything about a job; nothing when there is none of this number, or it was forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn job(&self, job: JobId) -> Result<Option<JobStory>, Error> {
        let db = self.postgres("lists of jobs")?;
        db.within(store::story(db, job)).await
    }

    /// The queues in which something waits, that are paused, or that a worker takes jobs from; by name, 1,000 at most.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn queues(&self) -> Result<Vec<QueueInfo>, Error> {
        let db = self.postgres("lists of jobs")?;
        db.within(store::queues(db)).await
    }

    /// The workers that have not signed off, the oldest first, 10,000 at most.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Error> {
        let db = self.postgres("lists of jobs")?;
        db.within(store::workers(db)).await
    }
}
