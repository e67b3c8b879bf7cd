//! Redis' protocol: commands (RESP arrays of bulk strings, or inline) and replies (RESP 2 and 3).
//!
//! Source: "Redis serialization protocol specification", redis.io.

mod replies;

use bytes::Bytes;

pub(super) use self::replies::Replies;
use super::{Advance, Foreign, Look, Plan, Protocol};
use crate::{Redis, When};

/// A command that no server knows: it is refused, whatever state the connection is in, and makes a transaction fail as a whole.
const REFUSED: &[u8] = b"*1\r\n$15\r\nSEAWORTHY.FAULT\r\n";
/// The longest inline command, as in Redis itself.
const MAX_INLINE: usize = 64 * 1024;
/// Arguments of a command, as in Redis itself.
const MAX_ARGUMENTS: i64 = 1024 * 1024;
const MAX_BULK: i64 = 512 * 1024 * 1024;
/// After these, messages come that answer nothing, or answers do not come.
pub(crate) const UNCOUNTED: &[&str] = &[
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "MONITOR",
    "PSYNC",
    "SYNC",
];

/// A line that is being read: as much of it as a number needs.
#[derive(Debug, Default)]
struct Line {
    start: [u8; 24],
    length: usize,
}

impl Line {
    /// Takes bytes up to the line's end; gives how many, and whether the end was among them.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(bytes.len(), |at| at + 1);
        for byte in &bytes[..used] {
            if let Some(slot) = self.start.get_mut(self.length) {
                *slot = *byte;
            }
            self.length += 1;
        }
        (used, end.is_some())
    }

    fn kind(&self) -> u8 {
        self.start[0]
    }

    /// The number behind the type byte.
    fn number(&self) -> Result<i64, Foreign> {
        let line = self.start.get(1..self.length.saturating_sub(2)).ok_or(Foreign)?;
        std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Foreign)
    }
}

/// What is read next.
#[derive(Debug)]
enum Next {
    Line(Line),
    /// So many bytes, the line break behind them included.
    Body(u64),
}

impl Default for Next {
    fn default() -> Self {
        Next::Line(Line::default())
    }
}

/// The client's side.
#[derive(Debug)]
pub(super) struct Commands {
    command: String,
    key: Vec<u8>,
    next: Next,
    /// Arguments that are still to come; `None` between commands.
    arguments: Option<i64>,
    /// Commands that were looked at, so answers that will come.
    commands: u64,
    plan: Plan,
}

impl Commands {
    pub(super) fn new(messages: &Redis, plan: Plan) -> Self {
        let (command, key) = (messages.command.clone(), messages.key.clone().into_bytes());
        Commands { command, key, next: Next::default(), arguments: None, commands: 0, plan }
    }

    /// What a complete line means; gives whether the command ends with it.
    fn line(&mut self, line: &Line) -> Result<bool, Foreign> {
        match (self.arguments, line.kind()) {
            (None, b'*') => match line.number()? {
                MAX_ARGUMENTS.. => Err(Foreign),
                count @ 1.. => {
                    self.arguments = Some(count);
                    Ok(false)
                }
                _ => Ok(true),
            },
            // An inline command.
            (None, _) => Ok(true),
            (Some(_), b'$') => match line.number()? {
                length @ 0..=MAX_BULK => {
                    self.next = Next::Body(length.unsigned_abs() + 2);
                    Ok(false)
                }
                _ => Err(Foreign),
            },
            (Some(_), _) => Err(Foreign),
        }
    }
}

impl Protocol for Commands {
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Foreign> {
        let mut used = 0;
        while used < bytes.len() {
            match &mut self.next {
                Next::Line(line) => {
                    if line.length == 0 && self.arguments.is_none() && !is_text(bytes[used]) {
                        return Err(Foreign);
                    }
                    let (taken, ended) = line.take(&bytes[used..]);
                    used += taken;
                    if line.length > MAX_INLINE {
                        return Err(Foreign);
                    }
                    if ended {
                        let line = std::mem::take(line);
                        if self.line(&line)? {
                            return Ok(Advance { used, complete: true });
                        }
                    }
                }
                Next::Body(left) => {
                    let taken = (*left).min((bytes.len() - used) as u64);
                    *left -= taken;
                    used += taken as usize;
                    if *left == 0 {
                        self.next = Next::default();
                        self.arguments = self.arguments.map(|count| count - 1).filter(|count| *count > 0);
                        if self.arguments.is_none() {
                            return Ok(Advance { used, complete: true });
                        }
                    }
                }
            }
        }
        Ok(Advance { used, complete: false })
    }

    fn look(&mut self, head: &[u8]) -> Look {
        let mut arguments = arguments(head);
        // An empty line gets no answer.
        let Some(command) = arguments.next().filter(|command| !command.is_empty()) else {
            return Look::Other;
        };
        let key = arguments.next().unwrap_or_default();
        let is = |name: &str| command.eq_ignore_ascii_case(name.as_bytes());
        if UNCOUNTED.iter().any(|name| is(name)) || (is("CLIENT") && key.eq_ignore_ascii_case(b"REPLY")) {
            self.plan.lose_track();
        }
        self.commands += 1;
        let matches = (self.command.is_empty() || is(&self.command)) && key.starts_with(&self.key);
        if matches { Look::Matches } else { Look::Other }
    }

    fn fail(&mut self, when: When) -> Option<Bytes> {
        self.plan.add((self.commands - 1, 0));
        Some(match when {
            When::Before => Bytes::from_static(REFUSED),
            When::After => Bytes::new(),
        })
    }
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b' '..=b'~')
}

/// The arguments of a command, as far as they are there.
fn arguments(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    measured_arguments(head).map(|(argument, _)| argument)
}

/// The same, each with the length of all of it.
pub(crate) fn measured_arguments(head: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    let is_array = head.first() == Some(&b'*');
    let mut rest = if is_array { after_line(head).1 } else { head };
    std::iter::from_fn(move || {
        if is_array {
            let (line, body) = after_line(rest);
            let digits = std::str::from_utf8(line.strip_prefix(b"$")?.trim_ascii()).ok()?;
            let length: usize = digits.parse().ok()?;
            rest = body.get(length.saturating_add(2)..).unwrap_or_default();
            Some((&body[..length.min(body.len())], length as u64))
        } else {
            let text = rest.trim_ascii_start();
            let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
            rest = &text[end..];
            (!text.is_empty()).then(|| (&text[..end], end as u64))
        }
    })
}

fn after_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1))
}
