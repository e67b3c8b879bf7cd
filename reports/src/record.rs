//! What is kept of a run.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

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
}

impl Check {
    /// A check that came to this verdict.
    pub fn new(name: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Self {
        Check { name: name.into(), verdict, detail: detail.into() }
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

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// It took effect.
    Ok,
    /// It was refused.
    Failed,
    /// The client can't know.
    Unknown,
    /// No answer came in time.
    TimedOut,
}

/// One operation, as a point of the latency plot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it should have begun, from the scenario's start.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// From then to its end.
    #[serde(with = "seconds")]
    pub latency: Duration,
    /// How it ended.
    pub outcome: OutcomeKind,
}

/// A count or a time that the summary names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number {
    /// What it counts or measures.
    pub name: String,
    /// The value, with its unit.
    pub value: String,
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
}

/// One scenario of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
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
    /// Every operation.
    pub samples: Vec<Sample>,
    /// How long it took, start and end of its services included.
    #[serde(with = "seconds")]
    pub took: Duration,
    /// The command that plays it again.
    pub replay: String,
}

impl ScenarioRecord {
    /// A record with nothing in it yet.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        ScenarioRecord { name: name.into(), summary: summary.into(), ..Self::default() }
    }

    /// The worst verdict of its checks; unknown when there is none.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown)
    }

    /// How many operations ended like this.
    pub fn count(&self, outcome: OutcomeKind) -> usize {
        self.samples.iter().filter(|sample| sample.outcome == outcome).count()
    }

    /// The latency that this share of answered operations did not exceed, between 0 and 1; `None` without any.
    pub fn latency_quantile(&self, share: f64) -> Option<Duration> {
        let mut latencies: Vec<Duration> = self.samples.iter().map(|sample| sample.latency).collect();
        latencies.sort();
        let rank = (share * latencies.len() as f64).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).copied()
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
}

/// A run of scenarios.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
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
}

impl Run {
    /// The worst verdict of the scenarios that were played; unknown when none was.
    pub fn verdict(&self) -> Verdict {
        let played = self.scenarios.iter().filter(|scenario| scenario.status == Status::Played);
        played.map(ScenarioRecord::verdict).max().unwrap_or(Verdict::Unknown)
    }

    /// The record as JSON, pretty-printed.
    ///
    /// # Panics
    ///
    /// Never: every part of a record has a JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a record has a JSON form")
    }

    /// Reads a record back.
    ///
    /// # Errors
    ///
    /// When the text is not a record.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Durations as seconds, rounded to microseconds: readable, and short.
mod seconds {
    use super::{Deserialize, Duration};

    pub(super) fn serialize<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(duration.as_micros() as f64 / 1e6)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        let micros = (seconds * 1e6).round();
        if (0.0..1e15).contains(&micros) {
            Ok(Duration::from_micros(micros as u64))
        } else {
            Err(serde::de::Error::custom(format!("{seconds} is not a number of seconds from 0 to a billion")))
        }
    }
}
