//! A run that grows event by event, within bounds.

use std::{collections::HashMap, time::Duration};

use crate::{
    event::Event,
    record::{Check, FaultWindow, Number, Run, ScenarioRecord, Status},
};

/// What a scenario keeps at most.
const MOST_CHECKS: usize = 200;
const MOST_FAULTS: usize = 500;
const MOST_NUMBERS: usize = 100;
const MOST_SINGLES: usize = 1_500;
const MOST_LINES: usize = 1_500;

/// A run that grows event by event. Lists are bounded here: whatever is rendered has come this way.
#[derive(Default)]
pub(crate) struct Growing {
    run: Run,
    places: HashMap<u32, usize>,
    scenarios: Vec<Open>,
    ended: bool,
}

/// What is known of a scenario beside its record while its log is read.
#[derive(Default)]
struct Open {
    faults: HashMap<u32, usize>,
    healed: Vec<bool>,
    latest: Duration,
    ended: bool,
    left_out: [u64; 5],
}

const LEFT_OUT: [&str; 5] = ["checks", "faults", "numbers", "single operations", "log lines"];

impl Growing {
    /// Takes an event in.
    ///
    /// # Errors
    ///
    /// A sentence, when the event can't follow those before it.
    pub(crate) fn add(&mut self, event: Event) -> Result<(), String> {
        match event.bounded() {
            Event::RunStarted { version, started_at, seed, environment, .. } => {
                self.run.version = version;
                (self.run.started_at, self.run.seed) = (started_at, seed);
                self.run.environment = environment;
            }
            Event::ScenarioStarted { scenario, name, summary } => {
                if self.places.insert(scenario, self.scenarios.len()).is_some() {
                    return Err(format!("scenario {scenario} starts twice"));
                }
                self.run.scenarios.push(ScenarioRecord::new(name, summary));
                self.scenarios.push(Open::default());
            }
            Event::RunEnded => self.ended = true,
            Event::Other => {}
            Event::Operations { scenario, slice } => {
                let (record, open) = self.open(scenario)?;
                open.latest = open.latest.max(slice.at + slice.lasts);
                record.operations.add_slice(&slice);
            }
            Event::OperationKind { scenario, kind, tally } => {
                self.open(scenario)?.0.operations.add_kind(&kind, &tally);
            }
            Event::Operation { scenario, operation } => {
                let (record, open) = self.open(scenario)?;
                if record.singles.len() < MOST_SINGLES {
                    record.singles.push(operation);
                } else {
                    open.left_out[3] += 1;
                }
            }
            Event::FaultBegan { scenario, fault, target, name, at } => {
                let (record, open) = self.open(scenario)?;
                open.latest = open.latest.max(at);
                if record.faults.len() < MOST_FAULTS {
                    if open.faults.insert(fault, record.faults.len()).is_some() {
                        return Err(format!("fault {fault} of scenario {scenario} begins twice"));
                    }
                    record.faults.push(FaultWindow { target, fault: name, from: at, to: at });
                    open.healed.push(false);
                } else {
                    open.left_out[1] += 1;
                }
            }
            Event::FaultEnded { scenario, fault, at } => {
                let (record, open) = self.open(scenario)?;
                open.latest = open.latest.max(at);
                if let Some(place) = open.faults.get(&fault) {
                    record.faults[*place].to = at.max(record.faults[*place].from);
                    open.healed[*place] = true;
                } else if record.faults.len() < MOST_FAULTS {
                    return Err(format!("fault {fault} of scenario {scenario} ends and has not begun"));
                }
            }
            Event::Log { scenario, line } => {
                let (record, open) = self.open(scenario)?;
                if record.logs.len() < MOST_LINES {
                    record.logs.push(line);
                } else {
                    open.left_out[4] += 1;
                }
            }
            Event::Resource { scenario, at, service, resource, unit, value } => {
                self.open(scenario)?.0.resources.sample(at, &service, &resource, unit, value);
            }
            Event::Check { scenario, check } => {
                let (record, open) = self.open(scenario)?;
                if !keep_check(&mut record.checks, check) {
                    open.left_out[0] += 1;
                }
            }
            Event::Note { scenario, number } => {
                let (record, open) = self.open(scenario)?;
                if record.numbers.len() < MOST_NUMBERS {
                    record.numbers.push(number);
                } else {
                    open.left_out[2] += 1;
                }
            }
            Event::ScenarioEnded { scenario, status, took, replay } => {
                let (record, open) = self.open(scenario)?;
                open.ended = true;
                (record.status, record.took, record.replay) = (status, took, replay);
            }
        }
        Ok(())
    }

    /// The run, as far as it was told.
    pub(crate) fn finish(mut self) -> Run {
        self.run.cut_short = !self.ended;
        for (record, open) in self.run.scenarios.iter_mut().zip(self.scenarios) {
            let never_healed = record.faults.iter_mut().zip(open.healed).filter(|(_, healed)| !healed);
            never_healed.for_each(|(fault, _)| fault.to = open.latest);
            if !open.ended {
                record.status = Status::Interrupted("its log ends before it did".to_owned());
                record.took = open.latest;
            }
            for (what, number) in LEFT_OUT.into_iter().zip(open.left_out).filter(|(_, number)| *number > 0) {
                record
                    .numbers
                    .push(Number::new(format!("Left out of the report: {what}"), number.to_string()));
                // The note itself must not be one too many when the log is written again.
                let surplus = record.numbers.len().saturating_sub(MOST_NUMBERS);
                record.numbers.drain(..surplus);
            }
        }
        self.run
    }

    fn open(&mut self, scenario: u32) -> Result<(&mut ScenarioRecord, &mut Open), String> {
        match self.places.get(&scenario) {
            Some(place) => Ok((&mut self.run.scenarios[*place], &mut self.scenarios[*place])),
            None => Err(format!("scenario {scenario} has not started")),
        }
    }
}

/// Keeps the check if there is room, or if it is worse than one that makes room for it: what is left out must not turn a report green.
fn keep_check(checks: &mut Vec<Check>, check: Check) -> bool {
    if checks.len() < MOST_CHECKS {
        checks.push(check);
        return true;
    }
    if let Some(better) = checks.iter().rposition(|other| other.verdict < check.verdict) {
        checks.remove(better);
        checks.push(check);
    }
    false
}
