//! How long the jobs of a worker that vanished wait until somebody runs them again.

use std::{collections::HashMap, time::Duration};

use seaworthy_harness::reports::{Check, Verdict};

use super::ledger::Line;

/// A worker that vanished with jobs in its hands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rescue {
    worker: String,
    /// When it vanished, from the history's start.
    at: Duration,
    /// How long it took from then until the last of its jobs ran again; nothing when one of them did not.
    took: Option<Duration>,
}

/// What became of the jobs that each of these workers was running when it vanished, once or more often.
///
/// A job whose last beginning before that moment was there, and which was not recorded by then, was in its hands. If it was recorded later without a
/// new beginning, the server had its commit already, and there was nothing to rescue.
pub(super) fn rescues(vanished: &[(String, Duration)], began: &[Line], recorded: &[Line]) -> Vec<Rescue> {
    let mut attempts: HashMap<i64, Vec<&Line>> = HashMap::new();
    began.iter().for_each(|line| attempts.entry(line.key).or_default().push(line));
    let mut done: HashMap<i64, Duration> = HashMap::new();
    for line in recorded {
        let first = done.entry(line.key).or_insert(line.at);
        *first = line.at.min(*first);
    }
    let of = |(worker, at): &(String, Duration)| {
        let others = vanished.iter().filter(|(other, before)| other == worker && before < at);
        let since = others.map(|(_, before)| *before).max().unwrap_or_default();
        let mut waits = Vec::new();
        for (key, attempts) in &attempts {
            let last = attempts.iter().filter(|line| line.at <= *at).max_by_key(|line| line.at);
            let was_there = last.is_some_and(|line| line.worker == *worker && line.at > since);
            let ended = done.get(key);
            if !was_there || ended.is_some_and(|ended| ended <= at) {
                continue;
            }
            match attempts.iter().map(|line| line.at).filter(|again| again > at).min() {
                Some(again) => waits.push(Some(again - *at)),
                None if ended.is_some() => {}
                None => waits.push(None),
            }
        }
        let took = waits
            .iter()
            .copied()
            .collect::<Option<Vec<_>>>()
            .map(|waits| waits.into_iter().max().unwrap_or_default());
        (!waits.is_empty()).then(|| Rescue { worker: worker.clone(), at: *at, took })
    };
    vanished.iter().filter_map(of).collect()
}

/// The 99th percentile, by the nearest rank, must be within the limit.
pub(super) fn rescued_within(name: &str, rescues: &[Rescue], limit: Duration) -> Check {
    if rescues.is_empty() {
        return Check::new(name, Verdict::Unknown, "no worker that vanished had jobs");
    }
    let never: Vec<&Rescue> = rescues.iter().filter(|rescue| rescue.took.is_none()).collect();
    if let Some(first) = never.first() {
        let detail = format!(
            "jobs of {} of {} workers never ran again; the first was {} at {:.3} s",
            never.len(),
            rescues.len(),
            first.worker,
            first.at.as_secs_f64()
        );
        return Check::new(name, Verdict::Violated, detail).at(first.at);
    }
    let mut took: Vec<Duration> = rescues.iter().filter_map(|rescue| rescue.took).collect();
    took.sort();
    let rank = |share: usize| took[(took.len() * share).div_ceil(100).max(1) - 1].as_millis();
    let detail = format!(
        "p99 {} ms of {} ms, median {} ms: from when a worker vanished until the last of its jobs ran again, {} times",
        rank(99),
        limit.as_millis(),
        rank(50),
        took.len()
    );
    let held = rank(99) <= limit.as_millis();
    let check = Check::new(name, if held { Verdict::Held } else { Verdict::Violated }, detail);
    let slowest = rescues.iter().max_by_key(|rescue| rescue.took);
    if held { check } else { slowest.into_iter().fold(check, |check, rescue| check.at(rescue.at)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn line(key: i64, worker: &str, at: u64) -> Line {
        Line { key, worker: worker.to_owned(), at: ms(at) }
    }

    fn took(vanished: &[(&str, u64)], began: &[Line], recorded: &[Line]) -> Vec<Option<Duration>> {
        let vanished: Vec<_> = vanished.iter().map(|(worker, at)| ((*worker).to_owned(), ms(*at))).collect();
        rescues(&vanished, began, recorded).into_iter().map(|rescue| rescue.took).collect()
    }

    #[test]
    fn the_last_of_its_jobs_counts() {
        let began =
            [line(1, "a", 10), line(2, "a", 20), line(3, "b", 20), line(1, "b", 150), line(2, "b", 400)];
        let recorded = [line(3, "b", 30), line(1, "b", 160), line(2, "b", 410)];
        assert_eq!(took(&[("a", 100)], &began, &recorded), [Some(ms(300))]);
    }

    #[test]
    fn a_job_that_never_ran_again_has_no_time_and_one_whose_commit_arrived_needs_none() {
        assert_eq!(took(&[("a", 100)], &[line(1, "a", 10)], &[]), [None]);
        assert_eq!(took(&[("a", 100)], &[line(1, "a", 10)], &[line(1, "a", 101)]), []);
        assert_eq!(took(&[("a", 100)], &[line(1, "a", 10)], &[line(1, "a", 20)]), []);
    }

    #[test]
    fn each_death_of_a_worker_has_the_jobs_of_that_life() {
        let began = [line(1, "a", 10), line(2, "a", 110), line(1, "b", 300), line(2, "b", 500)];
        let recorded = [line(1, "b", 310), line(2, "b", 510)];
        assert_eq!(took(&[("a", 100), ("a", 200)], &began, &recorded), [Some(ms(200)), Some(ms(300))]);
    }

    #[test]
    fn the_verdict_follows_the_slowest_of_a_hundred() {
        let rescue = |took| Rescue { worker: "a".to_owned(), at: ms(1), took };
        let verdict = |rescues: &[Rescue]| rescued_within("", rescues, ms(100)).verdict;
        assert_eq!(verdict(&[]), Verdict::Unknown);
        assert_eq!(verdict(&[rescue(Some(ms(100)))]), Verdict::Held);
        assert_eq!(verdict(&[rescue(Some(ms(101)))]), Verdict::Violated);
        assert_eq!(verdict(&[rescue(Some(ms(1))), rescue(None)]), Verdict::Violated);
        let mut hundred: Vec<_> = (0..99).map(|_| rescue(Some(ms(50)))).collect();
        hundred.push(rescue(Some(ms(5_000))));
        assert_eq!(verdict(&hundred), Verdict::Held, "one of a hundred may be late");
        hundred.push(rescue(Some(ms(5_000))));
        assert_eq!(verdict(&hundred), Verdict::Violated);
    }
}
