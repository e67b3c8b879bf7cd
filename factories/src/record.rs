//! The values of one record: each is a function of the root seed, the factory's name, the record's number and the field's name.

use std::{convert::Infallible, sync::Arc};

use fake::{Dummy, Fake};
use rand::{Rng, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    Locale,
    distribution::{self, Bursts},
    simpler::{SIMPLEST, Simpler},
    unique::{UniqueSpace, permuted},
};

/// The root of all values of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed for whoever names none: `SEAWORTHY_SEED`, if that is a number, else 0.
    pub fn of_run() -> Self {
        let said = std::env::var("SEAWORTHY_SEED").ok().and_then(|seed| seed.parse().ok());
        Seed(said.unwrap_or_default())
    }
}

/// The values of one record.
#[derive(Debug, Clone)]
pub struct Record {
    seed: Seed,
    factory: &'static str,
    number: u64,
    /// Among those that the call makes.
    position: u64,
    locale: Locale,
    simpler: Option<Arc<Simpler>>,
}

impl Record {
    /// The values of the record of this number.
    pub fn new(seed: Seed, factory: &'static str, number: u64) -> Self {
        Record { seed, factory, number, position: number, locale: Locale::default(), simpler: None }
    }

    /// The same with the names, places and phone numbers of this language, as far as the definition uses [`localized`](crate::localized).
    pub fn in_locale(mut self, locale: Locale) -> Self {
        self.locale = locale;
        self
    }

    #[cfg(feature = "proptest")]
    pub(crate) fn simplified_by(mut self, simpler: Arc<Simpler>) -> Self {
        self.simpler = Some(simpler);
        self
    }

    pub(crate) fn at_position(mut self, position: u64) -> Self {
        self.position = position;
        self
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn numbered(&self, number: u64) -> Self {
        Record { number, ..self.clone() }
    }

    /// The record's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The root of its values.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The language of its names.
    pub fn locale(&self) -> Locale {
        self.locale
    }

    /// A value for this field: any faker of the crate `fake`, or a range.
    pub fn fake<T: Dummy<F>, F>(&self, field: &str, faker: F) -> T {
        faker.fake_with_rng(&mut self.random(field))
    }

    /// One of these, as often as its weight says. Nothing, if all weights are 0.
    ///
    /// ```
    /// use seaworthy_factories::{Record, Seed};
    ///
    /// let roles = [("member", 95), ("admin", 5)];
    /// let admins = (0..1000)
    ///     .filter(|number| Record::new(Seed(7), "user", *number).weighted("role", &roles) == Some(&"admin"))
    ///     .count();
    /// assert!((30..70).contains(&admins));
    /// ```
    pub fn weighted<'a, T>(&self, field: &str, choices: &'a [(T, u32)]) -> Option<&'a T> {
        let total: u64 = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = distribution::below(&mut self.random(field), total)?;
        for (choice, weight) in choices {
            match at.checked_sub(u64::from(*weight)) {
                Some(left) => at = left,
                None => return Some(choice),
            }
        }
        None
    }

    /// A rank below `size`, the first of which is the most frequent: the one at `rank` has a share in proportion to
    /// `1 / (rank + 1) ^ exponent`. With an exponent of 1.07 a shop's products sell about like this.
    ///
    /// `size` of 0 counts as 1; an exponent that is not a positive number as 1.
    pub fn zipf(&self, field: &str, size: u64, exponent: f64) -> u64 {
        distribution::zipf(&mut self.random(field), size, exponent)
    }

    /// How long after the begin of some time something happened that comes in bursts; see [`Bursts`].
    pub fn burst(&self, field: &str, bursts: &Bursts) -> std::time::Duration {
        bursts.moment(&mut self.shared_random(field), &mut self.random(field))
    }

    /// A value that no other number has: every number gets another one of the space, in an order that the seed says. Nothing, if the
    /// space is smaller than the number.
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use seaworthy_factories::{Record, Seed};
    ///
    /// let pin = |number| Record::new(Seed(7), "card", number).unique("pin", &(0..1_000));
    /// let pins: HashSet<i32> = (0..1_000).map_while(pin).collect();
    /// assert_eq!((pins.len(), pin(1_000)), (1_000, None));
    /// ```
    pub fn unique<S: UniqueSpace>(&self, field: &str, space: &S) -> Option<S::Item> {
        let size = space.size();
        (self.number < size).then(|| space.at(permuted(self.shared(field), size, self.number)))
    }

    /// Makes a text one that no other number has, by the number: `ada@example.com` becomes `ada-17@example.com`.
    pub fn made_unique(&self, text: &str) -> String {
        match text.rsplit_once('@') {
            Some((name, domain)) => format!("{name}-{}@{domain}", self.number),
            None => format!("{text}-{}", self.number),
        }
    }

    /// One of so many: for each group of consecutive ones another order, so that the members of a group get different ones as long as
    /// there are enough.
    pub(crate) fn dealt(&self, field: &str, group: u64, position: u64, size: u64) -> u64 {
        let key = self.numbered(group).hash(field).rotate_left(17);
        permuted(key, size, position % size.max(1))
    }

    /// Randomness for this field alone. ChaCha, whose stream stays the same over releases, seeded through FNV-1a.
    pub fn random(&self, field: &str) -> Random {
        let simpler = self.simpler.as_ref().map_or(0, |simpler| simpler.of(field));
        Random { stream: ChaCha8Rng::seed_from_u64(self.hash(field)), simpler, simplified: 0 }
    }

    /// Randomness that all records of the factory share, as for where the bursts are.
    fn shared_random(&self, field: &str) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.shared(field))
    }

    fn shared(&self, field: &str) -> u64 {
        let hash = fnv1a(FNV_OFFSET, &self.seed.0.to_le_bytes());
        [self.factory.as_bytes(), field.as_bytes()].into_iter().fold(hash, part)
    }

    fn hash(&self, field: &str) -> u64 {
        let hash = fnv1a(FNV_OFFSET, &self.seed.0.to_le_bytes());
        [self.factory.as_bytes(), &self.number.to_le_bytes(), field.as_bytes()].into_iter().fold(hash, part)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// The length keeps ("ab", "c") apart from ("a", "bc").
fn part(hash: u64, part: &[u8]) -> u64 {
    fnv1a(fnv1a(hash, &(part.len() as u64).to_le_bytes()), part)
}

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The randomness of one field of one record.
#[derive(Debug, Clone)]
pub struct Random {
    stream: ChaCha8Rng,
    /// By how much of [`SIMPLEST`] numbers are smaller than they were drawn, while a failing case is made simpler.
    simpler: u32,
    simplified: u32,
}

impl Random {
    /// How many numbers are made simpler: a sampler that refuses small ones must come to an end.
    const SIMPLIFIED: u32 = 64;

    fn simplified(&mut self, drawn: u64) -> u64 {
        /// Some bits stay, since samplers refuse a stream of nothing but zeros.
        const KEPT: u64 = 0x3f;
        if self.simpler == 0 || self.simplified >= Self::SIMPLIFIED {
            return drawn;
        }
        self.simplified += 1;
        let share = u128::from(SIMPLEST - self.simpler.min(SIMPLEST));
        let scaled = (u128::from(drawn) * share / u128::from(SIMPLEST)) as u64;
        scaled | (drawn & KEPT)
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let drawn = u64::from(self.stream.next_u32());
        // Not larger than what was drawn.
        Ok(self.simplified(drawn) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let drawn = self.stream.next_u64();
        Ok(self.simplified(drawn))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.stream.fill_bytes(bytes);
        let share = u64::from(SIMPLEST - self.simpler.min(SIMPLEST));
        if self.simpler > 0 {
            bytes.iter_mut().for_each(|byte| *byte = (u64::from(*byte) * share / u64::from(SIMPLEST)) as u8);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_and_seeds_have_values_of_their_own(seed: u64) {
            let first = |seed, field| Record::new(Seed(seed), "f", 0).random(field).next_u64();
            prop_assert_ne!(first(seed, "a"), first(seed, "b"));
            prop_assert_ne!(first(seed, "a"), first(seed.wrapping_add(1), "a"));
        }

        #[test]
        fn members_of_a_group_are_dealt_different_ones(seed: u64, group: u64, size in 1u64..60) {
            let record = Record::new(Seed(seed), "f", 0);
            let mut dealt: Vec<u64> = (0..size).map(|at| record.dealt("a", group, at, size)).collect();
            dealt.sort_unstable();
            prop_assert_eq!(dealt, (0..size).collect::<Vec<_>>());
        }
    }
}
