//! The client's side: which messages match, how they fail, and which answers are theirs.

use std::collections::HashSet;

use bytes::Bytes;

use super::{
    super::{Advance, Foreign, Look, Plan, Protocol},
    FRONTEND, Framing, WHOLE, message, starts_with, tag_in, text_at,
};
use crate::{Postgres, When};

/// Statements and portals that are remembered.
const MAX_NAMES: usize = 4096;

/// The client's side.
///
/// Answers are counted in cycles: one is what the server sends up to and with a ReadyForQuery, and a Query, a Sync and a FunctionCall
/// have one each. Within a cycle every other message has one answer, until there is an error.
#[derive(Debug)]
pub(in crate::protocol) struct Frontend {
    framing: Framing,
    query: Option<String>,
    tag: u8,
    text: String,
    /// Names of statements, and of portals of such statements, whose SQL matches.
    statements: HashSet<Vec<u8>>,
    portals: HashSet<Vec<u8>>,
    cycle: u64,
    index: u64,
    /// The message that was looked at last: its type and its answer.
    last: (u8, (u64, u64)),
    /// An Execute matched, and takes effect with the Sync that is still to come.
    awaits_sync: bool,
    plan: Plan,
}

impl Frontend {
    pub(in crate::protocol) fn new(messages: &Postgres, at_start: bool, plan: Plan) -> Self {
        let (query, tag, text) = match messages {
            Postgres::Query(text) => (Some(text.clone()), 0, String::new()),
            Postgres::Frontend { message, text } | Postgres::Backend { message, text } => {
                (None, tag_in(FRONTEND, message).unwrap_or_default(), text.clone())
            }
        };
        Frontend {
            framing: Framing::new(FRONTEND, at_start),
            query,
            tag,
            text,
            statements: HashSet::new(),
            portals: HashSet::new(),
            cycle: 0,
            index: 0,
            last: (0, (0, 0)),
            awaits_sync: false,
            plan,
        }
    }

    /// Follows a prepared statement from its Parse to its Execute; gives whether this is the Execute of one that matches, or a
    /// Query that does.
    fn runs(&mut self, tag: u8, body: &[u8], query: &str) -> bool {
        let (first, rest) = text_at(body);
        match tag {
            b'Q' => starts_with(first, query),
            b'P' => {
                remember(&mut self.statements, first, starts_with(text_at(rest).0, query));
                false
            }
            b'B' => {
                let matches = self.statements.contains(text_at(rest).0);
                remember(&mut self.portals, first, matches);
                false
            }
            b'C' => {
                let name = text_at(first.get(1..).unwrap_or_default()).0;
                let names =
                    if first.first() == Some(&b'S') { &mut self.statements } else { &mut self.portals };
                names.remove(name);
                false
            }
            b'E' => self.portals.contains(first),
            _ => false,
        }
    }

    fn count(&mut self, tag: u8) {
        let answer = match tag {
            b'Q' | b'F' => (self.cycle, WHOLE),
            _ => (self.cycle, self.index),
        };
        self.last = (tag, answer);
        match tag {
            b'Q' | b'F' | b'S' => (self.cycle, self.index) = (self.cycle + 1, 0),
            b'P' | b'B' | b'D' | b'E' | b'C' => self.index += 1,
            _ => {}
        }
    }
}

impl Protocol for Frontend {
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Foreign> {
        self.framing.advance(bytes)
    }

    fn look(&mut self, head: &[u8]) -> Look {
        // The startup message has its length where others have their type, which is no zero.
        let (Some(&tag @ 1..), Some(body)) = (head.first(), head.get(5..)) else {
            // What the server says up to its first ReadyForQuery is a cycle, too.
            self.cycle = u64::from(!self.framing.is_startup);
            return Look::Other;
        };
        self.count(tag);
        if tag == b'S' {
            self.awaits_sync = false;
        }
        let matches = match self.query.take() {
            Some(query) => {
                let runs = self.runs(tag, body, &query);
                self.query = Some(query);
                self.awaits_sync |= runs && tag == b'E';
                runs
            }
            None => {
                let text = match tag {
                    b'P' => text_at(text_at(body).1).0,
                    _ => text_at(body).0,
                };
                tag == self.tag && (self.text.is_empty() || starts_with(text, &self.text))
            }
        };
        if matches { Look::Matches } else { Look::Other }
    }

    fn fail(&mut self, when: When) -> Option<Bytes> {
        let (tag, answer) = self.last;
        // Each is refused by the server itself, so that what it thinks of the transaction is true, and answers keep their order.
        let refused = match tag {
            b'Q' | b'F' => message(b'Q', b"injected fault\0"),
            b'P' | b'B' | b'D' | b'E' | b'C' => message(b'D', b"Pseaworthy.injected.fault\0"),
            _ => return None,
        };
        self.plan.add(answer);
        self.awaits_sync = false;
        Some(match when {
            When::Before => refused,
            When::After => Bytes::new(),
        })
    }

    fn is_settled(&self) -> bool {
        !self.awaits_sync
    }
}

fn remember(names: &mut HashSet<Vec<u8>>, name: &[u8], matches: bool) {
    if !matches {
        names.remove(name);
    } else if names.len() < MAX_NAMES {
        names.insert(name.to_vec());
    }
}
