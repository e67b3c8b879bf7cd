//! The toxics of one direction, one stage after the other.

use std::{sync::Arc, time::Instant};

use crate::{
    Stream,
    faults::{Installed, Meetings},
    queue::{Chunk, End, Queue},
    stages::{self, Retired, Stage},
};

/// Stages with a queue before each and one behind the last.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    slots: Vec<Slot>,
    pub(crate) out: Queue,
}

#[derive(Debug)]
struct Slot {
    installed: Arc<Installed>,
    input: Queue,
    stage: Box<dyn Stage>,
    /// The toxic is gone and the stage is still in the middle of something.
    lingers: bool,
}

impl Chain {
    /// Whether a stream with these toxics needs a chain at all.
    pub(crate) fn is_needed(meetings: &Meetings, stream: Stream) -> bool {
        meetings.iter().any(|met| stages::has_stage(met, stream))
    }

    /// Takes over the toxics as they are now. Stages whose toxic did not change keep what they hold and know; what the
    /// others hold goes on.
    pub(crate) fn rebuild(&mut self, meetings: &Meetings, stream: Stream, at_start: bool) {
        let is_wanted = |slot: &Slot| meetings.iter().any(|met| Arc::ptr_eq(&met.installed, &slot.installed));
        for at in (0..self.slots.len()).rev() {
            if !is_wanted(&self.slots[at]) && !self.slots[at].lingers {
                self.retire(at);
            }
        }
        let mut old = std::mem::take(&mut self.slots);
        for met in meetings.iter() {
            let known = old.iter().position(|slot| Arc::ptr_eq(&slot.installed, &met.installed));
            if let Some(at) = known {
                // What lingers before it stays before it.
                self.slots.extend(old.drain(..=at));
            } else if let Some(stage) = stages::stage(met, stream, at_start) {
                let (installed, input) = (met.installed.clone(), Queue::default());
                self.slots.push(Slot { installed, input, stage, lingers: false });
            }
        }
        self.slots.extend(old);
    }

    /// Lets everything move that may move at `now`. Gives whether something did, and when to call again.
    pub(crate) fn step(&mut self, now: Instant) -> (bool, Option<Instant>) {
        let (mut moved, mut wake) = (false, None);
        for at in 0..self.slots.len() {
            let (before, behind) = self.slots.split_at_mut(at + 1);
            let Slot { input, stage, .. } = &mut before[at];
            let output = behind.first_mut().map_or(&mut self.out, |next| &mut next.input);
            let mark = output.moved();
            let due = stage.step(input, output, now);
            moved |= output.moved() != mark;
            wake = wake.into_iter().chain(due).min();
        }
        for at in (0..self.slots.len()).rev() {
            if self.slots[at].lingers {
                self.slots[at].lingers = false;
                self.retire(at);
            }
        }
        (moved, wake)
    }

    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.first().push(chunk);
    }

    pub(crate) fn finish(&mut self, end: End) {
        self.first().finish(end);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.slots.first().map_or(&self.out, |slot| &slot.input).has_room()
    }

    /// Whether it does nothing and holds nothing any more.
    pub(crate) fn is_spent(&self) -> bool {
        self.slots.is_empty() && self.out.is_empty() && self.out.end.is_none()
    }

    fn first(&mut self) -> &mut Queue {
        self.slots.first_mut().map_or(&mut self.out, |slot| &mut slot.input)
    }

    fn retire(&mut self, at: usize) {
        let (before, behind) = self.slots.split_at_mut(at + 1);
        let Slot { input, stage, lingers, .. } = &mut before[at];
        let next = behind.first_mut().map_or(&mut self.out, |next| &mut next.input);
        match stage.retire(next) {
            Retired::Lingers => {
                *lingers = true;
                return;
            }
            Retired::Gone => input.pour_into(next),
            Retired::Closes => next.finish(End::Closed),
        }
        self.slots.remove(at);
    }
}
