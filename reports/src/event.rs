//! The events of a log, and how a record becomes events.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    focus::{LogLine, SingleOperation},
    operations::{Slice, Tally},
    record::{Check, Environment, FaultWindow, Number, ScenarioRecord, Status},
    resources::Unit,
    seconds,
    text::{NAME, SENTENCE, one_line},
};

/// What one line of a log says. Scenarios are numbered, so that those that are played at once can write to one log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are those of the record, and are documented there")]
pub enum Event {
    /// The first line: which format the log has, and where the run takes place.
    RunStarted { format: u32, version: String, started_at: u64, seed: u64, environment: Environment },
    /// A scenario begins.
    ScenarioStarted { scenario: u32, name: String, summary: String },
    /// Operations of a slice of time, counted.
    Operations {
        scenario: u32,
        #[serde(flatten)]
        slice: Slice,
    },
    /// All operations of a kind, counted. They are those of the slices again.
    OperationKind {
        scenario: u32,
        kind: String,
        #[serde(flatten)]
        tally: Tally,
    },
    /// One operation around a violation. It is counted in its slice as well.
    Operation {
        scenario: u32,
        #[serde(flatten)]
        operation: SingleOperation,
    },
    /// A fault is on. The number tells it from others of its scenario.
    FaultBegan {
        scenario: u32,
        fault: u32,
        target: String,
        name: String,
        #[serde(with = "seconds")]
        at: Duration,
    },
    /// The fault of this number is healed.
    FaultEnded {
        scenario: u32,
        fault: u32,
        #[serde(with = "seconds")]
        at: Duration,
    },
    /// A service logged this.
    Log {
        scenario: u32,
        #[serde(flatten)]
        line: LogLine,
    },
    /// A service used so much of this.
    Resource {
        scenario: u32,
        #[serde(with = "seconds")]
        at: Duration,
        service: String,
        resource: String,
        #[serde(default)]
        unit: Unit,
        value: f64,
    },
    /// A check came to its verdict.
    Check {
        scenario: u32,
        #[serde(flatten)]
        check: Check,
    },
    /// A number worth a look.
    Note {
        scenario: u32,
        #[serde(flatten)]
        number: Number,
    },
    /// A scenario has ended.
    ScenarioEnded {
        scenario: u32,
        status: Status,
        #[serde(with = "seconds")]
        took: Duration,
        replay: String,
    },
    /// The last line.
    RunEnded,
    /// An event that a later version writes and this one passes over.
    #[serde(other)]
    Other,
}

/// The events of a scenario from its start to its end, in the order of time; what has no time comes last.
pub(crate) fn events_of(number: u32, record: &ScenarioRecord) -> Vec<Event> {
    let scenario = number;
    let mut timed: Vec<(Duration, Event)> = Vec::new();
    timed.extend(record.operations.slices().map(|slice| (slice.at, Event::Operations { scenario, slice })));
    for (fault, window) in (0..).zip(&record.faults) {
        let FaultWindow { target, fault: name, from, to } = window.clone();
        timed.push((from, Event::FaultBegan { scenario, fault, target, name, at: from }));
        timed.push((to.max(from), Event::FaultEnded { scenario, fault, at: to }));
    }
    let singles = record.singles.iter().cloned();
    timed.extend(singles.map(|operation| (operation.at, Event::Operation { scenario, operation })));
    timed.extend(record.logs.iter().cloned().map(|line| (line.at, Event::Log { scenario, line })));
    for series in record.resources.series() {
        timed.extend(series.points().iter().map(|&(at, value)| {
            let (service, resource) = (series.service.clone(), series.resource.clone());
            (at, Event::Resource { scenario, at, service, resource, unit: series.unit, value })
        }));
    }
    timed.sort_by_key(|(at, _)| seconds::rounded(*at));

    let (name, summary) = (record.name.clone(), record.summary.clone());
    let mut events = vec![Event::ScenarioStarted { scenario, name, summary }];
    events.extend(timed.into_iter().map(|(_, event)| event));
    events.extend(record.operations.kinds().map(|(kind, tally)| Event::OperationKind {
        scenario,
        kind: kind.to_owned(),
        tally: tally.clone(),
    }));
    events.extend(record.checks.iter().cloned().map(|check| Event::Check { scenario, check }));
    events.extend(record.numbers.iter().cloned().map(|number| Event::Note { scenario, number }));
    let (status, took, replay) = (record.status.clone(), record.took, record.replay.clone());
    events.push(Event::ScenarioEnded { scenario, status, took, replay });
    events
}

impl Event {
    /// With its texts and lists cut to what a log keeps, so that every line of it is of a bounded length.
    pub(crate) fn bounded(self) -> Self {
        let name = |text: String| one_line(&text, NAME);
        let sentence = |text: String| one_line(&text, SENTENCE);
        match self {
            Event::RunStarted { format, version, started_at, seed, environment } => {
                let environment = bounded_environment(environment);
                Event::RunStarted { format, version: name(version), started_at, seed, environment }
            }
            Event::ScenarioStarted { scenario, name: called, summary } => {
                Event::ScenarioStarted { scenario, name: name(called), summary: sentence(summary) }
            }
            Event::OperationKind { scenario, kind, tally } => {
                Event::OperationKind { scenario, kind: name(kind), tally }
            }
            Event::Operation {
                scenario,
                operation: SingleOperation { kind, key, at, latency, outcome, why },
            } => {
                let (kind, key, why) = (name(kind), name(key), sentence(why));
                Event::Operation {
                    scenario,
                    operation: SingleOperation { kind, key, at, latency, outcome, why },
                }
            }
            Event::FaultBegan { scenario, fault, target, name: called, at } => {
                Event::FaultBegan { scenario, fault, target: name(target), name: name(called), at }
            }
            Event::Log { scenario, line: LogLine { at, service, line } } => {
                Event::Log { scenario, line: LogLine { at, service: name(service), line: sentence(line) } }
            }
            Event::Resource { scenario, at, service, resource, unit, value } => {
                let (service, resource) = (name(service), name(resource));
                Event::Resource { scenario, at, service, resource, unit, value }
            }
            Event::Check { scenario, check } => Event::Check { scenario, check: bounded_check(check) },
            Event::Note { scenario, number } => Event::Note { scenario, number: bounded_number(number) },
            Event::ScenarioEnded { scenario, status, took, replay } => {
                let status = match status {
                    Status::Played => Status::Played,
                    Status::Skipped(why) => Status::Skipped(sentence(why)),
                    Status::Interrupted(why) => Status::Interrupted(sentence(why)),
                };
                Event::ScenarioEnded { scenario, status, took, replay: sentence(replay) }
            }
            other => other,
        }
    }
}

/// Moments, keys and steps that a check keeps at most.
const MOST_OF_A_CHECK: usize = 20;

fn bounded_check(mut check: Check) -> Check {
    check.name = one_line(&check.name, NAME);
    check.detail = one_line(&check.detail, SENTENCE);
    check.moments.truncate(MOST_OF_A_CHECK);
    for (texts, most) in [(&mut check.keys, NAME), (&mut check.story, SENTENCE)] {
        texts.truncate(MOST_OF_A_CHECK);
        texts.iter_mut().for_each(|text| *text = one_line(text, most));
    }
    check
}

fn bounded_number(number: Number) -> Number {
    Number { name: one_line(&number.name, NAME), value: one_line(&number.value, SENTENCE) }
}

fn bounded_environment(environment: Environment) -> Environment {
    const MOST_VERSIONS: usize = 50;
    Environment {
        provider: one_line(&environment.provider, SENTENCE),
        system: one_line(&environment.system, SENTENCE),
        cores: environment.cores,
        durability: one_line(&environment.durability, SENTENCE),
        versions: environment.versions.into_iter().take(MOST_VERSIONS).map(bounded_number).collect(),
    }
}
