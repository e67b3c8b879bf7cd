//! What clients did and what became of it, in the order in which it was begun.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use seaworthy_reports::{Counts, Operations};
use serde_json::Value;

use crate::{Operation, Outcome};

/// Operations that a history keeps, unless it is told otherwise: some 300 bytes each.
const MOST: usize = 1_000_000;

/// A growing record of operations. Cheap to clone; all clones are the same history.
///
/// It keeps so many operations whole, one million by itself, and counts the others: for every slice of time and every kind, how they ended
/// and how long they took. So its memory has a bound however long a run is, and a check that needs every operation can say that it can't tell.
///
/// ```
/// use seaworthy_history::{History, Outcome};
///
/// let history = History::start();
/// let write = history.begin(1, "write").key("account-7").input(5);
/// write.end(Outcome::Ok);
/// let lost = history.begin(2, "write").key("account-7").input(6);
/// drop(lost); // a client that is cut short leaves an operation whose outcome nobody knows
///
/// let counts = history.counts();
/// assert_eq!((counts.ok, counts.unknown), (1, 1));
/// ```
#[derive(Debug, Clone)]
pub struct History {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    most: usize,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    operations: Vec<Operation>,
    dropped: u64,
    /// When the first one that was not kept began.
    complete_until: Option<Duration>,
    running: u64,
    counted: Operations,
    /// What was counted since somebody last asked for that.
    fresh: Operations,
    counts: Counts,
}

impl History {
    /// An empty history that starts now.
    pub fn start() -> Self {
        Self::keeping(MOST)
    }

    /// An empty history that starts now and keeps so many operations whole.
    pub fn keeping(most: usize) -> Self {
        History { inner: Arc::new(Inner { started: Instant::now(), most, record: Mutex::default() }) }
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// An operation of this client begins now.
    pub fn begin(&self, process: u64, kind: impl Into<String>) -> Pending {
        let now = self.now();
        self.begin_late(process, kind, now)
    }

    /// An operation of this client begins now that should have begun then.
    pub fn begin_late(&self, process: u64, kind: impl Into<String>, intended: Duration) -> Pending {
        let mut operation = Operation::new(kind, "", self.now()).by(process);
        operation.intended = intended.min(operation.invoked);
        let mut record = self.lock();
        record.running += 1;
        let place = record.operations.len();
        if place < self.inner.most {
            // Its place shows when it began; what becomes of it is filled in.
            record.operations.push(operation.clone());
            return Pending { history: self.clone(), operation, place: Some(place), over: false };
        }
        record.leave_out(&operation);
        Pending { history: self.clone(), operation, place: None, over: false }
    }

    /// Adds an operation that has ended.
    pub fn record(&self, operation: Operation) {
        let mut record = self.lock();
        record.count(&operation);
        if record.operations.len() < self.inner.most {
            record.operations.push(operation);
        } else {
            record.leave_out(&operation);
        }
    }

    /// A copy of the operations so far, in the order in which they were recorded. Those that still run have an unknown outcome.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().operations.clone()
    }

    /// Operations that were not kept, since the history was full. A check over an incomplete history can't hold.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// When the first operation began that was not kept, since the history was full; `None` while every one is.
    pub fn complete_until(&self) -> Option<Duration> {
        self.lock().complete_until
    }

    /// How the operations so far ended.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// How many operations have begun and not ended.
    pub fn running(&self) -> u64 {
        self.lock().running
    }

    /// All operations that have ended, counted over time and by kind; those that were not kept, too.
    pub fn counted(&self) -> Operations {
        self.lock().counted.clone()
    }

    /// The operations that have ended since this was last called, counted over time and by kind: for a log that grows with the history.
    pub fn take_fresh(&self) -> Operations {
        std::mem::take(&mut self.lock().fresh)
    }

    fn end(&self, place: Option<usize>, operation: &Operation) {
        let mut record = self.lock();
        record.running -= 1;
        record.count(operation);
        if let Some(kept) = place.and_then(|place| record.operations.get_mut(place)) {
            kept.clone_from(operation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.inner.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn leave_out(&mut self, operation: &Operation) {
        self.dropped += 1;
        let earliest = self.complete_until.unwrap_or(Duration::MAX).min(operation.invoked);
        self.complete_until = Some(earliest);
    }

    fn count(&mut self, operation: &Operation) {
        let outcome = operation.outcome.kind();
        self.counts.add(outcome, 1);
        for counted in [&mut self.counted, &mut self.fresh] {
            counted.record(&operation.kind, operation.intended, operation.latency(), outcome);
        }
    }
}

/// An operation that has begun. Dropped before it has ended, its outcome is unknown.
#[derive(Debug)]
#[must_use = "an operation that is dropped at once has an unknown outcome"]
pub struct Pending {
    history: History,
    operation: Operation,
    place: Option<usize>,
    over: bool,
}

impl Pending {
    /// What it is done to.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.set_key(key);
        self
    }

    /// What the client asks for.
    pub fn input(mut self, input: impl Into<Value>) -> Self {
        self.set_input(input);
        self
    }

    /// It has ended, and the client was told no more than that.
    pub fn end(self, outcome: Outcome) {
        self.finish(outcome, Value::Null);
    }

    /// It took effect, and the client was told this.
    pub fn ok(self, output: impl Into<Value>) {
        self.finish(Outcome::Ok, output.into());
    }

    pub(crate) fn set_key(&mut self, key: impl Into<String>) {
        self.operation.key = key.into();
        self.show();
    }

    pub(crate) fn set_input(&mut self, input: impl Into<Value>) {
        self.operation.input = input.into();
        self.show();
    }

    pub(crate) fn finish(mut self, outcome: Outcome, output: Value) {
        self.operation.output = output;
        self.conclude(outcome);
    }

    /// What is known of it is in the history while it runs, also if it never ends.
    fn show(&self) {
        let mut record = self.history.lock();
        if let Some(kept) = self.place.and_then(|place| record.operations.get_mut(place)) {
            kept.clone_from(&self.operation);
        }
    }

    fn conclude(&mut self, outcome: Outcome) {
        self.over = true;
        self.operation.outcome = outcome;
        self.operation.ended = self.history.now();
        self.history.end(self.place, &self.operation);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over {
            self.conclude(Outcome::Unknown("its client was cut short".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_limit_is_counted_and_not_kept() {
        let history = History::keeping(2);
        for number in 0..5 {
            history.begin(0, "write").key(number.to_string()).end(Outcome::Ok);
        }
        history.record(Operation::new("read", "0", history.now()).answered(history.now(), 1));
        assert_eq!(history.operations().len(), 2);
        assert_eq!(history.dropped(), 4);
        let kept = history.operations();
        assert!(history.complete_until().is_some_and(|until| kept.iter().all(|it| it.invoked <= until)));
        assert_eq!(history.counts().ok, 6);
        assert_eq!(history.counted().total().counts.ok, 6);
        assert_eq!(
            history.counted().kinds().map(|(kind, _)| kind.to_owned()).collect::<Vec<_>>(),
            ["read", "write"]
        );
    }

    #[test]
    fn operations_are_in_the_order_of_their_beginnings_and_running_ones_are_there() {
        let history = History::start();
        let first = history.begin(1, "write").key("a").input(1);
        let second = history.begin(2, "read").key("a");
        second.ok(0);
        assert_eq!(history.running(), 1);
        let operations = history.operations();
        assert_eq!((operations[0].kind.as_str(), operations[1].kind.as_str()), ("write", "read"));
        assert!(!operations[0].outcome.is_known());
        assert_eq!(operations[1].output, 0);
        first.end(Outcome::Failed("409".to_owned()));
        assert_eq!(history.operations()[0].outcome, Outcome::Failed("409".to_owned()));
        assert_eq!(history.running(), 0);
    }
}
