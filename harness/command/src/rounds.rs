//! Which plays a run consists of, and what is kept of the many of a long one.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use seaworthy_harness::{
    Scenario,
    reports::{Check, ScenarioRecord, Verdict},
};

/// Plays of which everything is kept. Of those that come after them and hold, only counts are, so that a soak of days leaves a report that opens.
const KEPT: u64 = 100;

/// When a run is over.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// After so many rounds; without any limit, after one.
    pub(crate) rounds: Option<u64>,
    /// No round begins after this time.
    pub(crate) soak: Option<Duration>,
    /// With the first play that does not hold.
    pub(crate) until_failure: bool,
    /// The same, without playing more than one round for it.
    pub(crate) fail_fast: bool,
}

/// The plays of a run: every scenario in each round, with the next seed.
pub(crate) struct Rounds<'a> {
    scenarios: &'a [Scenario],
    seed: u64,
    limits: Limits,
    started: Instant,
    stopped: AtomicBool,
    next: Mutex<u64>,
}

/// One play of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) seed: u64,
    /// Whether everything is kept of it, or only if it does not hold.
    pub(crate) is_kept: bool,
}

impl<'a> Rounds<'a> {
    pub(crate) fn new(scenarios: &'a [Scenario], seed: u64, limits: Limits) -> Self {
        let (started, stopped) = (Instant::now(), AtomicBool::new(false));
        Rounds { scenarios, seed, limits, started, stopped, next: Mutex::new(0) }
    }

    /// The next play, if there is one.
    pub(crate) fn next(&self) -> Option<Turn<'a>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.scenarios.len() as u64;
        if count == 0 || self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let (round, place) = (*next / count, *next % count);
        let Limits { rounds, soak, until_failure, .. } = self.limits;
        let endless = soak.is_some() || until_failure;
        let rounds = rounds.unwrap_or(if endless { u64::MAX } else { 1 });
        let is_over = round >= rounds || soak.is_some_and(|soak| *next > 0 && self.started.elapsed() >= soak);
        if is_over {
            return None;
        }
        let is_kept = *next < KEPT;
        *next += 1;
        Some(Turn { scenario: &self.scenarios[place as usize], seed: self.seed.wrapping_add(round), is_kept })
    }

    /// Hears how a play ended.
    pub(crate) fn ended(&self, verdict: Verdict) {
        if verdict != Verdict::Held && (self.limits.until_failure || self.limits.fail_fast) {
            self.stop();
        }
    }

    /// Begins no further play.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// What is known of the plays that held and of which nothing else is kept.
#[derive(Debug, Default)]
pub(crate) struct Uneventful {
    of: BTreeMap<String, (u64, ScenarioRecord)>,
}

impl Uneventful {
    pub(crate) fn add(&mut self, scenario: &Scenario, record: &ScenarioRecord) {
        let more = || {
            let name = format!("{} (further plays)", scenario.name());
            (0, ScenarioRecord::new(name, format!("Counts of the plays that held: {}", scenario.summary())))
        };
        let (plays, sum) = self.of.entry(scenario.name().to_owned()).or_insert_with(more);
        *plays += 1;
        sum.took += record.took;
        record.operations.slices().for_each(|slice| sum.operations.add_slice(&slice));
        record.operations.kinds().for_each(|(kind, tally)| sum.operations.add_kind(kind, tally));
    }

    /// A record for each scenario.
    pub(crate) fn records(self) -> impl Iterator<Item = ScenarioRecord> {
        self.of.into_values().map(|(plays, mut record)| {
            let detail = format!("{plays} plays, of which no more is kept");
            record.checks.push(Check::new("every further play held", Verdict::Held, detail));
            record
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(limits: Limits, failing: u64) -> Vec<(String, u64)> {
        let scenarios = ["a", "b"].map(|name| Scenario::new(name, ""));
        let rounds = Rounds::new(&scenarios, 7, limits);
        let mut played = Vec::new();
        while let Some(turn) = rounds.next().filter(|_| played.len() < 500) {
            played.push((turn.scenario.name().to_owned(), turn.seed));
            let failed = played.len() as u64 == failing;
            rounds.ended(if failed { Verdict::Violated } else { Verdict::Held });
        }
        played
    }

    #[test]
    fn a_run_has_the_rounds_that_it_is_to_have() {
        let limits = Limits::default();
        assert_eq!(played(limits, 1), [("a".to_owned(), 7), ("b".to_owned(), 7)]);
        assert_eq!(played(Limits { fail_fast: true, ..limits }, 1), [("a".to_owned(), 7)]);
        assert_eq!(played(Limits { rounds: Some(3), ..limits }, 1).len(), 6);
        assert_eq!(
            played(Limits { rounds: Some(3), fail_fast: true, ..limits }, 4).last(),
            Some(&("b".to_owned(), 8))
        );
        assert_eq!(
            played(Limits { until_failure: true, ..limits }, 301).last(),
            Some(&("a".to_owned(), 157))
        );
        assert_eq!(played(Limits { until_failure: true, rounds: Some(2), ..limits }, 301).len(), 4);
        assert_eq!(played(Limits { soak: Some(Duration::ZERO), ..limits }, 301).len(), 1);
        assert_eq!(played(Limits { soak: Some(Duration::from_secs(60)), ..limits }, 1).len(), 500);
    }

    #[test]
    fn of_a_long_run_only_so_many_plays_are_kept_whole() {
        let scenarios = [Scenario::new("a", "plays")];
        let rounds = Rounds::new(&scenarios, 0, Limits { rounds: Some(150), ..Limits::default() });
        let mut more = Uneventful::default();
        let mut kept = 0;
        while let Some(turn) = rounds.next() {
            kept += u64::from(turn.is_kept);
            if !turn.is_kept {
                more.add(turn.scenario, &ScenarioRecord::new("a", "plays"));
            }
        }
        assert_eq!(kept, KEPT);
        let records: Vec<_> = more.records().collect();
        assert_eq!(records[0].checks[0].detail, "50 plays, of which no more is kept");
        assert_eq!(records[0].verdict(), Verdict::Held);
    }
}
