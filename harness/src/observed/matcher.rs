//! What a WebSocket message is expected to be.

use std::{fmt, sync::Arc};

use seaworthy_fault_proxy::{MessageKind, Stream, What};

use super::transcript::Line;

/// A message that is expected in a transcript.
#[derive(Clone)]
pub struct Matcher {
    stream: Option<Stream>,
    wanted: Wanted,
    description: String,
}

#[derive(Clone)]
enum Wanted {
    Opened,
    Closed,
    Containing(String),
    Exactly(String),
    Where(Predicate),
}

type Predicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A message that the client sent and that contains this text.
pub fn sent(text: impl Into<String>) -> Matcher {
    Matcher::containing(Stream::Upstream, text.into())
}

/// A message that the client received and that contains this text.
pub fn received(text: impl Into<String>) -> Matcher {
    Matcher::containing(Stream::Downstream, text.into())
}

/// The opening of a WebSocket.
pub fn opened() -> Matcher {
    Matcher { stream: None, wanted: Wanted::Opened, description: "the opening".to_owned() }
}

/// A close, by whatever side.
pub fn closed() -> Matcher {
    Matcher { stream: None, wanted: Wanted::Closed, description: "a close".to_owned() }
}

impl Matcher {
    fn containing(stream: Stream, text: String) -> Self {
        let description = format!("{} containing {text:?}", verb(stream));
        Matcher { stream: Some(stream), wanted: Wanted::Containing(text), description }
    }

    /// Only a message that is this text and no more. Has no meaning for an opening and a close.
    pub fn exactly(mut self) -> Self {
        if let (Wanted::Containing(text), Some(stream)) = (&self.wanted, self.stream) {
            self.description = format!("{} that is {text:?}", verb(stream));
            self.wanted = Wanted::Exactly(text.clone());
        }
        self
    }

    /// A message whose text is as `predicate` says, instead of one that contains a text; `description` is what a failure shows for it.
    pub fn when(
        mut self,
        description: impl Into<String>,
        predicate: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let stream = self.stream.map_or("a message", verb);
        self.description = format!("{stream} that is {}", description.into());
        self.wanted = Wanted::Where(Arc::new(predicate));
        self
    }

    pub(super) fn matches(&self, line: &Line) -> bool {
        let entry = line.entry();
        if self.stream.is_some_and(|stream| stream != entry.stream) {
            return false;
        }
        match (&self.wanted, &entry.what) {
            (Wanted::Opened, What::Opened { .. }) => true,
            (Wanted::Closed, What::Message(message)) => matches!(message.kind, MessageKind::Close(_)),
            (wanted, What::Message(message)) if message.kind == MessageKind::Text => {
                let text = message.text.as_str();
                match wanted {
                    Wanted::Containing(part) => text.contains(part.as_str()),
                    Wanted::Exactly(whole) => message.text == *whole.as_str(),
                    Wanted::Where(predicate) => predicate(text),
                    Wanted::Opened | Wanted::Closed => false,
                }
            }
            _ => false,
        }
    }
}

fn verb(stream: Stream) -> &'static str {
    match stream {
        Stream::Upstream => "a sent message",
        Stream::Downstream => "a received message",
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matcher({self})")
    }
}
