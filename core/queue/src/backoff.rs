//! How long to wait before a failed job is tried again.

use std::{fmt, sync::Arc, time::Duration};

use rand::RngExt as _;

use crate::Failure;

/// How long a job waits after each failure, by the number of the attempt and, where that matters, by the [kind of failure](Self::when). What an error advises, as in
/// [`Failure::retry_after`](crate::Failure::retry_after), goes before it.
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
///
/// // Slower where the other side asks for it, at once after a deadlock, and not again when there is nothing to be found.
/// let by_error = Backoff::default()
///     .on_code("HTTP-0429", Backoff::fixed(Duration::from_secs(60)).with_jitter(true))
///     .on_code("HTTP-0404", Backoff::give_up())
///     .when(|failure| failure.text().contains("deadlock detected"), Backoff::fixed(Duration::ZERO));
/// ```
#[derive(Clone)]
pub struct Backoff {
    whole: Arc<dyn Fn(i16) -> Duration + Send + Sync>,
    has_jitter: bool,
    gives_up: bool,
    /// What other ones are for, in the order in which they are asked.
    others: Vec<(IsSo, Backoff)>,
}

type IsSo = Arc<dyn Fn(&Failure) -> bool + Send + Sync>;

impl Backoff {
    /// Before attempt `n + 1`, a random time between half of and the whole of `base · 2ⁿ⁻¹`, and never longer than `max`.
    ///
    /// Keeping at least half spreads retries without letting any of them be immediate ("equal jitter" in Marc
    /// Brooker's *Exponential Backoff And Jitter*, 2015).
    pub fn exponential(base: Duration, max: Duration) -> Self {
        let whole = move |attempt: i16| base.saturating_mul(1 << (attempt - 1).clamp(0, 31)).min(max);
        Backoff::of(whole, true)
    }

    /// Before attempt `n + 1`, a random time between half of and the whole of `step · n`, and never longer than `max`.
    pub fn linear(step: Duration, max: Duration) -> Self {
        let whole = move |attempt: i16| step.saturating_mul(u32::from(attempt.unsigned_abs())).min(max);
        Backoff::of(whole, true)
    }

    /// Always this time.
    pub fn fixed(wait: Duration) -> Self {
        Backoff::custom(move |_| wait)
    }

    /// What this function says of the attempt that failed; attempts count from 1.
    pub fn custom(wait: impl Fn(i16) -> Duration + Send + Sync + 'static) -> Self {
        Backoff::of(wait, false)
    }

    /// Never again: the job is given up, though it has attempts left. Of use for [some failures](Self::when).
    pub fn give_up() -> Self {
        Backoff { gives_up: true, ..Backoff::fixed(Duration::ZERO) }
    }

    fn of(whole: impl Fn(i16) -> Duration + Send + Sync + 'static, has_jitter: bool) -> Self {
        Backoff { whole: Arc::new(whole), has_jitter, gives_up: false, others: Vec::new() }
    }

    /// With jitter, each wait is a random time between half of and the whole of what it would be, so that what failed together does not come back together.
    pub fn with_jitter(mut self, jitter: bool) -> Self {
        self.has_jitter = jitter;
        self
    }

    /// This other one after failures of which that is so; of several, the first that fits.
    pub fn when(mut self, is_so: impl Fn(&Failure) -> bool + Send + Sync + 'static, other: Backoff) -> Self {
        self.others.push((Arc::new(is_so), other));
        self
    }

    /// This other one after failures with this [code](Failure::code).
    pub fn on_code(self, code: impl Into<String>, other: Backoff) -> Self {
        let code = code.into();
        self.when(move |failure| failure.code() == Some(code.as_str()), other)
    }

    /// The wait after this attempt failed like this; nothing when the job is to be given up.
    pub(crate) fn after_failure(&self, failure: &Failure, attempt: i16) -> Option<Duration> {
        match self.others.iter().find(|(is_so, _)| is_so(failure)) {
            Some((_, other)) => other.after_failure(failure, attempt),
            None => (!self.gives_up).then(|| self.after(attempt)),
        }
    }

    /// The wait after this attempt failed, in a way of which nothing else is said; attempts count from 1.
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
