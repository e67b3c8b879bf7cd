//! What a service in production tells about itself: logs, metrics, health, queries and profiles, tied together by the ids of the
//! request that they belong to.
//!
//! ```
//! use seaworthy_telemetry::trace::{self, Context};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let work = trace::Work::new("POST /orders", Context::new());
//! work.run(async {
//!     // Every log line, statement and job from in here carries these ids.
//!     assert!(trace::current().is_some());
//! })
//! .await;
//! # }
//! ```

pub mod codes;
pub mod health;
#[cfg(all(feature = "http", unix))]
pub mod lifecycle;
pub mod logging;
pub mod metrics;
pub mod process;
#[cfg(any(feature = "http", feature = "profiles"))]
pub mod profiles;
pub mod queries;
pub mod redaction;
#[cfg(feature = "http")]
pub mod requests;
pub mod settings;
pub mod timeline;
pub mod trace;

/// The examples of the guides are compiled, too.
#[cfg(doctest)]
mod guides {
    #[cfg(all(feature = "http", unix))]
    #[doc = include_str!("../../../docs/graceful-restarts.md")]
    struct GracefulRestarts;

    #[doc = include_str!("../../../docs/logging.md")]
    struct Logging;

    #[cfg(feature = "http")]
    #[doc = include_str!("../../../docs/metrics-and-health.md")]
    struct MetricsAndHealth;

    #[cfg(feature = "profiles")]
    #[doc = include_str!("../../../docs/query-log-and-profiles.md")]
    struct QueryLogAndProfiles;
}
