//! What a scenario is, and which ones there are.

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use seaworthy_harness::{
    Schedule,
    reports::{Check, FaultWindow},
};
use seaworthy_queue::Stats;

use crate::{disk_full, graceful_restart, postgres_connection_loss, redis_failure, worker_crash};

/// A fault schedule for the shop, and what must have happened for its verdict to mean anything.
///
/// What must hold is the same for every scenario, so that no scenario can weaken it: every accepted order is fulfilled,
/// none is recorded twice, every request is answered in time, every watcher ends with the truth, and work drains.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Whether Postgres writes durably: wherever it may crash or its disk fills up.
    pub(crate) durable: bool,
    /// The size of Postgres' disk in MiB, where the scenario fills it.
    pub(crate) disk_limit_mib: Option<u64>,
    /// How long work may take to drain after the last fault.
    pub(crate) drain_limit: Duration,
    /// Customers who send one request after the other, beside the open-loop load. With any, the shop's server runs under its supervisor.
    pub(crate) regulars: u64,
    pub(crate) faults: fn(&mut ChaCha8Rng) -> Schedule,
    pub(crate) exercised: fn(&Evidence) -> Vec<Check>,
}

/// What a run saw, for the checks that only one scenario has.
#[derive(Debug)]
pub struct Evidence {
    /// Requests that were refused, or whose outcome is unknown.
    pub refused: u64,
    /// What became of the requests that did not succeed, `key: why` each.
    pub failures: Vec<String>,
    /// Requests of the customers who send one after the other, without the orders that they placed.
    pub lookups: u64,
    /// Processes that have served, one after the other, by the supervisor's log.
    pub processes: usize,
    /// What the queue counted.
    pub queue: Stats,
    /// When which fault was on.
    pub windows: Vec<FaultWindow>,
    /// When each fulfilment was recorded, from the start.
    pub fulfilled_at: Vec<Duration>,
    /// Whether Postgres met a full disk, by its log.
    pub postgres_met_full_disk: bool,
    /// Whether Postgres ran through without a restart.
    pub postgres_survived: bool,
}

impl Scenario {
    /// The faults that this seed gives.
    pub fn schedule(&self, seed: u64) -> Schedule {
        (self.faults)(&mut ChaCha8Rng::seed_from_u64(seed))
    }
}

/// Every scenario, in the order in which they are played.
pub fn scenarios() -> [Scenario; 5] {
    [
        worker_crash::SCENARIO,
        postgres_connection_loss::SCENARIO,
        redis_failure::SCENARIO,
        disk_full::SCENARIO,
        graceful_restart::SCENARIO,
    ]
}

/// The scenario of this name.
///
/// # Errors
///
/// A text that names those that there are.
pub fn find(name: &str) -> Result<Scenario, String> {
    scenarios().into_iter().find(|scenario| scenario.name == name).ok_or_else(|| {
        let known = scenarios().map(|scenario| scenario.name).join(", ");
        format!("there is no scenario `{name}`; choose among {known}")
    })
}
