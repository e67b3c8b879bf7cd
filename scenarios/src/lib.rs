//! The chaos scenarios of Seaworthy's core services, sailed by the shop.
//!
//! A [`Scenario`] says which faults happen when, from a seed, and what has to have been exercised for its verdict to mean
//! anything. A [`Voyage`] plays it: real services, open-loop load, WebSocket watchers, and checks over what clients were
//! told and what is true in the end.
//!
//! ```
//! let scenario = seaworthy_scenarios::find("disk-full").unwrap();
//! let schedule = scenario.schedule(7);
//! assert_eq!(schedule, scenario.schedule(7), "the same seed gives the same schedule");
//! assert_eq!(schedule.events[0].target, "postgres");
//! ```

pub mod cli;
mod disk_full;
mod graceful_restart;
mod logs;
mod orders;
mod postgres_connection_loss;
mod redis_failure;
mod regular;
mod scenario;
mod truth;
mod voyage;
mod watcher;
mod worker_crash;

pub use scenario::{Evidence, Scenario, find, scenarios};
pub use voyage::{Played, Progress, Voyage};

/// The examples of the documentation compile.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../docs/testing.md")]
    struct Testing;

    #[doc = include_str!("../../docs/services.md")]
    struct Services;

    #[doc = include_str!("../../docs/handling-errors.md")]
    struct HandlingErrors;
}
