//! Jobs that are enqueued again and again.

use std::time::SystemTime;

use crate::{Cron, Error, JobId, LeasedJob, NewJob, Queue, backend, store};

/// A job that is enqueued whenever a [`Cron`] says so. It is kept in the database under its name, and the leader among the workers enqueues each occurrence exactly once, however many workers there are and
/// whenever they are killed.
///
/// ```no_run
/// use seaworthy_queue::{Cron, Missed, NewJob, Queue, Schedule};
///
/// # async fn example(queue: Queue) -> Result<(), seaworthy_queue::Error> {
/// let nightly: Cron = "30 2 * * *".parse::<Cron>()?.in_zone("Europe/Stockholm")?;
/// let report = NewJob::new("report", &"sales")?.on_queue("reports");
/// queue.schedule(&Schedule::new("sales report", nightly, report).missed(Missed::All { most: 7 })).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(crate) name: String,
    pub(crate) cron: Cron,
    pub(crate) job: NewJob,
    pub(crate) missed: Missed,
}

/// What becomes of occurrences that no worker could enqueue within a minute: all were down, or the database was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// They are left out.
    Skip,
    /// The last of them runs, unless one that is in time does: once, however many there were.
    #[default]
    Once,
    /// The last so many of them run, 1,000 at most; each knows [when it was due](LeasedJob::occurrence).
    All {
        /// How many run at most.
        most: u32,
    },
}

/// A schedule as the database has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scheduled {
    /// Its name.
    pub name: String,
    /// The expression.
    pub expression: String,
    /// The expression's time zone.
    pub zone: String,
    /// What becomes of missed occurrences.
    pub missed: Missed,
    /// The queue that its jobs go to.
    pub queue: String,
    /// The kind of its jobs.
    pub kind: String,
    /// Since when it is paused, if it is.
    pub paused_since: Option<SystemTime>,
    /// The next five times at which a job is enqueued; none while it is paused. The first is over when it is due and was not enqueued yet.
    pub next: Vec<SystemTime>,
    /// The last occurrence, and its job.
    pub last: Option<(SystemTime, JobId)>,
}

impl Schedule {
    /// Enqueues such a job whenever `cron` is due. The job's own start and the request that it is made in don't matter. When it is
    /// [unique](NewJob::unique), an occurrence that comes while an earlier one is not over is that job.
    pub fn new(name: impl Into<String>, cron: Cron, job: NewJob) -> Self {
        Schedule { name: name.into(), cron, job, missed: Missed::default() }
    }

    /// What becomes of occurrences that could not be enqueued in time.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }
}

impl Missed {
    pub(crate) const MOST: u32 = 1_000;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Missed::Skip => "skip",
            Missed::Once => "once",
            Missed::All { .. } => "all",
        }
    }

    pub(crate) fn most(self) -> u32 {
        match self {
            Missed::Skip | Missed::Once => 1,
            Missed::All { most } => most.clamp(1, Self::MOST),
        }
    }

    pub(crate) fn from_parts(name: &str, most: u32) -> Self {
        match name {
            "skip" => Missed::Skip,
            "all" => Missed::All { most },
            _ => Missed::Once,
        }
    }
}

/// Schedules; they need Postgres.
impl Queue {
    /// Keeps this schedule, in the place of one of the same name. Safe to call whenever a service starts: as long as expression and zone stay as they are, so does what is due.
    ///
    /// # Errors
    ///
    /// [`Error::Cron`] when it is not due before the year 5000; [`Error::Together`] for a debounced job; [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn schedule(&self, schedule: &Schedule) -> Result<(), Error> {
        if schedule.job.debounce.is_some() {
            return Err(Error::Together {
                kind: schedule.job.kind.clone(),
                what: "debounced",
                part: "periodic",
            });
        }
        let db = self.postgres("schedules")?;
        db.within(store::upsert_schedule(db, schedule)).await
    }

    /// Forgets a schedule; jobs that it has enqueued stay. Says whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn unschedule(&self, name: &str) -> Result<bool, Error> {
        let db = self.postgres("schedules")?;
        db.within(store::remove_schedule(db, name)).await
    }

    /// Lets a schedule enqueue nothing for the time being. Says whether it was not paused before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn pause_schedule(&self, name: &str) -> Result<bool, Error> {
        let db = self.postgres("schedules")?;
        db.within(store::pause_schedule(db, name)).await
    }

    /// Lets a schedule enqueue jobs again, from its next occurrence on: what it was paused for is not missed. Says whether it was paused before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn resume_schedule(&self, name: &str) -> Result<bool, Error> {
        let db = self.postgres("schedules")?;
        db.within(store::resume_schedule(db, name)).await
    }

    /// The schedules by name, 10,000 at most, with what comes next.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::OnlyPostgres`].
    pub async fn schedules(&self) -> Result<Vec<Scheduled>, Error> {
        let db = self.postgres("schedules")?;
        db.within(store::schedules(db)).await
    }
}

impl LeasedJob {
    /// The schedule that this job is an occurrence of, and when it was due; nothing for a job that somebody enqueued. Of one that is unique, the first of the occurrences that it stands for.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn occurrence(&self) -> Result<Option<(String, SystemTime)>, Error> {
        let Ok(db) = backend::connections(&*self.worker.backend, "schedules") else { return Ok(None) };
        db.within(store::occurrence_of(db, self.claimed.id)).await
    }
}
