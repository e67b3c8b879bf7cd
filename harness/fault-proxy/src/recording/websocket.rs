//! The messages of a WebSocket, behind the HTTP request and response that open it.
//!
//! Source: RFC 6455, sections 4 and 5; permessage-deflate: RFC 7692.

use super::{
    Excerpt, Message, MessageKind, Outcome, Tap, What,
    listening::{Lost, Notes, Talk},
    splitter::{Splitter, Whole},
};
use crate::{
    Stream,
    protocol::{bounds, websocket::Header},
};

/// Bytes of an opening request that are looked at.
const OPENING: usize = 16 * 1024;
/// The longest header of a frame.
const HEADER: usize = 14;
/// Bytes of a refusal's first line that are kept.
const MAX_ANSWER: usize = 128;

#[derive(Debug)]
pub(super) struct WebSocketTalk {
    limit: usize,
    up: Side,
    down: Side,
    /// The path that was asked for, and whether a WebSocket was.
    request: Option<(Excerpt, bool)>,
    is_open: bool,
    /// The server's answer is no consent; its first line, as far as it is there.
    refusal: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Side {
    frames: Splitter,
    is_opened: bool,
    /// A message of which fragments have come.
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    opcode: u8,
    compressed: bool,
    kept: Vec<u8>,
    length: u64,
}

impl WebSocketTalk {
    pub(super) fn new(tap: &Tap) -> Self {
        let [up, down] = bounds(tap.protocol()).map(|parser| Side {
            frames: Splitter::new(parser, OPENING),
            is_opened: false,
            partial: None,
        });
        WebSocketTalk { limit: tap.excerpt, up, down, request: None, is_open: false, refusal: None }
    }

    fn asked(&mut self, head: &[u8]) {
        let mut words = head.split(|byte| matches!(byte, b' ' | b'\r'));
        let target = words.nth(1).unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let path = Excerpt::of(path, path.len() as u64, self.limit);
        let lower = head.to_ascii_lowercase();
        let upgrades = lower.split(|byte| *byte == b'\n').any(|line| {
            line.strip_prefix(b"upgrade:").is_some_and(|value| value.trim_ascii().starts_with(b"websocket"))
        });
        self.request = Some((path, upgrades));
    }

    /// Reads the answer of a server that does not consent.
    fn refused(&mut self, bytes: &[u8], notes: &Notes<'_>) -> Result<(), Lost> {
        let Some((path, true)) = &self.request else { return Err(Lost::Quietly) };
        let line = self.refusal.get_or_insert_default();
        line.extend(&bytes[..bytes.len().min(MAX_ANSWER.saturating_sub(line.len()))]);
        let end = line.iter().position(|byte| *byte == b'\r');
        if end.is_none() && line.len() < MAX_ANSWER {
            return Ok(());
        }
        let answer = &line[..end.unwrap_or(line.len())];
        if !answer.starts_with(b"HTTP/") {
            return Err(Lost::Because("the server does not answer as a web server does"));
        }
        let answer = Excerpt::of(answer, answer.len() as u64, MAX_ANSWER);
        notes.push(Stream::Downstream, What::Refused { path: path.clone(), answer });
        Err(Lost::Quietly)
    }
}

impl Talk for WebSocketTalk {
    fn saw(&mut self, stream: Stream, bytes: &[u8], notes: &Notes<'_>) -> Result<(), Lost> {
        if stream == Stream::Downstream && self.refusal.is_some() {
            return self.refused(bytes, notes);
        }
        let mut rest = bytes;
        loop {
            let limit = self.limit;
            let side = match stream {
                Stream::Upstream => &mut self.up,
                Stream::Downstream => &mut self.down,
            };
            if side.is_opened {
                let Side { frames, partial, .. } = side;
                match frames.next(&mut rest, |frame| collect(frame, partial, limit)) {
                    Ok(None) => return Ok(()),
                    Ok(Some(None)) => {}
                    Ok(Some(Some(message))) => {
                        notes.push(stream, What::Message(message));
                    }
                    // A second request on a connection of plain HTTP.
                    Err(_) if !self.is_open => return Err(Lost::Quietly),
                    Err(foreign) => return Err(foreign.into()),
                }
                continue;
            }
            let begun = side.frames.begun().to_vec();
            match side.frames.next(&mut rest, |opening| opening.head.to_vec()) {
                Ok(None) => return Ok(()),
                Ok(Some(head)) => {
                    (side.is_opened, side.frames.limit) = (true, HEADER + limit);
                    match stream {
                        Stream::Upstream => self.asked(&head),
                        Stream::Downstream => {
                            self.is_open = true;
                            let path = self.request.as_ref().map(|(path, _)| path.clone());
                            let path = path.unwrap_or_default();
                            notes.push(Stream::Downstream, What::Opened { path });
                        }
                    }
                }
                Err(_) if stream == Stream::Downstream => {
                    let answer = [begun.as_slice(), bytes].concat();
                    return self.refused(&answer, notes);
                }
                Err(foreign) => {
                    let first = begun.first().or(bytes.first()).copied().unwrap_or_default();
                    // Another request of plain HTTP.
                    let is_http = first.is_ascii_uppercase();
                    return Err(if is_http { Lost::Quietly } else { foreign.into() });
                }
            }
        }
    }

    fn settle(&mut self, _outcome: &Outcome, _notes: &Notes<'_>) {}
}

/// Adds a frame to its message; gives the message when that is complete, and is one that is recorded.
fn collect(frame: Whole<'_>, partial: &mut Option<Partial>, limit: usize) -> Option<Message> {
    let Ok(Some(header)) = Header::read(frame.head) else { return None };
    let masked = &frame.head[header.size.min(frame.head.len())..];
    let payload = masked.iter().zip(header.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    match header.opcode {
        8 => Some(close(&payload.collect::<Vec<u8>>(), header.length, limit)),
        9 | 10 => None,
        opcode => {
            if opcode != 0 {
                let compressed = header.compressed;
                *partial = Some(Partial { opcode, compressed, kept: Vec::new(), length: 0 });
            }
            let message = partial.as_mut()?;
            let room = limit.saturating_sub(message.kept.len());
            message.kept.extend(payload.take(room));
            message.length = message.length.saturating_add(header.length);
            if !header.is_last {
                return None;
            }
            partial.take().map(|partial| partial.message(limit))
        }
    }
}

impl Partial {
    fn message(self, limit: usize) -> Message {
        let Partial { opcode, compressed, kept, length } = self;
        let kind = if opcode == 1 { MessageKind::Text } else { MessageKind::Binary };
        let text = match kind {
            _ if compressed => Excerpt::default(),
            MessageKind::Text => Excerpt::of(&kept, length, limit),
            _ => Excerpt::hex(&kept, length, limit),
        };
        Message { kind, text, length, compressed }
    }
}

fn close(payload: &[u8], length: u64, limit: usize) -> Message {
    let (status, reason) = match payload.split_first_chunk::<2>() {
        Some((status, reason)) => (Some(u16::from_be_bytes(*status)), reason),
        None => (None, &[][..]),
    };
    let whole = length.saturating_sub(2);
    Message {
        kind: MessageKind::Close(status),
        text: Excerpt::of(reason, whole, limit),
        length,
        compressed: false,
    }
}
