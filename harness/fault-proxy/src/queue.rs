//! The bytes between two stages of a link: chunks in order, with a bound, and how the stream ends after them.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

/// Bytes that wait before a stage takes no more.
const CAPACITY: usize = 64 * 1024;
/// What a chunk costs besides its bytes, so that a flood of tiny ones has a bound, too.
const OVERHEAD: usize = 64;

/// Bytes that belong together, because they arrived together or are one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) arrived: Instant,
    /// Where the chunk began in the stream as it arrived.
    pub(crate) position: u64,
    /// It is to be sent on its own, not in one go with its neighbours.
    pub(crate) is_apart: bool,
}

impl Chunk {
    /// Bytes that did not arrive, but were made up.
    pub(crate) fn new(bytes: Bytes, now: Instant) -> Chunk {
        Chunk { bytes, arrived: now, position: 0, is_apart: false }
    }

    /// Takes the first `length` bytes away.
    pub(crate) fn split_to(&mut self, length: usize) -> Chunk {
        let bytes = self.bytes.split_to(length);
        let first = Chunk { bytes, ..*self };
        self.position += length as u64;
        first
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The sender closed its side, and the receiver is told so; the other direction may go on.
    Finished,
    /// The receiver is gone. What it sent before is still worth having.
    Broken,
    /// The connection is closed in both directions.
    Closed,
    /// The sender is closed at once; the receiver gets what was sent, then the end, and time to act on it.
    Cut,
    /// The connection is reset in both directions.
    Reset,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Chunk>,
    cost: usize,
    moved: u64,
    /// Set once, when nothing more will come.
    pub(crate) end: Option<End>,
}

impl Queue {
    pub(crate) fn push(&mut self, chunk: Chunk) {
        if chunk.bytes.is_empty() || self.end.is_some() {
            return;
        }
        self.cost += chunk.cost();
        self.moved += 1;
        self.chunks.push_back(chunk);
    }

    pub(crate) fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.cost -= chunk.cost();
        Some(chunk)
    }

    /// Gives back what was not used of the chunk that was popped last.
    pub(crate) fn unpop(&mut self, chunk: Chunk) {
        if !chunk.bytes.is_empty() {
            self.cost += chunk.cost();
            self.chunks.push_front(chunk);
        }
    }

    /// The chunks that may be sent in one go.
    pub(crate) fn next_to_send(&self) -> impl Iterator<Item = &Chunk> {
        let alone = self.chunks.front().is_some_and(|chunk| chunk.is_apart);
        let most = if alone { 1 } else { usize::MAX };
        self.chunks
            .iter()
            .take(most)
            .enumerate()
            .take_while(|(n, chunk)| *n == 0 || !chunk.is_apart)
            .map(|(_, chunk)| chunk)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether more may come in.
    pub(crate) fn has_room(&self) -> bool {
        self.end.is_none() && self.cost < CAPACITY
    }

    /// The end, once everything before it was taken.
    pub(crate) fn ended(&self) -> Option<End> {
        self.end.filter(|_| self.chunks.is_empty())
    }

    pub(crate) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    pub(crate) fn discard(&mut self) {
        self.chunks.clear();
        self.cost = 0;
    }

    /// Removes the first `count` bytes, which were sent.
    pub(crate) fn sent(&mut self, mut count: usize) {
        while count > 0 {
            let Some(mut chunk) = self.pop() else { return };
            let gone = count.min(chunk.len());
            chunk.split_to(gone);
            count -= gone;
            self.unpop(chunk);
        }
    }

    /// Moves everything on, the end included.
    pub(crate) fn pour_into(&mut self, next: &mut Queue) {
        while let Some(chunk) = self.pop() {
            next.push(chunk);
        }
        if let Some(end) = self.end.take() {
            next.finish(end);
        }
    }

    /// Chunks that ever came in: whether something moved is seen by comparing.
    pub(crate) fn moved(&self) -> u64 {
        self.moved + u64::from(self.end.is_some())
    }
}
