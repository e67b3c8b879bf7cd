//! Work that is worth doing once it is quiet.

use std::time::Duration;

use crate::job::microseconds;

/// One job for many requests that come one after the other: each of them puts it off, and the newest one's arguments, queue and other settings win.
///
/// Until it begins to wait for a worker, the job is no more than a draft, which requests change in place: a thousand requests leave one job. The key is about jobs of the same kind. A
/// transaction that asks for the job keeps others that ask for the same one waiting until it ends, so ask late in it, and for several keys in the same order everywhere.
///
/// For the opposite, where the first request counts and the others within some time are left out, see [`Unique::once_per`](crate::Unique::once_per).
///
/// ```
/// use std::time::Duration;
/// use seaworthy_queue::{Debounce, NewJob};
///
/// // Ten seconds after the last change of the document, and at the latest a minute after the first.
/// let calm = Debounce::quiet_for(Duration::from_secs(10), "document 42").at_most(Duration::from_secs(60));
/// let job = NewJob::new("index", &42)?.debounce(calm);
/// # Ok::<(), seaworthy_queue::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debounce {
    pub(crate) key: String,
    /// In microseconds.
    pub(crate) wait: i64,
    /// In microseconds.
    pub(crate) at_most: i64,
}

impl Debounce {
    /// Once nobody has asked for it during this time; at the latest after ten times as long.
    pub fn quiet_for(wait: Duration, key: impl Into<String>) -> Self {
        let at_most = microseconds(wait.saturating_mul(10));
        Debounce { key: key.into(), wait: microseconds(wait), at_most }
    }

    /// At the latest this time after the first request, however many come.
    pub fn at_most(mut self, time: Duration) -> Self {
        self.at_most = microseconds(time);
        self
    }
}
