//! Postgres' messages, protocol 3: their names and types.
//!
//! Source: the chapter "Message Formats" of the Postgres documentation.

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
pub(crate) fn check(messages: &Postgres) -> Result<(), (&'static str, String)> {
    let (attribute, known, name, text, with_text) = match messages {
        Postgres::Query(_) => return Ok(()),
        Postgres::Frontend { message, text } => ("message", FRONTEND, message, text, &b"QP"[..]),
        Postgres::Backend { message, text } => ("answer", BACKEND, message, text, &b"C"[..]),
    };
    let Some(tag) = tag_in(known, name) else {
        let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
        return Err((attribute, format!("`{name:.32}` is none of {}", names.join(", "))));
    };
    if !text.is_empty() && !with_text.contains(&tag) {
        return Err(("text", format!("can't be looked for in {name}: it has no text at its start")));
    }
    Ok(())
}
