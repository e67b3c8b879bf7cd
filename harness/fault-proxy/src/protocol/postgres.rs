//! Postgres' messages, protocol 3: their names, their bounds, and how answers follow requests.
//!
//! Source: the chapter "Message Formats" of the Postgres documentation.

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Advance, Foreign, Look, Plan, Protocol};
use crate::{Postgres, When};

/// The client's messages.
const FRONTEND: &[(&str, u8)] = &[
    ("Bind", b'B'),
    ("Close", b'C'),
    ("CopyData", b'd'),
    ("CopyDone", b'c'),
    ("CopyFail", b'f'),
    ("Describe", b'D'),
    ("Execute", b'E'),
    ("Flush", b'H'),
    ("FunctionCall", b'F'),
    ("Parse", b'P'),
    // Also what SASL and GSS answers are sent as.
    ("PasswordMessage", b'p'),
    ("Query", b'Q'),
    ("Sync", b'S'),
    ("Terminate", b'X'),
];

/// The server's messages.
const BACKEND: &[(&str, u8)] = &[
    ("Authentication", b'R'),
    ("BackendKeyData", b'K'),
    ("BindComplete", b'2'),
    ("CloseComplete", b'3'),
    ("CommandComplete", b'C'),
    ("CopyBothResponse", b'W'),
    ("CopyData", b'd'),
    ("CopyDone", b'c'),
    ("CopyInResponse", b'G'),
    ("CopyOutResponse", b'H'),
    ("DataRow", b'D'),
    ("EmptyQueryResponse", b'I'),
    ("ErrorResponse", b'E'),
    ("FunctionCallResponse", b'V'),
    ("NegotiateProtocolVersion", b'v'),
    ("NoData", b'n'),
    ("NoticeResponse", b'N'),
    ("NotificationResponse", b'A'),
    ("ParameterDescription", b't'),
    ("ParameterStatus", b'S'),
    ("ParseComplete", b'1'),
    ("PortalSuspended", b's'),
    ("ReadyForQuery", b'Z'),
    ("RowDescription", b'T'),
];

fn tag_in(messages: &[(&str, u8)], name: &str) -> Option<u8> {
    messages.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, tag)| tag)
}

/// Checks the names of messages; `Err` has the attribute and what is wrong with it.
pub(crate) fn check(messages: &Postgres, fails: bool) -> Result<(), (&'static str, String)> {
    let (attribute, known, name, text, with_text, can_fail) = match messages {
        Postgres::Query(_) => return Ok(()),
        Postgres::Frontend { message, text } => {
            ("message", FRONTEND, message, text, &b"QP"[..], &b"QFPBDEC"[..])
        }
        Postgres::Backend { message, text } => {
            ("answer", BACKEND, message, text, &b"C"[..], &b"123CDInsTtV"[..])
        }
    };
    let Some(tag) = tag_in(known, name) else {
        let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
        return Err((attribute, format!("`{name:.32}` is none of {}", names.join(", "))));
    };
    if !text.is_empty() && !with_text.contains(&tag) {
        return Err(("text", format!("can't be looked for in {name}: it has no text at its start")));
    }
    if fails && !can_fail.contains(&tag) {
        return Err((attribute, format!("{name} can't fail: an error has no place there")));
    }
    Ok(())
}

/// Statements and portals that are remembered.
const MAX_NAMES: usize = 4096;
/// The longest startup message, as in Postgres itself.
const MAX_STARTUP: u32 = 10_000;
/// The longest message, in bytes: what Postgres can allocate at once.
const MAX_MESSAGE: u32 = 1 << 30;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
const DEFAULT_SQLSTATE: &str = "58000";
/// Stands for the whole of a cycle, where it stands for the number of an answer within one.
const WHOLE: u64 = u64::MAX;

/// Where a message ends.
#[derive(Debug)]
struct Framing {
    known: &'static [(&'static str, u8)],
    /// The length comes first and no type, as in the client's first messages.
    is_startup: bool,
    header: [u8; 8],
    have: usize,
    left: Option<u32>,
}

impl Framing {
    fn new(known: &'static [(&'static str, u8)], is_startup: bool) -> Self {
        Framing { known, is_startup, header: [0; 8], have: 0, left: None }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Foreign> {
        let mut used = 0;
        while used < bytes.len() {
            let left = match self.left {
                Some(left) => left,
                None => {
                    self.header[self.have] = bytes[used];
                    self.have += 1;
                    used += 1;
                    let Some(left) = self.length()? else { continue };
                    left
                }
            };
            let taken = (left as usize).min(bytes.len() - used);
            used += taken;
            self.left = Some(left - taken as u32);
            if self.left == Some(0) {
                (self.left, self.have) = (None, 0);
                return Ok(Advance { used, complete: true });
            }
        }
        Ok(Advance { used, complete: false })
    }

    /// The bytes behind the header, once that is complete.
    fn length(&mut self) -> Result<Option<u32>, Foreign> {
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| self.header[at + n]));
        if self.is_startup {
            if self.have < 8 {
                return Ok(None);
            }
            let (length, code) = (number(0), number(4));
            if !(8..=MAX_STARTUP).contains(&length) {
                return Err(Foreign);
            }
            match code {
                SSL_REQUEST | GSS_REQUEST | CANCEL_REQUEST => {}
                _ if code >> 16 == 3 => self.is_startup = false,
                _ => return Err(Foreign),
            }
            return Ok(Some(length - 8));
        }
        if !self.known.iter().any(|&(_, tag)| tag == self.header[0]) {
            return Err(Foreign);
        }
        if self.have < 5 {
            return Ok(None);
        }
        match number(1) {
            length @ 4..=MAX_MESSAGE => Ok(Some(length - 4)),
            _ => Err(Foreign),
        }
    }
}

/// The client's side.
///
/// Answers are counted in cycles: one is what the server sends up to and with a ReadyForQuery, and a Query, a Sync and a FunctionCall
/// have one each. Within a cycle every other message has one answer, until there is an error.
#[derive(Debug)]
pub(super) struct Frontend {
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
    pub(super) fn new(messages: &Postgres, at_start: bool, plan: Plan) -> Self {
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

/// The server's side: where its messages are matched, and where answers are replaced.
#[derive(Debug)]
pub(super) struct Backend {
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
    pub(super) fn new(messages: Option<&Postgres>, at_start: bool, plan: Plan, error: Option<&str>) -> Self {
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

fn message(tag: u8, body: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(5 + body.len());
    message.put_u8(tag);
    message.put_u32(4 + body.len() as u32);
    message.put_slice(body);
    message.freeze()
}

/// A text that ends with a zero byte, or with the bytes that are there; and what follows it.
fn text_at(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

fn starts_with(sql: &[u8], prefix: &str) -> bool {
    let sql = sql.trim_ascii_start();
    sql.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn remember(names: &mut HashSet<Vec<u8>>, name: &[u8], matches: bool) {
    if !matches {
        names.remove(name);
    } else if names.len() < MAX_NAMES {
        names.insert(name.to_vec());
    }
}
