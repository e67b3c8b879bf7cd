//! What a proxy does to the bytes that pass through it.

use std::time::Duration;

use crate::Error;

/// The direction that a toxic works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// From the client to the server.
    Upstream,
    /// From the server to the client.
    Downstream,
}

impl Stream {
    /// The name on the wire: `upstream` or `downstream`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Upstream => "upstream",
            Stream::Downstream => "downstream",
        }
    }
}

/// What a toxic does. Durations have millisecond resolution on the HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToxicKind {
    /// Delays every chunk by `latency`, plus or minus up to `jitter`, counted from the chunk's arrival: chunks
    /// that arrive together leave together, and order is kept.
    Latency {
        /// The mean delay.
        latency: Duration,
        /// The largest deviation from it.
        jitter: Duration,
    },
    /// Swallows all data, and closes the connection after `timeout`; zero means never. Removing the toxic
    /// closes the connections that it held.
    Timeout {
        /// How long the connection stays open.
        timeout: Duration,
    },
    /// Resets the connection (TCP RST on both sides) after `timeout`: connections that exist already, even idle
    /// ones, as well as new ones.
    ResetPeer {
        /// How long the connection lives on.
        timeout: Duration,
    },
    /// Does nothing.
    Noop,
}

impl ToxicKind {
    /// The name on the wire, for example `reset_peer`.
    pub fn type_name(&self) -> &'static str {
        match self {
            ToxicKind::Latency { .. } => "latency",
            ToxicKind::Timeout { .. } => "timeout",
            ToxicKind::ResetPeer { .. } => "reset_peer",
            ToxicKind::Noop => "noop",
        }
    }
}

/// One fault on one stream of a proxy.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_fault_proxy::{Stream, Toxic};
///
/// let toxic = Toxic::latency(Duration::from_millis(200)).on(Stream::Upstream).toxicity(0.5);
/// assert_eq!(toxic.name(), "latency_upstream");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Toxic {
    name: Option<String>,
    pub(crate) stream: Stream,
    pub(crate) toxicity: f64,
    pub(crate) kind: ToxicKind,
}

impl Toxic {
    /// A toxic of this kind on the downstream, on every connection.
    pub fn new(kind: ToxicKind) -> Self {
        Toxic { name: None, stream: Stream::Downstream, toxicity: 1.0, kind }
    }

    /// Delays the answers; see [`ToxicKind::Latency`].
    pub fn latency(latency: Duration) -> Self {
        Toxic::new(ToxicKind::Latency { latency, jitter: Duration::ZERO })
    }

    /// Swallows the answers for ever; see [`ToxicKind::Timeout`].
    pub fn blackhole() -> Self {
        Toxic::new(ToxicKind::Timeout { timeout: Duration::ZERO })
    }

    /// Resets every connection at once; see [`ToxicKind::ResetPeer`].
    pub fn reset_peer() -> Self {
        Toxic::new(ToxicKind::ResetPeer { timeout: Duration::ZERO })
    }

    /// Gives the toxic a name other than `<type>_<stream>`.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Puts the toxic on this stream.
    pub fn on(mut self, stream: Stream) -> Self {
        self.stream = stream;
        self
    }

    /// Applies the toxic to this share of connections, between 0 and 1.
    pub fn toxicity(mut self, share: f64) -> Self {
        self.toxicity = share;
        self
    }

    /// The toxic's name, unique over both streams of its proxy.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}_{}", self.kind.type_name(), self.stream.as_str()))
    }

    /// The stream that the toxic works on.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// The share of connections that it applies to.
    pub fn share(&self) -> f64 {
        self.toxicity
    }

    /// What it does.
    pub fn kind(&self) -> ToxicKind {
        self.kind
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if (0.0..=1.0).contains(&self.toxicity) { Ok(()) } else { Err(Error::Toxicity(self.toxicity)) }
    }
}
