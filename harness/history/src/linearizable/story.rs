//! The fewest operations that show that there is no order.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    model::Model,
    search::{Answer, Budget, search},
};
use crate::{Operation, Outcome};

/// How long the search for the smallest story goes on, and one question of it. Seldom reached: states are what bounds a question, so that a busy machine tells the
/// same story.
const TIME: Duration = Duration::from_secs(30);
const QUESTION: Duration = Duration::from_secs(5);
const STATES: usize = 50_000;

/// The fewest operations of these, which have no order, that have none even if all the others are wild. They are in the order of their beginnings.
pub(super) fn smallest<'a, M: Model>(model: &M, operations: &[&'a Operation]) -> Vec<&'a Operation> {
    let give_up = Instant::now() + TIME;
    let (mut wild, mut kept) = latest(model, first_wrong(model, operations, give_up), give_up);
    let mut size = kept.len().div_ceil(2);
    while size > 0 && Instant::now() < give_up {
        let mut at = 0;
        let mut taken = false;
        while at < kept.len() && kept.len() > 1 {
            let end = (at + size).min(kept.len());
            let rest: Vec<&Operation> = kept[..at].iter().chain(&kept[end..]).copied().collect();
            let others: Vec<&Operation> = wild.iter().chain(&kept[at..end]).copied().collect();
            if has_no_order(model, &rest, &others, give_up) {
                (kept, wild, taken) = (rest, others, true);
            } else {
                at = end;
            }
        }
        // With others gone, what was needed before may not be any more.
        size = if size == 1 && taken { 1 } else { size / 2 };
    }
    kept.iter()
        .filter_map(|kept| operations.iter().find(|operation| same(operation, kept)))
        .copied()
        .collect()
}

fn same(one: &Operation, other: &Operation) -> bool {
    (one.process, one.invoked, &one.kind, &one.input)
        == (other.process, other.invoked, &other.kind, &other.input)
}

/// The operations until the first moment at which there was no order any more. Later ones can't mend it.
fn first_wrong<'a, M: Model>(
    model: &M,
    operations: &[&'a Operation],
    give_up: Instant,
) -> Vec<&'a Operation> {
    let mut ends: Vec<Duration> = operations
        .iter()
        .filter(|operation| operation.outcome.is_known())
        .map(|operation| operation.ended)
        .collect();
    ends.sort();
    // The first end at which it is wrong lies in (right, wrong].
    let (mut right, mut wrong) = (0, ends.len().saturating_sub(1));
    while right < wrong && Instant::now() < give_up {
        let middle = usize::midpoint(right, wrong);
        let cut = until(operations, ends[middle]);
        let cut: Vec<&Operation> = cut.iter().collect();
        if has_no_order(model, &cut, &[], give_up) { wrong = middle } else { right = middle + 1 }
    }
    let Some(end) = ends.get(wrong) else { return operations.to_vec() };
    // What had begun by then and ends later is of no further use than one without an answer: it is left to be wild or not there.
    operations.iter().filter(|operation| operation.invoked <= *end).copied().collect()
}

/// The latest of these operations that have no order even if the earlier ones are wild: mostly few, which makes every later question a small one. The earlier ones
/// come first.
fn latest<'a, M: Model>(
    model: &M,
    mut operations: Vec<&'a Operation>,
    give_up: Instant,
) -> (Vec<&'a Operation>, Vec<&'a Operation>) {
    let mut count = 2;
    while count < operations.len() {
        let (earlier, later) = operations.split_at(operations.len() - count);
        if has_no_order(model, later, earlier, give_up) {
            let later = operations.split_off(operations.len() - count);
            return (operations, later);
        }
        count *= 2;
    }
    (Vec::new(), operations)
}

/// What was known at that moment.
fn until(operations: &[&Operation], end: Duration) -> Vec<Operation> {
    let begun = operations.iter().filter(|operation| operation.invoked <= end);
    let known = begun.map(|operation| {
        let mut operation = (*operation).clone();
        if operation.ended > end {
            operation.outcome = Outcome::Unknown("it had not ended".to_owned());
        }
        operation
    });
    known.collect()
}

fn has_no_order<M: Model>(model: &M, kept: &[&Operation], wild: &[&Operation], give_up: Instant) -> bool {
    let give_up = give_up.min(Instant::now() + QUESTION);
    // What one client did several times counts once, since the wild may happen any number of times.
    let mut different = HashSet::new();
    let wild: Vec<&Operation> = wild
        .iter()
        .filter(|other| different.insert((other.process, &other.kind, other.input.to_string())))
        .copied()
        .collect();
    search(model, kept, &wild, Budget { give_up, states: STATES }) == Answer::No
}
