//! Which faults happen when, as data, and the player that makes them happen.

mod chaos_mesh;
mod chaos_toolkit;
mod file;
mod storm;

use std::time::Duration;

use seaworthy_reports::FaultWindow;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::{Error, Fault, History, Injected, Stack};

pub use chaos_mesh::{Cluster, Manifest};
pub use chaos_toolkit::Imported;
pub use storm::Storm;

/// One fault on one service for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it begins, from the history's start.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// The service's name.
    pub target: String,
    /// What is done to it.
    pub fault: Fault,
}

/// The faults of a run. The same seed gives the same schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The events, in any order; they may overlap.
    pub events: Vec<Event>,
}

impl Schedule {
    /// A schedule without faults.
    pub fn quiet() -> Self {
        Self::default()
    }

    /// Adds a fault.
    pub fn fault(mut self, at: Duration, lasts: Duration, target: impl Into<String>, fault: Fault) -> Self {
        self.events.push(Event { at, lasts, target: target.into(), fault });
        self
    }

    /// When the last fault is over.
    pub fn end(&self) -> Duration {
        self.events.iter().map(|event| event.at + event.lasts).max().unwrap_or_default()
    }

    /// Makes the faults happen at their times, and says when each of them really was on. `on_change` hears of every fault
    /// that begins (`true`) or is healed. Every fault that was injected is healed before this returns, also when one fails.
    ///
    /// # Errors
    ///
    /// The first fault that could not be injected or healed.
    pub async fn play(
        &self,
        stack: &Stack,
        history: &History,
        mut on_change: impl FnMut(&Event, bool),
    ) -> Result<Vec<FaultWindow>, Error> {
        let zero = Instant::now() - history.now();
        let mut steps: Vec<(Duration, bool, &Event)> = Vec::new();
        for event in &self.events {
            steps.push((event.at, true, event));
            steps.push((event.at + event.lasts, false, event));
        }
        // What ends comes before what begins at the same time.
        steps.sort_by_key(|(at, begins, _)| (*at, *begins));
        let mut on: Vec<(&Event, Injected, Duration)> = Vec::new();
        let mut windows = Vec::new();
        let mut outcome = Ok(());
        for (at, begins, event) in steps {
            if outcome.is_err() {
                break;
            }
            sleep_until(zero + at).await;
            let step = if begins {
                begin(stack, event, history).await.map(|(injected, since)| on.push((event, injected, since)))
            } else {
                let place = on.iter().position(|(other, ..)| std::ptr::eq(*other, event));
                match place.map(|place| on.remove(place)) {
                    Some((_, injected, since)) => {
                        end(injected, since, history).await.map(|w| windows.push(w))
                    }
                    None => Ok(()),
                }
            };
            match step {
                Ok(()) => on_change(event, begins),
                Err(error) => outcome = Err(error),
            }
        }
        for (_, injected, since) in on {
            let healed = end(injected, since, history).await.map(|window| windows.push(window));
            outcome = outcome.and(healed);
        }
        outcome.map(|()| windows)
    }
}

async fn begin(stack: &Stack, event: &Event, history: &History) -> Result<(Injected, Duration), Error> {
    let service = stack.service(&event.target)?;
    let since = history.now();
    Ok((service.inject(event.fault).await?, since))
}

async fn end(injected: Injected, since: Duration, history: &History) -> Result<FaultWindow, Error> {
    let (target, fault) = (injected.target().to_owned(), injected.fault().name().to_owned());
    injected.heal().await?;
    Ok(FaultWindow { target, fault, from: since, to: history.now() })
}
