//! Scenarios that break the queue itself.
//!
//! Producers enqueue each job in one transaction with a row of their own, and handlers record it in one transaction with its completion; in the end, a
//! job that was accepted is recorded, once. That is the same for every scenario ([`ledger`]); each adds its fault, and what the fault may cost.

mod clock_jump;
mod half_open;
mod kills;
mod ledger;
mod open_transaction;
mod pinned_snapshot;
mod pool_exhaustion;
mod rescues;
mod worker;

use std::path::PathBuf;

use seaworthy_harness::Scenario;

pub(crate) use worker::run_worker;

/// The scenarios of the queue.
#[derive(Debug, Clone)]
pub struct QueueScenarios {
    /// The program that is a worker when its first argument is `queue-worker`.
    pub program: PathBuf,
    /// How long they are.
    pub form: Form,
    /// A mistake to make, to see that a scenario finds it.
    pub flaw: Option<Flaw>,
}

/// How long scenarios are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Seconds each.
    #[default]
    Short,
    /// As long as their promises are about: a hundred kills, a transaction left open for a minute, a snapshot held for five.
    Whole,
}

/// A mistake that users of a queue, and queues, really make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A handler records its work in one transaction and completes its job in another, without looking at the lease.
    Unfenced,
    /// Workers have an hour for a heartbeat, and for each of their statements: nobody takes the jobs of dead ones back.
    NoRescue,
    /// A producer commits its row first, and then enqueues the job.
    EnqueuedApart,
}

impl Form {
    /// What the environment variable `SEAWORTHY_SCENARIOS` says: `whole`, or anything else for the short form.
    pub fn from_env() -> Self {
        if std::env::var("SEAWORTHY_SCENARIOS").is_ok_and(|form| form == "whole") {
            Form::Whole
        } else {
            Form::Short
        }
    }

    /// The one of two values that belongs to this form.
    fn choose<T>(self, short: T, whole: T) -> T {
        match self {
            Form::Short => short,
            Form::Whole => whole,
        }
    }
}

impl QueueScenarios {
    /// Those of which this program can be a worker, in their short form.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        QueueScenarios { program: program.into(), form: Form::Short, flaw: None }
    }

    /// In this form.
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// With a mistake in it.
    pub fn with_flaw(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// Every scenario of the queue, in the order in which they are played.
    pub fn scenarios(&self) -> Vec<Scenario> {
        vec![
            kills::scenario(self),
            half_open::scenario(self),
            clock_jump::scenario(self),
            pool_exhaustion::scenario(self),
            open_transaction::scenario(self),
            pinned_snapshot::scenario(self),
        ]
    }

    /// The scenario of this name.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn scenario(&self, name: &str) -> Scenario {
        let found = self.scenarios().into_iter().find(|scenario| scenario.name() == name);
        found.unwrap_or_else(|| panic!("the queue has no scenario `{name}`"))
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}
