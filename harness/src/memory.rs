//! How much memory the services of a stack had resident at most.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::sleep};

use crate::{Service, Stack};

/// A pause between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at the memory of every service a few times a second. A service whose memory can't be told is left out; nothing fails for it.
#[derive(Debug)]
pub struct PeakMemory {
    services: Vec<Service>,
    peaks: Arc<Peaks>,
    task: JoinHandle<()>,
}

type Peaks = Mutex<BTreeMap<String, u64>>;

impl PeakMemory {
    /// Looks at the services that the stack has now, until [`end`](Self::end) or a drop.
    pub fn watch(stack: &Stack) -> Self {
        let (services, peaks) = (stack.all(), Arc::<Peaks>::default());
        let task = tokio::spawn(keep_looking(services.clone(), peaks.clone()));
        PeakMemory { services, peaks, task }
    }

    /// Looks a last time, and says how much each service had at most, in bytes.
    pub async fn end(mut self) -> BTreeMap<String, u64> {
        self.task.abort();
        // It holds the services, which are to be gone with their stack.
        let _ = (&mut self.task).await;
        look(&self.services, &self.peaks).await;
        std::mem::take(&mut *lock(&self.peaks))
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_looking(services: Vec<Service>, peaks: Arc<Peaks>) {
    loop {
        look(&services, &peaks).await;
        sleep(LOOK).await;
    }
}

async fn look(services: &[Service], peaks: &Peaks) {
    for service in services {
        if let Some(bytes) = service.memory().await {
            let mut peaks = lock(peaks);
            let peak = peaks.entry(service.name().to_owned()).or_default();
            *peak = bytes.max(*peak);
        }
    }
}

fn lock(peaks: &Peaks) -> MutexGuard<'_, BTreeMap<String, u64>> {
    peaks.lock().unwrap_or_else(PoisonError::into_inner)
}
