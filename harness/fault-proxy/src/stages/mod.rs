//! What each toxic does to one direction of one connection: plain state machines, given the time and their dice.
//!
//! A stage takes chunks from the queue before it and puts chunks into the queue behind it, while that has room. It knows no socket
//! and no clock, so its tests need neither.

mod bandwidth;
mod corrupt;
mod delay;
mod limit_data;
mod messages;
mod slicer;
mod slow_close;
mod stall;
mod swallow;

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use crate::{Stream, ToxicKind, faults::Met, protocol, queue::Queue};
pub(crate) use swallow::LINGER;

/// One toxic at work.
pub(crate) trait Stage: Debug + Send {
    /// Moves what may move at `now`, and says when to call again even if nothing new comes.
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant>;

    /// The toxic is gone: what the stage holds goes on. `input` follows it, which is not the stage's business any more.
    fn retire(&mut self, output: &mut Queue) -> Retired;
}

/// What becomes of a stage whose toxic is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retired {
    /// It is not needed any more.
    Gone,
    /// It is in the middle of something, and is asked again after its next step.
    Lingers,
    /// The receiver missed bytes, so that the connection has to be closed.
    Closes,
}

/// Whether a toxic has a stage on this stream.
pub(crate) fn has_stage(met: &Met, stream: Stream) -> bool {
    stage(met, stream, false).is_some()
}

/// The stage of a toxic on this stream, if it has one there. `at_start`: no byte has passed yet.
pub(crate) fn stage(met: &Met, stream: Stream, at_start: bool) -> Option<Box<dyn Stage>> {
    let toxic = &met.installed.toxic;
    let dice = met.dice.clone();
    // A blackhole has no direction.
    if toxic.kind == ToxicKind::Blackhole {
        return Some(Box::new(swallow::Swallow::new(None)));
    }
    if let ToxicKind::Message(fault) = &toxic.kind {
        let plan = met.plan.clone();
        let (protocol, fault) = match toxic.stream == stream {
            true => {
                let protocol = protocol::requests(fault, stream, at_start, plan);
                (protocol, Some((fault.clone(), met.installed.clone())))
            }
            false => (protocol::answers(fault, at_start, plan)?, None),
        };
        return Some(Box::new(messages::OnMessages::new(protocol, fault, dice)));
    }
    if toxic.stream != stream {
        return None;
    }
    Some(match toxic.kind {
        ToxicKind::Latency { latency, jitter } => Box::new(delay::Delay::new(latency, jitter, dice)),
        ToxicKind::Bandwidth { rate } => Box::new(bandwidth::Bandwidth::new(rate)),
        ToxicKind::SlowClose { delay } => Box::new(slow_close::SlowClose::new(delay)),
        ToxicKind::Timeout { timeout } => {
            let deadline = (!timeout.is_zero()).then(|| later(met.since, timeout));
            Box::new(swallow::Swallow::new(deadline))
        }
        ToxicKind::Slicer { average_size, size_variation, delay } => {
            Box::new(slicer::Slicer::new(average_size, size_variation, delay, dice))
        }
        ToxicKind::LimitData { bytes } => Box::new(limit_data::LimitData::new(bytes)),
        ToxicKind::Stall { share, pause } => Box::new(stall::Stall::new(share, pause, dice)),
        ToxicKind::Corrupt { rate } => Box::new(corrupt::Corrupt::new(rate, dice)),
        // The connection as a whole looks after these.
        ToxicKind::ResetPeer { .. } | ToxicKind::HalfOpen { .. } | ToxicKind::Refuse => return None,
        ToxicKind::Blackhole | ToxicKind::Message(_) | ToxicKind::Noop => return None,
    })
}

/// `start + wait`, or a year from `start` when that would overflow the clock.
pub(crate) fn later(start: Instant, wait: Duration) -> Instant {
    const A_YEAR: Duration = Duration::from_secs(365 * 86_400);
    start.checked_add(wait).unwrap_or(start + A_YEAR)
}

#[cfg(test)]
mod testing {
    //! What the stages' tests share: a stage between two queues.

    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::{Retired, Stage};
    use crate::{
        DecisionLog, Stream,
        decisions::{Dice, Identity},
        queue::{Chunk, End, Queue},
    };

    pub(super) fn dice(seed: u64) -> Dice {
        let identity = Identity { seed, proxy: "p".into(), connection: 0, log: DecisionLog::default() };
        identity.dice(&"t".into(), Stream::Downstream)
    }

    pub(super) const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A stage under test, its queues, and a clock that stands still until it is told otherwise.
    pub(super) struct Bench<S> {
        pub(super) stage: S,
        pub(super) input: Queue,
        pub(super) output: Queue,
        pub(super) now: Instant,
        pub(super) wake: Option<Instant>,
        position: u64,
    }

    impl<S: Stage> Bench<S> {
        pub(super) fn new(stage: S) -> Self {
            let (input, output) = (Queue::default(), Queue::default());
            Bench { stage, input, output, now: Instant::now(), wake: None, position: 0 }
        }

        pub(super) fn give(&mut self, bytes: &[u8]) {
            let chunk =
                Chunk { position: self.position, ..Chunk::new(Bytes::copy_from_slice(bytes), self.now) };
            self.position += bytes.len() as u64;
            self.input.push(chunk);
        }

        /// What comes out when so much time has passed.
        pub(super) fn after(&mut self, wait: Duration) -> Vec<Vec<u8>> {
            self.now += wait;
            self.wake = self.stage.step(&mut self.input, &mut self.output, self.now);
            std::iter::from_fn(|| self.output.pop()).map(|chunk| chunk.bytes.to_vec()).collect()
        }

        /// Plays until nothing moves any more; gives the chunks with the time at which each came out.
        pub(super) fn play(&mut self) -> Vec<(Duration, Vec<u8>)> {
            let started = self.now;
            let mut seen = Vec::new();
            loop {
                let out = self.after(Duration::ZERO);
                let moved = !out.is_empty();
                seen.extend(out.into_iter().map(|bytes| (self.now - started, bytes)));
                match self.wake {
                    Some(wake) if wake > self.now => self.now = wake,
                    _ if moved => {}
                    _ => return seen,
                }
            }
        }

        pub(super) fn ended(&self) -> Option<End> {
            self.output.ended()
        }

        pub(super) fn retire(&mut self) -> (Retired, Vec<u8>) {
            let retired = self.stage.retire(&mut self.output);
            (
                retired,
                std::iter::from_fn(|| self.output.pop()).flat_map(|chunk| chunk.bytes.to_vec()).collect(),
            )
        }
    }
}
