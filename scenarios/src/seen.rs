//! What was seen of orders in the end, and what must hold for it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use seaworthy_harness::{History, Operation, Outcome, Voyage, check};
use uuid::Uuid;

/// The orders of a voyage: what customers were told, what is true, and what watchers saw.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The orders that customers were told were placed.
    pub(crate) accepted: Vec<Uuid>,
    /// Every fulfilment that was recorded, and how long ago.
    pub(crate) fulfilments: Vec<(Uuid, Duration)>,
    /// What was seen last of each order by who watched it, beside what is true.
    pub(crate) watched: Vec<(String, Option<String>, String)>,
}

impl Seen {
    /// Checks what must hold in every scenario, so that none can weaken it.
    pub(crate) fn check(&self, voyage: &Voyage) {
        let fulfilled: Vec<Uuid> = self.fulfilments.iter().map(|(order, _)| *order).collect();
        let present: HashSet<Uuid> = fulfilled.iter().copied().collect();
        voyage.check(check::nothing_lost("every accepted order is fulfilled", &self.accepted, &present));
        voyage.check(check::nothing_twice("no fulfilment is recorded twice", &fulfilled));
        voyage.check(check::final_states_agree(
            "every WebSocket client ends with the true states",
            &self.watched,
        ));
    }
}

/// The operations that did not succeed, and why.
pub(crate) fn failures(history: &History) -> Vec<String> {
    let operations = history.operations().into_iter();
    let why = |operation: Operation| {
        let Operation { kind, key, ended, outcome, .. } = operation;
        let why = outcome.why();
        (outcome != Outcome::Ok).then(|| format!("{kind} {key} at {:.3} s: {why}", ended.as_secs_f64()))
    };
    operations.filter_map(why).collect()
}

/// The most frequent reasons for which requests were not accepted, with their counts.
pub(crate) fn most_frequent_refusals(operations: &[Operation]) -> Vec<(String, usize)> {
    const NAMED: usize = 3;
    const LONGEST: usize = 160;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for operation in operations {
        if let Outcome::Failed(why) | Outcome::Unknown(why) = &operation.outcome {
            *times.entry(why.chars().take(LONGEST).collect()).or_default() += 1;
        }
    }
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_by_key(|(_, times)| Reverse(*times));
    times.truncate(NAMED);
    times
}
