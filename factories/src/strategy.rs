//! Factories as strategies of `proptest`, whose failing cases become simple within what the factory's definition allows.

use std::{fmt, sync::Arc};

use proptest::{
    strategy::{NewTree, Strategy, ValueTree},
    test_runner::TestRunner,
};

use rand::Rng;

use crate::{
    Builder, Model, Record, Seed,
    simpler::{SIMPLEST, Simpler},
};

impl<R: Model, C> Builder<R, C> {
    /// Records of this factory for `proptest`, without parents of their own.
    ///
    /// A failing case becomes simpler field by field, as in Hypothesis: the random numbers behind a field get smaller, never its value as such. So a range comes down to
    /// its begin and a choice to the first, and what the definition rules out never appears.
    pub fn strategy(self) -> FactoryStrategy<R> {
        FactoryStrategy(Arc::new(self.many()))
    }
}

/// See [`Builder::strategy`].
pub struct FactoryStrategy<R: Model>(Arc<Builder<R, crate::Many>>);

impl<R: Model> Clone for FactoryStrategy<R> {
    fn clone(&self) -> Self {
        FactoryStrategy(Arc::clone(&self.0))
    }
}

impl<R: Model> fmt::Debug for FactoryStrategy<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "records of the factory `{}`", R::NAME)
    }
}

impl<R: Model + fmt::Debug> Strategy for FactoryStrategy<R> {
    type Tree = RecordTree<R>;
    type Value = R;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = Seed(runner.rng().next_u64());
        // Small, so that it is among the numbers that unique fields have.
        let number = u64::from(runner.rng().next_u32() % 16);
        let tree = RecordTree {
            builder: Arc::clone(&self.0),
            seed,
            number,
            simpler: Arc::default(),
            fields: Vec::new(),
            at: 0,
        };
        // The first one says which fields there are.
        drop(tree.current());
        let fields = tree.simpler.fields().into_iter().map(Field::new).collect();
        Ok(RecordTree { fields, ..tree })
    }
}

/// A record, and how it becomes simpler.
pub struct RecordTree<R: Model> {
    builder: Arc<Builder<R, crate::Many>>,
    seed: Seed,
    number: u64,
    simpler: Arc<Simpler>,
    fields: Vec<Field>,
    at: usize,
}

struct Field {
    name: String,
    /// The simplest that the test fails with, as far as is known.
    fails: u32,
    /// The least simple that it passes with, as far as is known.
    passes: u32,
    /// What is being tried.
    tried: Option<u32>,
}

impl Field {
    fn new(name: String) -> Self {
        Field { name, fails: 0, passes: SIMPLEST + 1, tried: None }
    }

    /// What to try next: the simplest first, since most fields don't matter.
    fn next(&self) -> Option<u32> {
        let untouched = self.fails == 0 && self.passes > SIMPLEST;
        let next = if untouched { SIMPLEST } else { (self.fails + self.passes) / 2 };
        (self.fails + 1 < self.passes).then_some(next)
    }
}

impl<R: Model> fmt::Debug for RecordTree<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordTree")
            .field("seed", &self.seed)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<R: Model + fmt::Debug> ValueTree for RecordTree<R> {
    type Value = R;

    fn current(&self) -> R {
        let record = Record::new(self.seed, R::NAME, self.number).simplified_by(Arc::clone(&self.simpler));
        self.builder.make_record(&record)
    }

    fn simplify(&mut self) -> bool {
        while let Some(field) = self.fields.get_mut(self.at) {
            // It still fails with what was tried.
            field.fails = field.tried.take().unwrap_or(field.fails);
            if let Some(next) = field.next() {
                field.tried = Some(next);
                self.simpler.set(&field.name, next);
                return true;
            }
            self.at += 1;
        }
        false
    }

    fn complicate(&mut self) -> bool {
        let Some(field) = self.fields.get_mut(self.at) else { return false };
        let Some(tried) = field.tried.take() else { return false };
        field.passes = tried;
        self.simpler.set(&field.name, field.fails);
        true
    }
}
