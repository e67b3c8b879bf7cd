//! Which commands a Redis connection carried, and which of them were refused.
//!
//! Source: "Redis serialization protocol specification", redis.io.

use std::{collections::VecDeque, time::Instant};

use super::{
    Command, Excerpt, Outcome, Tap, What,
    listening::{Lost, Notes, Talk},
    splitter::{Splitter, Whole},
};
use crate::{
    Stream,
    protocol::{
        bounds,
        redis::{UNCOUNTED, measured_arguments},
    },
};

/// Commands of a connection that wait for their answers.
const MAX_WAITING: usize = 65_536;
/// Bytes of a reply that are looked at: an error is a line.
const REPLY: usize = 512;
/// The longest name of a command that is kept, in bytes.
const MAX_COMMAND: usize = 64;

#[derive(Debug)]
pub(super) struct RedisTalk {
    requests: Splitter,
    answers: Splitter,
    exchange: Exchange,
}

#[derive(Debug)]
struct Exchange {
    limit: usize,
    waiting: VecDeque<(u64, Instant)>,
    /// Messages come that answer nothing, or answers do not come.
    is_uncounted: bool,
}

impl RedisTalk {
    pub(super) fn new(tap: &Tap) -> Self {
        let [requests, answers] = bounds(tap.protocol());
        RedisTalk {
            requests: Splitter::new(requests, tap.excerpt + MAX_COMMAND),
            answers: Splitter::new(answers, tap.excerpt.min(REPLY)),
            exchange: Exchange { limit: tap.excerpt, waiting: VecDeque::new(), is_uncounted: false },
        }
    }
}

impl Talk for RedisTalk {
    fn saw(&mut self, stream: Stream, mut bytes: &[u8], notes: &Notes<'_>) -> Result<(), Lost> {
        let RedisTalk { requests, answers, exchange } = self;
        match stream {
            Stream::Upstream => {
                while let Some(asked) = requests.next(&mut bytes, |whole| exchange.asked(whole, notes))? {
                    asked?;
                }
            }
            Stream::Downstream => {
                while answers.next(&mut bytes, |whole| exchange.answered(whole, notes))?.is_some() {}
            }
        }
        Ok(())
    }

    fn settle(&mut self, outcome: &Outcome, notes: &Notes<'_>) {
        self.exchange.settle(outcome, notes);
    }
}

impl Exchange {
    fn asked(&mut self, whole: Whole<'_>, notes: &Notes<'_>) -> Result<(), Lost> {
        let mut arguments = measured_arguments(whole.head);
        // An empty line gets no answer.
        let Some((name, length)) = arguments.next().filter(|(name, _)| !name.is_empty()) else {
            return Ok(());
        };
        let name = name.to_ascii_uppercase();
        let arguments: Vec<_> = arguments.take(MAX_LOOKED_AT).collect();
        let turns_off = name == b"CLIENT"
            && arguments.first().is_some_and(|(first, _)| first.eq_ignore_ascii_case(b"REPLY"));
        if turns_off || UNCOUNTED.iter().any(|known| name == known.as_bytes()) {
            self.is_uncounted = true;
            self.settle(&Outcome::NotFollowed, notes);
        }
        let key = key(&name, &arguments).map(|(key, length)| Excerpt::of(key, length, self.limit));
        let outcome = if self.is_uncounted { Outcome::NotFollowed } else { Outcome::Pending };
        let name = Excerpt::of(&name, length, MAX_COMMAND);
        let number = notes.push(Stream::Upstream, What::Command(Command { name, key, outcome, took: None }));
        if !self.is_uncounted {
            if self.waiting.len() >= MAX_WAITING {
                return Err(Lost::Because("more than 65,536 commands wait for their answers"));
            }
            self.waiting.push_back((number, notes.now));
        }
        Ok(())
    }

    fn answered(&mut self, whole: Whole<'_>, notes: &Notes<'_>) {
        let kind = whole.head.first();
        // A push answers nothing.
        if self.is_uncounted || kind == Some(&b'>') {
            return;
        }
        let Some((number, at)) = self.waiting.pop_front() else { return };
        let outcome = match kind {
            Some(b'-' | b'!') => self.error(whole),
            _ => Outcome::Done { tag: Excerpt::default() },
        };
        notes.answer(number, outcome, notes.now.saturating_duration_since(at));
    }

    /// An error: a line, or a text of a length that comes ahead of it.
    fn error(&self, whole: Whole<'_>) -> Outcome {
        let text = whole.head.strip_prefix(b"-").unwrap_or_else(|| {
            let end = whole.head.iter().position(|byte| *byte == b'\n').map_or(whole.head.len(), |at| at + 1);
            &whole.head[end..]
        });
        let missing = whole.length - whole.head.len() as u64;
        let text = if missing == 0 { text.trim_ascii_end() } else { text };
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        let (code, message) = (&text[..end], text[end..].trim_ascii_start());
        Outcome::Failed {
            code: Excerpt::of(code, code.len() as u64, self.limit),
            message: Excerpt::of(message, message.len() as u64 + missing, self.limit),
        }
    }

    fn settle(&mut self, outcome: &Outcome, notes: &Notes<'_>) {
        for (number, at) in self.waiting.drain(..) {
            notes.answer(number, outcome.clone(), notes.now.saturating_duration_since(at));
        }
    }
}

/// Arguments that are looked at to find the first key.
const MAX_LOOKED_AT: usize = 16;

/// The first key of a command. No part of a password or of a value is one.
fn key<'a>(name: &[u8], arguments: &[(&'a [u8], u64)]) -> Option<(&'a [u8], u64)> {
    match name {
        b"AUTH" | b"HELLO" | b"ECHO" | b"PING" | b"MIGRATE" => None,
        b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL" | b"FCALL_RO" => {
            // A script, how many keys it has, and those.
            arguments.get(2).filter(|_| arguments[1].0 != b"0").copied()
        }
        b"XREAD" | b"XREADGROUP" => {
            let streams = arguments.iter().position(|(word, _)| word.eq_ignore_ascii_case(b"STREAMS"))?;
            arguments.get(streams + 1).copied()
        }
        b"BITOP" | b"OBJECT" | b"XGROUP" | b"XINFO" => arguments.get(1).copied(),
        _ => arguments.first().copied(),
    }
}
