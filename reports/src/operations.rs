//! What clients did, counted into slices of time. However many operations there are, the record stays small.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{seconds, text};

/// Slices that a record has at most; with more time, each of them is longer.
const MOST_SLICES: usize = 240;
/// The length of the first slices, in microseconds. It doubles when the time does not fit.
const FIRST_WIDTH: u64 = 100_000;
/// Kinds of operations that are told apart; the others are counted together.
const MOST_KINDS: usize = 24;
const OTHER_KINDS: &str = "other kinds";

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// It took effect.
    Ok,
    /// It was refused.
    Failed,
    /// The client can't know.
    Unknown,
    /// No answer came in time.
    TimedOut,
}

impl OutcomeKind {
    /// All of them, the best first.
    pub const ALL: [OutcomeKind; 4] =
        [OutcomeKind::Ok, OutcomeKind::Failed, OutcomeKind::Unknown, OutcomeKind::TimedOut];

    /// The outcome in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeKind::Ok => "ok",
            OutcomeKind::Failed => "refused",
            OutcomeKind::Unknown => "unknown",
            OutcomeKind::TimedOut => "no answer",
        }
    }
}

/// How many operations ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Counts {
    /// Operations that took effect.
    pub ok: u64,
    /// Operations that were refused.
    pub failed: u64,
    /// Operations whose effect the client can't know.
    pub unknown: u64,
    /// Operations without an answer in time.
    pub timed_out: u64,
}

impl Counts {
    /// How many ended like this.
    pub fn of(&self, outcome: OutcomeKind) -> u64 {
        match outcome {
            OutcomeKind::Ok => self.ok,
            OutcomeKind::Failed => self.failed,
            OutcomeKind::Unknown => self.unknown,
            OutcomeKind::TimedOut => self.timed_out,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        OutcomeKind::ALL.iter().fold(0, |sum, outcome| sum.saturating_add(self.of(*outcome)))
    }

    /// Counts so many more that ended like this.
    pub fn add(&mut self, outcome: OutcomeKind, times: u64) {
        let count = match outcome {
            OutcomeKind::Ok => &mut self.ok,
            OutcomeKind::Failed => &mut self.failed,
            OutcomeKind::Unknown => &mut self.unknown,
            OutcomeKind::TimedOut => &mut self.timed_out,
        };
        *count = count.saturating_add(times);
    }
}

/// Latencies in buckets that are at most 1/128 wide, as those of HdrHistogram with two digits. Kept sparse, since
/// a slice of time meets few of them. The longest one is exact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Buckets", into = "Buckets")]
pub struct Latencies {
    buckets: BTreeMap<u64, u64>,
    longest: u64,
}

/// As a log has them: the lower ends in microseconds, with their counts.
#[derive(Serialize, Deserialize)]
struct Buckets {
    max: u64,
    buckets: Vec<(u64, u64)>,
}

impl From<Latencies> for Buckets {
    fn from(latencies: Latencies) -> Self {
        Buckets { max: latencies.longest, buckets: latencies.buckets.into_iter().collect() }
    }
}

impl From<Buckets> for Latencies {
    fn from(from: Buckets) -> Self {
        let mut latencies = Latencies::default();
        for (micros, times) in from.buckets {
            latencies.add(micros, times);
        }
        if !latencies.buckets.is_empty() {
            latencies.longest = latencies.longest.max(bounded_micros(from.max));
        }
        latencies
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), 1);
    }

    /// Adds what others counted.
    pub fn merge(&mut self, other: &Latencies) {
        for (bucket, times) in &other.buckets {
            self.add(*bucket, *times);
        }
        self.longest = self.longest.max(other.longest);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.values().fold(0, |sum, times| sum.saturating_add(*times))
    }

    /// The latency that this share (0 to 1) did not exceed, within 0.4 %; the longest one exactly. `None` without any.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count.max(1));
        if rank == count {
            return self.max();
        }
        let mut seen = 0_u64;
        for (bucket, times) in &self.buckets {
            seen = seen.saturating_add(*times);
            if seen >= rank {
                return Some(Duration::from_micros((bucket + width(*bucket) / 2).min(self.longest)));
            }
        }
        None
    }

    /// The longest one.
    pub fn max(&self) -> Option<Duration> {
        (!self.buckets.is_empty()).then(|| Duration::from_micros(self.longest))
    }

    /// The buckets that have any: their lower end, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.buckets.iter().map(|(micros, times)| (Duration::from_micros(*micros), *times))
    }

    fn add(&mut self, micros: u64, times: u64) {
        if times == 0 {
            return;
        }
        let micros = bounded_micros(micros);
        self.longest = self.longest.max(micros);
        let count = self.buckets.entry(micros - micros % width(micros)).or_default();
        *count = count.saturating_add(times);
    }
}

/// The longest latency that is told from longer ones: a bit more than eleven days.
fn bounded_micros(micros: u64) -> u64 {
    micros.min(1 << 40)
}

/// How wide the bucket of this latency is: a power of two, so that eight digits of it are kept.
fn width(micros: u64) -> u64 {
    const DIGITS: u32 = 8;
    let length = u64::BITS - micros.leading_zeros();
    1 << length.saturating_sub(DIGITS)
}

/// Operations that were counted together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How they ended.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long they took, from their intended start.
    pub latencies: Latencies,
}

impl Tally {
    fn record(&mut self, latency: Duration, outcome: OutcomeKind) {
        self.counts.add(outcome, 1);
        self.latencies.record(latency);
    }

    pub(crate) fn merge(&mut self, other: &Tally) {
        for outcome in OutcomeKind::ALL {
            self.counts.add(outcome, other.counts.of(outcome));
        }
        self.latencies.merge(&other.latencies);
    }
}

/// The operations whose intended start lies in a slice of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// When it begins, from the scenario's start.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// How long it is.
    #[serde(with = "seconds")]
    pub lasts: Duration,
    /// What was done in it.
    #[serde(flatten)]
    pub tally: Tally,
}

/// All operations of a scenario: over time, and by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operations {
    width: u64,
    slices: Vec<Tally>,
    kinds: BTreeMap<String, Tally>,
}

impl Default for Operations {
    fn default() -> Self {
        Operations { width: FIRST_WIDTH, slices: Vec::new(), kinds: BTreeMap::new() }
    }
}

impl Operations {
    /// Counts an operation: what was done, when it should have begun (from the scenario's start), how long it took
    /// from then, and how it ended.
    pub fn record(&mut self, kind: &str, at: Duration, latency: Duration, outcome: OutcomeKind) {
        self.slice_at(at).record(latency, outcome);
        self.kind(kind).record(latency, outcome);
    }

    /// Counts what was counted elsewhere: a slice of time.
    pub fn add_slice(&mut self, slice: &Slice) {
        if slice.tally.counts.total() == 0 {
            return;
        }
        while Duration::from_micros(self.width) < slice.lasts.min(Duration::from_secs(1 << 30)) {
            self.widen();
        }
        self.slice_at(slice.at).merge(&slice.tally);
    }

    /// Counts what was counted elsewhere: all operations of a kind.
    pub fn add_kind(&mut self, kind: &str, tally: &Tally) {
        self.kind(kind).merge(tally);
    }

    /// The slices in which something was done, in order.
    pub fn slices(&self) -> impl Iterator<Item = Slice> {
        let lasts = self.slice_length();
        let numbered = self.slices.iter().enumerate();
        numbered.filter(|(_, tally)| tally.counts.total() > 0).map(move |(number, tally)| Slice {
            at: Duration::from_micros(self.width * number as u64),
            lasts,
            tally: tally.clone(),
        })
    }

    /// Slices that are long enough to say something in a picture: at most 120, of a dozen operations or more where there are so many.
    pub(crate) fn for_drawing(&self) -> Vec<Slice> {
        let operations = self.slices.iter().map(|tally| tally.counts.total()).fold(0, u64::saturating_add);
        self.in_slices((operations / 12).clamp(24, 120) as usize)
    }

    /// At most so many slices, each of the same length.
    pub(crate) fn in_slices(&self, most: usize) -> Vec<Slice> {
        let together = self.slices.len().div_ceil(most).max(1);
        let lasts = Duration::from_micros(self.width * together as u64);
        let groups = self.slices.chunks(together).enumerate().map(|(number, group)| {
            let mut tally = Tally::default();
            group.iter().for_each(|other| tally.merge(other));
            Slice { at: lasts * number as u32, lasts, tally }
        });
        groups.filter(|slice| slice.tally.counts.total() > 0).collect()
    }

    /// How long each slice is.
    pub fn slice_length(&self) -> Duration {
        Duration::from_micros(self.width)
    }

    /// The end of the last slice in which something was done.
    pub fn end(&self) -> Duration {
        Duration::from_micros(self.width * self.slices.len() as u64)
    }

    /// The kinds of operations, by name.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.kinds.iter().map(|(kind, tally)| (kind.as_str(), tally))
    }

    /// Everything together.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.slices.iter().for_each(|tally| total.merge(tally));
        total
    }

    fn slice_at(&mut self, at: Duration) -> &mut Tally {
        let micros = seconds::rounded(at).as_micros() as u64;
        while micros / self.width >= MOST_SLICES as u64 {
            self.widen();
        }
        let number = (micros / self.width) as usize;
        if self.slices.len() <= number {
            self.slices.resize_with(number + 1, Tally::default);
        }
        &mut self.slices[number]
    }

    /// Makes one slice of every two.
    fn widen(&mut self) {
        self.width *= 2;
        let mut slices = std::mem::take(&mut self.slices).into_iter();
        while let Some(mut first) = slices.next() {
            if let Some(second) = slices.next() {
                first.merge(&second);
            }
            self.slices.push(first);
        }
    }

    fn kind(&mut self, kind: &str) -> &mut Tally {
        let kind = text::one_line(kind, text::NAME);
        let named = self.kinds.len() - usize::from(self.kinds.contains_key(OTHER_KINDS));
        let known = self.kinds.contains_key(&kind) || named < MOST_KINDS;
        self.kinds.entry(if known { kind } else { OTHER_KINDS.to_owned() }).or_default()
    }
}
