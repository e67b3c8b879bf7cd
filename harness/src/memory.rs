//! How much memory the services of a stack had resident at most.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use seaworthy_reports::{Resources, Unit};
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

type Peaks = Mutex<Seen>;

#[derive(Debug)]
struct Seen {
    since: Instant,
    peaks: BTreeMap<String, u64>,
    samples: Resources,
}

impl PeakMemory {
    /// Looks at the services that the stack has now, until [`end`](Self::end) or a drop.
    pub fn watch(stack: &Stack) -> Self {
        let seen = Seen { since: Instant::now(), peaks: BTreeMap::new(), samples: Resources::default() };
        let (services, peaks) = (stack.all(), Arc::new(Mutex::new(seen)));
        let task = tokio::spawn(keep_looking(services.clone(), peaks.clone()));
        PeakMemory { services, peaks, task }
    }

    /// Looks a last time, and says how much each service had at most, in bytes.
    pub async fn end(mut self) -> BTreeMap<String, u64> {
        self.task.abort();
        // It holds the services, which are to be gone with their stack.
        let _ = (&mut self.task).await;
        look(&self.services, &self.peaks).await;
        std::mem::take(&mut lock(&self.peaks).peaks)
    }

    /// The memory of every service over the time since [`watch`](Self::watch).
    pub fn samples(&self) -> Resources {
        lock(&self.peaks).samples.clone()
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
            let mut seen = lock(peaks);
            let at = seen.since.elapsed();
            seen.samples.sample(at, service.name(), "memory", Unit::Bytes, bytes as f64);
            let peak = seen.peaks.entry(service.name().to_owned()).or_default();
            *peak = bytes.max(*peak);
        }
    }
}

fn lock(peaks: &Peaks) -> MutexGuard<'_, Seen> {
    peaks.lock().unwrap_or_else(PoisonError::into_inner)
}
