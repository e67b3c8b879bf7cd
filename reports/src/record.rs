//! What is kept of a run.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    focus::{LogLine, SingleOperation},
    operations::{Operations, OutcomeKind},
    resources::Resources,
    seconds,
};

/// The outcome of a check. Ordered: the worst of several is the outcome of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What must hold, held.
    Held,
    /// The check could not tell. That is no success.
    Unknown,
    /// What must hold did not.
    Violated,
}

impl Verdict {
    /// The verdict in a word: `held`, `unknown` or `violated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Unknown => "unknown",
            Verdict::Violated => "violated",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that must hold, and whether it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it did.
    pub verdict: Verdict,
    /// How we know.
    pub detail: String,
    /// When it was seen that it did not, from the scenario's start. The report looks closely at the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "seconds::list")]
    pub moments: Vec<Duration>,
    /// The keys of the operations that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The few steps, in order, that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<String>,
}

impl Check {
    /// A check that came to this verdict.
    pub fn new(name: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Self {
        let (name, detail) = (name.into(), detail.into());
        Check { name, verdict, detail, moments: Vec::new(), keys: Vec::new(), story: Vec::new() }
    }

    /// Whether it is worth a reader's time before others: it did not hold, or could not tell.
    pub(crate) fn is_wrong(&self) -> bool {
        self.verdict != Verdict::Held
    }

    /// Adds a moment at which it was seen that something did not hold.
    pub fn at(mut self, moment: Duration) -> Self {
        self.moments.push(moment);
        self
    }

    /// Adds the key of an operation that it is about.
    pub fn about(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Adds a step of the story that shows it.
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.story.push(step.into());
        self
    }
}

/// When a fault was on, from the scenario's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultWindow {
    /// The service that had it.
    pub target: String,
    /// The fault, in a word or two.
    pub fault: String,
    /// When it was injected.
    #[serde(with = "seconds")]
    pub from: Duration,
    /// When the service was ready again.
    #[serde(with = "seconds")]
    pub to: Duration,
}

/// A count or a time that the summary names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number {
    /// What it counts or measures.
    pub name: String,
    /// The value, with its unit.
    pub value: String,
}

impl Number {
    /// A value with its name.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Number { name: name.into(), value: value.into() }
    }
}

/// What happened to a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It was played to its end.
    #[default]
    Played,
    /// This machine or provider can't inject its faults; the text says why, and what to do.
    Skipped(String),
    /// It ended before its time; the text says why. What it has shown until then counts, and it has not held.
    Interrupted(String),
}

/// One scenario of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScenarioRecord {
    /// Its name.
    pub name: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// Whether it was played.
    pub status: Status,
    /// What had to hold.
    pub checks: Vec<Check>,
    /// When which fault was on.
    pub faults: Vec<FaultWindow>,
    /// Counts and times worth a look.
    pub numbers: Vec<Number>,
    /// What clients did, counted.
    pub operations: Operations,
    /// Single operations around violations; see [`keep_operations`](Self::keep_operations).
    pub singles: Vec<SingleOperation>,
    /// What services logged around violations; see [`keep_logs`](Self::keep_logs).
    pub logs: Vec<LogLine>,
    /// What services used over time.
    pub resources: Resources,
    /// How long it took, start and end of its services included.
    pub took: Duration,
    /// The command that plays it again.
    pub replay: String,
}

impl ScenarioRecord {
    /// A record with nothing in it yet.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        ScenarioRecord { name: name.into(), summary: summary.into(), ..Self::default() }
    }

    /// The worst verdict of its checks; unknown when there is none, and at best when it was interrupted.
    pub fn verdict(&self) -> Verdict {
        let worst = self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown);
        match self.status {
            Status::Interrupted(_) => worst.max(Verdict::Unknown),
            _ => worst,
        }
    }

    /// Whether it was played, if only in part.
    pub fn was_played(&self) -> bool {
        !matches!(self.status, Status::Skipped(_))
    }

    /// The verdict in a word, or `skipped`.
    pub fn verdict_word(&self) -> &'static str {
        if self.was_played() { self.verdict().as_str() } else { "skipped" }
    }

    /// How many operations ended like this.
    pub fn count(&self, outcome: OutcomeKind) -> u64 {
        self.operations.total().counts.of(outcome)
    }

    /// The latency that this share of operations did not exceed, between 0 and 1, within 0.4 %; `None` without any.
    pub fn latency_quantile(&self, share: f64) -> Option<Duration> {
        self.operations.total().latencies.quantile(share)
    }
}

/// Where a run took place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// The provider, and why it was taken.
    pub provider: String,
    /// The operating system and the architecture.
    pub system: String,
    /// Processors that the run could use.
    pub cores: usize,
    /// Whether Postgres wrote durably.
    pub durability: String,
    /// What else had a version, and which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Number>,
}

/// A run of scenarios.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// The version of Seaworthy that made it.
    pub version: String,
    /// When it began, in seconds since the Unix epoch.
    pub started_at: u64,
    /// The seed of every random decision.
    pub seed: u64,
    /// Where it took place.
    pub environment: Environment,
    /// Its scenarios, in the order in which they were played.
    pub scenarios: Vec<ScenarioRecord>,
    /// Its log ends before the run did: the runner was killed, or still runs.
    pub cut_short: bool,
}

impl Run {
    /// The worst verdict of the scenarios that were played; unknown when none was, and at best when the run was cut short.
    pub fn verdict(&self) -> Verdict {
        let played = self.scenarios.iter().filter(|scenario| scenario.was_played());
        let worst = played.map(ScenarioRecord::verdict).max().unwrap_or(Verdict::Unknown);
        if self.cut_short { worst.max(Verdict::Unknown) } else { worst }
    }

    /// The scenarios, the worst first, and as they were played where they are alike.
    pub(crate) fn worst_first(&self) -> Vec<&ScenarioRecord> {
        let mut scenarios: Vec<&ScenarioRecord> = self.scenarios.iter().collect();
        scenarios.sort_by_key(|scenario| (!scenario.was_played(), std::cmp::Reverse(scenario.verdict())));
        scenarios
    }

    /// A sentence that sums it up.
    pub(crate) fn sentence(&self) -> String {
        use crate::words::several;
        let played: Vec<_> = self.scenarios.iter().filter(|scenario| scenario.was_played()).collect();
        let held = played.iter().filter(|scenario| scenario.verdict() == Verdict::Held).count();
        let skipped = self.scenarios.len() - played.len();
        let operations = played.iter().map(|scenario| scenario.operations.total().counts.total()).sum();
        let faults = played.iter().map(|scenario| scenario.faults.len() as u64).sum();
        let of = several(played.len() as u64, "scenario");
        let skipped = if skipped > 0 { format!(" {skipped} could not be played.") } else { String::new() };
        format!(
            "{held} of {of} held, under {} and {}.{skipped}",
            several(faults, "fault"),
            several(operations, "operation"),
        )
    }
}
