//! Connections that the workers of one queue in one process share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::PgPool;
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, broadcast},
    task::JoinHandle,
};

use super::{Claim, ClaimedBatch, Listener};
use crate::{Error, connections::Connections, store};

/// Workers that share connections, at most.
const WORKERS: usize = 128;
/// The connections of so many, at most. One worker uses up to seven of them: for a claim, two for what is recorded, two for its upkeep, one for what it does as the leader or to scale itself, and one that listens for all.
const CONNECTIONS: u32 = 16;
/// Claims that are made at the same time. More of them stand in each other's way: each passes over what the others have locked, and the cores of the server are busy with claims instead of
/// completions.
const CLAIMS: usize = 2;
/// Notifications that a worker may be behind.
const HEARD: usize = 256;

/// The crews of a queue that are at work.
#[derive(Debug, Default)]
pub(super) struct Crews(Mutex<Vec<Weak<Crew>>>);

impl Crews {
    /// A crew that has room for one more, whose statements have this deadline.
    pub(super) fn join(&self, pool: &PgPool, deadline: Duration) -> Arc<Crew> {
        let mut crews = self.lock();
        crews.retain(|crew| crew.strong_count() > 0);
        let with_room = crews.iter().filter(|crew| crew.strong_count() < WORKERS);
        let fits = |crew: &Arc<Crew>| crew.connections.deadline() == deadline;
        if let Some(crew) = with_room.filter_map(Weak::upgrade).find(fits) {
            return crew;
        }
        let connections = Connections::own(pool, CONNECTIONS, deadline);
        let crew = Arc::new(Crew { connections, ear: AsyncMutex::default(), claims: Semaphore::new(CLAIMS) });
        crews.push(Arc::downgrade(&crew));
        crew
    }

    /// Closes the connections, if this worker is the last of its crew.
    pub(super) async fn leave(&self, crew: &Arc<Crew>) {
        {
            let mut crews = self.lock();
            if Arc::strong_count(crew) > 1 {
                return;
            }
            // Nobody joins it any more.
            crews.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(crew)));
        }
        if let Some(ear) = crew.ear.lock().await.take() {
            ear.stop().await;
        }
        crew.connections.close().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Crew>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Workers with connections in common. Those of handlers are others, which can use up what they have and hold up no worker.
#[derive(Debug)]
pub(super) struct Crew {
    connections: Connections,
    ear: AsyncMutex<Option<Ear>>,
    claims: Semaphore,
}

impl Crew {
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Claims, in turn.
    pub(super) async fn claim(&self, claim: Claim<'_>) -> Result<ClaimedBatch, Error> {
        // It is never closed.
        let _turn = self.claims.acquire().await;
        store::claim(&self.connections, claim).await
    }

    /// Hears of work. One connection listens for all.
    pub(super) async fn listen(&self) -> Result<Box<dyn Listener>, Error> {
        let mut ear = self.ear.lock().await;
        if let Some(heard) = ear.as_ref().and_then(Ear::heard) {
            return Ok(Box::new(heard));
        }
        let mut listener = self.connections.listener(store::CHANNEL).await?;
        let (sender, heard) = broadcast::channel(HEARD);
        let told = sender.downgrade();
        // The sender goes with the task: those who hear learn that it is over.
        let task = tokio::spawn(async move {
            // It would connect again by itself, and nobody would learn that something may have been missed.
            while let Ok(Some(notification)) = listener.try_recv().await {
                // Nobody may listen right now.
                let _ = sender.send(notification.payload().to_owned());
            }
        });
        *ear = Some(Ear { told, task });
        Ok(Box::new(heard))
    }
}

/// A connection that listens, and who is told of what it hears.
#[derive(Debug)]
struct Ear {
    told: broadcast::WeakSender<String>,
    task: JoinHandle<()>,
}

impl Ear {
    fn heard(&self) -> Option<broadcast::Receiver<String>> {
        Some(self.told.upgrade()?.subscribe())
    }

    async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Listener for broadcast::Receiver<String> {
    async fn next(&mut self) -> Result<String, Error> {
        self.recv().await.map_err(|error| deaf(error.to_string()))
    }
}

/// What comes from now on may not be heard.
pub(super) fn deaf(why: impl Into<String>) -> Error {
    Error::Database(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, why.into())))
}
