//! How many jobs a worker claims ahead of the handlers that will run them.

use std::time::Duration;

use tokio::time::Instant;

/// Jobs that one claim takes at most.
pub(super) const LARGEST_CLAIM: usize = 512;
/// A worker has no more jobs in its hands than it will have begun after this time: others may be idle, and what it holds when it dies has to be rescued.
const AHEAD: Duration = Duration::from_millis(50);
/// Unless the database is so busy, with many workers for example, that claims themselves take long: then it is so many times as long as a claim, so that there are few claims.
const CLAIMS_AHEAD: u32 = 8;
/// But no longer than this.
const FURTHEST_AHEAD: Duration = Duration::from_millis(400);
/// Handlers that stood idle could have done more than they did. It is found out step by step, since how long the next jobs take is not known.
const STEP: f64 = 2.0;
/// How long a rate is measured.
const WINDOW: Duration = Duration::from_millis(10);

/// The rate at which handlers could be done, from which follows how many jobs may wait in the worker. Short jobs are claimed by the hundred; of those that take longer, a worker
/// holds none that it can't begin at once.
#[derive(Debug)]
pub(super) struct Prefetch {
    since: Instant,
    done: u64,
    ran: Duration,
    per_second: f64,
    claim_takes: Duration,
}

impl Prefetch {
    pub(super) fn new(now: Instant) -> Self {
        Prefetch { since: now, done: 0, ran: Duration::ZERO, per_second: 0.0, claim_takes: Duration::ZERO }
    }

    /// Takes note of how many are done by now, in all, and for how long so many handlers ran for that, together.
    pub(super) fn measure(&mut self, now: Instant, done: u64, ran: Duration, handlers: usize) {
        let time = now - self.since;
        if time >= WINDOW {
            let rate = done.saturating_sub(self.done) as f64 / time.as_secs_f64();
            let busy = ran.saturating_sub(self.ran).div_duration_f64(time * handlers.max(1) as u32);
            let rate = rate / busy.clamp(1.0 / STEP, 1.0);
            self.per_second = (self.per_second + rate) / 2.0;
            (self.since, self.done, self.ran) = (now, done, ran);
        }
    }

    /// Takes note of how long a claim took.
    pub(super) fn claimed(&mut self, took: Duration) {
        self.claim_takes = (self.claim_takes + took) / 2;
    }

    /// How many to claim now, rounded down to a power of two; zero for none yet.
    pub(super) fn claim(&self, free_slots: usize, waiting: usize) -> usize {
        let ahead = (self.claim_takes * CLAIMS_AHEAD).clamp(AHEAD, FURTHEST_AHEAD);
        let ahead = (self.per_second * ahead.as_secs_f64()) as usize;
        let wanted = free_slots.max(ahead.min(LARGEST_CLAIM));
        // Not for a few: a claim of hundreds costs little more.
        if waiting * 2 > wanted || wanted == 0 {
            return 0;
        }
        let room = (wanted - waiting).min(LARGEST_CLAIM);
        if room == 0 { 0 } else { 1 << room.ilog2() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetch(per_second: f64) -> Prefetch {
        Prefetch { per_second, ..Prefetch::new(Instant::now()) }
    }

    #[test]
    fn slow_jobs_are_claimed_when_they_can_begin() {
        assert_eq!(prefetch(0.0).claim(16, 0), 16);
        assert_eq!(prefetch(1.0).claim(0, 0), 0);
        assert_eq!(prefetch(1.0).claim(3, 0), 2);
        assert_eq!(prefetch(1.0).claim(3, 3), 0);
    }

    #[test]
    fn fast_ones_are_claimed_by_the_hundred() {
        assert_eq!(prefetch(1e6).claim(0, 0), LARGEST_CLAIM);
        assert_eq!(prefetch(1e6).claim(0, 300), 0);
        assert_eq!(prefetch(1e6).claim(0, 200), 256);
        assert_eq!(prefetch(4_000.0).claim(0, 0), 128);
        assert_eq!(prefetch(1e6).claim(10_000, 0), LARGEST_CLAIM);
    }

    #[test]
    fn more_are_claimed_at_once_when_claims_take_long() {
        let mut prefetch = prefetch(600.0);
        assert_eq!(prefetch.claim(1, 0), 16);
        for _ in 0..10 {
            prefetch.claimed(Duration::from_millis(20));
        }
        assert_eq!(prefetch.claim(1, 0), 64);
        prefetch.claimed(Duration::from_secs(60));
        assert_eq!(prefetch.claim(1, 0), 128);
    }

    #[test]
    fn the_rate_follows_what_is_done() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(start);
        for second in 1..=5 {
            let time = Duration::from_secs(second);
            prefetch.measure(start + time, second * 1_000, time * 4, 4);
        }
        assert!((900.0..=1_000.0).contains(&prefetch.per_second), "{prefetch:?}");
    }

    #[test]
    fn handlers_that_stand_idle_are_thought_to_do_more_but_not_much_more() {
        let start = Instant::now();
        let rate = |busy: Duration| {
            let mut prefetch = Prefetch::new(start);
            prefetch.measure(start + Duration::from_secs(1), 1_000, busy, 4);
            prefetch.per_second * 2.0
        };
        assert_eq!(rate(Duration::from_secs(4)), 1_000.0);
        assert_eq!(rate(Duration::from_secs(3)).round(), 1_333.0);
        assert_eq!(rate(Duration::from_millis(4)), 2_000.0);
    }
}
