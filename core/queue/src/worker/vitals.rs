//! Whether a worker is well, as it knows itself.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use seaworthy_telemetry::health::Outcome;

/// What a worker takes note of while it works.
#[derive(Debug)]
pub(crate) struct Vitals {
    started: Instant,
    /// Milliseconds from the start to the last heartbeat that the database took, and one more; zero for none.
    beat: AtomicU64,
    /// The same of the last look for jobs that was answered.
    look: AtomicU64,
    /// Whether it has as many jobs as it can take, and looks for none.
    is_busy: AtomicBool,
    leads: AtomicBool,
    is_over: AtomicBool,
    /// Jobs that it runs at once, at most.
    slots: AtomicUsize,
    /// How many workers there were, this one among them, when it last asked.
    workers: AtomicUsize,
}

impl Default for Vitals {
    fn default() -> Self {
        Vitals {
            started: Instant::now(),
            beat: AtomicU64::new(0),
            look: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
            leads: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            slots: AtomicUsize::new(0),
            workers: AtomicUsize::new(1),
        }
    }
}

impl Vitals {
    pub(super) fn beats(&self) {
        self.beat.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn looks(&self) {
        self.look.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn is_busy(&self, is_busy: bool) {
        // What it looks for next, it looks for from then on.
        if self.is_busy.swap(is_busy, Ordering::Relaxed) && !is_busy {
            self.looks();
        }
    }

    pub(super) fn leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    pub(super) fn is_leader(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    pub(super) fn has_slots(&self, slots: usize) {
        self.slots.store(slots, Ordering::Relaxed);
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    pub(super) fn is_one_of(&self, workers: usize) {
        self.workers.store(workers, Ordering::Relaxed);
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    pub(super) fn ends(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    /// How long ago that was; since the start, if it never was.
    fn since(&self, last: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(last.load(Ordering::Relaxed)))
    }

    /// What a health check says: it fails when others may have taken its jobs, or it has stopped.
    pub(super) fn outcome(&self, lease_timeout: Duration, poll: Duration) -> Outcome {
        let silent = self.since(&self.beat);
        let has_beaten = self.beat.load(Ordering::Relaxed) > 0;
        let idle = match self.is_busy.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => self.since(&self.look),
        };
        let rounded = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let outcome = if self.is_over.load(Ordering::Relaxed) {
            Outcome::fail("the worker has stopped")
        } else if silent > lease_timeout && has_beaten {
            Outcome::fail(format!("no heartbeat for {}: others take its jobs", rounded(silent)))
        } else if silent > lease_timeout {
            Outcome::fail(format!("the database did not take it in for {}", rounded(silent)))
        } else if !has_beaten {
            Outcome::warn("the database has not taken it in yet")
        } else if silent > lease_timeout / 2 {
            Outcome::warn(format!("no heartbeat for {}", rounded(silent)))
        } else if idle > lease_timeout.max(10 * poll) {
            Outcome::warn(format!("it could claim no jobs for {}", rounded(idle)))
        } else {
            Outcome::pass()
        };
        outcome.observed(silent.as_secs_f64(), "s since the last heartbeat")
    }
}

#[cfg(test)]
mod tests {
    use seaworthy_telemetry::health::Status;

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);
    const POLL: Duration = Duration::from_millis(100);

    /// A worker that started a minute ago, and whose last heartbeat and look are that long ago.
    fn vitals(beat: Option<u64>, look: u64) -> Vitals {
        let vitals = Vitals { started: Instant::now() - Duration::from_secs(60), ..Vitals::default() };
        let ago = |seconds: u64| vitals.now() - 1_000 * seconds;
        vitals.beat.store(beat.map_or(0, ago), Ordering::Relaxed);
        vitals.look.store(ago(look), Ordering::Relaxed);
        vitals
    }

    fn check(beat: Option<u64>, look: u64, expected: Status) {
        let vitals = vitals(beat, look);
        assert_eq!(vitals.outcome(LEASE, POLL).status(), expected, "{beat:?} {look}");
        vitals.ends();
        assert_eq!(vitals.outcome(LEASE, POLL).status(), Status::Fail, "once it has stopped");
    }

    #[test]
    fn a_worker_is_well_while_its_heartbeats_are_heard_and_it_finds_what_to_do() {
        check(Some(1), 1, Status::Pass);
        check(Some(6), 1, Status::Warn);
        check(Some(11), 1, Status::Fail);
        check(Some(1), 11, Status::Warn);
        check(None, 1, Status::Fail);
        let busy = Vitals { is_busy: AtomicBool::new(true), ..vitals(Some(1), 50) };
        assert_eq!(busy.outcome(LEASE, POLL).status(), Status::Pass, "it has enough to do");
        assert_eq!(Vitals::default().outcome(LEASE, POLL).status(), Status::Warn, "it has just started");
    }
}
