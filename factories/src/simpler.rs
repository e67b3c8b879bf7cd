//! How far the values of a failing case are simplified, field by field.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// The most that a field can be simplified.
pub(crate) const SIMPLEST: u32 = 1 << 24;

/// For each field by how much of [`SIMPLEST`] its random numbers are smaller than they were. Fields that are asked for are noted, so that a
/// strategy learns which ones there are.
#[derive(Debug, Default)]
pub(crate) struct Simpler(Mutex<BTreeMap<String, u32>>);

impl Simpler {
    pub(crate) fn of(&self, field: &str) -> u32 {
        let mut levels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match levels.get(field) {
            Some(level) => *level,
            None => {
                levels.insert(field.to_owned(), 0);
                0
            }
        }
    }

    #[cfg(feature = "proptest")]
    pub(crate) fn set(&self, field: &str, level: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(field.to_owned(), level);
    }

    #[cfg(feature = "proptest")]
    pub(crate) fn fields(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}
