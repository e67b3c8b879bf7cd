//! One component: when it is checked, and what is known of it.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use seaworthy_errors::{Boundary, Error, task_codes};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{Check, CheckSettings, Outcome, Status};

/// Changes that are remembered.
const HISTORY: usize = 16;

pub(super) struct Component {
    name: &'static str,
    settings: CheckSettings,
    check: Arc<dyn Check>,
    /// Held by whoever checks: one at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    last: Option<Last>,
    changes: VecDeque<Change>,
}

#[derive(Clone)]
struct Last {
    outcome: Outcome,
    took: Duration,
    at: SystemTime,
    fresh_until: Instant,
}

/// A component's change from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// When it was seen.
    pub at: SystemTime,
    /// What it changed to.
    pub to: Status,
    /// What the check said.
    pub text: String,
}

/// A component as it was when it was checked last.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// Its name.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// What the check said; everybody may read it.
    pub text: String,
    /// What was measured, and its unit.
    pub observed: Option<(f64, &'static str)>,
    /// Whether the service can't do without it.
    pub required: bool,
    /// When it was checked.
    pub at: SystemTime,
    /// How long the check took.
    pub took: Duration,
    /// Its last changes, the oldest first; 16 at most.
    pub changes: Vec<Change>,
}

impl Checked {
    /// What it counts for: the service lives without an optional component.
    pub(super) fn weight(&self) -> Status {
        if self.required { self.status } else { self.status.min(Status::Warn) }
    }
}

impl Component {
    pub(super) fn new(name: &'static str, settings: CheckSettings, check: Arc<dyn Check>) -> Arc<Self> {
        Arc::new(Component { name, settings, check, turn: Arc::default(), known: Mutex::default() })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.settings.groups.contains(&group)
    }

    /// What is known of the component, checked anew if that is due.
    ///
    /// The check runs in a task of its own: a probe that is given up does not stop it, so that the next one has its result.
    pub(super) fn current(self: &Arc<Self>) -> impl Future<Output = Checked> + Send + use<> {
        /// What taking turns and waking up may take beyond the check's own deadline.
        const GRACE: Duration = Duration::from_millis(250);
        let component = self.clone();
        let task = component.fresh().is_none().then(|| tokio::spawn(component.clone().check_in_turn()));
        async move {
            if let Some(task) = task
                && timeout(component.settings.deadline + GRACE, task).await.is_err()
            {
                // The check does not even let itself be stopped: it blocks its thread.
                component.learn(component.late(), component.settings.deadline);
            }
            component.describe()
        }
    }

    async fn check_in_turn(self: Arc<Self>) {
        let _turn = self.turn.clone().lock_owned().await;
        if self.fresh().is_some() {
            return;
        }
        let began = Instant::now();
        let boundary = Boundary::new("health check").deadline(self.settings.deadline);
        let check = self.check.clone();
        let outcome = boundary.run(async move { Ok::<_, Error>(check.check().await) }).await;
        let outcome = outcome.unwrap_or_else(|error| {
            if error.code() == &task_codes::TIMED_OUT {
                self.late()
            } else {
                Outcome::fail("the check itself failed").because(error.details())
            }
        });
        self.learn(outcome, began.elapsed());
    }

    fn late(&self) -> Outcome {
        Outcome::fail(format!("no answer within {:?}", self.settings.deadline))
    }

    fn learn(&self, outcome: Outcome, took: Duration) {
        let (name, status, at) = (self.name, outcome.status, SystemTime::now());
        let mut known = self.known();
        let before = known.last.as_ref().map(|last| last.outcome.status);
        if before != Some(status) {
            if known.changes.len() == HISTORY {
                known.changes.pop_front();
            }
            known.changes.push_back(Change { at, to: status, text: outcome.text.clone().into_owned() });
        }
        let (text, cause) = (outcome.text.clone(), outcome.cause.clone().unwrap_or_default());
        known.last = Some(Last { outcome, took, at, fresh_until: Instant::now() + self.settings.interval });
        drop(known);
        match before {
            Some(before) if before == status => {}
            None if status == Status::Pass => {}
            _ if status == Status::Pass => info!(component = name, "a component is well again"),
            _ => {
                warn!(component = name, state = status.as_str(), reason = %text, error = %cause, "a component is not well")
            }
        }
        if took > self.settings.deadline / 2 && status != Status::Fail {
            warn!(component = name, elapsed_ms = took.as_millis() as u64, "a health check is slow");
        }
    }

    fn fresh(&self) -> Option<()> {
        self.known().last.as_ref().filter(|last| Instant::now() < last.fresh_until).map(|_| ())
    }

    fn describe(&self) -> Checked {
        let known = self.known();
        let last = known.last.clone().unwrap_or_else(|| Last {
            outcome: Outcome::fail("the check was stopped"),
            took: Duration::ZERO,
            at: SystemTime::now(),
            fresh_until: Instant::now(),
        });
        Checked {
            name: self.name,
            status: last.outcome.status,
            text: last.outcome.text.into_owned(),
            observed: last.outcome.observed,
            required: self.settings.required,
            at: last.at,
            took: last.took,
            changes: known.changes.iter().cloned().collect(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
