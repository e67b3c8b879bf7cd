//! What an object does, as one client alone would see it.

use std::{fmt::Debug, hash::Hash};

use crate::Operation;

/// What one client alone would see of an object.
pub trait Model {
    /// What the object remembers.
    type State: Clone + Eq + Hash + Debug;

    /// The state in the beginning.
    fn start(&self) -> Self::State;

    /// The state after the operation, if it can have been answered as it was. With `answered` false, nobody knows the answer: any will do.
    ///
    /// # Errors
    ///
    /// A sentence, when the operation is none of this object's.
    fn step(
        &self,
        state: &Self::State,
        operation: &Operation,
        answered: bool,
    ) -> Result<Option<Self::State>, String>;

    /// The part of the object that an operation is about; parts don't influence each other. By itself, each key is one.
    fn part<'a>(&self, operation: &'a Operation) -> &'a str {
        &operation.key
    }
}
