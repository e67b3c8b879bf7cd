//! The least of a schedule that still fails.

mod search;

use std::{future::Future, time::Duration};

use serde::Serialize;

use self::search::Search;
use crate::Schedule;

/// What became of one play of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// What is looked for went wrong again.
    Fails,
    /// It did not.
    Passes,
    /// The schedule could not be played or judged, so it says nothing.
    Void,
}

/// How a schedule is shrunk.
///
/// Real services are not deterministic: a schedule fails more or less often. Where the given one nearly always fails, a smaller one is taken only if it
/// nearly always does, too, and the result is played until that is known: somebody is to work with it. Where the given one fails now and then, a smaller
/// one is taken when it fails once in a number of plays, and that number is chosen so that one which fails as often is missed with a probability of at
/// most `miss`.
#[derive(Debug, Clone)]
#[must_use]
pub struct Shrink {
    plays: u32,
    confirm: u32,
    rate: f64,
    miss: f64,
    most_plays: u32,
    shortest: Duration,
}

/// A smaller schedule, and how it came to be.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Shrunk {
    /// The least that was found to fail.
    pub schedule: Schedule,
    /// How often it failed.
    pub rate: Rate,
    /// Each smaller schedule that was taken on the way, beginning with the one that was given.
    pub steps: Vec<Step>,
    /// How often schedules were played in all.
    pub plays: u32,
    /// Whether the plays came to their limit before nothing smaller failed.
    pub gave_up: bool,
}

/// A schedule that failed on the way.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What was done to the one before.
    pub change: String,
    /// How many events it has.
    pub events: usize,
    /// How long its faults are on, together.
    #[serde(serialize_with = "as_millis")]
    pub total: Duration,
    /// How often it failed.
    pub rate: Rate,
}

/// How often something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Rate {
    /// The plays that failed.
    pub fails: u32,
    /// All plays that could be judged.
    pub plays: u32,
}

impl Rate {
    /// The share of the plays that failed; 0 of none.
    pub fn share(self) -> f64 {
        if self.plays == 0 { 0.0 } else { f64::from(self.fails) / f64::from(self.plays) }
    }

    fn count(&mut self, trial: Trial) {
        self.fails += u32::from(trial == Trial::Fails);
        self.plays += u32::from(trial != Trial::Void);
    }
}

impl Default for Shrink {
    fn default() -> Self {
        Shrink {
            plays: 5,
            confirm: 20,
            rate: 0.95,
            miss: 0.05,
            most_plays: 400,
            shortest: Duration::from_millis(50),
        }
    }
}

impl Shrink {
    /// How often the given schedule is played to learn how often it fails (default 5).
    pub fn plays(mut self, plays: u32) -> Self {
        self.plays = plays.max(1);
        self
    }

    /// How often the result is played to learn how often it fails (default 20), and the share of those plays that must fail (default 0.95). With a result
    /// that fails less often, the last larger one is taken that does not; where the given schedule itself fails less often, that is not asked.
    pub fn confirm(mut self, plays: u32, rate: f64) -> Self {
        (self.confirm, self.rate) = (plays.max(1), rate.clamp(0.0, 1.0));
        self
    }

    /// How many plays there are in all, at most (default 400).
    pub fn most_plays(mut self, most: u32) -> Self {
        self.most_plays = most;
        self
    }

    /// The probability with which a smaller schedule that fails as often may be missed (default 0.05).
    pub fn miss(mut self, miss: f64) -> Self {
        self.miss = miss.clamp(0.001, 0.5);
        self
    }

    /// Shrinks a schedule with delta debugging (Zeller and Hildebrandt, 2002): events are taken away in halves, quarters and so on down to single ones; then faults
    /// become shorter. `play` plays a schedule and says what became of it.
    ///
    /// The services must be as new before each play: that is up to `play`. `None` if the given schedule did not fail at all.
    pub async fn run<F>(&self, schedule: &Schedule, play: impl FnMut(Schedule) -> F) -> Option<Shrunk>
    where
        F: Future<Output = Trial>,
    {
        let mut search = Search::new(self, play);
        let first = search.rate_of(schedule, self.plays).await;
        if first.fails == 0 {
            return None;
        }
        search.begin(schedule, first);
        search.narrow().await;
        Some(search.confirmed().await)
    }

    /// How many plays without a failure say that something does not fail as often as this.
    fn patience(&self, rate: Rate) -> u32 {
        // One more of each, since a few plays say little.
        let share = f64::from(rate.fails + 1) / f64::from(rate.plays + 2);
        let plays = self.miss.ln() / (1.0 - share).max(1e-9).ln();
        (plays.ceil() as u32).clamp(1, 20)
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{Fault, Storm};

    fn storm() -> Storm {
        let ms = Duration::from_millis;
        let targets = ["a", "b", "c", "d"];
        let faults = [Fault::Kill, Fault::Down, Fault::Reset];
        let all = targets.iter().flat_map(|target| faults.map(|fault| (*target, fault)));
        let storm = Storm::over(ms(60_000)).events(20..=30).lasting(ms(200)..=ms(2000)).swarm(false);
        all.fold(storm, |storm, (target, fault)| storm.hazard(target, fault, 1))
    }

    fn has(schedule: &Schedule, target: &str, fault: Fault) -> bool {
        schedule.events.iter().any(|event| event.target == target && event.fault == fault)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A failure that needs two events, and shows in every play, or in about every second one.
        #[test]
        fn two_events_out_of_many_are_found(seed: u64, flakiness in prop_oneof![Just(0.0), 0.3_f64..0.5]) {
            let schedule = storm().schedule(seed);
            let needs = |schedule: &Schedule| has(schedule, "a", Fault::Kill) && has(schedule, "b", Fault::Down);
            prop_assume!(needs(&schedule));
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let shrunk = block_on(Shrink::default().plays(20).miss(0.001).most_plays(10_000).run(&schedule, |played| {
                let fails = needs(&played) && !random.random_bool(flakiness);
                async move { if fails { Trial::Fails } else { Trial::Passes } }
            }));
            let shrunk = shrunk.unwrap();
            prop_assert!(shrunk.schedule.events.len() <= 3, "{:?}", shrunk.schedule);
            prop_assert!(needs(&shrunk.schedule));
            prop_assert!(shrunk.rate.fails > 0 && shrunk.steps.len() > 1 && !shrunk.gave_up);
            prop_assert!(shrunk.rate.share() >= 1.0 - flakiness - 0.35, "{:?}", shrunk.rate);
            prop_assert!(shrunk.steps.is_sorted_by(|one, next| one.events >= next.events));
        }
    }

    #[test]
    fn a_fault_is_no_longer_than_it_must_be() {
        let ms = Duration::from_millis;
        let schedule = Schedule::quiet().fault(ms(0), ms(2000), "a", Fault::Down);
        let shrunk = block_on(Shrink::default().run(&schedule, |played| {
            let fails = played.events[0].lasts >= ms(300);
            async move { if fails { Trial::Fails } else { Trial::Passes } }
        }));
        assert_eq!(shrunk.unwrap().schedule.events[0].lasts, ms(500));
    }

    #[test]
    fn what_never_fails_or_can_not_be_played_is_not_shrunk() {
        for trial in [Trial::Passes, Trial::Void] {
            assert!(
                block_on(Shrink::default().run(&storm().schedule(1), |_| async move { trial })).is_none()
            );
        }
    }

    #[test]
    fn the_plays_have_a_limit() {
        let mut plays = 0;
        let shrunk = block_on(Shrink::default().most_plays(30).run(&storm().schedule(1), |played| {
            plays += 1;
            async move { if played.events.len() > 15 { Trial::Fails } else { Trial::Passes } }
        }));
        let shrunk = shrunk.unwrap();
        assert!(shrunk.gave_up && shrunk.schedule.events.len() > 15);
        assert!(plays <= 30 + 20, "{plays}");
        assert_eq!(shrunk.plays, plays);
    }
}
