//! How long to wait before a failed job is tried again.

use std::{fmt, sync::Arc, time::Duration};

use rand::RngExt as _;

/// How long a job waits after each failure. What an error advises, as in [`Failure::retry_after`](crate::Failure::retry_after), goes before it.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_queue::Backoff;
///
/// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60));
/// assert!((0.5..=1.0).contains(&backoff.after(1).as_secs_f64()));
/// assert!((4.0..=8.0).contains(&backoff.after(4).as_secs_f64()));
/// assert!(backoff.after(1_000) <= Duration::from_secs(60));
///
/// let slower = Backoff::linear(Duration::from_secs(10), Duration::from_secs(60));
/// assert!((15.0..=30.0).contains(&slower.after(3).as_secs_f64()));
/// ```
#[derive(Clone)]
pub struct Backoff {
    whole: Arc<dyn Fn(i16) -> Duration + Send + Sync>,
    has_jitter: bool,
}

impl Backoff {
    /// Before attempt `n + 1`, a random time between half of and the whole of `base · 2ⁿ⁻¹`, and never longer than `max`.
    ///
    /// Keeping at least half spreads retries without letting any of them be immediate ("equal jitter" in Marc
    /// Brooker's *Exponential Backoff And Jitter*, 2015).
    pub fn exponential(base: Duration, max: Duration) -> Self {
        let whole = move |attempt: i16| base.saturating_mul(1 << (attempt - 1).clamp(0, 31)).min(max);
        Backoff { whole: Arc::new(whole), has_jitter: true }
    }

    /// Before attempt `n + 1`, a random time between half of and the whole of `step · n`, and never longer than `max`.
    pub fn linear(step: Duration, max: Duration) -> Self {
        let whole = move |attempt: i16| step.saturating_mul(u32::from(attempt.unsigned_abs())).min(max);
        Backoff { whole: Arc::new(whole), has_jitter: true }
    }

    /// Always this time.
    pub fn fixed(wait: Duration) -> Self {
        Backoff::custom(move |_| wait)
    }

    /// What this function says of the attempt that failed; attempts count from 1.
    pub fn custom(wait: impl Fn(i16) -> Duration + Send + Sync + 'static) -> Self {
        Backoff { whole: Arc::new(wait), has_jitter: false }
    }

    /// The wait after this attempt failed; attempts count from 1.
    pub fn after(&self, attempt: i16) -> Duration {
        let whole = (self.whole)(attempt.max(1));
        if self.has_jitter { whole.mul_f64(rand::rng().random_range(0.5..=1.0)) } else { whole }
    }
}

impl Default for Backoff {
    /// Exponential, from one second to one hour.
    fn default() -> Self {
        Backoff::exponential(Duration::from_secs(1), Duration::from_secs(3600))
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("after_the_first", &(self.whole)(1)).finish_non_exhaustive()
    }
}
