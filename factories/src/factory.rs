//! Definitions by hand, of anything.

use crate::{Record, Seed};

/// A description of how to make a record of some kind, by hand. For records of a table derive it: `#[derive(Factory)]`.
///
/// ```
/// use fake::faker::name::en::Name;
/// use seaworthy_factories::{Factory, Record, Seed};
///
/// struct UserFactory;
///
/// #[derive(Debug, PartialEq)]
/// struct User { name: String, age: u8 }
///
/// impl Factory for UserFactory {
///     type Output = User;
///     const NAME: &'static str = "user";
///
///     fn make(&self, record: &Record) -> User {
///         User { name: record.fake("name", Name()), age: record.fake("age", 18..100) }
///     }
/// }
///
/// let users: Vec<User> = UserFactory.many(Seed(7)).take(3).collect();
/// assert_eq!(users[2], UserFactory.make_one(Seed(7), 2));
/// ```
pub trait Factory {
    /// What is made.
    type Output;
    /// The factory's name, one of the inputs of every value: renaming it changes them.
    const NAME: &'static str;

    /// Makes the record with the values of `record`.
    fn make(&self, record: &Record) -> Self::Output;

    /// Makes the record of this number.
    fn make_one(&self, seed: Seed, number: u64) -> Self::Output {
        self.make(&Record::new(seed, Self::NAME, number))
    }

    /// Makes records without end, numbered from 0.
    fn many(&self, seed: Seed) -> impl Iterator<Item = Self::Output> {
        (0..).map(move |number| self.make_one(seed, number))
    }
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
    }
}
