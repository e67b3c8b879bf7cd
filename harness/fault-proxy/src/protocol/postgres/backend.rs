//! The server's side: where its messages are matched, and where the answers to failed ones are replaced.

use bytes::Bytes;

use super::{
    super::{Advance, Foreign, HEAD, Look, Plan, Protocol},
    BACKEND, Framing, WHOLE, message, starts_with, tag_in, text_at,
};
use crate::{Postgres, When};

const DEFAULT_SQLSTATE: &str = "58000";

#[derive(Debug)]
pub(in crate::protocol) struct Backend {
    framing: Framing,
    /// Nothing but the answer to an SSLRequest may have come yet.
    at_start: bool,
    tag: u8,
    text: String,
    cycle: u64,
    index: u64,
    /// An error was injected: what belongs to the cycle is dropped until it ends.
    skips: bool,
    plan: Plan,
    error: Bytes,
}

impl Backend {
    pub(in crate::protocol) fn new(
        messages: Option<&Postgres>,
        at_start: bool,
        plan: Plan,
        error: Option<&str>,
    ) -> Self {
        let (tag, text) = match messages {
            Some(Postgres::Backend { message, text }) => {
                (tag_in(BACKEND, message).unwrap_or_default(), text.clone())
            }
            _ => (0, String::new()),
        };
        let code = error.unwrap_or(DEFAULT_SQLSTATE);
        let error = message(b'E', format!("SERROR\0VERROR\0C{code}\0Minjected fault\0\0").as_bytes());
        let framing = Framing::new(BACKEND, false);
        Backend { framing, at_start, tag, text, cycle: 0, index: 0, skips: false, plan, error }
    }

    /// What the plan says of a message.
    fn planned(&mut self, tag: u8) -> Look {
        // Notices, notifications and settings come when they like.
        if matches!(tag, b'N' | b'A' | b'S') {
            return Look::Other;
        }
        if self.skips {
            self.skips = tag != b'Z';
            return if self.skips { Look::Gone } else { Look::Other };
        }
        match self.plan.next(self.cycle) {
            Some((cycle, WHOLE)) if cycle == self.cycle => match tag {
                b'Z' => {
                    self.plan.done();
                    Look::Behind(self.error.clone())
                }
                // A COPY that has begun needs the client.
                b'G' | b'W' => {
                    self.plan.done();
                    Look::Other
                }
                _ => Look::Gone,
            },
            Some(answer) if answer == (self.cycle, self.index) => match tag {
                b'D' | b't' => Look::Gone,
                _ if is_answer(tag) => {
                    self.plan.done();
                    self.skips = true;
                    Look::Instead(self.error.clone())
                }
                // An error of the server's own came first.
                b'Z' => {
                    self.plan.done();
                    Look::Other
                }
                _ => Look::Other,
            },
            _ => Look::Other,
        }
    }
}

impl Protocol for Backend {
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Foreign> {
        if self.at_start
            && let Some(&first) = bytes.first()
            && self.framing.have == 0
        {
            match first {
                // Encryption was asked for and is refused: one letter and no more.
                b'N' => return Ok(Advance { used: 1, complete: true }),
                b'S' | b'G' => return Err(Foreign),
                _ => self.at_start = false,
            }
        }
        self.framing.advance(bytes)
    }

    fn head(&self) -> usize {
        if self.text.is_empty() { 5 } else { HEAD }
    }

    fn look(&mut self, head: &[u8]) -> Look {
        let (Some(&tag), Some(body)) = (head.first(), head.get(5..)) else { return Look::Other };
        let look = self.planned(tag);
        match tag {
            b'Z' => (self.cycle, self.index) = (self.cycle + 1, 0),
            _ if is_answer(tag) => self.index += 1,
            _ => {}
        }
        let text = text_at(body).0;
        let matches = tag == self.tag && (self.text.is_empty() || starts_with(text, &self.text));
        if look == Look::Other && matches { Look::Matches } else { look }
    }

    fn fail(&mut self, when: When) -> Option<Bytes> {
        self.skips = true;
        let _ = when;
        Some(self.error.clone())
    }

    fn is_at_rest(&self) -> bool {
        !self.skips && self.plan.is_empty()
    }
}

/// Whether a message is the last, and mostly the only one, that answers a message of the extended protocol.
fn is_answer(tag: u8) -> bool {
    matches!(tag, b'1' | b'2' | b'3' | b'n' | b'T' | b'C' | b'I' | b's' | b'E')
}
