//! Linearizability: is there an order of the operations, each somewhere between its beginning and its end, in which one client alone would have been told
//! the same?
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the cache of Lowe ("Testing for linearizability", 2017), on
//! each part of a history by itself (P-compositionality: Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015).
//! The problem is NP-complete, so a search has limits, and a history that is not decided within them is unknown.
//!
//! An operation that was refused took no effect. One whose outcome is unknown may take effect at any time from its beginning on, or never.

mod model;
mod models;
mod search;
mod story;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use seaworthy_reports::{Check, Verdict};

pub use model::Model;
pub use models::{Counter, Lock, Queue, Register, Set};

use self::search::{Answer, Budget, search};
use crate::{History, Operation, Outcome};

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
pub struct SearchLimits {
    /// For how long, all parts together (default 20 s).
    pub time: Duration,
    /// How many states of one part it remembers (default two million).
    pub states: usize,
}

impl Default for SearchLimits {
    fn default() -> Self {
        SearchLimits { time: Duration::from_secs(20), states: 2_000_000 }
    }
}

/// The operations of this history can be put in an order that explains them.
///
/// A violation is told as the fewest operations that can't be, even if all the others took effect at any time, any number of times or never.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::{Operation, check, check::Register};
/// use seaworthy_reports::Verdict;
///
/// let ms = Duration::from_millis;
/// let write = |value: i64, from: u64, to: u64| Operation::new("write", "x", ms(from)).asking(value).answered(ms(to), ());
/// let read = |value: i64, from: u64, to: u64| Operation::new("read", "x", ms(from)).answered(ms(to), value);
/// let fresh = [write(1, 0, 10), write(2, 20, 30), read(2, 25, 40)];
/// let stale = [write(1, 0, 10), write(2, 20, 30), read(1, 35, 40)];
/// let check = |operations: &[Operation]| check::linearizable_operations("x", operations, &Register, Default::default());
/// assert_eq!(check(&fresh).verdict, Verdict::Held);
/// assert_eq!(check(&stale).verdict, Verdict::Violated);
/// assert_eq!(check(&stale).story.len(), 3);
/// ```
pub fn linearizable<M: Model>(name: &str, history: &History, model: &M, limits: SearchLimits) -> Check {
    let check = linearizable_operations(name, &history.operations(), model, limits);
    let dropped = history.dropped();
    // A write that was not kept may be what a read saw.
    if dropped > 0 {
        return Check::new(
            name,
            Verdict::Unknown,
            format!("the history is incomplete: {dropped} operations were not kept"),
        );
    }
    check
}

/// As [`linearizable`], of operations that are at hand. They must be all that changed the object.
pub fn linearizable_operations<M: Model>(
    name: &str,
    operations: &[Operation],
    model: &M,
    limits: SearchLimits,
) -> Check {
    let mut parts: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.outcome.may_have_happened()) {
        parts.entry(model.part(operation)).or_default().push(operation);
    }
    let known = operations.iter().filter(|operation| operation.outcome == Outcome::Ok).count();
    if known == 0 {
        return Check::new(name, Verdict::Unknown, "no operation succeeded, so none could be wrong");
    }
    let give_up = Instant::now() + limits.time;
    let mut undecided: Option<String> = None;
    for (part, mut operations) in parts.iter().map(|(part, operations)| (*part, operations.clone())) {
        operations.sort_by_key(|operation| (operation.invoked, operation.ended));
        let budget = Budget { give_up, states: limits.states };
        match search(model, &operations, &[], budget) {
            Answer::Yes => {}
            Answer::No => {
                let story = story::smallest(model, &operations);
                return violated(name, part, operations.len(), &story);
            }
            Answer::Undecided(why) => undecided = undecided.or(Some(format!("{}: {why}", named(part)))),
            Answer::Foreign(why) => return Check::new(name, Verdict::Unknown, why),
        }
    }
    match undecided {
        Some(why) => Check::new(name, Verdict::Unknown, why),
        None => {
            let unknown = operations.iter().filter(|operation| !operation.outcome.is_known()).count();
            let detail = format!(
                "an order explains all {known} operations and {unknown} without an answer, on {} keys",
                parts.len()
            );
            Check::new(name, Verdict::Held, detail)
        }
    }
}

fn named(part: &str) -> &str {
    if part.is_empty() { "the object" } else { part }
}

fn violated(name: &str, part: &str, operations: usize, story: &[&Operation]) -> Check {
    let detail =
        format!("no order explains {} of the {operations} operations on {}", story.len(), named(part));
    let check = Check::new(name, Verdict::Violated, detail).about(part);
    let moment = story.iter().map(|operation| operation.ended).filter(|at| *at < Duration::MAX).max();
    let check = moment.into_iter().fold(check, Check::at);
    story.iter().fold(check, |check, operation| check.step(operation.to_string()))
}

#[cfg(test)]
mod tests;
