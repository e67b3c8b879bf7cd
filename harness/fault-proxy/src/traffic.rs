//! How many bytes a proxy moved.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Stream;

/// The bytes that one direction of a proxy moved, over all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes that came from the sender.
    pub received: u64,
    /// Bytes that the receiver was sent. Toxics make the difference.
    pub sent: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    upstream: Direction,
    downstream: Direction,
}

/// Padded, so that the two directions do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Direction {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counters {
    pub(crate) fn of(&self, stream: Stream) -> &Direction {
        match stream {
            Stream::Upstream => &self.upstream,
            Stream::Downstream => &self.downstream,
        }
    }
}

impl Direction {
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        let (received, sent) = (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
        Traffic { received, sent }
    }
}
