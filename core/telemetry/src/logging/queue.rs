//! The bounded queue between those who log and the thread that writes.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Counts, line::Line};

/// The most that waiting lines take, in bytes.
const MAX_BYTES: usize = 32 << 20;

/// The most lines that are written at once.
const MAX_BATCH: usize = 512;

/// The most that is written at once, in bytes.
const MAX_BATCH_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Queue {
    max_lines: usize,
    state: Mutex<State>,
    /// There is something to do for the writer.
    work: Condvar,
    /// The writer has done something.
    done: Condvar,
    pub(super) counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines taken in, and lines that the writer is done with, since the start.
    pushed: u64,
    settled: u64,
    /// Up to this line somebody waits.
    hurry: u64,
    waiting: bool,
    stopping: bool,
    stopped: bool,
}

impl Queue {
    pub(super) fn new(max_lines: usize, counts: Arc<Counts>) -> Self {
        let state = Mutex::default();
        Queue { max_lines, state, work: Condvar::new(), done: Condvar::new(), counts }
    }

    /// Takes a line in, or drops and counts it.
    pub(super) fn push(&self, line: Line) {
        let size = line.size();
        let mut state = self.lock();
        if state.stopping || state.lines.len() >= self.max_lines || state.bytes + size > MAX_BYTES {
            drop(state);
            Counts::add(&self.counts.dropped, 1);
            return;
        }
        state.lines.push_back(line);
        state.bytes += size;
        state.pushed += 1;
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// The next lines, once there are some; `None` at the end. Waits up to `linger` for more to come along.
    pub(super) fn next(&self, linger: Duration) -> Option<Vec<Line>> {
        let mut state = self.lock();
        while state.lines.is_empty() {
            if state.stopping {
                return None;
            }
            state.waiting = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + linger;
        while state.lines.len() < MAX_BATCH && !state.stopping && state.hurry <= state.settled {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // Lines that come in do not wake the writer here: it would wake for each of them.
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut batch = Vec::with_capacity(state.lines.len().min(MAX_BATCH));
        let mut bytes = 0;
        while batch.len() < MAX_BATCH
            && bytes < MAX_BATCH_BYTES
            && let Some(line) = state.lines.pop_front()
        {
            bytes += line.size();
            batch.push(line);
        }
        state.bytes -= bytes;
        Some(batch)
    }

    /// The writer is done with so many lines.
    pub(super) fn settle(&self, lines: usize) {
        self.lock().settled += lines as u64;
        self.done.notify_all();
    }

    /// Waits before the writer tries again; false if the end has come.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        let mut state = self.lock();
        while !state.stopping {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// The writer has ended.
    pub(super) fn stopped(&self) {
        self.lock().stopped = true;
        self.done.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopping
    }

    /// Waits until the lines so far are settled.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        let upto = state.pushed;
        state.hurry = state.hurry.max(upto);
        self.work.notify_all();
        while state.settled < upto && !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.settled >= upto
    }

    /// Takes nothing in any more, and waits until the writer has ended. What it has not written by then counts as failed.
    pub(super) fn stop(&self, deadline: Instant) {
        let mut state = self.lock();
        state.stopping = true;
        self.work.notify_all();
        while !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let lost = state.pushed - state.settled;
                drop(state);
                Counts::add(&self.counts.failed, lost as usize);
                super::writer::to_stderr(&format!("{lost} log lines were not written before the end"));
                return;
            }
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
