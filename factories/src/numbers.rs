//! Which number the next record of a factory has.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

/// What counts the records.
#[derive(Debug, Clone)]
pub(crate) enum Numbers {
    /// From 0 on, for this call alone.
    OfCall(HashMap<&'static str, u64>),
    /// On from the last call on this database, so that what is unique stays so for the run.
    OfDatabase(DatabaseId),
    /// The same again that were counted for this database from here on.
    Again(HashMap<&'static str, u64>),
}

/// A database of a server that has not been restarted meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DatabaseId {
    pub(crate) oid: i64,
    pub(crate) name: String,
    pub(crate) started: String,
}

static COUNTED: LazyLock<Mutex<HashMap<DatabaseId, HashMap<&'static str, u64>>>> =
    LazyLock::new(Mutex::default);

impl Numbers {
    /// The first of so many numbers.
    pub(crate) fn take(&mut self, factory: &'static str, count: u64) -> u64 {
        let next = |counts: &mut HashMap<&'static str, u64>| {
            let next = counts.entry(factory).or_default();
            let first = *next;
            *next = first.saturating_add(count);
            first
        };
        match self {
            Numbers::OfCall(counts) | Numbers::Again(counts) => next(counts),
            Numbers::OfDatabase(id) => {
                let mut all = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
                match all.get_mut(id) {
                    Some(counts) => next(counts),
                    None => next(all.entry(id.clone()).or_default()),
                }
            }
        }
    }

    /// Counts what will be counted for this database once more, from where it is now.
    pub(crate) fn again(&self) -> Numbers {
        match self {
            Numbers::OfCall(counts) | Numbers::Again(counts) => Numbers::Again(counts.clone()),
            Numbers::OfDatabase(id) => {
                let all = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
                Numbers::Again(all.get(id).cloned().unwrap_or_default())
            }
        }
    }
}
