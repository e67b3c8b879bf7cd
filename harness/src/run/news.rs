//! What is heard of a scenario while it is played.

use std::time::Duration;

use seaworthy_reports::{Counts, FaultWindow, Operations};

/// What happens while a scenario is played.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum News {
    /// A look at it, every second.
    Progress(Progress),
    /// Operations that have ended since the last of these news.
    Operations(Operations),
    /// A fault is on: the number tells it from the others of this play.
    FaultBegan {
        /// Its place in the schedule.
        number: usize,
        /// What it is, and since when; it has no end yet.
        window: FaultWindow,
    },
    /// A fault is healed.
    FaultHealed {
        /// Its place in the schedule.
        number: usize,
        /// When, from the history's start.
        at: Duration,
    },
}

/// A look at a scenario while it is played.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: String,
    /// The time since the history's start.
    pub elapsed: Duration,
    /// How long this phase still takes, where that is known.
    pub left: Option<Duration>,
    /// How the operations so far ended.
    pub counts: Counts,
    /// Operations that ended in the last second.
    pub rate: f64,
    /// The faults that are on now, `target fault` each.
    pub faults: Vec<String>,
}
