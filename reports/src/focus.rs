//! What happened around a violation: single operations, and what services logged.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    operations::OutcomeKind,
    record::{Check, ScenarioRecord, Verdict},
    seconds,
};

/// How much of the time before and after a violation is looked at.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(3);
/// Operations around one violation that are kept.
const MOST_OPERATIONS: usize = 150;
/// Lines of one service around one violation that are kept.
const MOST_LINES: usize = 60;
/// Moments of a check that are found by its keys.
const MOST_MOMENTS: usize = 20;

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleOperation {
    /// What was done, for example `place-order`.
    pub kind: String,
    /// What it was done to.
    pub key: String,
    /// When it should have begun, from the scenario's start.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// From then to its end.
    #[serde(with = "seconds")]
    pub latency: Duration,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Why it did not succeed; empty when it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A line of a service's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written, from the scenario's start.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// The service that wrote it.
    pub service: String,
    /// The line.
    pub line: String,
}

/// The time around a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Focus {
    /// When it begins, from the scenario's start.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
}

impl Focus {
    /// Whether any of this time lies in it.
    pub fn meets(&self, from: Duration, to: Duration) -> bool {
        from <= self.to && to >= self.from
    }
}

impl Check {
    /// The time around its first moment; `None` when it held, or has no moment.
    pub fn focus(&self) -> Option<Focus> {
        let first = *self.moments.iter().min().filter(|_| self.verdict != Verdict::Held)?;
        Some(Focus { from: first.saturating_sub(BEFORE), to: first.saturating_add(AFTER) })
    }

    /// Whether it is about this operation.
    pub fn concerns(&self, operation: &SingleOperation) -> bool {
        self.keys.contains(&operation.key)
    }
}

impl ScenarioRecord {
    /// Keeps those operations that happened around violations, at most 150 for each; first those that the check is about, then
    /// those that did not succeed. A violation that names keys and no moment gets the moments of their operations. The
    /// checks must be there already.
    pub fn keep_operations(&mut self, operations: impl Iterator<Item = SingleOperation> + Clone) {
        for check in self.checks.iter_mut().filter(|check| check.verdict != Verdict::Held) {
            if check.moments.is_empty() && !check.keys.is_empty() {
                let about = operations.clone().filter(|operation| check.keys.contains(&operation.key));
                check.moments = about.map(|operation| operation.at).take(MOST_MOMENTS).collect();
            }
        }
        for check in &self.checks {
            let Some(focus) = check.focus() else { continue };
            let near = operations.clone().filter(|operation| {
                focus.meets(operation.at, operation.at.saturating_add(operation.latency))
            });
            let mut near: Vec<SingleOperation> = near.collect();
            let first = focus.from + BEFORE.min(focus.to - focus.from);
            near.sort_by_key(|operation| {
                let fine = operation.outcome == OutcomeKind::Ok;
                (!check.concerns(operation), fine, operation.at.abs_diff(first))
            });
            near.truncate(MOST_OPERATIONS);
            self.singles.extend(near);
        }
        let place =
            |single: &SingleOperation| (single.at, single.kind.clone(), single.key.clone(), single.latency);
        self.singles.sort_by_key(place);
        self.singles.dedup();
    }

    /// Keeps those lines that services logged around violations, at most 60 of each service for each violation. The checks must
    /// be there already, with their moments.
    pub fn keep_logs(&mut self, lines: impl Iterator<Item = LogLine> + Clone) {
        for focus in self.checks.iter().filter_map(Check::focus) {
            let middle = focus.from + BEFORE.min(focus.to - focus.from);
            let mut near: Vec<LogLine> = lines.clone().filter(|line| focus.meets(line.at, line.at)).collect();
            near.sort_by_key(|line| (line.service.clone(), line.at.abs_diff(middle)));
            let services = near.chunk_by(|one, other| one.service == other.service);
            self.logs.extend(services.flat_map(|lines| lines.iter().take(MOST_LINES).cloned()));
        }
        self.logs.sort_by(|one, other| (one.at, &one.service).cmp(&(other.at, &other.service)));
        self.logs.dedup();
    }

    /// What happened to clients in this time.
    pub(crate) fn operations_in(&self, focus: Focus) -> Vec<&SingleOperation> {
        let singles = self.singles.iter();
        singles.filter(|single| focus.meets(single.at, single.at.saturating_add(single.latency))).collect()
    }

    /// What services logged in this time, each service's lines in order.
    pub(crate) fn logs_in(&self, focus: Focus) -> Vec<(&str, Vec<&LogLine>)> {
        let mut services: Vec<(&str, Vec<&LogLine>)> = Vec::new();
        for line in self.logs.iter().filter(|line| focus.meets(line.at, line.at)) {
            match services.iter_mut().find(|(service, _)| *service == line.service) {
                Some((_, lines)) => lines.push(line),
                None => services.push((&line.service, vec![line])),
            }
        }
        services.sort_by_key(|(service, _)| *service);
        services
    }
}
