//! Whether what must go on in the process goes on.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
pub(super) struct Pulses {
    pulses: Mutex<Vec<Weak<Heart>>>,
}

#[derive(Debug)]
struct Heart {
    name: &'static str,
    silence: Duration,
    began: Instant,
    /// Milliseconds from the beginning to the last beat.
    last: AtomicU64,
}

/// Something that must go on. Made by [`Health::pulse`](super::Health::pulse).
#[derive(Debug)]
pub struct Pulse {
    heart: Arc<Heart>,
}

impl Pulse {
    /// Says that it goes on.
    pub fn beat(&self) {
        self.heart.last.store(self.heart.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

impl Pulses {
    pub(super) fn start(&self, name: &'static str, silence: Duration) -> Pulse {
        let heart = Arc::new(Heart { name, silence, began: Instant::now(), last: AtomicU64::new(0) });
        let mut pulses = self.lock();
        pulses.retain(|pulse| pulse.strong_count() > 0);
        pulses.push(Arc::downgrade(&heart));
        Pulse { heart }
    }

    pub(super) fn stopped(&self) -> Vec<&'static str> {
        let pulses = self.lock();
        let living = pulses.iter().filter_map(Weak::upgrade);
        living.filter(|heart| heart.is_silent()).map(|heart| heart.name).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Heart>>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heart {
    fn is_silent(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last) > self.silence
    }
}
