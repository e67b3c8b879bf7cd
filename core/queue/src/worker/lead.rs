//! What one worker does for all.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::upkeep::Upkeep;
use crate::{
    backend,
    connections::Connections,
    store::{self, Term},
};

/// How often the leader looks for what is due: schedules name whole seconds.
const PAUSE: Duration = Duration::from_millis(500);

impl Upkeep {
    /// Leads whenever nobody else does. Never ends by itself.
    ///
    /// Each term ends by itself, three heartbeats after it was last prolonged, by the database's clock; so another worker leads four heartbeats after the death of the leader at the latest. A leader that was
    /// frozen does not know that its term is over: so each of its transactions asks the database.
    pub(super) async fn leadership(self, id: Uuid) {
        let Ok(db) = backend::connections(&*self.backend, "schedules") else {
            // Elsewhere there is nothing that one worker does for all.
            return std::future::pending().await;
        };
        let heartbeat = self.worker.heartbeat;
        let mut next_look_for_old = Instant::now();
        let mut led = None;
        loop {
            let began = Instant::now();
            let term = match db.within(store::lead(db, id, 3 * heartbeat)).await {
                Ok(term) => term,
                Err(error) => {
                    debug!(%error, "a look for a leader failed");
                    None
                }
            };
            if term.is_some() && term != led {
                info!(epoch = term.map(|term| term.epoch), "this worker leads");
            }
            led = term;
            self.worker.vitals.leads(term.is_some());
            while let Some(term) = led
                && began.elapsed() < heartbeat
            {
                if !self.enqueue_due(db, term).await {
                    led = None;
                    break;
                }
                if Instant::now() >= next_look_for_old {
                    match self.forget(db, term).await {
                        true => {}
                        false => next_look_for_old = Instant::now() + store::RETENTION_PAUSE,
                    }
                }
                sleep(PAUSE.min(heartbeat.saturating_sub(began.elapsed()))).await;
            }
            sleep(heartbeat.saturating_sub(began.elapsed())).await;
        }
    }

    /// Enqueues what schedules have made due. Says whether this worker still leads, as far as it knows.
    async fn enqueue_due(&self, db: &Connections, term: Term) -> bool {
        match db.within(store::fire(db, term)).await {
            Ok(fired) => {
                let queue = &self.worker.queue;
                queue.count(&fired.jobs);
                fired
                    .jobs
                    .iter()
                    .map(|job| job.queue.as_str())
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .for_each(|name| queue.wake(name));
                for (schedule, error) in &fired.unreadable {
                    warn!(schedule, %error, "a schedule can't be read by this worker");
                }
                !fired.is_deposed
            }
            Err(error) => {
                warn!(%error, "periodic jobs could not be enqueued");
                true
            }
        }
    }

    /// Forgets a batch of what is old. Says whether there is more.
    async fn forget(&self, db: &Connections, term: Term) -> bool {
        match db.within(store::forget(db, term, self.worker.retention)).await {
            Ok(Some(gone)) => {
                if gone.records + gone.keys + gone.dead_letters > 0 {
                    debug!(gone.records, gone.jobs, gone.keys, gone.dead_letters, "forgot what is over");
                }
                gone.has_more
            }
            Ok(None) => false,
            Err(error) => {
                warn!(%error, "what is over could not be forgotten");
                false
            }
        }
    }

    /// Lets another worker lead at once, if this one does; while it finishes what it has.
    pub(super) async fn resign(self, id: Uuid) {
        if let Ok(db) = backend::connections(&*self.backend, "schedules")
            && let Err(error) = db.within(store::resign(db, id)).await
        {
            debug!(%error, "another worker leads only once the term is over");
        }
    }
}
