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

#[cfg(all(feature = "http", unix))]
pub mod lifecycle;
pub mod trace;

/// The examples of the documentation compile.
#[cfg(all(doctest, feature = "http", unix))]
mod documentation {
    #[doc = include_str!("../../../docs/graceful-restarts.md")]
    struct GracefulRestarts;
}
