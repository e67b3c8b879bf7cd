//! Where the randomness comes from, and the log of what was decided.
//!
//! A decision is a function of the seed, the proxy's name, the connection's number, the toxic's name and stream, and the
//! position in the stream. It does not depend on the time or on any other connection.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::Stream;

/// One decision that a toxic took.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Decision {
    /// The proxy's name.
    pub proxy: Arc<str>,
    /// The connection's number, counted from 0 in the order of acceptance.
    pub connection: u64,
    /// The stream that the toxic works on.
    #[serde(serialize_with = "stream_name")]
    pub stream: Stream,
    /// The toxic's name.
    pub toxic: Arc<str>,
    /// Where in the stream, in bytes since the connection began; or which message, counted from 1 for faults on messages.
    pub at: u64,
    /// What was decided.
    pub decided: Decided,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decided {
    /// Whether the toxic applies to the connection.
    Applies(bool),
    /// A delay, in microseconds.
    DelayMicros(u64),
    /// The bit of this byte that was flipped, counted from the lowest.
    Flip(u8),
    /// What happened to a message: the action's name on the wire.
    Message(&'static str),
}

fn stream_name<S: serde::Serializer>(stream: &Stream, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stream.as_str())
}

/// The decisions of a set of proxies, as far as they were recorded. Cheap to clone; all clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct DecisionLog {
    recording: Arc<AtomicBool>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    limit: usize,
    decisions: Vec<Decision>,
    missed: u64,
}

impl DecisionLog {
    /// Forgets what was recorded, and records from now on, `limit` decisions at most; 0 turns the recording off, as it is
    /// in the beginning.
    pub fn record(&self, limit: usize) {
        *self.lock() = Kept { limit, ..Kept::default() };
        self.recording.store(limit > 0, Ordering::Release);
    }

    /// What was recorded, in an order that does not depend on time: by proxy, connection, stream, toxic and position.
    pub fn decisions(&self) -> Vec<Decision> {
        let mut decisions = self.lock().decisions.clone();
        decisions.sort();
        decisions
    }

    /// Decisions that found the log full.
    pub fn missed(&self) -> u64 {
        self.lock().missed
    }

    /// The decisions as lines of JSON, in the same order: two runs compare with `diff`.
    ///
    /// ```
    /// # use seaworthy_fault_proxy::DecisionLog;
    /// assert_eq!(DecisionLog::default().to_json_lines(), "");
    /// ```
    pub fn to_json_lines(&self) -> String {
        let lines = self.decisions().into_iter().filter_map(|decision| serde_json::to_string(&decision).ok());
        lines.map(|line| line + "\n").collect()
    }

    fn push(&self, decision: impl FnOnce() -> Decision) {
        if !self.recording.load(Ordering::Acquire) {
            return;
        }
        let mut kept = self.lock();
        if kept.decisions.len() < kept.limit {
            kept.decisions.push(decision());
        } else {
            kept.missed += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which connection this is, and where its decisions are noted.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) seed: u64,
    pub(crate) proxy: Arc<str>,
    pub(crate) connection: u64,
    pub(crate) log: DecisionLog,
}

impl Identity {
    pub(crate) fn dice(&self, toxic: &Arc<str>, stream: Stream) -> Dice {
        let parts: [&[u8]; 6] = [
            &self.seed.to_le_bytes(),
            self.proxy.as_bytes(),
            &self.connection.to_le_bytes(),
            toxic.as_bytes(),
            // A byte that is in no UTF-8 text keeps names apart from what follows them.
            &[0xff],
            stream.as_str().as_bytes(),
        ];
        let rng = ChaCha8Rng::seed_from_u64(fnv1a(parts.into_iter().flatten()));
        Dice { rng, identity: self.clone(), toxic: toxic.clone(), stream }
    }
}

/// The random decisions of one toxic on one stream of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    rng: ChaCha8Rng,
    identity: Identity,
    toxic: Arc<str>,
    stream: Stream,
}

impl Dice {
    /// Whether a toxic of this toxicity applies to the connection: the same answer as often as it is asked.
    pub(crate) fn applies(&self, toxicity: f64) -> bool {
        self.at(u64::MAX).random::<f64>() < toxicity
    }

    /// The randomness for what happens at this position. It does not matter what was asked for before.
    pub(crate) fn at(&self, position: u64) -> ChaCha8Rng {
        let mut rng = self.rng.clone();
        rng.set_stream(position);
        rng
    }

    /// `latency`, moved by up to `jitter` either way, and never below zero.
    pub(crate) fn delay(&self, position: u64, latency: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return latency;
        }
        let jitter = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX).min(u64::MAX / 4);
        let moved = Duration::from_micros(self.at(position).random_range(0..=2 * jitter));
        let delay = latency.saturating_add(moved).saturating_sub(Duration::from_micros(jitter));
        self.note(position, || Decided::DelayMicros(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)));
        delay
    }

    /// How many bytes are spared before the next one that is hit, when each is hit with the chance `rate`.
    pub(crate) fn gap(rng: &mut ChaCha8Rng, rate: f64) -> u64 {
        if rate <= 0.0 {
            return u64::MAX;
        }
        if rate >= 1.0 {
            return 0;
        }
        // The geometric distribution, by inversion; 1 - random is never 0.
        let gap = ((1.0 - rng.random::<f64>()).ln() / (1.0 - rate).ln()).floor();
        // A float beyond the range becomes the largest number.
        gap as u64
    }

    pub(crate) fn bit(rng: &mut ChaCha8Rng) -> u8 {
        (rng.next_u32() % 8) as u8
    }

    pub(crate) fn note(&self, at: u64, decided: impl FnOnce() -> Decided) {
        self.identity.log.push(|| Decision {
            proxy: self.identity.proxy.clone(),
            connection: self.identity.connection,
            stream: self.stream,
            toxic: self.toxic.clone(),
            at,
            decided: decided(),
        });
    }
}

/// FNV-1a, by Fowler, Noll and Vo: spreads names and numbers over seeds.
fn fnv1a<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
