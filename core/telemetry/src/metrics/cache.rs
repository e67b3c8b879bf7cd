//! Caches.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Bounded, SECONDS};

/// What a cache said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It had the value.
    Hit,
    /// It had an old value, and gave that.
    Stale,
    /// It did not have the value.
    Miss,
    /// It could not be asked.
    Error,
}

impl CacheOutcome {
    fn as_str(self) -> &'static str {
        match self {
            CacheOutcome::Hit => "hit",
            CacheOutcome::Stale => "stale",
            CacheOutcome::Miss => "miss",
            CacheOutcome::Error => "error",
        }
    }
}

/// Metrics of caches.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    requests: Bounded<Counter, 2>,
    load: Bounded<Histogram, 1>,
    entries: Bounded<Gauge, 1>,
    size: Bounded<Gauge, 1>,
    evictions: Bounded<Counter, 1>,
}

impl CacheMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = CacheMetrics {
            requests: Bounded::new(["cache", "outcome"], Counter::default),
            load: Bounded::new(["cache"], || Histogram::new(SECONDS)),
            entries: Bounded::new(["cache"], Gauge::default),
            size: Bounded::new(["cache"], Gauge::default),
            evictions: Bounded::new(["cache"], Counter::default),
        };
        registry.register(
            "cache_requests",
            "Questions to a cache, by what it said",
            metrics.requests.family(),
        );
        registry.register_with_unit(
            "cache_load_duration",
            "Time that it took to make a value that was missing",
            Unit::Seconds,
            metrics.load.family(),
        );
        registry.register("cache_entries", "Values that a cache holds", metrics.entries.family());
        registry.register_with_unit(
            "cache_size",
            "What the values of a cache take",
            Unit::Bytes,
            metrics.size.family(),
        );
        registry.register(
            "cache_evictions",
            "Values that a cache gave up for lack of room",
            metrics.evictions.family(),
        );
        metrics
    }

    /// A cache was asked.
    pub fn asked(&self, cache: &str, outcome: CacheOutcome) {
        self.requests.get([cache, outcome.as_str()]).inc();
    }

    /// A missing value was made, after this time.
    pub fn loaded(&self, cache: &str, took: Duration) {
        self.load.get([cache]).observe(took.as_secs_f64());
    }

    /// How many values the cache holds, and how many bytes they take.
    pub fn holds(&self, cache: &str, entries: u64, bytes: u64) {
        self.entries.get([cache]).set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.size.get([cache]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Values were given up for lack of room.
    pub fn evicted(&self, cache: &str, values: u64) {
        self.evictions.get([cache]).inc_by(values);
    }
}
