//! Protocols, as far as faults on messages and recordings need them: where messages begin and end, and which of them match.
//!
//! Parsers work on bytes as they come, keep a bounded state, and give up for good on what does not look like their protocol.

pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod websocket;

use std::{
    collections::VecDeque,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{Action, MessageFault, Messages, Postgres, Redis, Stream, WebSocket, When, recording};

/// Bytes of a message that are looked at where it has a text.
const HEAD: usize = 4096;

/// One direction of a protocol.
pub(crate) trait Protocol: Debug + Send {
    /// How many of these bytes belong to the message at hand, at least one, and whether it ends with them.
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Foreign>;

    /// Bytes of a message that it needs to look at; until they are there, or the message is over, it is held.
    fn head(&self) -> usize {
        HEAD
    }

    /// Looks at a message by its first bytes: [`head`](Protocol::head) at least, or all of them. Called once for each message.
    fn look(&mut self, head: &[u8]) -> Look;

    /// Makes the message that was looked at last fail. Gives what is sent in its place or, when it is sent on, behind it; `None` when
    /// such a message can't fail.
    fn fail(&mut self, when: When) -> Option<Bytes>;

    /// Whether the receiver has all that it needs to act on the message that matched last.
    fn is_settled(&self) -> bool {
        true
    }

    /// Whether an injected failure is over, so that nothing has to be dropped or replaced any more.
    fn is_at_rest(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advance {
    pub(crate) used: usize,
    pub(crate) complete: bool,
}

/// These bytes are of another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign;

/// What a look at a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    Other,
    Matches,
    /// A failure that was injected before makes it go away.
    Gone,
    /// A failure that was injected before puts this in its place.
    Instead(Bytes),
    /// A failure that was injected before puts this ahead of it.
    Behind(Bytes),
}

/// Answers that are to be replaced by errors: noted by the side of the requests, carried out by the side of the answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan(Arc<Mutex<Planned>>);

#[derive(Debug, Default)]
struct Planned {
    /// Which answers, in order: a number in the connection, and one within that.
    answers: VecDeque<(u64, u64)>,
    /// Set once answers can't be told from other messages any more.
    lost_track: bool,
}

/// Failures that may wait for their answers.
const MAX_PLANNED: usize = 1024;

impl Plan {
    fn add(&self, answer: (u64, u64)) {
        let mut planned = self.lock();
        if !planned.lost_track && planned.answers.len() < MAX_PLANNED {
            planned.answers.push_back(answer);
        }
    }

    /// The next answer to be replaced, if it is not before `now`, which has passed.
    fn next(&self, now: u64) -> Option<(u64, u64)> {
        let planned = &mut self.lock().answers;
        while planned.pop_front_if(|(number, _)| *number < now).is_some() {}
        planned.front().copied()
    }

    fn done(&self) {
        self.lock().answers.pop_front();
    }

    fn lose_track(&self) {
        *self.lock() = Planned { answers: VecDeque::new(), lost_track: true };
    }

    fn is_empty(&self) -> bool {
        self.lock().answers.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Planned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parser that finds the messages of a fault. `at_start`: the connection has just begun.
pub(crate) fn requests(
    fault: &MessageFault,
    stream: Stream,
    at_start: bool,
    plan: Plan,
) -> Box<dyn Protocol> {
    match &fault.messages {
        Messages::Redis(messages) => Box::new(redis::Commands::new(messages, plan)),
        Messages::Postgres(messages @ Postgres::Backend { .. }) => {
            Box::new(postgres::Backend::new(Some(messages), at_start, plan, fault.error()))
        }
        Messages::Postgres(messages) => Box::new(postgres::Frontend::new(messages, at_start, plan)),
        Messages::WebSocket(messages) => Box::new(websocket::Frames::new(messages, stream, at_start)),
    }
}

/// The parsers that find where the messages of a protocol begin and end, of the client's side and of the server's.
pub(crate) fn bounds(protocol: recording::Protocol) -> [Box<dyn Protocol>; 2] {
    let plan = Plan::default;
    match protocol {
        recording::Protocol::Postgres => {
            let nothing = Postgres::Query(String::new());
            let requests = postgres::Frontend::new(&nothing, true, plan());
            [Box::new(requests), Box::new(postgres::Backend::new(None, true, plan(), None))]
        }
        recording::Protocol::Redis => {
            let requests = redis::Commands::new(&Redis::any(), plan());
            [Box::new(requests), Box::new(redis::Replies::new(plan(), None))]
        }
        recording::Protocol::WebSocket => {
            let frames = |stream| Box::new(websocket::Frames::new(&WebSocket::any(), stream, true));
            [frames(Stream::Upstream), frames(Stream::Downstream)]
        }
    }
}

/// The parser that replaces the answers to failed messages, where they are on the other stream.
pub(crate) fn answers(fault: &MessageFault, at_start: bool, plan: Plan) -> Option<Box<dyn Protocol>> {
    if !matches!(fault.action, Action::Fail { .. }) {
        return None;
    }
    match &fault.messages {
        Messages::Redis(_) => Some(Box::new(redis::Replies::new(plan, fault.error()))),
        Messages::Postgres(Postgres::Query(_) | Postgres::Frontend { .. }) => {
            Some(Box::new(postgres::Backend::new(None, at_start, plan, fault.error())))
        }
        _ => None,
    }
}
