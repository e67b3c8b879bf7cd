//! What was said over WebSockets.

use std::{fmt, sync::Arc};

use seaworthy_fault_proxy::{Entry, Mark, Message, MessageKind, Protocol, Proxy, Recording, Stream, What};

use super::{Matcher, queries::ms};

/// Lines that a transcript shows at most: the last ones.
const MAX_LINES: usize = 200;
/// Letters of a message that a transcript shows.
const MAX_SHOWN: usize = 400;

/// What was said over the WebSockets through a fault proxy, or after a mark. Cheap to clone. It is a view: what is said later is in it, too.
///
/// *Sent* and *received* are meant from the client's side.
///
/// ```no_run
/// # use seaworthy_harness::{Stack, observed::{closed, received, sent}};
/// # fn example(stack: Stack) {
/// let transcript = stack.websocket().transcript();
/// transcript.assert_order(&[sent("subscribe"), received("\"state\":\"placed\""), received("fulfilled"), closed()]);
/// println!("{transcript}");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Transcript {
    recording: Recording,
    from: Mark,
    connection: Option<u64>,
}

/// A line of a transcript: a message, or the opening or refusal of a WebSocket.
#[derive(Debug, Clone)]
pub struct Line {
    entry: Arc<Entry>,
}

impl Transcript {
    /// Records what is said on connections that are made through this proxy from now on.
    pub fn on(proxy: &Proxy) -> Self {
        Transcript::of(proxy.record(Protocol::WebSocket))
    }

    /// What a recording of WebSockets has.
    ///
    /// # Panics
    ///
    /// When the recording is of another protocol.
    pub fn of(recording: Recording) -> Self {
        assert_eq!(
            recording.tap().protocol(),
            Protocol::WebSocket,
            "messages are in recordings of WebSockets"
        );
        Transcript { recording, from: Mark::default(), connection: None }
    }

    /// The end of what was said by now.
    pub fn mark(&self) -> Mark {
        self.recording.mark()
    }

    /// Only what was said after the mark.
    pub fn since(&self, mark: Mark) -> Transcript {
        Transcript { from: self.from.max(mark), ..self.clone() }
    }

    /// Only what was said on this connection; see [`Transcript::connections`].
    pub fn connection(&self, number: u64) -> Transcript {
        Transcript { connection: Some(number), ..self.clone() }
    }

    /// The connections on which something was said, in the order in which they began.
    pub fn connections(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.lines().iter().map(|line| line.entry.connection).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Everything, with openings and refusals.
    pub fn lines(&self) -> Vec<Line> {
        let entries = self.recording.since(self.from).entries.into_iter();
        let is_meant = |entry: &Arc<Entry>| self.connection.is_none_or(|number| number == entry.connection);
        entries.filter(is_meant).map(|entry| Line { entry }).collect()
    }

    /// Every message, of both sides, in order.
    pub fn messages(&self) -> Vec<Message> {
        self.of_stream(None)
    }

    /// What the clients sent.
    pub fn sent(&self) -> Vec<Message> {
        self.of_stream(Some(Stream::Upstream))
    }

    /// What the clients received.
    pub fn received(&self) -> Vec<Message> {
        self.of_stream(Some(Stream::Downstream))
    }

    /// Entries of this view that the recording has dropped for later ones.
    pub fn dropped(&self) -> u64 {
        self.recording.since(self.from).dropped
    }

    /// Asserts that these messages are there in this order. Others may stand between them.
    ///
    /// # Panics
    ///
    /// With the first that is missing or out of order, and the transcript, in which those that were found are numbered.
    #[track_caller]
    pub fn assert_order(&self, expected: &[Matcher]) {
        if let Err(message) = self.in_order(expected) {
            panic!("{message}");
        }
    }

    /// Says what is missing or out of order, if something is.
    fn in_order(&self, expected: &[Matcher]) -> Result<(), String> {
        let lines = self.lines();
        let mut found: Vec<usize> = Vec::new();
        for (number, matcher) in expected.iter().enumerate() {
            let from = found.last().map_or(0, |last| last + 1);
            if let Some(at) = (from..lines.len()).find(|at| matcher.matches(&lines[*at])) {
                found.push(at);
                continue;
            }
            let earlier = (0..from).rev().find(|at| matcher.matches(&lines[*at]));
            let place = format!("message {} of {}, {matcher},", number + 1, expected.len());
            let what = match (earlier, number.checked_sub(1)) {
                (Some(at), Some(before)) if found[before] == at => {
                    format!("{place} is there once, and that was taken for message {number}")
                }
                (Some(_), Some(_)) => {
                    format!(
                        "{place} is out of order: it came before message {number}, {}",
                        expected[number - 1]
                    )
                }
                _ => format!("{place} is missing"),
            };
            return Err(format!("{what}\n{}", self.shown(&lines, &found)));
        }
        Ok(())
    }

    fn of_stream(&self, stream: Option<Stream>) -> Vec<Message> {
        let lines = self.lines();
        let of_stream = lines.iter().filter(|line| stream.is_none_or(|stream| stream == line.entry.stream));
        of_stream.filter_map(Line::message).cloned().collect()
    }

    /// The lines, those that were found with the number of what was expected.
    fn shown(&self, lines: &[Line], found: &[usize]) -> String {
        let mut text = String::new();
        let dropped = self.dropped();
        if dropped > 0 {
            text += &format!("  {dropped} earlier entries were dropped: the recording is full\n");
        }
        if lines.is_empty() {
            text += "  nothing was said\n";
        }
        let first = lines.len().saturating_sub(MAX_LINES);
        if first > 0 {
            text += &format!("  … {first} earlier lines\n");
        }
        for (at, line) in lines.iter().enumerate().skip(first) {
            let mark = match found.iter().position(|found| *found == at) {
                Some(number) => format!("{:>4}. ", number + 1),
                None => " ".repeat(if found.is_empty() { 0 } else { 6 }),
            };
            text += &format!("{mark}{line}\n");
        }
        text
    }
}

impl Line {
    /// When it was said, on which connection, and by whom.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The message, if it is one.
    pub fn message(&self) -> Option<&Message> {
        match &self.entry.what {
            What::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// The whole transcript, one message a line.
impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(&self.lines(), &[]))
    }
}

/// `   12.3 ms  #0  → {"watch":7}`: the time since the recording began, the connection, `→` for what the client sent and `←` for what it
/// received, and the text.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { offset, connection, stream, what, .. } = &*self.entry;
        let arrow = match stream {
            Stream::Upstream => '→',
            Stream::Downstream => '←',
        };
        write!(f, "{:>12}  #{connection}  ", ms(*offset))?;
        match what {
            What::Opened { path } => write!(f, "opened {path}"),
            What::Refused { path, answer } => write!(f, "refused {path}: {answer}"),
            What::NotUnderstood { why } => write!(f, "not followed: {why}"),
            What::Message(message) => write!(f, "{arrow} {}", Shown(message)),
            _ => Ok(()),
        }
    }
}

struct Shown<'a>(&'a Message);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { kind, text, length, compressed, .. } = self.0;
        if *compressed {
            return write!(f, "({length} compressed bytes)");
        }
        let kept = text.as_str();
        let shown = &kept[..kept.floor_char_boundary(MAX_SHOWN)];
        match kind {
            MessageKind::Close(None) => return f.write_str("close"),
            MessageKind::Close(Some(status)) => write!(f, "close {status} ")?,
            MessageKind::Binary => write!(f, "{length} bytes: ")?,
            MessageKind::Text => {}
        }
        // A message is a line, whatever is in it.
        shown.chars().try_for_each(|letter| match letter {
            letter if letter.is_control() => write!(f, "{}", letter.escape_debug()),
            letter => write!(f, "{letter}"),
        })?;
        if shown.len() < kept.len() || text.is_cut() { write!(f, "… ({length} bytes)") } else { Ok(()) }
    }
}
