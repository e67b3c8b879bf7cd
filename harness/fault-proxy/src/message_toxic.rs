//! Describing a fault on messages in a sentence.

use crate::{Action, MessageFault, Messages, Stream, Toxic, ToxicKind, When, Which};

/// A toxic on messages that is being described; it becomes a [`Toxic`] with `into`, which [`Proxy::add_toxic`] does
/// by itself.
///
/// [`Proxy::add_toxic`]: crate::Proxy::add_toxic
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it does nothing until it is added to a proxy"]
pub struct MessageToxic {
    fault: MessageFault,
    stream: Stream,
    name: Option<String>,
    toxicity: f64,
}

impl MessageToxic {
    pub(crate) fn new(messages: Messages, action: Action) -> Self {
        let stream = messages.default_stream();
        let fault = MessageFault { messages, action, when: When::Before, which: Which::Every, at_most: None };
        MessageToxic { fault, stream, name: None, toxicity: 1.0 }
    }

    /// Happens once the message was sent on, instead of before.
    pub fn after_sending(mut self) -> Self {
        self.fault.when = When::After;
        self
    }

    /// Happens to the n-th matching message of each connection alone, counted from 1.
    pub fn nth(mut self, n: u64) -> Self {
        self.fault.which = Which::Nth(n);
        self
    }

    /// Happens to the first n matching messages of each connection.
    pub fn first(mut self, n: u64) -> Self {
        self.fault.which = Which::First(n);
        self
    }

    /// Happens once at most, over all connections of the proxy, so that a client that tries again succeeds.
    pub fn once(self) -> Self {
        self.at_most(1)
    }

    /// Happens so often at most, over all connections of the proxy.
    pub fn at_most(mut self, times: u64) -> Self {
        self.fault.at_most = Some(times);
        self
    }

    /// Fails with this error (Redis) or SQLSTATE (Postgres); nothing to any other action.
    pub fn with_error(mut self, error: impl Into<String>) -> Self {
        if let Action::Fail { error: text } = &mut self.fault.action {
            *text = Some(error.into());
        }
        self
    }

    /// Watches this stream; only a WebSocket has the same messages on both.
    pub fn on(mut self, stream: Stream) -> Self {
        self.stream = stream;
        self
    }

    /// Gives the toxic a name other than `<type>_<stream>`.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Applies the toxic to this share of connections, between 0 and 1.
    pub fn toxicity(mut self, share: f64) -> Self {
        self.toxicity = share;
        self
    }
}

impl From<MessageToxic> for Toxic {
    fn from(described: MessageToxic) -> Self {
        let MessageToxic { fault, stream, name, toxicity } = described;
        let toxic = Toxic::new(ToxicKind::Message(fault)).on(stream).toxicity(toxicity);
        match name {
            Some(name) => toxic.named(name),
            None => toxic,
        }
    }
}
