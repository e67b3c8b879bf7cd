//! Faults that know the protocol: which messages they are for, and what happens to those.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_fault_proxy::{Postgres, Redis, Stream, Toxic, WebSocket};
//!
//! // The server commits, and the client never hears of it: once, on the first COMMIT of a connection.
//! let lost_commit: Toxic = Toxic::cut(Postgres::query("COMMIT")).after_sending().nth(1).once().into();
//! assert_eq!(lost_commit.name(), "postgres_upstream");
//! assert_eq!(lost_commit.stream(), Stream::Upstream);
//!
//! let busy: Toxic = Toxic::fail(Redis::command("EVALSHA")).with_error("BUSY a script runs").first(3).into();
//! let late: Toxic = Toxic::delay(WebSocket::text(), Duration::from_millis(200)).into();
//! # let _ = (busy, late);
//! ```

use std::time::Duration;

use crate::{Stream, protocol::postgres};

/// The longest text that a matcher looks for and the longest error that is injected, in bytes.
pub const MAX_TEXT: usize = 1024;

/// A fault on messages of a protocol. What does not look like the protocol (TLS, for one) passes unchanged.
///
/// Messages are counted per connection, from the moment at which the toxic meets the connection, and a connection that
/// lives already is taken to be between two messages then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFault {
    /// The messages that count.
    pub messages: Messages,
    /// What happens to them.
    pub action: Action,
    /// Whether it happens before or after the message was sent on.
    pub when: When,
    /// Which of them it happens to.
    pub which: Which,
    /// How often it happens at most, over all connections of the proxy: those that come first have it. `None` means
    /// no limit, and then no connection depends on another.
    pub at_most: Option<u64>,
}

/// Messages of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Messages {
    /// Commands of a Redis client; on the wire, toxic type `redis`.
    Redis(Redis),
    /// Messages of a Postgres client or server; on the wire, toxic type `postgres`.
    Postgres(Postgres),
    /// Frames of a WebSocket; on the wire, toxic type `websocket`.
    WebSocket(WebSocket),
}

/// Redis commands (RESP 2 and 3, or inline).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// The command's name in any case, or empty for every command. Attribute `command`.
    pub command: String,
    /// What its first argument, mostly the key, starts with; empty for any. Attribute `key`.
    pub key: String,
}

/// Postgres messages (protocol 3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Postgres {
    /// A statement that runs: a Query message, or the Execute of a prepared one, whose SQL starts with this text. Case and leading
    /// space do not matter. Statements prepared before the toxic met the connection are not known. Attribute `query`.
    Query(String),
    /// A message of the client. Attributes `message` (its name in the documentation, for example `Parse`) and `text`.
    Frontend {
        /// The message's name, for example `Parse`.
        message: String,
        /// What the SQL of a Query or Parse starts with; empty for any.
        text: String,
    },
    /// A message of the server. Attributes `answer` (its name, for example `CommandComplete`) and `text`.
    Backend {
        /// The message's name, for example `CommandComplete`.
        message: String,
        /// What the tag of a CommandComplete starts with; empty for any.
        text: String,
    },
}

/// WebSocket frames (RFC 6455).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// The frames' kind. Attribute `frame`.
    pub frame: Frame,
    /// What the payload starts with; empty for any. Compressed frames have no text to match. Attribute `text`.
    pub text: String,
}

/// A kind of WebSocket frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Any frame.
    Any,
    /// A text frame.
    Text,
    /// A binary frame.
    Binary,
    /// A close frame.
    Close,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

/// What happens to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It fails. Before sending, the server never sees it; after sending, the server carries it out and the client gets an error all
    /// the same. A Redis command fails with this error (default `ERR injected fault`), a Postgres statement with this SQLSTATE
    /// (default `58000`), and a WebSocket is closed with code 1011. On the wire, action `fail` and attribute `error`.
    Fail {
        /// The error's text or code; `None` for the default.
        error: Option<String>,
    },
    /// It waits, and with it all that follows it; after sending, only what follows. Action `delay`, attribute `delay`
    /// in milliseconds.
    Delay(Duration),
    /// The connection is closed. After sending, the server gets the message whole and time to carry it out, while the client is
    /// closed at once and hears no answer. Action `cut`.
    Cut,
    /// The message is gone without a word. Action `drop`.
    Drop,
    /// The message is sent twice. Action `duplicate`.
    Duplicate,
    /// The message changes places with the next one; it goes alone when none comes within the toxic's lifetime or
    /// [`REORDER_PATIENCE`](crate::REORDER_PATIENCE). Action `reorder`.
    Reorder,
}

/// Whether something happens before or after a message is sent on. On the wire, attribute `when`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// Before, so that the receiver does not get the message. `before`, the default.
    #[default]
    Before,
    /// After, so that the receiver has the whole message. `after`.
    After,
}

/// Which of the messages that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// Every one.
    #[default]
    Every,
    /// The n-th on each connection, counted from 1. Attribute `nth`.
    Nth(u64),
    /// The first n on each connection. Attribute `first`.
    First(u64),
}

impl Redis {
    /// Commands of this name, in any case.
    pub fn command(name: impl Into<String>) -> Self {
        Redis { command: name.into(), key: String::new() }
    }

    /// Every command.
    pub fn any() -> Self {
        Redis::command("")
    }

    /// Only commands whose first argument starts with this.
    pub fn with_key(mut self, prefix: impl Into<String>) -> Self {
        self.key = prefix.into();
        self
    }
}

impl Postgres {
    /// Statements that run and whose SQL starts with this; see [`Postgres::Query`].
    pub fn query(starts_with: impl Into<String>) -> Self {
        Postgres::Query(starts_with.into())
    }

    /// Messages of the client with this name: `Parse`, `Execute`, `Sync`, …
    pub fn message(name: impl Into<String>) -> Self {
        Postgres::Frontend { message: name.into(), text: String::new() }
    }

    /// Messages of the server with this name: `CommandComplete`, `DataRow`, …
    pub fn answer(name: impl Into<String>) -> Self {
        Postgres::Backend { message: name.into(), text: String::new() }
    }

    /// Only those whose SQL, or command tag, starts with this.
    pub fn starting_with(mut self, prefix: impl Into<String>) -> Self {
        match &mut self {
            Postgres::Query(text) | Postgres::Frontend { text, .. } | Postgres::Backend { text, .. } => {
                *text = prefix.into()
            }
        }
        self
    }
}

impl WebSocket {
    /// Frames of any kind.
    pub fn any() -> Self {
        WebSocket::frame(Frame::Any)
    }

    /// Text frames.
    pub fn text() -> Self {
        WebSocket::frame(Frame::Text)
    }

    /// Binary frames.
    pub fn binary() -> Self {
        WebSocket::frame(Frame::Binary)
    }

    /// Frames of this kind.
    pub fn frame(frame: Frame) -> Self {
        WebSocket { frame, text: String::new() }
    }

    /// Only frames whose payload starts with this.
    pub fn starting_with(mut self, prefix: impl Into<String>) -> Self {
        self.text = prefix.into();
        self
    }
}

impl From<Redis> for Messages {
    fn from(messages: Redis) -> Self {
        Messages::Redis(messages)
    }
}

impl From<Postgres> for Messages {
    fn from(messages: Postgres) -> Self {
        Messages::Postgres(messages)
    }
}

impl From<WebSocket> for Messages {
    fn from(messages: WebSocket) -> Self {
        Messages::WebSocket(messages)
    }
}

impl Messages {
    /// The toxic type on the wire: `redis`, `postgres` or `websocket`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Messages::Redis(_) => "redis",
            Messages::Postgres(_) => "postgres",
            Messages::WebSocket(_) => "websocket",
        }
    }

    /// The stream on which such messages flow; a WebSocket's flow on both, and the server's are meant by default.
    pub fn default_stream(&self) -> Stream {
        match self {
            Messages::Redis(_) | Messages::Postgres(Postgres::Query(_) | Postgres::Frontend { .. }) => {
                Stream::Upstream
            }
            Messages::Postgres(Postgres::Backend { .. }) | Messages::WebSocket(_) => Stream::Downstream,
        }
    }

    fn texts(&self) -> [(&'static str, &str); 2] {
        match self {
            Messages::Redis(Redis { command, key }) => [("command", command), ("key", key)],
            Messages::Postgres(Postgres::Query(text)) => [("query", text), ("text", "")],
            Messages::Postgres(Postgres::Frontend { message, text }) => {
                [("message", message), ("text", text)]
            }
            Messages::Postgres(Postgres::Backend { message, text }) => [("answer", message), ("text", text)],
            Messages::WebSocket(WebSocket { text, .. }) => [("text", text), ("frame", "")],
        }
    }
}

impl Action {
    /// The action's name on the wire, for example `duplicate`.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Fail { .. } => "fail",
            Action::Delay(_) => "delay",
            Action::Cut => "cut",
            Action::Drop => "drop",
            Action::Duplicate => "duplicate",
            Action::Reorder => "reorder",
        }
    }
}

impl MessageFault {
    /// The error of a failing message, if it is not the default.
    pub(crate) fn error(&self) -> Option<&str> {
        match &self.action {
            Action::Fail { error } => error.as_deref(),
            _ => None,
        }
    }

    /// Checks what can't be told from the types; `Err` has the attribute and what is wrong with it.
    pub(crate) fn check(&self, stream: Stream) -> Result<(), (&'static str, String)> {
        for (attribute, text) in self.messages.texts() {
            if text.len() > MAX_TEXT {
                return Err((
                    attribute,
                    format!("is {} bytes long; at most {MAX_TEXT} are allowed", text.len()),
                ));
            }
        }
        if let Messages::Postgres(messages) = &self.messages {
            postgres::check(messages, matches!(self.action, Action::Fail { .. }))?;
        }
        let natural = self.messages.default_stream();
        if stream != natural && !matches!(self.messages, Messages::WebSocket(_)) {
            return Err((
                "stream",
                format!("must be {}: that is where these messages flow", natural.as_str()),
            ));
        }
        match self.which {
            Which::Nth(0) => return Err(("nth", "is counted from 1".to_owned())),
            Which::First(0) => return Err(("first", "is counted from 1".to_owned())),
            _ => {}
        }
        if let Action::Fail { error: Some(error) } = &self.action {
            self.check_error(error).map_err(|why| ("error", why))?;
        }
        let needs_before = matches!(self.action, Action::Drop | Action::Duplicate | Action::Reorder);
        if needs_before && self.when == When::After {
            return Err(("when", "can only be `before` for this action".to_owned()));
        }
        Ok(())
    }

    fn check_error(&self, error: &str) -> Result<(), String> {
        let plain = error.len() <= MAX_TEXT && !error.chars().any(char::is_control);
        let sqlstate = error.len() == 5
            && error.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
            && !error.starts_with("00");
        match self.messages {
            Messages::Postgres(_) if !sqlstate => {
                Err(format!("`{error:.32}` is no SQLSTATE of an error, for example 40001"))
            }
            _ if error.is_empty() || !plain => {
                Err(format!("must be one line of 1 to {MAX_TEXT} bytes without control characters"))
            }
            _ => Ok(()),
        }
    }
}
