//! Realistic records for tests and load, the same ones from the same seed.
//!
//! Every value is a function of the root seed, the factory's name, the record's number and the field's name, and of nothing
//! else: a new field, another factory or another order of calls leaves every other value as it was.
//!
//! ```
//! use fake::faker::name::en::Name;
//! use seaworthy_factories::{Factory, Record, Seed};
//!
//! struct UserFactory;
//!
//! #[derive(Debug, PartialEq)]
//! struct User { name: String, age: u8 }
//!
//! impl Factory for UserFactory {
//!     type Output = User;
//!     const NAME: &'static str = "user";
//!
//!     fn make(&self, record: &Record) -> User {
//!         User { name: record.fake("name", Name()), age: record.fake("age", 18..100) }
//!     }
//! }
//!
//! let users: Vec<User> = UserFactory.many(Seed(7)).take(3).collect();
//! assert_eq!(users[2], UserFactory.make_one(Seed(7), 2));
//! ```

use fake::{Dummy, Fake};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The root of all values of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// A description of how to make a record of some kind.
pub trait Factory {
    /// What is made.
    type Output;
    /// The factory's name, one of the inputs of every value: renaming it changes them.
    const NAME: &'static str;

    /// Makes the record with the values of `record`.
    fn make(&self, record: &Record) -> Self::Output;

    /// Makes the record of this number.
    fn make_one(&self, seed: Seed, number: u64) -> Self::Output {
        self.make(&Record { seed, factory: Self::NAME, number })
    }

    /// Makes records without end, numbered from 0.
    fn many(&self, seed: Seed) -> impl Iterator<Item = Self::Output> {
        (0..).map(move |number| self.make_one(seed, number))
    }
}

/// The values of one record.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    seed: Seed,
    factory: &'static str,
    number: u64,
}

impl Record {
    /// The record's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A value for this field: any faker of the crate `fake`, or a range.
    pub fn fake<T: Dummy<F>, F>(&self, field: &str, faker: F) -> T {
        faker.fake_with_rng(&mut self.random(field))
    }

    /// Randomness for this field alone. ChaCha, whose stream stays the same over releases, seeded through FNV-1a.
    pub fn random(&self, field: &str) -> ChaCha8Rng {
        let parts = [self.factory.as_bytes(), &self.number.to_le_bytes(), field.as_bytes()];
        let mut hash = fnv1a(0xcbf2_9ce4_8422_2325, &self.seed.0.to_le_bytes());
        for part in parts {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash = fnv1a(fnv1a(hash, &(part.len() as u64).to_le_bytes()), part);
        }
        ChaCha8Rng::seed_from_u64(hash)
    }
}

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use fake::faker::name::en::FirstName;
    use proptest::prelude::*;

    use super::*;

    struct Named;

    impl Factory for Named {
        type Output = (String, u32);
        const NAME: &'static str = "named";

        fn make(&self, record: &Record) -> Self::Output {
            (record.fake("name", FirstName()), record.fake("number", 0..1_000_000))
        }
    }

    #[test]
    fn values_stay_the_same_over_releases() {
        let made: Vec<_> = Named.many(Seed(7)).take(3).collect();
        let golden = GOLDEN.map(|(name, number)| (name.to_owned(), number));
        assert_eq!(made, golden);
    }

    const GOLDEN: [(&str, u32); 3] = [("Gregorio", 612_400), ("Kellen", 393_823), ("Vince", 852_067)];

    proptest! {
        #[test]
        fn a_record_depends_on_its_number_alone_and_not_on_what_was_made_before(seed: u64, number in 0u64..50) {
            let alone = Named.make_one(Seed(seed), number);
            let among_others = Named.many(Seed(seed)).nth(usize::try_from(number).unwrap());
            prop_assert_eq!(Some(alone), among_others);
        }

        #[test]
        fn fields_and_seeds_have_values_of_their_own(seed: u64) {
            use rand::Rng;
            let record = |seed| Record { seed: Seed(seed), factory: "f", number: 0 };
            let first = |seed, field| record(seed).random(field).next_u64();
            prop_assert_ne!(first(seed, "a"), first(seed, "b"));
            prop_assert_ne!(first(seed, "a"), first(seed.wrapping_add(1), "a"));
        }
    }
}
