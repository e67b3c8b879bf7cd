//! Cutting a stream into messages, whatever the pieces that it comes in.

use crate::protocol::{Advance, Foreign, Protocol as Parser};

#[derive(Debug)]
pub(super) struct Splitter {
    parser: Box<dyn Parser>,
    /// The start of a message of which a piece has come.
    head: Vec<u8>,
    /// How much of it has come.
    length: u64,
    /// How much of a message is kept.
    pub(super) limit: usize,
}

/// A complete message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<'a> {
    /// Its first bytes: the splitter's limit at most.
    pub(super) head: &'a [u8],
    /// The length of all of it.
    pub(super) length: u64,
}

impl Splitter {
    pub(super) fn new(parser: Box<dyn Parser>, limit: usize) -> Self {
        Splitter { parser, head: Vec::new(), length: 0, limit }
    }

    /// Takes one message off the front of `bytes`. `None` when they have been taken, all of them, and the message goes on.
    pub(super) fn next<R>(
        &mut self,
        bytes: &mut &[u8],
        look: impl FnOnce(Whole<'_>) -> R,
    ) -> Result<Option<R>, Foreign> {
        while !bytes.is_empty() {
            let Advance { used, complete } = self.parser.advance(bytes)?;
            if used == 0 {
                return Err(Foreign);
            }
            let (piece, rest) = bytes.split_at(used);
            *bytes = rest;
            let is_whole = complete && self.length == 0;
            self.length += used as u64;
            if is_whole {
                // Nothing is copied of a message that came in one piece, as most do.
                let head = &piece[..piece.len().min(self.limit)];
                let length = std::mem::take(&mut self.length);
                return Ok(Some(look(Whole { head, length })));
            }
            let room = self.limit.saturating_sub(self.head.len());
            self.head.extend_from_slice(&piece[..piece.len().min(room)]);
            if complete {
                let head = std::mem::take(&mut self.head);
                let length = std::mem::take(&mut self.length);
                return Ok(Some(look(Whole { head: &head, length })));
            }
        }
        Ok(None)
    }

    /// What has come of the message at hand.
    pub(super) fn begun(&self) -> &[u8] {
        &self.head
    }
}
