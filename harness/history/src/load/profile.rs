//! How many operations begin when.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Operations per second over time: stages of rates that are constant or change evenly.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::Profile;
///
/// let secs = Duration::from_secs;
/// let profile = Profile::ramp(10.0, 50.0, secs(10)).then(Profile::spike(50.0, 500.0, secs(20)));
/// assert_eq!(profile.lasts(), secs(30));
/// assert_eq!(profile.rate_at(secs(5)), 30.0);
/// assert_eq!(profile.rate_at(secs(20)), 500.0);
/// // 300 of the ramp; 400 before and after the spike, and 2,000 in it
/// assert_eq!(profile.arrivals().count(), 300 + 16 * 50 + 4 * 500);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Profile {
    stages: Vec<Stage>,
    /// The seed of the pauses, where they are random.
    random: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Stage {
    from: f64,
    to: f64,
    lasts: Duration,
}

/// The share of a soak in which the load rises to its rate.
const SOAK_RISE: f64 = 0.05;

impl Profile {
    /// The same rate all the time.
    ///
    /// # Panics
    ///
    /// When the rate is negative or not a number, as with each of the profiles.
    pub fn constant(rate: f64, lasts: Duration) -> Self {
        Self::ramp(rate, rate, lasts)
    }

    /// From one rate evenly to another.
    pub fn ramp(from: f64, to: f64, lasts: Duration) -> Self {
        for rate in [from, to] {
            assert!(
                rate >= 0.0 && rate.is_finite(),
                "a rate is a number of operations per second, not {rate}"
            );
        }
        Profile { stages: vec![Stage { from, to, lasts }], random: None }
    }

    /// A rate, with a fifth of the time in the middle at another.
    pub fn spike(rate: f64, peak: f64, lasts: Duration) -> Self {
        let edge = lasts * 2 / 5;
        Self::constant(rate, edge)
            .then(Self::constant(peak, lasts - edge * 2))
            .then(Self::constant(rate, edge))
    }

    /// For a long time: up to the rate in a twentieth of it, at most in a minute, and on at that rate.
    pub fn soak(rate: f64, lasts: Duration) -> Self {
        let rise = lasts.mul_f64(SOAK_RISE).min(Duration::from_secs(60));
        Self::ramp(0.0, rate, rise).then(Self::constant(rate, lasts - rise))
    }

    /// One rate after the other, each for this long.
    pub fn steps(rates: impl IntoIterator<Item = f64>, each: Duration) -> Self {
        let nothing = Profile { stages: Vec::new(), random: None };
        rates.into_iter().fold(nothing, |profile, rate| profile.then(Self::constant(rate, each)))
    }

    /// This one, and then the other.
    pub fn then(mut self, other: Profile) -> Self {
        self.stages.extend(other.stages);
        self.random = self.random.or(other.random);
        self
    }

    /// With random pauses as of many clients who don't know of each other (a Poisson process) instead of even ones; the same from the same seed.
    pub fn random(mut self, seed: u64) -> Self {
        self.random = Some(seed);
        self
    }

    /// How long it is.
    pub fn lasts(&self) -> Duration {
        self.stages.iter().map(|stage| stage.lasts).sum()
    }

    /// The rate at this time, in operations per second; 0 after the end.
    pub fn rate_at(&self, at: Duration) -> f64 {
        let mut begins = Duration::ZERO;
        for stage in &self.stages {
            if at < begins + stage.lasts {
                let share = (at - begins).as_secs_f64() / stage.lasts.as_secs_f64();
                return stage.from + (stage.to - stage.from) * share;
            }
            begins += stage.lasts;
        }
        0.0
    }

    /// When each operation begins, from the start.
    pub fn arrivals(&self) -> impl Iterator<Item = Duration> + use<> {
        let mut stages = self.stages.clone().into_iter();
        let mut random = self.random.map(ChaCha8Rng::seed_from_u64);
        let mut current = stages.next();
        // The number of operations that are due before the current stage, and when it begins.
        let (mut before, mut begins) = (0.0, Duration::ZERO);
        // The place of the next one in the sequence; the first of an even load begins at once.
        let mut due = random.as_mut().map_or(0.0, pause);
        std::iter::from_fn(move || {
            loop {
                let stage = current?;
                if let Some(after) = stage.reaches(due - before) {
                    due += random.as_mut().map_or(1.0, pause);
                    return Some(begins + after);
                }
                before += stage.operations();
                begins += stage.lasts;
                current = stages.next();
            }
        })
    }
}

/// An exponentially distributed pause of mean 1.
fn pause(random: &mut ChaCha8Rng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

impl Stage {
    /// How many operations begin in it.
    fn operations(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.lasts.as_secs_f64()
    }

    /// When so many operations have begun: the rate's integral, inverted. `None` when that is not in this stage.
    fn reaches(&self, operations: f64) -> Option<Duration> {
        let lasts = self.lasts.as_secs_f64();
        // Of two stages that meet, an operation at the border belongs to the second. Sums of rates are a little off.
        if operations >= self.operations() - 1e-9 {
            return None;
        }
        let operations = operations.max(0.0);
        let slope = (self.to - self.from) / lasts;
        let after = if slope == 0.0 {
            operations / self.from
        } else {
            // from·t + slope·t²/2 = operations, in the form that does not cancel
            let root = (self.from * self.from + 2.0 * slope * operations).max(0.0).sqrt();
            if self.from + root == 0.0 { 0.0 } else { 2.0 * operations / (self.from + root) }
        };
        Some(Duration::from_secs_f64(after.clamp(0.0, lasts)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profiles() -> impl Strategy<Value = Profile> {
        let stage = (0.0..200.0, 0.0..200.0, 0_u64..3_000);
        prop::collection::vec(stage, 1..5).prop_map(|stages| {
            let stages =
                stages.into_iter().map(|(from, to, ms)| Profile::ramp(from, to, Duration::from_millis(ms)));
            stages.reduce(Profile::then).unwrap()
        })
    }

    proptest! {
        #[test]
        fn arrivals_are_in_order_within_the_profile_and_as_many_as_its_rates_say(profile in profiles()) {
            let arrivals: Vec<Duration> = profile.arrivals().collect();
            prop_assert!(arrivals.is_sorted());
            prop_assert!(arrivals.iter().all(|at| *at <= profile.lasts()));
            let due: f64 = profile.stages.iter().map(Stage::operations).sum();
            prop_assert!((arrivals.len() as f64 - due).abs() <= 1.0, "{} of {due}", arrivals.len());
        }

        #[test]
        fn every_second_has_its_rate(from in 0.0..300.0, to in 0.0..300.0) {
            let profile = Profile::ramp(from, to, Duration::from_secs(5));
            for second in 0..5_u64 {
                let middle = profile.rate_at(Duration::from_millis(second * 1000 + 500));
                let seen = profile.arrivals().filter(|at| at.as_secs() == second).count();
                prop_assert!((seen as f64 - middle).abs() <= 1.01, "second {second}: {seen} of {middle}");
            }
        }
    }

    #[test]
    fn random_pauses_are_those_of_the_seed_and_keep_the_rate() {
        let profile = Profile::constant(1000.0, Duration::from_secs(10)).random(7);
        let arrivals: Vec<Duration> = profile.arrivals().collect();
        assert_eq!(arrivals, profile.arrivals().collect::<Vec<_>>());
        // A Poisson variable of mean 10,000 has a standard deviation of 100; pauses vary as much as their mean.
        assert!((9_500..=10_500).contains(&arrivals.len()), "{}", arrivals.len());
        let pauses: Vec<f64> = arrivals.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()).collect();
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        let variance = pauses.iter().map(|pause| (pause - mean).powi(2)).sum::<f64>() / pauses.len() as f64;
        assert!((0.9..1.1).contains(&(variance.sqrt() / mean)), "{}", variance.sqrt() / mean);
    }

    #[test]
    fn shapes_are_what_their_names_say() {
        let secs = Duration::from_secs;
        let soak = Profile::soak(100.0, secs(3600));
        assert_eq!(
            (soak.lasts(), soak.rate_at(secs(30)), soak.rate_at(secs(1800))),
            (secs(3600), 50.0, 100.0)
        );
        let steps = Profile::steps([10.0, 20.0, 40.0], secs(1));
        assert_eq!(steps.arrivals().count(), 70);
        assert_eq!(Profile::constant(0.0, secs(5)).arrivals().count(), 0);
        assert_eq!(Profile::constant(5.0, Duration::ZERO).arrivals().count(), 0);
    }

    #[test]
    #[should_panic(expected = "a rate is a number of operations per second, not NaN")]
    fn a_rate_that_is_no_number_is_refused() {
        drop(Profile::constant(f64::NAN, Duration::from_secs(1)));
    }
}
