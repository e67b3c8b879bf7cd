//! Which faults happen when, as data, and the player that makes them happen.

mod chaos_mesh;
mod chaos_toolkit;
mod file;
mod storm;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use seaworthy_reports::FaultWindow;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, sleep_until},
};

use crate::{Error, Fault, History, Stack};

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
    /// Each event goes its own way: a service that takes long to come back holds up no other fault's end. Only the same fault of the same service waits until it is healed, and so do faults of one service's
    /// processes (a kill, a pause, a restart, a full disk) for each other.
    ///
    /// # Errors
    ///
    /// The first fault that could not be injected or healed.
    pub async fn play(
        &self,
        stack: &Stack,
        history: &History,
        on_change: impl FnMut(&Event, bool) + Send,
    ) -> Result<Vec<FaultWindow>, Error> {
        let places = self.events.iter().map(|event| (place(event), AsyncMutex::new(()))).collect();
        let player = Player {
            stack,
            history,
            zero: Instant::now() - history.now(),
            over: watch::Sender::new(false),
            places,
            on_change: Mutex::new(on_change),
        };
        let (mut windows, mut outcome) = (Vec::new(), Ok(()));
        for played in join_all(self.events.iter().map(|event| player.play(event))).await {
            match played {
                Ok(window) => windows.extend(window),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        windows.sort_by_key(|window| (window.to, window.from));
        outcome.map(|()| windows)
    }
}

/// What of a service can have one fault at a time: its processes, or each kind of trouble of its network.
fn place(event: &Event) -> (&str, &'static str) {
    let what = match event.fault {
        Fault::Kill | Fault::Pause | Fault::Restart | Fault::DiskFull => "processes",
        network => network.name(),
    };
    (&event.target, what)
}

/// What the events of a schedule share while they happen.
struct Player<'a, C> {
    stack: &'a Stack,
    history: &'a History,
    zero: Instant,
    /// Whether one has failed, and the others are to be healed at once.
    over: watch::Sender<bool>,
    places: BTreeMap<(&'a str, &'static str), AsyncMutex<()>>,
    on_change: Mutex<C>,
}

impl<C: FnMut(&Event, bool) + Send> Player<'_, C> {
    /// From the event's beginning to its end; nothing, when it was all over before.
    async fn play(&self, event: &Event) -> Result<Option<FaultWindow>, Error> {
        let played = self.happen(event).await;
        if played.is_err() {
            self.over.send_replace(true);
        }
        played
    }

    async fn happen(&self, event: &Event) -> Result<Option<FaultWindow>, Error> {
        if self.is_over_before(event.at).await {
            return Ok(None);
        }
        let _place = match self.places.get(&place(event)) {
            Some(place) => Some(place.lock().await),
            None => None,
        };
        let service = self.stack.service(&event.target)?;
        let from = self.history.now();
        let injected = service.inject(event.fault).await?;
        self.changed(event, true);
        self.is_over_before(event.at + event.lasts).await;
        let (target, fault) = (event.target.clone(), event.fault.name().to_owned());
        injected.heal().await?;
        self.changed(event, false);
        Ok(Some(FaultWindow { target, fault, from, to: self.history.now() }))
    }

    /// Waits until this time from the history's start, unless all is over before.
    async fn is_over_before(&self, at: Duration) -> bool {
        let mut over = self.over.subscribe();
        tokio::select! {
            () = sleep_until(self.zero + at) => false,
            _ = over.wait_for(|over| *over) => true,
        }
    }

    fn changed(&self, event: &Event, begins: bool) {
        let mut on_change = self.on_change.lock().unwrap_or_else(PoisonError::into_inner);
        on_change(event, begins);
    }
}
