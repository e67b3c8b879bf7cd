//! One line of a recording.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Excerpt;
use crate::Stream;

/// Something that passed through a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its place in the recording, counted from 0.
    pub number: u64,
    /// When the proxy had all of it; of a statement or a command, not yet the answer.
    pub at: Instant,
    /// The same, from the beginning of the recording.
    pub offset: Duration,
    /// The connection's number, counted from 0 in the order of acceptance.
    pub connection: u64,
    /// The direction that it went.
    pub stream: Stream,
    /// What it was.
    pub what: What,
}

/// What passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A statement for Postgres.
    Statement(Statement),
    /// A command for Redis.
    Command(Command),
    /// A WebSocket message.
    Message(Message),
    /// A WebSocket was opened.
    Opened {
        /// The path of the request, without the query, which may hold a token.
        path: Excerpt,
    },
    /// A WebSocket was asked for and refused.
    Refused {
        /// The path of the request, without the query.
        path: Excerpt,
        /// What the server answered: `HTTP/1.1 401 Unauthorized`.
        answer: Excerpt,
    },
    /// Postgres reported an error that belongs to no statement: a login that failed, a constraint that was checked at the end of the
    /// transaction, a shutdown.
    Error {
        /// The SQLSTATE, for example `28P01`.
        sqlstate: Excerpt,
        /// What the server said.
        message: Excerpt,
    },
    /// From here on, the connection was not followed. Its bytes passed all the same.
    NotUnderstood {
        /// Why it was not.
        why: &'static str,
    },
}

/// A statement that a client asked Postgres to run: a simple query, whose text may hold several, or an Execute of a prepared statement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement {
    /// The text, as the client sent it.
    pub sql: Excerpt,
    /// Whether it was prepared (the extended protocol), and not a simple query.
    pub prepared: bool,
    /// The parameters, where [`Tap::with_parameters`](super::Tap::with_parameters) asks for them; `None` for NULL. Those of common types
    /// are shown as text, others as `\x` and hexadecimal digits.
    pub parameters: Option<Arc<[Option<Excerpt>]>>,
    /// What became of it.
    pub outcome: Outcome,
    /// Rows that came back.
    pub rows: u64,
    /// From the Query or Execute to the end of its answer, or to the end of the connection; `None` while it is on its way. Of a portal that
    /// is run in parts, the parts together.
    pub took: Option<Duration>,
}

/// A command that a client sent to Redis. Its values are not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Command {
    /// The command's name, in upper case.
    pub name: Excerpt,
    /// Its first key, or its first argument where that is a channel or a subcommand; never a password.
    pub key: Option<Excerpt>,
    /// What became of it.
    pub outcome: Outcome,
    /// From the command to the end of its answer, or to the end of the connection.
    pub took: Option<Duration>,
}

/// What became of a statement or a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is on its way.
    Pending,
    /// It was carried out.
    Done {
        /// What Postgres says of it, as `INSERT 0 1`; the last one where a query holds several statements. Empty for an empty query, a
        /// portal that was run in part, and Redis.
        tag: Excerpt,
    },
    /// The server answered with an error.
    Failed {
        /// Postgres' SQLSTATE, or the first word of Redis' error: `WRONGTYPE`.
        code: Excerpt,
        /// The rest of what it said.
        message: Excerpt,
    },
    /// It did not run: a statement ahead of it in the same pipeline failed.
    Skipped,
    /// The connection ended before the answer: whether it took effect can't be told from here.
    NoAnswer,
    /// Its answer can't be told from other messages: on a connection that subscribes to channels, or is not understood any more.
    NotFollowed,
}

/// A WebSocket message, its fragments put together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// What kind of message it is.
    pub kind: MessageKind,
    /// The text, or the reason of a close; the bytes of a binary message in hexadecimal digits. Empty when it is compressed.
    pub text: Excerpt,
    /// The length of the message, in bytes.
    pub length: u64,
    /// Whether it is compressed (permessage-deflate), so that its text can't be read.
    pub compressed: bool,
}

/// A kind of WebSocket message. Pings and pongs are not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// The end of what this side sends, with the status, unless it has none.
    Close(Option<u16>),
}

impl What {
    /// The outcome and the time of a statement or a command, to be filled in.
    pub(super) fn answer(&mut self) -> Option<(&mut Outcome, &mut Option<Duration>)> {
        match self {
            What::Statement(statement) => Some((&mut statement.outcome, &mut statement.took)),
            What::Command(command) => Some((&mut command.outcome, &mut command.took)),
            _ => None,
        }
    }
}
