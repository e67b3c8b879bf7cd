//! The search for an order.

use std::{collections::HashSet, time::Instant};

use super::model::Model;
use crate::Operation;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is an order.
    Yes,
    /// There is none.
    No,
    /// It came to one of its limits; which one.
    Undecided(String),
    /// The model does not know one of the operations.
    Foreign(String),
}

/// The limits of one search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) give_up: Instant,
    pub(super) states: usize,
}

/// Steps between two looks at the clock.
const LOOK: u64 = 1024;

/// Whether these operations, in the order of their beginnings, have an order that explains them. Those of `wild` may take effect at any time, any number of times or
/// never, whatever they were answered.
pub(super) fn search<M: Model>(
    model: &M,
    operations: &[&Operation],
    wild: &[&Operation],
    budget: Budget,
) -> Answer {
    let mut events = Events::of(operations);
    let mut state = model.start();
    let mut done = Bits::new(operations.len());
    let mut seen: HashSet<(Bits, M::State)> = HashSet::from([(done.clone(), state.clone())]);
    let mut path: Vec<(Step, M::State)> = Vec::new();
    let mut place = events.first();
    let mut next_wild = 0;
    let mut steps = 0_u64;
    while events.ends_left > 0 {
        steps += 1;
        if steps.is_multiple_of(LOOK) && Instant::now() > budget.give_up {
            return Answer::Undecided(format!("not decided in time, after {steps} steps"));
        }
        if seen.len() > budget.states {
            return Answer::Undecided(format!("not decided with {} states remembered", budget.states));
        }
        // Next is an operation that begins before any other has ended; what comes after the first end can't be.
        if let Some(begin) = place.filter(|place| *place < events.operations) {
            let known = events.has_end(begin);
            match model.step(&state, operations[begin], known) {
                Err(why) => return Answer::Foreign(why),
                Ok(Some(after)) => {
                    done.set(begin, true);
                    if seen.insert((done.clone(), after.clone())) {
                        path.push((Step::Operation(begin), std::mem::replace(&mut state, after)));
                        events.lift(begin);
                        (place, next_wild) = (events.first(), 0);
                        continue;
                    }
                    done.set(begin, false);
                }
                Ok(None) => {}
            }
            place = events.after(begin);
            continue;
        }
        if let Some(operation) = wild.get(next_wild) {
            match model.step(&state, operation, false) {
                Err(why) => return Answer::Foreign(why),
                Ok(Some(after)) if seen.insert((done.clone(), after.clone())) => {
                    path.push((Step::Wild(next_wild), std::mem::replace(&mut state, after)));
                    (place, next_wild) = (events.first(), 0);
                }
                Ok(_) => next_wild += 1,
            }
            continue;
        }
        match path.pop() {
            None => return Answer::No,
            Some((Step::Operation(begin), before)) => {
                state = before;
                done.set(begin, false);
                events.put_back(begin);
                (place, next_wild) = (events.after(begin), 0);
            }
            Some((Step::Wild(number), before)) => {
                state = before;
                (place, next_wild) = (None, number + 1);
            }
        }
    }
    Answer::Yes
}

/// A step of the order.
enum Step {
    Operation(usize),
    Wild(usize),
}

/// The beginnings and ends in the order of time, as a list from which operations can be lifted and put back in the opposite order.
/// Beginnings have the numbers of the operations, ends those after them.
struct Events {
    operations: usize,
    next: Vec<usize>,
    before: Vec<usize>,
    ends_left: usize,
    has_end: Vec<bool>,
}

impl Events {
    fn of(operations: &[&Operation]) -> Self {
        let count = operations.len();
        let has_end: Vec<bool> = operations.iter().map(|operation| operation.outcome.is_known()).collect();
        let begins =
            operations.iter().enumerate().map(|(number, operation)| (operation.invoked, false, number));
        let ends = operations.iter().enumerate().filter(|(number, _)| has_end[*number]);
        let ends = ends.map(|(number, operation)| (operation.ended, true, count + number));
        let mut events: Vec<_> = begins.chain(ends).collect();
        // At the same time, what begins and what ends overlap: the clock can't tell.
        events.sort();
        let head = 2 * count;
        let (mut next, mut before) = (vec![head; head + 1], vec![head; head + 1]);
        let mut last = head;
        for (.., event) in events {
            next[last] = event;
            before[event] = last;
            last = event;
        }
        next[last] = head;
        before[head] = last;
        let ends_left = has_end.iter().filter(|has| **has).count();
        Events { operations: count, next, before, ends_left, has_end }
    }

    fn first(&self) -> Option<usize> {
        self.after(2 * self.operations)
    }

    fn after(&self, event: usize) -> Option<usize> {
        Some(self.next[event]).filter(|next| *next != 2 * self.operations)
    }

    fn has_end(&self, operation: usize) -> bool {
        self.has_end[operation]
    }

    fn lift(&mut self, operation: usize) {
        self.unlink(operation);
        if self.has_end[operation] {
            self.unlink(self.operations + operation);
            self.ends_left -= 1;
        }
    }

    fn put_back(&mut self, operation: usize) {
        if self.has_end[operation] {
            self.link(self.operations + operation);
            self.ends_left += 1;
        }
        self.link(operation);
    }

    fn unlink(&mut self, event: usize) {
        let (before, next) = (self.before[event], self.next[event]);
        self.next[before] = next;
        self.before[next] = before;
    }

    fn link(&mut self, event: usize) {
        let (before, next) = (self.before[event], self.next[event]);
        self.next[before] = event;
        self.before[next] = event;
    }
}

/// Which operations have their place in the order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Box<[u64]>);

impl Bits {
    fn new(bits: usize) -> Self {
        Bits(vec![0; bits.div_ceil(64)].into())
    }

    fn set(&mut self, bit: usize, on: bool) {
        let (word, mask) = (&mut self.0[bit / 64], 1 << (bit % 64));
        if on { *word |= mask } else { *word &= !mask }
    }
}
