//! The statements of one piece of work, counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Caller, Fingerprint, Recorder, Statement, caller::Stack, log::Shared};
use crate::trace::Work;

/// Different statements that are counted apart; those past it count only in the totals.
const MAX_DISTINCT: usize = 256;

/// How many statements a piece of work has run until now, and how long they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many statements.
    pub statements: u64,
    /// Their times added up; statements that ran at the same time count each.
    pub time: Duration,
}

/// The same statement many times in one piece of work: what one query with a join or a list could have done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Repeated {
    /// The statement, as in [`Statement::text`].
    pub text: Arc<str>,
    /// What its runs have in common.
    pub fingerprint: Fingerprint,
    /// How often it ran.
    pub times: u64,
    /// How long all of its runs took.
    pub time: Duration,
    /// Where it ran from, the time that it reached the threshold.
    pub caller: Option<Arc<Caller>>,
}

/// What [`Work`] keeps of its statements.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    recorder: Option<Arc<Recorder>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// The query log that counts here: the first that saw a statement of the work.
    log: Option<Arc<Shared>>,
    totals: Totals,
    distinct: HashMap<Fingerprint, Count>,
}

#[derive(Debug)]
struct Count {
    text: Arc<str>,
    times: u64,
    time: Duration,
    caller: Option<Arc<Caller>>,
    stack: Option<Stack>,
}

impl Tally {
    pub(crate) fn recorded(recorder: Arc<Recorder>) -> Self {
        Tally { counts: Mutex::default(), recorder: Some(recorder) }
    }

    pub(crate) fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.counts().totals
    }

    /// Counts a statement that ended just now on this thread.
    pub(crate) fn count(&self, log: &Arc<Shared>, statement: &Statement) {
        let mut counts = self.counts();
        let counts = &mut *counts;
        if !Arc::ptr_eq(counts.log.get_or_insert_with(|| log.clone()), log) {
            return;
        }
        counts.totals.statements += 1;
        counts.totals.time += statement.time;
        if counts.distinct.len() >= MAX_DISTINCT && !counts.distinct.contains_key(&statement.fingerprint) {
            return;
        }
        let count = counts.distinct.entry(statement.fingerprint).or_insert_with(|| Count {
            text: statement.text.clone(),
            times: 0,
            time: Duration::ZERO,
            caller: None,
            stack: None,
        });
        count.times += 1;
        count.time += statement.time;
        if count.times == log.settings.repeated_from {
            count.caller = statement.caller.clone();
            if count.caller.is_none() && log.settings.finds_callers_of_findings() {
                count.stack = Some(Stack::walk());
            }
        }
    }

    /// The end of the work: what was repeated goes to the log that counted.
    pub(crate) fn end(&self, work: &Arc<Work>) {
        let counts = std::mem::take(&mut *self.counts());
        let Some(log) = counts.log else { return };
        let threshold = log.settings.repeated_from;
        if threshold == 0 {
            return;
        }
        let found = counts.distinct.into_iter().filter(|(_, count)| count.times >= threshold);
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(_, count)| std::cmp::Reverse(count.times));
        for (fingerprint, count) in found {
            let Count { text, times, time, caller, stack } = count;
            log.repeated(Repeated { text, fingerprint, times, time, caller }, stack, work.clone());
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
