//! One direction of a connection: bytes in, faults applied, bytes out.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    time::{Instant, sleep_until},
};

use crate::{
    ToxicKind,
    faults::{Faults, later},
};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Bytes that may wait in a delay; beyond that the sender is pushed back.
const MAX_DELAYED: usize = 4 * 1024 * 1024;

/// How a link came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The sender closed its side, and so did we: the other direction may go on.
    Finished,
    /// The connection is to be closed in both directions.
    Closed,
    /// The connection is to be reset.
    Reset,
}

pub(crate) struct Link {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    faults: Faults,
    buffer: Vec<u8>,
    delayed: VecDeque<Delayed>,
    delayed_bytes: usize,
    at_eof: bool,
}

struct Delayed {
    due: Instant,
    bytes: Vec<u8>,
    written: usize,
}

/// What the toxics of a link add up to.
#[derive(Default)]
struct Plan {
    latencies: Vec<(Duration, Duration)>,
    /// Data is swallowed; the connection closes at the deadline, if there is one.
    blackhole: Option<Option<Instant>>,
}

impl Link {
    pub(crate) fn new(from: OwnedReadHalf, to: OwnedWriteHalf, faults: Faults) -> Self {
        let (delayed, delayed_bytes) = (VecDeque::new(), 0);
        Link { from, to, faults, buffer: vec![0; CHUNK], delayed, delayed_bytes, at_eof: false }
    }

    /// Ends the link with RST instead of FIN.
    pub(crate) fn reset(self) {
        let _ = self.from.as_ref().set_zero_linger();
        let _ = self.to.as_ref().set_zero_linger();
        // Dropping a write half would send FIN first.
        self.to.forget();
    }

    /// Moves bytes until one side is gone. Cancelling it leaves the sockets as they are.
    pub(crate) async fn run(&mut self) -> End {
        let opened = Instant::now();
        loop {
            let plan = self.plan(opened);
            let end = if let Some(deadline) = plan.blackhole {
                self.swallow(deadline).await
            } else if plan.latencies.is_empty() && self.delayed.is_empty() && !self.at_eof {
                self.pass().await
            } else {
                self.delay(&plan.latencies).await
            };
            match end {
                Some(End::Finished) => {
                    let _ = self.to.shutdown().await;
                    return End::Finished;
                }
                Some(end) => return end,
                None => {}
            }
        }
    }

    fn plan(&mut self, opened: Instant) -> Plan {
        let mut plan = Plan::default();
        for kind in self.faults.now() {
            match kind {
                ToxicKind::Latency { latency, jitter } => plan.latencies.push((latency, jitter)),
                ToxicKind::Timeout { timeout } => {
                    let deadline = (!timeout.is_zero()).then(|| later(opened, timeout));
                    plan.blackhole = Some(plan.blackhole.flatten().into_iter().chain(deadline).min());
                }
                // The connection as a whole looks after resets.
                _ => {}
            }
        }
        plan
    }

    /// Passes bytes on as they come, until the toxics change (`None`).
    async fn pass(&mut self) -> Option<End> {
        loop {
            let read = tokio::select! {
                biased;
                read = self.from.read(&mut self.buffer) => read,
                () = self.faults.changed() => return None,
            };
            match read {
                Ok(0) => return Some(End::Finished),
                Err(_) => return Some(End::Closed),
                Ok(length) => {
                    // A whole write at once is the common case; what the receiver does not take yet waits its
                    // turn in the queue, where it does not keep us from hearing of new toxics.
                    let written = self.to.try_write(&self.buffer[..length]).unwrap_or(0);
                    if written < length {
                        self.queue(written..length, Instant::now());
                        return None;
                    }
                }
            }
        }
    }

    /// Moves bytes through the delay queue, until the toxics change or nothing is left to delay (`None`).
    async fn delay(&mut self, latencies: &[(Duration, Duration)]) -> Option<End> {
        loop {
            if self.delayed.is_empty() {
                if self.at_eof {
                    return Some(End::Finished);
                }
                if latencies.is_empty() {
                    return None;
                }
            }
            let due = self.delayed.front().map(|chunk| chunk.due);
            let may_read = !self.at_eof && self.delayed_bytes < MAX_DELAYED;
            tokio::select! {
                biased;
                () = self.faults.changed() => return None,
                read = self.from.read(&mut self.buffer), if may_read => match read {
                    Ok(0) => self.at_eof = true,
                    Err(_) => return Some(End::Closed),
                    Ok(length) => {
                        let wait = latencies.iter().fold(Duration::ZERO, |sum, &(latency, jitter)| {
                            sum.saturating_add(self.faults.delay(latency, jitter))
                        });
                        self.queue(0..length, later(Instant::now(), wait));
                    }
                },
                result = write_when_due(&mut self.to, due, self.delayed.front()) => match result {
                    Ok(written) => self.written(written),
                    Err(_) => return Some(End::Closed),
                },
            }
        }
    }

    /// Reads and forgets. The toxic's removal closes the connection: the receiver missed bytes.
    async fn swallow(&mut self, deadline: Option<Instant>) -> Option<End> {
        self.delayed.clear();
        self.delayed_bytes = 0;
        loop {
            tokio::select! {
                biased;
                () = self.faults.changed() => {
                    let still = self.faults.now().iter().any(|kind| matches!(kind, ToxicKind::Timeout { .. }));
                    return (!still).then_some(End::Closed);
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return Some(End::Closed);
                }
                read = self.from.read(&mut self.buffer), if !self.at_eof => match read {
                    Ok(0) => self.at_eof = true,
                    Err(_) => return Some(End::Closed),
                    Ok(_) => {}
                },
            }
        }
    }

    fn queue(&mut self, range: std::ops::Range<usize>, due: Instant) {
        // Jitter must not reorder the stream.
        let due = self.delayed.back().map_or(due, |last| due.max(last.due));
        self.delayed_bytes += range.len();
        self.delayed.push_back(Delayed { due, bytes: self.buffer[range].to_vec(), written: 0 });
    }

    fn written(&mut self, count: usize) {
        self.delayed_bytes -= count;
        let Some(front) = self.delayed.front_mut() else { return };
        front.written += count;
        if front.written == front.bytes.len() {
            self.delayed.pop_front();
        }
    }
}

async fn write_when_due(
    to: &mut OwnedWriteHalf,
    due: Option<Instant>,
    front: Option<&Delayed>,
) -> std::io::Result<usize> {
    let (Some(due), Some(front)) = (due, front) else { return std::future::pending().await };
    sleep_until(due).await;
    match to.write(&front.bytes[front.written..]).await {
        Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
        other => other,
    }
}
