//! What a recording listens for, and its bounds.

/// The most entries that a recording keeps.
pub const MAX_ENTRIES: usize = 1_000_000;
/// The longest text that a recording keeps of one entry, in bytes.
pub const MAX_EXCERPT: usize = 64 * 1024;

/// The protocol that a proxy's connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Postgres' protocol, version 3: statements and what became of them.
    Postgres,
    /// Redis' protocol, RESP 2 or 3: commands, and whether they were refused.
    Redis,
    /// WebSockets: messages. Connections with plain HTTP are left alone.
    WebSocket,
}

/// What a recording listens for, and how much it keeps.
///
/// ```
/// use seaworthy_fault_proxy::{Protocol, Tap};
///
/// let tap = Tap::on(Protocol::Postgres).entries(500).excerpt(256).with_parameters();
/// assert_eq!(tap.protocol(), Protocol::Postgres);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    protocol: Protocol,
    pub(super) entries: usize,
    pub(super) excerpt: usize,
    pub(super) parameters: bool,
}

impl Tap {
    /// 2,000 entries with texts of up to 2 KiB each, and no parameters.
    pub fn on(protocol: Protocol) -> Self {
        Tap { protocol, entries: 2000, excerpt: 2 * 1024, parameters: false }
    }

    /// Keeps so many entries, 1 to [`MAX_ENTRIES`]; then the oldest makes room, and is counted.
    pub fn entries(mut self, entries: usize) -> Self {
        self.entries = entries.clamp(1, MAX_ENTRIES);
        self
    }

    /// Keeps so many bytes of a text, 16 to [`MAX_EXCERPT`].
    pub fn excerpt(mut self, bytes: usize) -> Self {
        self.excerpt = bytes.clamp(16, MAX_EXCERPT);
        self
    }

    /// Records the parameters of statements, too. They can be secrets, so they are left out unless they are asked for.
    pub fn with_parameters(mut self) -> Self {
        self.parameters = true;
        self
    }

    /// The protocol that is listened for.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}

impl From<Protocol> for Tap {
    fn from(protocol: Protocol) -> Self {
        Tap::on(protocol)
    }
}
