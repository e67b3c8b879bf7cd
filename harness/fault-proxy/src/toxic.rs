//! What a proxy does to the bytes that pass through it.

use std::time::Duration;

use crate::{Action, Error, MessageFault, MessageToxic, Messages};

/// The direction that a toxic works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// What a toxic does.
///
/// Each variant names its type and its attributes on the wire, with their units there. An attribute that is not given
/// is zero, unless a default is named.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ToxicKind {
    /// Delays every chunk by `latency`, plus or minus up to `jitter`, counted from the chunk's arrival: chunks
    /// that arrive together leave together, and order is kept.
    ///
    /// Type `latency`; `latency` and `jitter` in milliseconds.
    Latency {
        /// The mean delay.
        latency: Duration,
        /// The largest deviation from it.
        jitter: Duration,
    },
    /// Lets so many bytes through per second, in pieces of at most 100 ms' worth.
    ///
    /// Type `bandwidth`; `rate` in KB/s (1 KB is 1000 bytes). Zero stalls the stream.
    Bandwidth {
        /// Kilobytes (1000 bytes) per second.
        rate: u64,
    },
    /// Delays the close of the stream, and nothing else.
    ///
    /// Type `slow_close`; `delay` in milliseconds.
    SlowClose {
        /// How much later the receiver sees the close.
        delay: Duration,
    },
    /// Swallows all data, and closes the connection after `timeout`, counted from when the toxic meets the
    /// connection; zero means never. Removing the toxic closes the connections that it held.
    ///
    /// Type `timeout`; `timeout` in milliseconds.
    Timeout {
        /// How long the connection stays open.
        timeout: Duration,
    },
    /// Resets the connection (TCP RST on both sides) after `timeout`: connections that exist already, even idle
    /// ones, as well as new ones.
    ///
    /// Type `reset_peer`; `timeout` in milliseconds.
    ResetPeer {
        /// How long the connection lives on, from when the toxic meets it.
        timeout: Duration,
    },
    /// Cuts chunks in halves, about, until each is at most `average_size + size_variation` bytes long, and
    /// waits for `delay` after each slice.
    ///
    /// Type `slicer`; `average_size` and `size_variation` in bytes, `delay` in **microseconds**.
    Slicer {
        /// Slices are about this long, in bytes; never shorter than one byte.
        average_size: u64,
        /// How far a cut may lie from the middle, in bytes. More than a chunk's half has no meaning and is taken for that.
        size_variation: u64,
        /// The pause after each slice.
        delay: Duration,
    },
    /// Lets exactly so many bytes of each connection through, then closes it.
    ///
    /// Type `limit_data`; `bytes`. Zero closes with the first byte that would pass.
    LimitData {
        /// Bytes per connection.
        bytes: u64,
    },
    /// Holds a share of the chunks for a pause, as a lost packet holds those behind it until it is sent again.
    ///
    /// Type `stall`; `share` between 0 and 1, `pause` in milliseconds (default 200, Linux' shortest retransmission time).
    Stall {
        /// The share of chunks that are held, between 0 and 1.
        share: f64,
        /// How long they are held.
        pause: Duration,
    },
    /// Flips one bit in a share of the bytes.
    ///
    /// Type `corrupt`; `rate` between 0 and 1.
    Corrupt {
        /// The share of bytes that get a flipped bit, between 0 and 1.
        rate: f64,
    },
    /// Accepts and never answers: new connections do not even reach the upstream, and on live ones nothing passes any
    /// more in either direction. Removing the toxic closes the connections that it held. The stream has no meaning.
    ///
    /// Type `blackhole`, without attributes.
    Blackhole,
    /// Refuses new connections and leaves the live ones alone: the port is closed while the toxicity is 1; with a
    /// lower one, that share of connections is reset as soon as it is accepted. The stream has no meaning.
    ///
    /// Type `refuse`, without attributes.
    Refuse,
    /// Makes the sender of the stream vanish without a word, after `timeout`: the receiver gets no byte, no FIN and no RST
    /// any more, and what it sends piles up unread. The sender itself is reset. Removing the toxic closes the connection.
    ///
    /// Type `half_open`; `timeout` in milliseconds. On the downstream, the server vanishes.
    HalfOpen {
        /// How long the connection works, from when the toxic meets it.
        timeout: Duration,
    },
    /// Does something to messages of a protocol.
    ///
    /// Types `redis`, `postgres` and `websocket`. Attributes: those of the [matcher](crate::Messages), `action` (default
    /// `fail`) with its own, `when` (default `before`), `nth` or `first` (default every one), and `at_most`.
    Message(MessageFault),
    /// Does nothing.
    ///
    /// Type `noop`, without attributes.
    Noop,
}

impl ToxicKind {
    /// The name on the wire, for example `reset_peer`.
    pub fn type_name(&self) -> &'static str {
        match self {
            ToxicKind::Latency { .. } => "latency",
            ToxicKind::Bandwidth { .. } => "bandwidth",
            ToxicKind::SlowClose { .. } => "slow_close",
            ToxicKind::Timeout { .. } => "timeout",
            ToxicKind::ResetPeer { .. } => "reset_peer",
            ToxicKind::Slicer { .. } => "slicer",
            ToxicKind::LimitData { .. } => "limit_data",
            ToxicKind::Stall { .. } => "stall",
            ToxicKind::Corrupt { .. } => "corrupt",
            ToxicKind::Blackhole => "blackhole",
            ToxicKind::Refuse => "refuse",
            ToxicKind::HalfOpen { .. } => "half_open",
            ToxicKind::Message(fault) => fault.messages.type_name(),
            ToxicKind::Noop => "noop",
        }
    }

    /// The stream that a toxic of this kind works on unless told otherwise: the downstream, but for messages that only
    /// a client sends.
    pub fn default_stream(&self) -> Stream {
        match self {
            ToxicKind::Message(fault) => fault.messages.default_stream(),
            _ => Stream::Downstream,
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
    /// The stream as a client of the HTTP API spelled it, who wants to see it again like that.
    #[cfg(feature = "api")]
    spelling: Option<String>,
    pub(crate) stream: Stream,
    pub(crate) toxicity: f64,
    pub(crate) kind: ToxicKind,
}

impl Toxic {
    /// A toxic of this kind on its default stream, on every connection.
    pub fn new(kind: ToxicKind) -> Self {
        Toxic {
            name: None,
            #[cfg(feature = "api")]
            spelling: None,
            stream: kind.default_stream(),
            toxicity: 1.0,
            kind,
        }
    }

    /// Delays the answers; see [`ToxicKind::Latency`].
    pub fn latency(latency: Duration) -> Self {
        Toxic::new(ToxicKind::Latency { latency, jitter: Duration::ZERO })
    }

    /// Lets so many kilobytes through per second; see [`ToxicKind::Bandwidth`].
    pub fn bandwidth(kilobytes_per_second: u64) -> Self {
        Toxic::new(ToxicKind::Bandwidth { rate: kilobytes_per_second })
    }

    /// Lets exactly so many bytes through; see [`ToxicKind::LimitData`].
    pub fn limit_data(bytes: u64) -> Self {
        Toxic::new(ToxicKind::LimitData { bytes })
    }

    /// Delays the close; see [`ToxicKind::SlowClose`].
    pub fn slow_close(delay: Duration) -> Self {
        Toxic::new(ToxicKind::SlowClose { delay })
    }

    /// Swallows the answers, and closes the connection after this time; see [`ToxicKind::Timeout`].
    pub fn timeout(timeout: Duration) -> Self {
        Toxic::new(ToxicKind::Timeout { timeout })
    }

    /// Resets every connection at once; see [`ToxicKind::ResetPeer`].
    pub fn reset_peer() -> Self {
        Toxic::new(ToxicKind::ResetPeer { timeout: Duration::ZERO })
    }

    /// Cuts what passes into slices; see [`ToxicKind::Slicer`].
    pub fn slicer(average_size: u64, size_variation: u64, delay: Duration) -> Self {
        Toxic::new(ToxicKind::Slicer { average_size, size_variation, delay })
    }

    /// Holds a share of what passes for a pause; see [`ToxicKind::Stall`].
    pub fn stall(share: f64, pause: Duration) -> Self {
        Toxic::new(ToxicKind::Stall { share, pause })
    }

    /// Flips bits in a share of the bytes; see [`ToxicKind::Corrupt`].
    pub fn corrupt(rate: f64) -> Self {
        Toxic::new(ToxicKind::Corrupt { rate })
    }

    /// Accepts and never answers; see [`ToxicKind::Blackhole`].
    pub fn blackhole() -> Self {
        Toxic::new(ToxicKind::Blackhole)
    }

    /// Refuses new connections; see [`ToxicKind::Refuse`].
    pub fn refuse() -> Self {
        Toxic::new(ToxicKind::Refuse)
    }

    /// Makes the server vanish without a word; see [`ToxicKind::HalfOpen`].
    pub fn half_open() -> Self {
        Toxic::new(ToxicKind::HalfOpen { timeout: Duration::ZERO })
    }

    /// Fails these messages; see [`Action::Fail`].
    pub fn fail(messages: impl Into<Messages>) -> MessageToxic {
        MessageToxic::new(messages.into(), Action::Fail { error: None })
    }

    /// Delays these messages; see [`Action::Delay`].
    pub fn delay(messages: impl Into<Messages>, delay: Duration) -> MessageToxic {
        MessageToxic::new(messages.into(), Action::Delay(delay))
    }

    /// Cuts the connection at these messages; see [`Action::Cut`].
    pub fn cut(messages: impl Into<Messages>) -> MessageToxic {
        MessageToxic::new(messages.into(), Action::Cut)
    }

    /// Loses these messages; see [`Action::Drop`].
    pub fn lose(messages: impl Into<Messages>) -> MessageToxic {
        MessageToxic::new(messages.into(), Action::Drop)
    }

    /// Sends these messages twice; see [`Action::Duplicate`].
    pub fn duplicate(messages: impl Into<Messages>) -> MessageToxic {
        MessageToxic::new(messages.into(), Action::Duplicate)
    }

    /// Swaps these messages with those that follow; see [`Action::Reorder`].
    pub fn reorder(messages: impl Into<Messages>) -> MessageToxic {
        MessageToxic::new(messages.into(), Action::Reorder)
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

    /// Shows the stream in this spelling.
    #[cfg(feature = "api")]
    pub(crate) fn spelled(mut self, stream: &str) -> Self {
        self.spelling = Some(stream.to_owned());
        self
    }

    /// The stream as it was spelled.
    #[cfg(feature = "api")]
    pub(crate) fn spelling(&self) -> &str {
        self.spelling.as_deref().unwrap_or(self.stream.as_str())
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
    pub fn kind(&self) -> &ToxicKind {
        &self.kind
    }

    /// Whether every attribute means something. [`Proxy::add_toxic`](crate::Proxy::add_toxic) checks it, too.
    ///
    /// # Errors
    ///
    /// [`Error::Toxicity`] and [`Error::Attribute`].
    pub fn validate(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.toxicity) {
            return Err(Error::Toxicity(self.toxicity));
        }
        let share = |attribute, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err((attribute, format!("{value} is not between 0 and 1"))),
        };
        let outcome = match &self.kind {
            ToxicKind::Stall { share: value, .. } => share("share", *value),
            ToxicKind::Corrupt { rate } => share("rate", *rate),
            ToxicKind::Message(fault) => fault.check(self.stream),
            _ => Ok(()),
        };
        outcome.map_err(|(attribute, why)| Error::Attribute { toxic: self.name(), attribute, why })
    }
}
