//! Counts and times of a service, in the formats of Prometheus and OpenMetrics.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_telemetry::metrics::{JobOutcome, Metrics};
//!
//! let metrics = Metrics::new("shop", "1.2.0");
//! metrics.queue().finished("default", "fulfil", JobOutcome::Completed, Duration::from_millis(12), None);
//!
//! let page = metrics.to_prometheus();
//! assert!(page.contains(r#"queue_jobs_finished_total{queue="default",kind="fulfil",outcome="completed"} 1"#));
//! ```
//!
//! Every family has a help text, a type, and a unit in its name where it has one. Labels are bounded: a family has 200 series at most,
//! and what would be one more counts as `other`; values are cut at 64 characters. So no client can make series, whatever it asks for.
//!
//! [`Metrics::register`] adds the application's own families.

mod bounded;
mod cache;
mod collectors;
mod http;
mod pool;
mod queue;
#[cfg(feature = "http")]
mod routes;
mod text;
mod websocket;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// The library that holds the families, for an application's own ones.
pub use prometheus_client;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::ConstGauge},
    registry::{Metric, Registry, Unit},
};

pub use bounded::{Bounded, MAX_LABEL, MAX_SERIES};
pub use cache::{CacheMetrics, CacheOutcome};
pub use http::HttpMetrics;
pub use pool::{Pool, PoolMetrics, PoolState};
pub use queue::{Backlog, JobOutcome, QueueMetrics, Running};
#[cfg(feature = "http")]
pub use routes::routes;
pub use websocket::{Connection, MessageKind, WebSocketMetrics};

use self::{
    bounded::Labels,
    collectors::{LogLines, Process},
};

/// The metrics of a service. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: RwLock<Registry>,
    http: HttpMetrics,
    websocket: WebSocketMetrics,
    queue: QueueMetrics,
    cache: CacheMetrics,
    pool: PoolMetrics,
    errors: Bounded<Counter, 1>,
}

impl Metrics {
    /// The metrics of a service of this name and version: its families, those of the process, and those of its log.
    pub fn new(service: &str, version: &str) -> Self {
        let mut registry = Registry::default();
        let build = Labels::new(["service", "version"], [service, version]);
        let info = prometheus_client::metrics::family::Family::<
            Labels<2>,
            prometheus_client::metrics::gauge::Gauge,
        >::default();
        info.get_or_create(&build).set(1);
        registry.register("build_info", "The service and its version, always 1", info);
        let errors = Bounded::new(["code"], Counter::default);
        registry.register("errors", "Errors that were the service's fault, by their code", errors.family());
        registry.register_collector(Box::new(Process));
        registry.register_collector(Box::new(LogLines));
        let inner = Inner {
            http: HttpMetrics::new(&mut registry),
            websocket: WebSocketMetrics::new(&mut registry),
            queue: QueueMetrics::new(&mut registry),
            cache: CacheMetrics::new(&mut registry),
            pool: PoolMetrics::new(&mut registry),
            errors,
            registry: RwLock::new(registry),
        };
        Metrics { inner: Arc::new(inner) }
    }

    /// Requests over HTTP.
    pub fn http(&self) -> &HttpMetrics {
        &self.inner.http
    }

    /// WebSocket connections.
    pub fn websocket(&self) -> &WebSocketMetrics {
        &self.inner.websocket
    }

    /// Jobs.
    pub fn queue(&self) -> &QueueMetrics {
        &self.inner.queue
    }

    /// Caches.
    pub fn cache(&self) -> &CacheMetrics {
        &self.inner.cache
    }

    /// Pools of connections to Postgres, and the statements that run on them.
    pub fn pool(&self) -> &PoolMetrics {
        &self.inner.pool
    }

    /// Counts an error that was the service's fault.
    pub fn error(&self, code: &'static seaworthy_errors::Code) {
        self.inner.errors.get([code.id]).inc();
    }

    /// Adds a family of the application. The name has no unit and no `_total`: both are appended.
    pub fn register(&self, name: &str, help: &str, unit: Option<Unit>, metric: impl Metric) {
        let mut registry = self.inner.registry.write().unwrap_or_else(PoisonError::into_inner);
        // The library ends the sentence itself.
        let help = help.trim_end_matches('.');
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, metric),
            None => registry.register(name, help, metric),
        }
    }

    /// The page in Prometheus' text format, version 0.0.4: what every scraper reads.
    pub fn to_prometheus(&self) -> String {
        text::to_prometheus(&self.to_open_metrics())
    }

    /// The page in the OpenMetrics format, version 1.0: with exemplars, which lead from a slow bucket to a trace.
    pub fn to_open_metrics(&self) -> String {
        let mut page = String::new();
        let registry = self.inner.registry.read().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string can't fail, and a collector that does leaves its part out.
        let _ = encode(&mut page, &registry);
        page
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Upper bounds in seconds, from a cache's answer to a request that nobody waits for any more.
pub(crate) const SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds in seconds of what may wait for hours.
pub(crate) const LONG_SECONDS: [f64; 12] =
    [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0];

/// A gauge that is read once.
pub(crate) fn gauge(value: f64) -> ConstGauge<f64> {
    ConstGauge::new(value)
}
