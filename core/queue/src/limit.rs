//! How much of something may be had at once, and in some time.

use std::time::Duration;

use crate::{Error, Queue, backend::coordination, job::is_storable};

/// What a name that jobs are [limited by](crate::NewJob::limited_by) stands for: for each of its keys, so many jobs at once over all workers, so many in some time, or both.
///
/// The rate is kept by the database's clock with the generic cell rate algorithm (ITU-T I.371, annex A, as a "virtual scheduling algorithm"): over a longer time the rate is met exactly, and
/// after a quiet time as many as the [burst](Self::burst) begin at once. How late a worker looks costs nothing, up to half a second: what could have begun since
/// begins then.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_queue::Limit;
///
/// let stripe = Limit::at_once(4).per(Duration::from_secs(1), 100).burst(10);
/// let mails = Limit::rate(Duration::from_secs(60), 1_000);
/// assert!(stripe.check("stripe").is_ok() && mails.check("mails").is_ok());
/// assert!(Limit::at_once(0).check("stripe").is_err(), "nothing would ever run: pause the queue instead");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub(crate) at_once: Option<u64>,
    pub(crate) rate: Option<(u64, Duration)>,
    pub(crate) burst: Option<u64>,
}

impl Limit {
    /// The largest number of jobs at once, in some time, and in a burst.
    pub const MAX_JOBS: u64 = 1_000_000;
    /// The longest time of a rate.
    pub const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);

    /// So many jobs at once.
    pub fn at_once(jobs: u64) -> Self {
        Limit { at_once: Some(jobs), rate: None, burst: None }
    }

    /// So many jobs in each such time, and any number at once.
    pub fn rate(time: Duration, jobs: u64) -> Self {
        Limit { at_once: None, rate: Some((jobs, time)), burst: None }
    }

    /// And no more than so many in each such time.
    pub fn per(mut self, time: Duration, jobs: u64) -> Self {
        self.rate = Some((jobs, time));
        self
    }

    /// So many may begin at once after a quiet time (default 1: evenly spread). In the longest run that the algorithm allows, a time with the rate's number of jobs has these on top.
    pub fn burst(mut self, jobs: u64) -> Self {
        self.burst = Some(jobs);
        self
    }

    /// Whether the numbers make sense; [`Queue::set_limit`] looks itself.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`], which says what is wrong.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let wrong = |why: String| Err(Error::Limit { name: name.replace('\0', "\u{fffd}"), why });
        if name.is_empty() || !is_storable(name) {
            return wrong(format!("its name has to have 1 to {MAX_KEY} bytes and no NUL character"));
        }
        let numbers = [
            ("at once", self.at_once),
            ("in its time", self.rate.map(|rate| rate.0)),
            ("in a burst", self.burst),
        ];
        for (what, jobs) in numbers {
            match jobs {
                Some(0) => {
                    return wrong(format!(
                        "it allows no job {what}, so that none would ever run: pause the queue, or cancel the jobs"
                    ));
                }
                Some(jobs) if jobs > Self::MAX_JOBS => {
                    return wrong(format!("{jobs} jobs {what} are more than {}", Self::MAX_JOBS));
                }
                _ => {}
            }
        }
        match self.rate {
            None if self.burst.is_some() => wrong("it has a burst and no rate".to_owned()),
            Some((_, time)) if time < Duration::from_millis(1) || time > Self::MAX_TIME => {
                wrong(format!("its time has to be between a millisecond and 366 days, and is {time:?}"))
            }
            Some((jobs, time)) if time.as_secs_f64() / (jobs as f64) < 1e-6 => {
                wrong(format!("{jobs} jobs in {time:?} are more than one in a microsecond"))
            }
            _ => Ok(()),
        }
    }

    /// Seconds that one job takes away from the rate.
    pub(crate) fn seconds_per_job(&self) -> Option<f64> {
        self.rate.map(|(jobs, time)| time.as_secs_f64() / jobs as f64)
    }
}

/// What names and keys have at most, in bytes: they are parts of indexes.
pub(crate) const MAX_KEY: usize = 512;

/// How many jobs a key of a limit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AtLimit {
    /// Those that wait to be let through.
    pub waiting: u64,
    /// Those that were let through and are not over. Above the limit only when that was lowered or a job's limit set again meanwhile.
    pub let_through: u64,
}

impl Queue {
    /// Sets what this name stands for, at once and for all workers, also for jobs that wait already. When a limit is lowered, what was let through comes to its end first.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] when the numbers make no sense; [`Error::OnlyPostgres`] when the queue is not in Postgres; [`Error::Database`].
    pub async fn set_limit(&self, name: &str, limit: Limit) -> Result<(), Error> {
        limit.check(name)?;
        coordination(&*self.backend)?.set_limit(name, limit).await
    }

    /// Takes a limit away, and says whether there was one. What waits for it is let through, and no new job can be limited by it.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn remove_limit(&self, name: &str) -> Result<bool, Error> {
        coordination(&*self.backend)?.remove_limit(name).await
    }

    /// How many jobs wait at a key of a limit, and how many it has let through.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn at_limit(&self, name: &str, key: &str) -> Result<AtLimit, Error> {
        coordination(&*self.backend)?.at_limit(name, key).await
    }
}
