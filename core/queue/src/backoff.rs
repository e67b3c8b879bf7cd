//! How long to wait before a failed job is tried again.

use std::time::Duration;

use rand::RngExt as _;

/// Exponential backoff with jitter: before attempt `n + 1` a job waits a random time between half of and the
/// whole of `base · 2ⁿ⁻¹`, and never longer than `max`.
///
/// Keeping at least half spreads retries without letting any of them be immediate ("equal jitter" in Marc
/// Brooker's *Exponential Backoff And Jitter*, 2015).
///
/// ```
/// use std::time::Duration;
/// use seaworthy_queue::Backoff;
///
/// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60));
/// assert!((0.5..=1.0).contains(&backoff.after(1).as_secs_f64()));
/// assert!((4.0..=8.0).contains(&backoff.after(4).as_secs_f64()));
/// assert!(backoff.after(1_000) <= Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    /// Waits about `base` after the first failure, twice as long after each further one, and at most `max`.
    pub fn exponential(base: Duration, max: Duration) -> Self {
        Backoff { base, max }
    }

    /// The wait after this attempt failed; attempts count from 1.
    pub fn after(&self, attempt: i32) -> Duration {
        let doublings = u32::try_from(attempt.max(1) - 1).unwrap_or(0).min(31);
        let whole = self.base.saturating_mul(1 << doublings).min(self.max);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

impl Default for Backoff {
    /// From one second to one hour.
    fn default() -> Self {
        Backoff::exponential(Duration::from_secs(1), Duration::from_secs(3600))
    }
}
