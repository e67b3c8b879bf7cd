//! What passed through a proxy, as a person reads it: statements, commands, messages.
//!
//! A tap only looks. It sees each piece of a stream when the proxy reads it, before toxics and before it is sent on, and whatever the bytes
//! are, they pass as they would without it. What is kept is bounded: in entries, in the length of texts, and in what a connection may
//! leave unanswered.

mod entry;
mod excerpt;
mod listening;
mod log;
mod parameters;
mod postgres;
mod redis;
mod splitter;
mod tap;
#[cfg(test)]
mod tests;
mod websocket;

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Instant,
};

pub use self::{
    entry::{Command, Entry, Message, MessageKind, Outcome, Statement, What},
    excerpt::Excerpt,
    tap::{MAX_ENTRIES, MAX_EXCERPT, Protocol, Tap},
};
pub(crate) use self::{listening::Listening, log::Log};

/// What passed through a proxy on connections that were made since the recording began. Cheap to clone; all clones are the same recording,
/// which ends when the last one is dropped.
///
/// ```no_run
/// use seaworthy_fault_proxy::{Protocol, Proxy, What};
///
/// # fn example(proxy: &Proxy) {
/// let recording = proxy.record(Protocol::Postgres);
/// // … connect and work …
/// let mark = recording.mark();
/// // … work …
/// for entry in recording.since(mark).entries {
///     if let What::Statement(statement) = &entry.what {
///         println!("{:?} {}", entry.offset, statement.sql);
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Recording {
    log: Arc<Log>,
}

/// A place in a recording, between two entries. The default is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(pub(crate) u64);

/// The entries of a recording, or of a part of it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Recorded {
    /// In the order in which they began.
    pub entries: Vec<Arc<Entry>>,
    /// Entries of the same part that made room for later ones.
    pub dropped: u64,
}

impl Recording {
    pub(crate) fn start(proxy: &str, tap: Tap) -> Recording {
        Recording { log: Arc::new(Log::new(proxy, tap)) }
    }

    pub(crate) fn log(&self) -> Weak<Log> {
        Arc::downgrade(&self.log)
    }

    /// The name of the proxy.
    pub fn proxy(&self) -> &str {
        self.log.proxy()
    }

    /// What is recorded, and how much of it.
    pub fn tap(&self) -> &Tap {
        self.log.tap()
    }

    /// When the recording began; the offsets of its entries count from here.
    pub fn began(&self) -> Instant {
        self.log.began()
    }

    /// The end of what is recorded by now.
    pub fn mark(&self) -> Mark {
        Mark(self.log.next())
    }

    /// Everything that is kept.
    pub fn all(&self) -> Recorded {
        self.since(Mark::default())
    }

    /// What began after the mark.
    pub fn since(&self, mark: Mark) -> Recorded {
        self.log.since(mark.0)
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (proxy, tap) = (self.proxy(), self.tap());
        f.debug_struct("Recording").field("proxy", &proxy).field("tap", tap).finish_non_exhaustive()
    }
}
