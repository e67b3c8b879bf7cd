//! The taps on one connection.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    Log, Outcome, Protocol, What, postgres::PostgresTalk, redis::RedisTalk, websocket::WebSocketTalk,
};
use crate::{Stream, protocol::Foreign};

/// What a tap makes of both directions of a connection.
pub(super) trait Talk: std::fmt::Debug + Send {
    /// Takes a piece of a stream.
    fn saw(&mut self, stream: Stream, bytes: &[u8], notes: &Notes<'_>) -> Result<(), Lost>;

    /// Nothing that was asked until now will be answered, as far as can be told.
    fn settle(&mut self, outcome: &Outcome, notes: &Notes<'_>);
}

/// A connection can't be followed any more.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lost {
    /// It is worth a note.
    Because(&'static str),
    /// It was never meant.
    Quietly,
}

impl From<Foreign> for Lost {
    fn from(Foreign: Foreign) -> Self {
        Lost::Because("it does not speak the protocol that is recorded; it may be encrypted")
    }
}

/// Where a connection's entries go.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    pub(super) log: &'a Log,
    connection: u64,
    pub(super) now: Instant,
}

impl Notes<'_> {
    pub(super) fn push(&self, stream: Stream, what: What) -> u64 {
        self.log.push(self.now, self.connection, stream, what)
    }

    /// Says what became of a statement or a command.
    pub(super) fn answer(&self, number: u64, outcome: Outcome, took: Duration) {
        self.log.change(number, |what| {
            if let Some((was, time)) = what.answer() {
                (*was, *time) = (outcome, Some(took));
            }
        });
    }
}

/// The taps on one connection; mostly none.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    ears: Vec<Ear>,
}

#[derive(Debug)]
struct Ear {
    log: Weak<Log>,
    connection: u64,
    talk: Box<dyn Talk>,
}

impl Listening {
    pub(crate) fn new(connection: u64, logs: impl Iterator<Item = Arc<Log>>) -> Self {
        let ears = logs.map(|log| Ear {
            connection,
            talk: match log.tap().protocol() {
                Protocol::Postgres => Box::new(PostgresTalk::new(log.tap())),
                Protocol::Redis => Box::new(RedisTalk::new(log.tap())),
                Protocol::WebSocket => Box::new(WebSocketTalk::new(log.tap())),
            },
            log: Arc::downgrade(&log),
        });
        Listening { ears: ears.collect() }
    }

    /// A piece of a stream was read.
    pub(crate) fn saw(&mut self, stream: Stream, bytes: &[u8]) {
        if !self.ears.is_empty() {
            self.listen(stream, bytes);
        }
    }

    /// The server has ended what it sends, and the client is about to hear of it.
    pub(crate) fn server_ended(&mut self) {
        for ear in &mut self.ears {
            ear.server_ended();
        }
    }

    #[cold]
    fn listen(&mut self, stream: Stream, bytes: &[u8]) {
        let now = Instant::now();
        self.ears.retain_mut(|ear| {
            let Some(log) = ear.log.upgrade() else { return false };
            let notes = Notes { log: &log, connection: ear.connection, now };
            let Err(lost) = ear.talk.saw(stream, bytes, &notes) else { return true };
            if let Lost::Because(why) = lost {
                ear.talk.settle(&Outcome::NotFollowed, &notes);
                notes.push(stream, What::NotUnderstood { why });
            }
            false
        });
    }
}

impl Ear {
    fn server_ended(&mut self) {
        if let Some(log) = self.log.upgrade() {
            let notes = Notes { log: &log, connection: self.connection, now: Instant::now() };
            self.talk.settle(&Outcome::NoAnswer, &notes);
        }
    }
}

impl Drop for Listening {
    /// However a connection ends, what is unanswered stays so.
    fn drop(&mut self) {
        self.server_ended();
    }
}
