//! The chaos scenarios of Seaworthy's core services: those that the shop sails, and those that break the queue itself ([`QueueScenarios`]).
//!
//! Each scenario of the shop has faults that a seed gives, and says what has to have been exercised for its verdict to mean anything. What must hold is the
//! same for all: real services, open-loop load, WebSocket watchers, and checks over what clients were told and what is true in the end.
//!
//! ```
//! let shop = seaworthy_scenarios::Shop::new("target/debug/seaworthy");
//! let schedule = shop.scenario("disk-full").schedule(7);
//! assert_eq!(schedule, shop.scenario("disk-full").schedule(7), "the same seed gives the same schedule");
//! assert_eq!(schedule.events[0].target, "postgres");
//! ```

pub mod cli;
mod course;
mod disk_full;
mod graceful_restart;
mod orders;
mod postgres_connection_loss;
mod queue;
pub mod records;
mod redis_failure;
mod regular;
mod sail;
mod seen;
mod storm;
mod truth;
mod watcher;
mod worker_crash;

pub use course::Shop;
pub use queue::{Flaw, Form, QueueScenarios};

/// The examples of the documentation compile.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../docs/testing.md")]
    struct Testing;

    #[doc = include_str!("../../docs/scenarios.md")]
    struct Scenarios;

    #[doc = include_str!("../../docs/services.md")]
    struct Services;

    #[doc = include_str!("../../docs/handling-errors.md")]
    struct HandlingErrors;
}
