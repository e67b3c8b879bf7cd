//! How long what is over is kept.

use std::time::Duration;

/// How long the queue remembers what is over. The leader among the workers forgets the rest, in batches of some thousand jobs, so that no statement takes long however much there is; give all workers of a
/// database the same. Keys of [`Unique::once_per`](crate::Unique::once_per) whose period is over are forgotten too.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_queue::Retention;
///
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let retention = Retention::of_history(30 * DAY).dead_letters(90 * DAY);
/// # let _ = retention;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub(crate) history: Duration,
    pub(crate) dead_letters: Option<Duration>,
}

impl Retention {
    /// Keeps the record of what became of jobs for this long after it was made; with it go the jobs that came to their end, their results and their progress. Dead letters are kept until somebody
    /// [purges](crate::Queue::purge) them.
    pub fn of_history(time: Duration) -> Self {
        Retention { history: time, dead_letters: None }
    }

    /// Purges dead letters that are older than this.
    pub fn dead_letters(mut self, time: Duration) -> Self {
        self.dead_letters = Some(time);
        self
    }
}

impl Default for Retention {
    /// A week of history, and all dead letters.
    fn default() -> Self {
        Retention::of_history(Duration::from_secs(7 * 24 * 60 * 60))
    }
}
