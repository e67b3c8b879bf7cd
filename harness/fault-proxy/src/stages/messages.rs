//! Faults on messages: each message is looked at, and passes, goes, waits or comes twice.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{Retired, Stage, later};
use crate::{
    Action, MessageFault, REORDER_PATIENCE, When, Which,
    decisions::{Decided, Dice},
    faults::Installed,
    protocol::{Look, Protocol},
    queue::{Chunk, End, Queue},
};

/// The longest message that is held as a whole, in bytes; a longer one is neither duplicated nor moved.
const MAX_WHOLE: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct OnMessages {
    protocol: Box<dyn Protocol>,
    /// `None` where the answers to failed messages are replaced, and nothing else happens.
    fault: Option<(MessageFault, Arc<Installed>)>,
    dice: Dice,
    /// The stream is not of the protocol: everything passes.
    is_foreign: bool,
    is_retiring: bool,
    /// What is known of the message at hand; `None` while too little of it has come.
    fate: Option<Fate>,
    held: Held,
    /// What leaves before anything else, once the wait is over.
    ready: Option<Chunk>,
    waits_until: Option<Instant>,
    /// A message that the next one overtakes, and until when.
    overtaken: Option<(Chunk, Instant)>,
    /// Messages that matched.
    matched: u64,
    /// The connection is cut as soon as the message has all that it needs to take effect.
    cuts_when_settled: bool,
}

/// What happens to the rest of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Passes,
    Goes,
    /// It is collected, to be sent twice or later.
    Doubles,
    IsOvertaken,
    /// It passes, and this happens behind it.
    Then(Behind),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Behind {
    Sends(Bytes),
    Waits(Duration),
    Cuts,
}

/// The beginning of a message, or all of it.
#[derive(Debug, Default)]
struct Held {
    bytes: BytesMut,
    since: Option<(Instant, u64)>,
}

impl Held {
    fn add(&mut self, piece: &Chunk) {
        self.since.get_or_insert((piece.arrived, piece.position));
        self.bytes.extend_from_slice(&piece.bytes);
    }

    fn take(&mut self) -> Option<Chunk> {
        let (arrived, position) = self.since.take()?;
        Some(Chunk { arrived, position, ..Chunk::new(self.bytes.split().freeze(), arrived) })
    }
}

impl OnMessages {
    pub(super) fn new(
        protocol: Box<dyn Protocol>,
        fault: Option<(MessageFault, Arc<Installed>)>,
        dice: Dice,
    ) -> Self {
        OnMessages {
            protocol,
            fault,
            dice,
            is_foreign: false,
            is_retiring: false,
            fate: None,
            held: Held::default(),
            ready: None,
            waits_until: None,
            overtaken: None,
            matched: 0,
            cuts_when_settled: false,
        }
    }

    /// Takes one message, or the piece of it that is there.
    fn take(&mut self, mut chunk: Chunk, input: &mut Queue, output: &mut Queue, now: Instant) {
        if self.is_foreign {
            return output.push(chunk);
        }
        let Ok(advance) = self.protocol.advance(&chunk.bytes) else {
            self.is_foreign = true;
            self.let_go(output);
            return output.push(chunk);
        };
        let piece = chunk.split_to(advance.used);
        input.unpop(chunk);
        match self.fate {
            None => {
                self.held.add(&piece);
                if advance.complete || self.held.bytes.len() >= self.protocol.head() {
                    self.decide(output, now);
                }
            }
            Some(Fate::Passes | Fate::Then(_)) => output.push(piece),
            Some(Fate::Goes) => {}
            Some(Fate::Doubles | Fate::IsOvertaken) => {
                self.held.add(&piece);
                if self.held.bytes.len() > MAX_WHOLE {
                    self.fate = Some(Fate::Passes);
                    self.send_held(output);
                }
            }
        }
        if advance.complete {
            self.complete(output, now);
        }
    }

    /// Looks at the message at hand and says what becomes of it.
    fn decide(&mut self, output: &mut Queue, now: Instant) {
        let look = self.protocol.look(&self.held.bytes);
        let fate = match look {
            Look::Matches => self.act(output, now),
            Look::Other => Fate::Passes,
            Look::Gone => Fate::Goes,
            Look::Instead(bytes) => {
                output.push(Chunk::new(bytes, now));
                Fate::Goes
            }
            Look::Behind(bytes) => {
                output.push(Chunk::new(bytes, now));
                Fate::Passes
            }
        };
        match fate {
            Fate::Goes => drop(self.held.take()),
            // A delayed message waits as what is ready.
            Fate::Passes if self.waits_until.is_some() => self.ready = self.held.take(),
            Fate::Passes | Fate::Then(_) => self.send_held(output),
            Fate::Doubles | Fate::IsOvertaken => {}
        }
        self.fate = Some(fate);
    }

    /// A message matches: is it one that the fault is for, and what happens to it?
    fn act(&mut self, output: &mut Queue, now: Instant) -> Fate {
        self.matched += 1;
        let Some((fault, installed)) = &self.fault else { return Fate::Passes };
        let is_meant = match fault.which {
            Which::Every => true,
            Which::Nth(n) => self.matched == n,
            Which::First(n) => self.matched <= n,
        };
        let is_busy = fault.action == Action::Reorder && self.overtaken.is_some();
        if !is_meant || is_busy || self.is_retiring || self.cuts_when_settled {
            return Fate::Passes;
        }
        let limit = fault.at_most.unwrap_or(u64::MAX);
        let another = |hits: u64| (hits < limit).then(|| hits + 1);
        if installed.hits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another).is_err() {
            return Fate::Passes;
        }
        let name = fault.action.name();
        self.dice.note(self.matched, || Decided::Message(name));
        match (&fault.action, fault.when) {
            (Action::Fail { .. }, when) => match (self.protocol.fail(when), when) {
                (None, _) => Fate::Passes,
                (Some(bytes), When::Before) => {
                    output.push(Chunk::new(bytes, now));
                    Fate::Goes
                }
                (Some(bytes), When::After) => Fate::Then(Behind::Sends(bytes)),
            },
            (Action::Delay(delay), When::Before) => {
                self.waits_until = Some(later(now, *delay));
                Fate::Passes
            }
            (Action::Delay(delay), When::After) => Fate::Then(Behind::Waits(*delay)),
            (Action::Cut, When::Before) => {
                output.finish(End::Cut);
                Fate::Goes
            }
            (Action::Cut, When::After) => Fate::Then(Behind::Cuts),
            (Action::Drop, _) => Fate::Goes,
            (Action::Duplicate, _) => Fate::Doubles,
            (Action::Reorder, _) => Fate::IsOvertaken,
        }
    }

    /// A message is over.
    fn complete(&mut self, output: &mut Queue, now: Instant) {
        match self.fate.take() {
            Some(Fate::Then(Behind::Sends(bytes))) => output.push(Chunk::new(bytes, now)),
            Some(Fate::Then(Behind::Waits(delay))) => self.waits_until = Some(later(now, delay)),
            Some(Fate::Then(Behind::Cuts)) => self.cuts_when_settled = true,
            Some(Fate::Doubles) => {
                if let Some(message) = self.held.take() {
                    output.push(message.clone());
                    output.push(message);
                }
            }
            Some(Fate::IsOvertaken) => {
                self.overtaken = self.held.take().map(|message| (message, later(now, REORDER_PATIENCE)));
                return;
            }
            Some(Fate::Passes | Fate::Goes) | None => {}
        }
        if self.cuts_when_settled && self.protocol.is_settled() {
            output.finish(End::Cut);
        }
        if let Some((message, _)) = self.overtaken.take() {
            output.push(message);
        }
    }

    fn send_held(&mut self, output: &mut Queue) {
        if let Some(chunk) = self.held.take() {
            output.push(chunk);
        }
    }

    /// Lets everything go that is held, in the order in which it would have gone.
    fn let_go(&mut self, output: &mut Queue) {
        self.waits_until = None;
        let overtaken = self.overtaken.take().map(|(message, _)| message);
        [self.ready.take(), overtaken].into_iter().flatten().for_each(|chunk| output.push(chunk));
        if matches!(self.fate, Some(Fate::Doubles | Fate::IsOvertaken)) {
            self.fate = Some(Fate::Passes);
        }
        self.send_held(output);
    }
}

impl Stage for OnMessages {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant> {
        while output.has_room() {
            if let Some(until) = self.waits_until {
                if until > now {
                    return Some(until);
                }
                self.waits_until = None;
            }
            if let Some(chunk) = self.ready.take() {
                output.push(chunk);
            }
            let Some(chunk) = input.pop() else { break };
            self.take(chunk, input, output, now);
        }
        if let Some((_, until)) = &self.overtaken {
            if *until > now {
                // The end of the stream is a reason not to wait any longer.
                if input.ended().is_none() {
                    return Some(*until);
                }
            }
            self.overtaken.take().into_iter().for_each(|(message, _)| output.push(message));
        }
        if self.waits_until.is_none()
            && self.ready.is_none()
            && let Some(end) = input.ended()
        {
            self.let_go(output);
            output.finish(end);
        }
        None
    }

    fn retire(&mut self, output: &mut Queue) -> Retired {
        self.is_retiring = true;
        // Half a message has gone already, or half an answer: the rest has to follow it.
        let is_amid = self.fate == Some(Fate::Goes) || !self.protocol.is_at_rest() || self.cuts_when_settled;
        self.let_go(output);
        if is_amid && !self.is_foreign { Retired::Lingers } else { Retired::Gone }
    }
}

#[cfg(test)]
mod tests;
