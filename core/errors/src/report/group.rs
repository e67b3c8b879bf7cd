//! Which errors are reported, and which are only counted.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::Fingerprint;

/// Different errors that are remembered at most.
const MAX_GROUPS: usize = 10_000;

pub(super) enum Verdict {
    /// Report it, with this count.
    Report { count: u64 },
    /// One like it was reported just before; it is in the count of the next.
    Grouped,
    /// There are too many different ones.
    TooMany,
}

pub(super) struct Groups {
    interval: Duration,
    per_second: u32,
    known: HashMap<Fingerprint, Group>,
    /// The second in which reports are counted, and how many there were.
    second: Option<(Instant, u32)>,
}

struct Group {
    reported: Instant,
    waiting: u64,
}

impl Groups {
    pub(super) fn new(interval: Duration, per_second: u32) -> Self {
        Groups { interval, per_second, known: HashMap::new(), second: None }
    }

    pub(super) fn judge(&mut self, fingerprint: Fingerprint, occurrences: u64, now: Instant) -> Verdict {
        if let Some(group) = self.known.get_mut(&fingerprint)
            && now.duration_since(group.reported) < self.interval
        {
            group.waiting += occurrences;
            return Verdict::Grouped;
        }
        if !self.has_room(now) {
            return Verdict::TooMany;
        }
        self.forget_old(now);
        let group = self.known.entry(fingerprint).or_insert(Group { reported: now, waiting: 0 });
        group.reported = now;
        Verdict::Report { count: std::mem::take(&mut group.waiting) + occurrences }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        let second = Duration::from_secs(1);
        let (began, reports) =
            self.second.filter(|(began, _)| now.duration_since(*began) < second).unwrap_or((now, 0));
        self.second = Some((began, reports.saturating_add(1)));
        reports < self.per_second
    }

    /// Makes room when there are too many groups: first those whose interval is over, and if that is not enough, all of them.
    fn forget_old(&mut self, now: Instant) {
        if self.known.len() < MAX_GROUPS {
            return;
        }
        let interval = self.interval;
        self.known.retain(|_, group| now.duration_since(group.reported) < interval);
        if self.known.len() >= MAX_GROUPS {
            self.known.clear();
        }
    }
}
