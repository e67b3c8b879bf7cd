//! The faults that apply to one connection, as they are now, and the randomness behind them.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{sync::watch, time::Instant};

use crate::{Stream, Toxic, ToxicKind};

/// What every connection of a proxy looks at, and wakes up for when it changes.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Connections of an older epoch close at once.
    pub(crate) epoch: u64,
    pub(crate) toxics: Arc<[Toxic]>,
}

/// `start + wait`, or a day from `start` when the sum would overflow the clock.
pub(crate) fn later(start: Instant, wait: Duration) -> Instant {
    const A_DAY: Duration = Duration::from_secs(86_400);
    start.checked_add(wait).unwrap_or(start + A_DAY)
}

/// The faults of one stream of one connection, as they are now.
pub(crate) struct Faults {
    seed: u64,
    stream: Stream,
    setup: watch::Receiver<Setup>,
    jitter: ChaCha8Rng,
}

impl Faults {
    pub(crate) fn new(seed: u64, stream: Stream, setup: watch::Receiver<Setup>) -> Self {
        let jitter = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(stream.as_str().as_bytes()));
        Faults { seed, stream, setup, jitter }
    }

    /// Every kind of fault that applies to this stream now.
    pub(crate) fn now(&mut self) -> Vec<ToxicKind> {
        let setup = self.setup.borrow_and_update();
        let mine = setup.toxics.iter().filter(|toxic| toxic.stream == self.stream);
        mine.filter(|toxic| applies(toxic, self.seed)).map(|toxic| toxic.kind.clone()).collect()
    }

    /// Waits for the next change of the proxy's toxics.
    pub(crate) async fn changed(&mut self) {
        if self.setup.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// A deviation between `-jitter` and `+jitter`, as `latency + deviation`, never below zero.
    pub(crate) fn delay(&mut self, latency: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return latency;
        }
        let jitter = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        let moved = Duration::from_micros(self.jitter.random_range(0..=2 * jitter));
        latency.saturating_add(moved).saturating_sub(Duration::from_micros(jitter))
    }
}

/// Whether a toxic applies to the connection with this seed: the same answer as often as it is asked.
pub(crate) fn applies(toxic: &Toxic, seed: u64) -> bool {
    if toxic.toxicity >= 1.0 {
        return true;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(toxic.name().as_bytes()));
    rng.random::<f64>() < toxic.toxicity
}

/// FNV-1a, by Fowler, Noll and Vo: spreads names and numbers over seeds.
pub(crate) fn fnv1a<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
