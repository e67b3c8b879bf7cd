//! Tells workers in all processes that there is work.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::runtime::Handle;
use tracing::debug;

use crate::backend::Backend;

/// Sends notifications one after the other: what comes in while one is on its way goes with the next.
#[derive(Debug, Clone)]
pub(crate) struct Notifier {
    backend: Arc<dyn Backend>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    queues: BTreeSet<String>,
    is_sending: bool,
}

impl Notifier {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Notifier { backend, waiting: Arc::default() }
    }

    pub(crate) fn wake(&self, queue: &str) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut waiting = self.lock();
        waiting.queues.insert(queue.to_owned());
        if !waiting.is_sending {
            waiting.is_sending = true;
            runtime.spawn(self.clone().send());
        }
    }

    async fn send(self) {
        loop {
            let queues: Vec<String> = {
                let mut waiting = self.lock();
                if waiting.queues.is_empty() {
                    // Under the same lock as the look: who comes now sends for itself.
                    waiting.is_sending = false;
                    return;
                }
                std::mem::take(&mut waiting.queues).into_iter().collect()
            };
            if let Err(error) = self.backend.notify(&queues).await {
                debug!(%error, "workers were not told of work, and find it at their next look");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
