//! How far the values of a failing case are simplified, field by field.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// For each field by how many bits of 64 its random numbers are smaller than they were. Fields that are asked for are noted, so that a
/// strategy learns which ones there are.
#[derive(Debug, Default)]
pub(crate) struct Simpler(Mutex<BTreeMap<String, u32>>);

impl Simpler {
    pub(crate) fn shift(&self, field: &str) -> u32 {
        let mut shifts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match shifts.get(field) {
            Some(shift) => *shift,
            None => {
                shifts.insert(field.to_owned(), 0);
                0
            }
        }
    }

    #[cfg(feature = "proptest")]
    pub(crate) fn set(&self, field: &str, shift: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(field.to_owned(), shift);
    }

    #[cfg(feature = "proptest")]
    pub(crate) fn fields(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}
