//! The entries that are kept.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{Entry, Recorded, Tap, What};
use crate::Stream;

#[derive(Debug)]
pub(crate) struct Log {
    proxy: String,
    tap: Tap,
    began: Instant,
    kept: Mutex<Kept>,
}

/// The last entries. They are shared with those who read them, so that reading takes no time in which a connection would wait.
#[derive(Debug, Default)]
struct Kept {
    first: u64,
    entries: VecDeque<Arc<Entry>>,
}

impl Log {
    pub(super) fn new(proxy: &str, tap: Tap) -> Self {
        Log { proxy: proxy.to_owned(), tap, began: Instant::now(), kept: Mutex::default() }
    }

    pub(super) fn proxy(&self) -> &str {
        &self.proxy
    }

    pub(crate) fn tap(&self) -> &Tap {
        &self.tap
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Adds an entry, and gives its number.
    pub(super) fn push(&self, at: Instant, connection: u64, stream: Stream, what: What) -> u64 {
        let offset = at.saturating_duration_since(self.began);
        let mut kept = self.lock();
        let oldest = if kept.entries.len() >= self.tap.entries { kept.entries.pop_front() } else { None };
        kept.first += u64::from(oldest.is_some());
        let number = kept.next();
        kept.entries.push_back(Arc::new(Entry { number, at, offset, connection, stream, what }));
        drop(kept);
        drop(oldest);
        number
    }

    /// Changes an entry, unless it has made room already.
    pub(super) fn change(&self, number: u64, change: impl FnOnce(&mut What)) {
        let mut kept = self.lock();
        let Some(at) = number.checked_sub(kept.first) else { return };
        if let Some(entry) = kept.entries.get_mut(at as usize) {
            change(&mut Arc::make_mut(entry).what);
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.lock().next()
    }

    pub(super) fn since(&self, number: u64) -> Recorded {
        let kept = self.lock();
        let skipped = number.saturating_sub(kept.first) as usize;
        let entries = kept.entries.iter().skip(skipped).cloned().collect();
        Recorded { entries, dropped: kept.first.saturating_sub(number) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}
