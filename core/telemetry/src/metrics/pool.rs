//! Pools of connections to Postgres, and the statements that run on them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::Counter, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Bounded, SECONDS, bounded::Labels, gauge};

/// What a pool is like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that nobody uses.
    pub idle: u64,
    /// Connections that are in use.
    pub used: u64,
    /// How many there may be.
    pub max: u64,
}

/// Something that can be asked what it is like now. sqlx's `PgPool` is one, with the feature `postgres`.
pub trait Pool: Send + Sync + 'static {
    /// What it is like now.
    fn state(&self) -> PoolState;
}

#[cfg(feature = "postgres")]
impl Pool for sqlx::PgPool {
    fn state(&self) -> PoolState {
        let (size, idle) = (u64::from(self.size()), self.num_idle() as u64);
        PoolState { idle, used: size.saturating_sub(idle), max: self.options().get_max_connections().into() }
    }
}

/// Metrics of pools and statements.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    pools: Pools,
    acquire: Bounded<Histogram, 1>,
    timeouts: Bounded<Counter, 1>,
    statements: Bounded<Counter, 1>,
    duration: Histogram,
}

impl PoolMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = PoolMetrics {
            pools: Pools::default(),
            acquire: Bounded::new(["pool"], || Histogram::new(SECONDS)),
            timeouts: Bounded::new(["pool"], Counter::default),
            statements: Bounded::new(["kind"], Counter::default),
            duration: Histogram::new(SECONDS),
        };
        registry.register_collector(Box::new(metrics.pools.clone()));
        registry.register_with_unit(
            "postgres_pool_acquire_duration",
            "Time until a connection of the pool was free",
            Unit::Seconds,
            metrics.acquire.family(),
        );
        registry.register(
            "postgres_pool_timeouts",
            "Times that no connection of the pool was free in time",
            metrics.timeouts.family(),
        );
        registry.register(
            "postgres_statements",
            "Statements that ended, by the word that they begin with",
            metrics.statements.family(),
        );
        registry.register_with_unit(
            "postgres_statement_duration",
            "Time that a statement took",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    /// Shows the state of this pool, asked whenever the page is.
    pub fn watch(&self, name: &str, pool: impl Pool) {
        let mut pools = self.pools.lock();
        pools.retain(|(other, _)| other != name);
        pools.push((name.to_owned(), Box::new(pool)));
    }

    /// A connection was free after this time.
    pub fn acquired(&self, pool: &str, took: Duration) {
        self.acquire.get([pool]).observe(took.as_secs_f64());
    }

    /// No connection was free in time.
    pub fn timed_out(&self, pool: &str) {
        self.timeouts.get([pool]).inc();
    }

    /// A statement ended. `kind` is the word that it begins with.
    pub fn statement(&self, kind: &str, took: Duration) {
        self.statements.get([kind]).inc();
        self.duration.observe(took.as_secs_f64());
    }
}

type Named = (String, Box<dyn Pool>);

#[derive(Clone, Default)]
struct Pools(Arc<Mutex<Vec<Named>>>);

impl Pools {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Named>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter().map(|(name, _)| name)).finish()
    }
}

impl Collector for Pools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let states: Vec<(String, PoolState)> =
            self.lock().iter().map(|(name, pool)| (name.clone(), pool.state())).collect();
        if states.is_empty() {
            return Ok(());
        }
        let encoder = &mut encoder;
        let mut family = |name, help, series: Vec<(Labels<2>, u64)>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            series.iter().try_for_each(|(labels, value)| one(&mut family, labels, *value))
        };
        let connections = states.iter().flat_map(|(name, state)| {
            [("idle", state.idle), ("used", state.used)]
                .map(|(kind, value)| (Labels::new(["pool", "state"], [name, kind]), value))
        });
        family(
            "postgres_pool_connections",
            "Connections of a pool, by whether they are in use.",
            connections.collect(),
        )?;
        let mut family = encoder.encode_descriptor(
            "postgres_pool_max_connections",
            "How many connections a pool may have.",
            None,
            MetricType::Gauge,
        )?;
        states
            .iter()
            .try_for_each(|(name, state)| one(&mut family, &Labels::new(["pool"], [name]), state.max))
    }
}

fn one<const N: usize>(family: &mut MetricEncoder<'_>, labels: &Labels<N>, value: u64) -> fmt::Result {
    gauge(value as f64).encode(family.encode_family(labels)?)
}
