//! Schedules that a seed makes up, within limits.

use std::{ops::RangeInclusive, time::Duration};

use rand::{Rng, RngExt as _, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Event, Schedule};
use crate::Fault;

/// How often a place for an event is looked for before the schedule does without it.
const ATTEMPTS: u32 = 64;

/// What a random schedule may do, how much of it, and when. The same seed gives the same schedule.
///
/// Each schedule uses only some of the hazards, chosen at random (swarm testing: Groce et al., ISSTA 2012): if all are always there, some hide others,
/// as a server that is down hides that it is slow.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_harness::{Fault, Storm};
///
/// let secs = Duration::from_secs;
/// let storm = Storm::over(secs(20))
///     .hazard("postgres", Fault::Down, 2)
///     .hazard("postgres", Fault::Kill, 1)
///     .hazard("worker-1", Fault::Kill, 4)
///     .events(20..=30)
///     .lasting(Duration::from_millis(200)..=secs(2))
///     .quiet(secs(8), secs(10));
/// let schedule = storm.schedule(7);
/// assert_eq!(schedule, storm.schedule(7));
/// assert!(schedule.end() <= secs(20));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Storm {
    span: Duration,
    hazards: Vec<Hazard>,
    events: RangeInclusive<usize>,
    lasting: RangeInclusive<Duration>,
    quiet: Vec<(Duration, Duration)>,
    at_once: usize,
    swarm: bool,
}

#[derive(Debug, Clone)]
struct Hazard {
    target: String,
    fault: Fault,
    weight: u32,
}

impl Storm {
    /// A storm of this length, counted from the run's start, without hazards yet: 5 to 10 events of 0.2 to 2 seconds, 3 at once at most.
    pub fn over(span: Duration) -> Self {
        let ms = Duration::from_millis;
        Storm {
            span,
            hazards: Vec::new(),
            events: 5..=10,
            lasting: ms(200)..=ms(2000),
            quiet: Vec::new(),
            at_once: 3,
            swarm: true,
        }
    }

    /// Adds what may happen to a service. A hazard of weight 4 happens four times as often as one of weight 1, and one of weight 0 never.
    pub fn hazard(mut self, target: impl Into<String>, fault: Fault, weight: u32) -> Self {
        self.hazards.push(Hazard { target: target.into(), fault, weight });
        self
    }

    /// How many events there are, as far as they find room.
    pub fn events(mut self, events: RangeInclusive<usize>) -> Self {
        self.events = events;
        self
    }

    /// How long an event lasts.
    pub fn lasting(mut self, lasting: RangeInclusive<Duration>) -> Self {
        self.lasting = lasting;
        self
    }

    /// Nothing is on in this time.
    pub fn quiet(mut self, from: Duration, to: Duration) -> Self {
        self.quiet.push((from, to));
        self
    }

    /// How many faults are on at once, at most.
    pub fn at_once(mut self, most: usize) -> Self {
        self.at_once = most;
        self
    }

    /// Whether each schedule uses only some of the hazards (it does by itself).
    pub fn swarm(mut self, swarm: bool) -> Self {
        self.swarm = swarm;
        self
    }

    /// The schedule that this seed gives, its events in the order of their beginnings.
    pub fn schedule(&self, seed: u64) -> Schedule {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let hazards = self.enabled(&mut random);
        let mut schedule = Schedule::quiet();
        let total: u32 = hazards.iter().map(|hazard| hazard.weight).sum();
        if total == 0 {
            return schedule;
        }
        for _ in 0..between(&mut random, &self.events) {
            let place = (0..ATTEMPTS).find_map(|_| {
                let event = self.event(&mut random, &hazards, total);
                self.has_room(&schedule, &event).then_some(event)
            });
            schedule.events.extend(place);
        }
        schedule.events.sort_by_key(|event| event.at);
        schedule
    }

    fn enabled(&self, random: &mut impl Rng) -> Vec<&Hazard> {
        let mut hazards: Vec<&Hazard> = self.hazards.iter().filter(|hazard| hazard.weight > 0).collect();
        if self.swarm && hazards.len() > 1 {
            hazards.shuffle(random);
            hazards.truncate(random.random_range(1..=hazards.len()));
        }
        hazards
    }

    fn event(&self, random: &mut impl Rng, hazards: &[&Hazard], total: u32) -> Event {
        let mut draw = random.random_range(0..total);
        let chosen = hazards.iter().find(|hazard| {
            let hit = draw < hazard.weight;
            draw = draw.saturating_sub(hazard.weight);
            hit
        });
        let hazard = chosen.unwrap_or(&hazards[0]);
        let lasts = millis(random, &self.lasting).min(self.span);
        let at = millis(random, &(Duration::ZERO..=self.span.saturating_sub(lasts)));
        Event { at, lasts, target: hazard.target.clone(), fault: hazard.fault }
    }

    fn has_room(&self, schedule: &Schedule, event: &Event) -> bool {
        let overlaps = |from: Duration, to: Duration| event.at < to && from < event.at + event.lasts;
        let others = || schedule.events.iter().filter(|other| overlaps(other.at, other.at + other.lasts));
        let clash = |other: &Event| other.target == event.target && excludes(other.fault, event.fault);
        !self.quiet.iter().any(|(from, to)| overlaps(*from, *to))
            && others().count() < self.at_once
            && !others().any(clash)
    }
}

/// Whether a service can't have both faults at once: the same one twice, or two of its processes.
fn excludes(one: Fault, other: Fault) -> bool {
    let of_processes = |fault| matches!(fault, Fault::Kill | Fault::Pause | Fault::Restart | Fault::DiskFull);
    one.name() == other.name() || (of_processes(one) && of_processes(other))
}

fn between(random: &mut impl Rng, range: &RangeInclusive<usize>) -> usize {
    if range.is_empty() { *range.start() } else { random.random_range(range.clone()) }
}

/// A whole number of milliseconds, so that a schedule reads well.
fn millis(random: &mut impl Rng, range: &RangeInclusive<Duration>) -> Duration {
    let whole = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (from, to) = (whole(range.start()), whole(range.end()));
    Duration::from_millis(if from < to { random.random_range(from..=to) } else { from })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn storm(span_ms: u64, at_once: usize) -> Storm {
        let ms = Duration::from_millis;
        Storm::over(ms(span_ms))
            .hazard("postgres", Fault::Down, 2)
            .hazard("postgres", Fault::Kill, 1)
            .hazard("postgres", Fault::Pause, 1)
            .hazard("worker", Fault::Kill, 4)
            .hazard("redis", Fault::Reset, 3)
            .hazard("redis", Fault::DiskFull, 0)
            .events(20..=30)
            .quiet(ms(span_ms / 2), ms(span_ms / 2 + 500))
            .at_once(at_once)
    }

    proptest! {
        #[test]
        fn a_schedule_keeps_within_its_limits(seed: u64, span_ms in 4000_u64..60_000, at_once in 1_usize..4) {
            let storm = storm(span_ms, at_once);
            let schedule = storm.schedule(seed);
            prop_assert_eq!(&schedule, &storm.schedule(seed));
            prop_assert!(!schedule.events.is_empty() && schedule.events.len() <= 30);
            prop_assert!(schedule.end() <= Duration::from_millis(span_ms));
            prop_assert!(schedule.events.is_sorted_by_key(|event| event.at));
            prop_assert_eq!(schedule.check(), Ok(()));
            for event in &schedule.events {
                prop_assert!(event.fault != Fault::DiskFull, "its weight is 0");
                let on = |other: &&Event| other.at <= event.at && event.at < other.at + other.lasts;
                prop_assert!(schedule.events.iter().filter(on).count() <= at_once);
                let half = Duration::from_millis(span_ms / 2);
                prop_assert!(event.at + event.lasts <= half || event.at >= half + Duration::from_millis(500));
            }
        }
    }

    #[test]
    fn schedules_differ_in_the_hazards_that_they_use() {
        let kinds = |seed| {
            let schedule = storm(60_000, 3).schedule(seed);
            let mut kinds: Vec<_> =
                schedule.events.iter().map(|e| (e.target.clone(), e.fault.name())).collect();
            kinds.sort();
            kinds.dedup();
            kinds
        };
        let sets: std::collections::BTreeSet<_> = (0..50).map(kinds).collect();
        assert!(sets.len() > 10, "{sets:?}");
        assert!(sets.iter().any(|set| set.len() == 1) && sets.iter().any(|set| set.len() == 5));
    }
}
