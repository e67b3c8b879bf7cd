//! Postgres' messages, protocol 3: their names, their bounds, and how answers follow requests.
//!
//! Source: the chapter "Message Formats" of the Postgres documentation.

mod backend;
mod frontend;

use bytes::{BufMut, Bytes, BytesMut};

pub(super) use self::{backend::Backend, frontend::Frontend};
use super::{Advance, Foreign};
use crate::Postgres;

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

/// The longest startup message, as in Postgres itself.
const MAX_STARTUP: u32 = 10_000;
/// The longest message, in bytes: what Postgres can allocate at once.
const MAX_MESSAGE: u32 = 1 << 30;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
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

fn message(tag: u8, body: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(5 + body.len());
    message.put_u8(tag);
    message.put_u32(4 + body.len() as u32);
    message.put_slice(body);
    message.freeze()
}

/// Whether this is the start of a message that begins a session: encryption and cancelling are asked for in the same form.
pub(crate) fn is_startup(head: &[u8]) -> bool {
    let code = head.get(4..8).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
    code.is_some_and(|code| !matches!(code, SSL_REQUEST | GSS_REQUEST | CANCEL_REQUEST))
}

/// A text that ends with a zero byte, or with the bytes that are there; and what follows it.
pub(crate) fn text_at(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

fn starts_with(sql: &[u8], prefix: &str) -> bool {
    let sql = sql.trim_ascii_start();
    sql.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}
