//! How many jobs a worker runs at once, when it decides that itself.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tracing::{debug, info};

use super::{Worker, run_job::Runner};
use crate::backend::Backend;

/// How often a worker looks whether it should run more jobs at once, or fewer.
const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row that have to say that fewer are enough.
const PATIENCE: u32 = 10;

/// Between which bounds a worker changes its concurrency, and what for.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) least: usize,
    pub(super) most: usize,
    /// The oldest job shall not have waited for longer.
    pub(super) age: Duration,
}

impl Bounds {
    pub(super) fn new(jobs: RangeInclusive<usize>) -> Self {
        let least = (*jobs.start()).clamp(1, 10_000);
        Bounds { least, most: (*jobs.end()).clamp(least, 10_000), age: Duration::from_secs(2) }
    }
}

/// What a look saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Jobs that can be claimed, and the age of the oldest.
    ready: u64,
    oldest: Duration,
    /// Jobs that run.
    busy: usize,
    /// What one took lately.
    run: Option<Duration>,
}

/// Decides, with hysteresis: what waits for too long makes it grow at once, and only when little runs and nothing waits, look after look, does it shrink, by a quarter.
#[derive(Debug)]
struct Scaler {
    bounds: Bounds,
    slots: usize,
    calm: u32,
}

impl Scaler {
    fn decide(&mut self, seen: Seen) -> usize {
        let Bounds { least, most, age } = self.bounds;
        let is_late = seen.oldest > age && seen.ready > 0;
        // More slots help only if all are taken.
        if is_late && seen.busy >= self.slots {
            self.calm = 0;
            // As many as take away what waits within that age, though at most twice as many at a time: others may do the same, and the database has to keep up.
            let run = seen.run.unwrap_or(age).as_secs_f64();
            let needed = (seen.ready as f64 * run / age.as_secs_f64().max(1e-3)).ceil() as usize;
            let grown = needed.saturating_add(self.slots).min(2 * self.slots).max(self.slots + 1);
            self.slots = grown.clamp(least, most);
        } else if seen.oldest < age / 4 && seen.busy <= self.slots / 2 {
            self.calm += 1;
            if self.calm >= PATIENCE {
                self.calm = 0;
                self.slots = (self.slots - self.slots.div_ceil(4)).clamp(least, most);
            }
        } else {
            self.calm = 0;
        }
        self.slots
    }
}

/// Changes the slots of a worker by what waits. Never ends by itself.
pub(super) async fn scale(
    worker: Arc<Worker>,
    backend: Arc<dyn Backend>,
    runner: Arc<Runner>,
    slots: Arc<Semaphore>,
) {
    let Some(bounds) = worker.scaling.clone() else { return };
    let names: Vec<&str> = worker.queues.iter().map(|(queue, _)| &**queue).collect();
    let mut scaler = Scaler { slots: bounds.least, bounds, calm: 0 };
    // Slots that are taken can be let go only once they are free.
    let (mut there, mut before) = (scaler.slots, (runner.finished(), runner.ran()));
    let mut next_look = Instant::now();
    loop {
        if Instant::now() >= next_look {
            next_look = Instant::now() + LOOK;
            match backend.pressure(&names).await {
                Ok((ready, oldest)) => {
                    let now = (runner.finished(), runner.ran());
                    let finished = u32::try_from(now.0 - before.0).unwrap_or(u32::MAX);
                    let run = (now.1 - before.1).checked_div(finished);
                    before = now;
                    let busy = there - slots.available_permits().min(there);
                    let (old, new) = (scaler.slots, scaler.decide(Seen { ready, oldest, busy, run }));
                    if old != new {
                        info!(
                            old,
                            new,
                            ready,
                            oldest_ms = oldest.as_millis() as u64,
                            "the worker changes how many jobs it runs at once"
                        );
                    }
                }
                Err(error) => debug!(%error, "a look at what waits failed"),
            }
        }
        if scaler.slots > there {
            slots.add_permits(scaler.slots - there);
            there = scaler.slots;
        } else if scaler.slots < there {
            there -= slots.forget_permits(there - scaler.slots);
        }
        worker.vitals.has_slots(there);
        sleep(worker.poll.clamp(Duration::from_millis(1), LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn scaler(slots: usize) -> Scaler {
        Scaler { bounds: Bounds::new(1..=64), slots, calm: 0 }
    }

    fn late(ready: u64, busy: usize) -> Seen {
        Seen { ready, oldest: 5 * SECOND, busy, run: Some(SECOND) }
    }

    fn calm(busy: usize) -> Seen {
        Seen { ready: 0, oldest: Duration::ZERO, busy, run: Some(SECOND) }
    }

    #[test]
    fn what_waits_for_too_long_makes_it_grow_to_the_bound() {
        let mut scaler = scaler(1);
        let grown: Vec<usize> = (0..7).map(|_| scaler.decide(late(1_000, scaler.slots))).collect();
        assert_eq!(grown, [2, 4, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn a_few_that_wait_make_it_grow_a_little() {
        assert_eq!(scaler(16).decide(late(4, 16)), 18);
    }

    #[test]
    fn slots_that_are_free_are_enough() {
        assert_eq!(scaler(8).decide(late(1_000, 7)), 8);
    }

    #[test]
    fn it_shrinks_slowly_and_not_in_a_short_calm() {
        let mut scaler = scaler(64);
        for _ in 0..PATIENCE - 1 {
            assert_eq!(scaler.decide(calm(2)), 64);
        }
        assert_eq!(scaler.decide(calm(60)), 64, "and the patience begins anew");
        let shrunk: Vec<usize> = (0..3 * PATIENCE).map(|_| scaler.decide(calm(2))).collect();
        assert_eq!(shrunk.last(), Some(&27), "a quarter at a time: {shrunk:?}");
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds_whatever_it_sees(
            least in 1_usize..20, more in 0_usize..80,
            looks in prop::collection::vec((0_u64..100_000, 0_u64..100, 0_usize..100, prop::option::of(0_u64..100)), 1..50),
        ) {
            let most = least + more;
            let mut scaler = Scaler { bounds: Bounds::new(least..=most), slots: least, calm: 0 };
            for (ready, oldest, busy, run) in looks {
                let before = scaler.slots;
                let seen = Seen { ready, oldest: Duration::from_secs(oldest), busy: busy.min(before), run: run.map(Duration::from_secs) };
                let slots = scaler.decide(seen);
                prop_assert!((least..=most).contains(&slots));
                prop_assert!(slots <= before || seen.busy >= before, "it grows only when all slots are taken");
            }
        }
    }
}
