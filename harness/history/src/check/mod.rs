//! What must hold after a run. A check that saw nothing is unknown, never held.
//!
//! | promise | check |
//! |---|---|
//! | what was acknowledged is there | [`nothing_lost`], [`set_full`], [`set_full_within`], [`total_queue`], [`at_least`] |
//! | nothing happens twice | [`nothing_twice`], [`total_queue`] |
//! | events of a key come in order | [`in_order`], [`in_order_without_gaps`] |
//! | messages come whole, once and in order | [`delivery`], [`delivery_to_each`] |
//! | one at a time | [`mutual_exclusion`], [`held_by_one`] |
//! | former holders of a lock can't write | [`fenced_writes`], [`fenced_operations`], [`tokens_grow`] |
//! | as if one client were alone | [`linearizable`], with a [`Register`], [`Set`], [`Counter`], [`Queue`] or [`Lock`] |
//! | reads are no older than this | [`fresh_within`] |
//! | a client sees its own writes, and never goes back | [`read_your_writes`], [`monotonic_reads`] |
//! | money is conserved | [`money_conserved`] |
//! | everybody ends with the truth | [`final_states_agree`] |
//! | answers come, and in time | [`all_answered`], [`availability`], [`latency`], [`Objective`], [`within()`] |
//! | the service is itself again soon after a fault | [`recovery`], [`Recovery`] |
//! | memory, connections, files and disk have bounds | [`at_most`], [`no_growth`] |
//! | the run met what it was meant to meet | [`exercised`], [`none`] |
//!
//! Any other check is a function that makes a [`Check`]; [`guarded`] runs it so that a crash or a hang of the check itself is unknown, and [`over`] and
//! [`at_each_moment`] so that what a history did not keep is. [`tell`] adds the story of what was violated.

mod exclusion;
mod fencing;
mod guarded;
mod incomplete;
mod money;
mod naming;
mod objectives;
mod order;
mod queue;
mod recovery;
mod registers;
mod resources;
mod set;
mod story;

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
    time::Duration,
};

use seaworthy_reports::{Check, Verdict};

use self::naming::{FOLLOWED, about, first};
pub use exclusion::{Hold, held_by_one, mutual_exclusion};
pub use fencing::{fenced_operations, fenced_writes, tokens_grow};
pub use guarded::{guarded, guarded_blocking};
pub use incomplete::{at_each_moment, over};
pub use money::money_conserved;
pub use objectives::{Objective, availability, availability_without_faults, latency};
pub use order::{delivery, delivery_to_each, in_order, in_order_without_gaps};
pub use queue::total_queue;
pub use recovery::{Recovery, recovery};
pub use registers::{fresh_within, monotonic_reads, read_your_writes};
pub use resources::{at_most, no_growth};
pub use set::{set_full, set_full_within};
pub use story::tell;

pub use crate::linearizable::{
    Counter, Lock, Model, Queue, Register, SearchLimits, Set, linearizable, linearizable_operations,
};

use crate::{History, Outcome};

/// Everything that was acknowledged is there in the end.
pub fn nothing_lost<T: Eq + Hash + Display>(name: &str, acknowledged: &[T], present: &HashSet<T>) -> Check {
    let lost: Vec<&T> = acknowledged.iter().filter(|item| !present.contains(item)).collect();
    let total = acknowledged.len();
    if total == 0 {
        return Check::new(name, Verdict::Unknown, "nothing was acknowledged, so nothing could be lost");
    }
    if lost.is_empty() {
        return Check::new(name, Verdict::Held, format!("all {total} are there"));
    }
    let detail = format!("{} of {total} are missing: {}", lost.len(), first(&lost));
    about(Check::new(name, Verdict::Violated, detail), lost)
}

/// Nothing happened twice.
pub fn nothing_twice<T: Eq + Hash + Display>(name: &str, happened: &[T]) -> Check {
    let mut times: HashMap<&T, usize> = HashMap::new();
    happened.iter().for_each(|item| *times.entry(item).or_default() += 1);
    let twice: Vec<&T> = times.iter().filter(|(_, times)| **times > 1).map(|(item, _)| *item).collect();
    if happened.is_empty() {
        return Check::new(name, Verdict::Unknown, "nothing happened, so nothing could happen twice");
    }
    if twice.is_empty() {
        return Check::new(name, Verdict::Held, format!("{} happened, each once", happened.len()));
    }
    let detail = format!("{} happened more than once: {}", twice.len(), first(&twice));
    about(Check::new(name, Verdict::Violated, detail), twice)
}

/// Every operation got an answer, good or bad, within its deadline.
pub fn all_answered(name: &str, history: &History, deadline: Duration) -> Check {
    let operations = history.operations();
    if operations.is_empty() {
        return Check::new(name, Verdict::Unknown, "there were no operations");
    }
    let late_operations: Vec<_> = operations
        .iter()
        .filter(|operation| operation.outcome == Outcome::TimedOut || operation.latency() > deadline)
        .collect();
    let late: Vec<_> = late_operations
        .iter()
        .map(|operation| format!("{} at {:.3} s", operation.key, operation.intended.as_secs_f64()))
        .collect();
    if late.is_empty() && history.dropped() > 0 {
        let detail = format!("the history is incomplete: {} operations were not kept", history.dropped());
        return Check::new(name, Verdict::Unknown, detail);
    }
    if late.is_empty() {
        let slowest = operations.iter().map(|operation| operation.latency()).max().unwrap_or_default();
        let detail =
            format!("the slowest answer took {} ms of {} ms", slowest.as_millis(), deadline.as_millis());
        return Check::new(name, Verdict::Held, detail);
    }
    let late_ones: Vec<&String> = late.iter().collect();
    let detail =
        format!("{} of {} had no answer in time: {}", late.len(), operations.len(), first(&late_ones));
    let check = Check::new(name, Verdict::Violated, detail);
    late_operations
        .iter()
        .take(FOLLOWED)
        .fold(check, |check, operation| check.at(operation.intended).about(&operation.key))
}

/// Every watcher ended with the true state of what it watched: pairs of (key, seen, true).
pub fn final_states_agree<T: PartialEq + Display>(name: &str, states: &[(String, Option<T>, T)]) -> Check {
    if states.is_empty() {
        return Check::new(name, Verdict::Unknown, "nobody watched anything");
    }
    let wrong: Vec<String> = states
        .iter()
        .filter(|(_, seen, truth)| seen.as_ref() != Some(truth))
        .map(|(key, seen, truth)| {
            let seen = seen.as_ref().map_or_else(|| "nothing".to_owned(), T::to_string);
            format!("{key} was seen as {seen} and is {truth}")
        })
        .collect();
    if wrong.is_empty() {
        return Check::new(name, Verdict::Held, format!("all {} watched states are true", states.len()));
    }
    let named: Vec<&String> = wrong.iter().collect();
    let detail = format!("{} of {} are wrong: {}", wrong.len(), states.len(), first(&named));
    let keys = states.iter().filter(|(_, seen, truth)| seen.as_ref() != Some(truth)).map(|(key, ..)| key);
    about(Check::new(name, Verdict::Violated, detail), keys)
}

/// Something took no longer than its limit; `None` means that it never came to an end.
pub fn within(name: &str, took: Option<Duration>, limit: Duration) -> Check {
    match took {
        Some(took) if took <= limit => {
            Check::new(name, Verdict::Held, format!("{} ms of {} ms", took.as_millis(), limit.as_millis()))
        }
        Some(took) => {
            let detail = format!("took {} ms, more than {} ms", took.as_millis(), limit.as_millis());
            Check::new(name, Verdict::Violated, detail)
        }
        None => Check::new(
            name,
            Verdict::Violated,
            format!("had not come to an end after {} ms", limit.as_millis()),
        ),
    }
}

/// A number is as large as it has to be at least; that it had to be nothing says nothing.
pub fn at_least(name: &str, found: u64, wanted: u64) -> Check {
    match wanted {
        0 => Check::new(name, Verdict::Unknown, "nothing was expected"),
        _ if found >= wanted => Check::new(name, Verdict::Held, format!("{found} of {wanted}")),
        _ => Check::new(name, Verdict::Violated, format!("{found}, and {wanted} were expected")),
    }
}

/// Nothing of the kind happened.
pub fn none(name: &str, found: &[String]) -> Check {
    let named: Vec<&String> = found.iter().collect();
    match found.len() {
        0 => Check::new(name, Verdict::Held, "none did"),
        count => Check::new(name, Verdict::Violated, format!("{count} did: {}", first(&named))),
    }
}

/// The run met what it was meant to meet: without that, the other checks say little.
pub fn exercised(name: &str, times: u64, what: &str) -> Check {
    let verdict = if times > 0 { Verdict::Held } else { Verdict::Unknown };
    Check::new(name, verdict, format!("{times} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    fn verdict(check: Check) -> Verdict {
        check.verdict
    }

    #[test]
    fn a_loss_a_duplicate_and_a_wrong_state_are_violations() {
        let all: HashSet<i32> = HashSet::from([1, 2, 3]);
        assert_eq!(verdict(nothing_lost("lost", &[1, 2], &all)), Verdict::Held);
        assert_eq!(verdict(nothing_lost("lost", &[1, 4], &all)), Verdict::Violated);
        assert_eq!(verdict(nothing_twice("twice", &[1, 2])), Verdict::Held);
        assert_eq!(verdict(nothing_twice("twice", &[1, 2, 1])), Verdict::Violated);
        let state = |seen: Option<&'static str>| vec![("a".to_owned(), seen, "fulfilled")];
        assert_eq!(verdict(final_states_agree("state", &state(Some("fulfilled")))), Verdict::Held);
        assert_eq!(verdict(final_states_agree("state", &state(Some("placed")))), Verdict::Violated);
        assert_eq!(verdict(final_states_agree("state", &state(None))), Verdict::Violated);
        assert_eq!(
            verdict(within("drain", Some(Duration::from_secs(1)), Duration::from_secs(2))),
            Verdict::Held
        );
        assert_eq!(
            verdict(within("drain", Some(Duration::from_secs(3)), Duration::from_secs(2))),
            Verdict::Violated
        );
        assert_eq!(verdict(within("drain", None, Duration::from_secs(2))), Verdict::Violated);
    }

    #[test]
    fn a_check_that_saw_nothing_is_unknown() {
        assert_eq!(verdict(nothing_lost::<i32>("lost", &[], &HashSet::new())), Verdict::Unknown);
        assert_eq!(verdict(nothing_twice::<i32>("twice", &[])), Verdict::Unknown);
        assert_eq!(verdict(final_states_agree::<String>("state", &[])), Verdict::Unknown);
        assert_eq!(verdict(all_answered("answered", &History::start(), Duration::ZERO)), Verdict::Unknown);
        assert_eq!(verdict(exercised("kills", 0, "jobs interrupted")), Verdict::Unknown);
    }

    #[test]
    fn an_answer_that_came_late_or_never_is_a_violation() {
        let at = |ended: u64, outcome: Outcome| {
            let history = History::start();
            let placed = Operation::new("place", "1", Duration::ZERO);
            history.record(placed.ended(Duration::from_millis(ended), outcome));
            verdict(all_answered("answered", &history, Duration::from_millis(100)))
        };
        assert_eq!(at(50, Outcome::Ok), Verdict::Held);
        assert_eq!(at(50, Outcome::Failed("503".to_owned())), Verdict::Held);
        assert_eq!(at(150, Outcome::Ok), Verdict::Violated);
        assert_eq!(at(50, Outcome::TimedOut), Verdict::Violated);
    }
}
