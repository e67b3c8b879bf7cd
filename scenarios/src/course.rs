//! What the scenarios of the shop differ in, and which ones there are.

use std::{path::PathBuf, time::Duration};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use seaworthy_harness::{
    Scenario, Schedule,
    reports::{Check, FaultWindow},
};
use seaworthy_queue::Stats;
use seaworthy_shop::Bug;

use crate::{
    disk_full, graceful_restart, postgres_connection_loss, redis_failure, sail::sail, storm, worker_crash,
};

/// A fault schedule for the shop, and what must have happened for its verdict to mean anything.
///
/// What must hold is the same for every scenario, so that no scenario can weaken it: every accepted order is fulfilled,
/// none is recorded twice, every request is answered in time, every watcher ends with the truth, and work drains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it does, in a sentence.
    pub(crate) summary: &'static str,
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
pub(crate) struct Evidence {
    /// Requests that were refused, or whose outcome is unknown.
    pub(crate) refused: u64,
    /// What became of the requests that did not succeed, `key: why` each.
    pub(crate) failures: Vec<String>,
    /// Requests of the customers who send one after the other, without the orders that they placed.
    pub(crate) lookups: u64,
    /// Processes that have served, one after the other, by the supervisor's log.
    pub(crate) processes: usize,
    /// What the queue counted.
    pub(crate) queue: Stats,
    /// When which fault was on.
    pub(crate) windows: Vec<FaultWindow>,
    /// When each fulfilment was recorded, from the start.
    pub(crate) fulfilled_at: Vec<Duration>,
    /// Whether Postgres met a full disk, by its log.
    pub(crate) postgres_met_full_disk: bool,
    /// How often workers said that they met it.
    pub(crate) queue_met_full_disk: u64,
    /// Whether Postgres ran through without a restart.
    pub(crate) postgres_survived: bool,
}

/// Every course, in the order in which they are played.
const COURSES: [Course; 6] = [
    worker_crash::COURSE,
    postgres_connection_loss::COURSE,
    redis_failure::COURSE,
    disk_full::COURSE,
    graceful_restart::COURSE,
    storm::COURSE,
];

/// The shop that the scenarios sail in.
#[derive(Debug, Clone)]
pub struct Shop {
    /// The program that is the shop when its first argument is `shop`.
    pub program: PathBuf,
    /// A bug to plant, in a program that was built with bugs.
    pub bug: Option<Bug>,
}

impl Shop {
    /// The shop that this program is.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Shop { program: program.into(), bug: None }
    }

    /// With a bug planted.
    pub fn with_bug(mut self, bug: Bug) -> Self {
        self.bug = Some(bug);
        self
    }

    /// Every scenario of the shop, in the order in which they are played.
    pub fn scenarios(&self) -> Vec<Scenario> {
        COURSES.iter().map(|course| self.scenario_of(course)).collect()
    }

    /// The scenario of this name.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn scenario(&self, name: &str) -> Scenario {
        let course = COURSES.iter().find(|course| course.name == name);
        self.scenario_of(course.unwrap_or_else(|| panic!("the shop has no scenario `{name}`")))
    }

    fn scenario_of(&self, course: &'static Course) -> Scenario {
        let shop = self.clone();
        Scenario::new(course.name, course.summary)
            .faults(|seed| (course.faults)(&mut ChaCha8Rng::seed_from_u64(seed)))
            .sail(move |voyage| sail(shop.clone(), course, voyage))
    }
}
