//! WebSocket frames, behind the HTTP request and response that open the connection.
//!
//! Source: RFC 6455, sections 4 and 5.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Advance, Foreign, Look, Protocol};
use crate::{Frame, Stream, WebSocket, When};

/// The longest head of the opening request or response, in bytes.
const MAX_OPENING: usize = 64 * 1024;
/// Status 1011: the server met a condition that kept it from fulfilling the request.
const INTERNAL_ERROR: u16 = 1011;

#[derive(Debug)]
pub(super) struct Frames {
    stream: Stream,
    wanted: Frame,
    text: Vec<u8>,
    state: State,
    /// A close was injected: frames behind it mean nothing.
    is_closed: bool,
}

#[derive(Debug)]
enum State {
    /// The opening head: bytes so far, and how much of its end was seen.
    Opening {
        length: usize,
        ending: usize,
    },
    /// The header of a frame, as far as it is there.
    Header {
        bytes: [u8; 14],
        have: usize,
    },
    Payload(u64),
}

const NEW_FRAME: State = State::Header { bytes: [0; 14], have: 0 };

impl Frames {
    pub(super) fn new(messages: &WebSocket, stream: Stream, at_start: bool) -> Self {
        let state = if at_start { State::Opening { length: 0, ending: 0 } } else { NEW_FRAME };
        let (wanted, text) = (messages.frame, messages.text.clone().into_bytes());
        Frames { stream, wanted, text, state, is_closed: false }
    }

    /// What the opening has to begin with.
    fn opening(&self) -> &'static [u8] {
        match self.stream {
            Stream::Upstream => b"GET ",
            Stream::Downstream => b"HTTP/1.1 101",
        }
    }
}

impl Protocol for Frames {
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Foreign> {
        const END: &[u8; 4] = b"\r\n\r\n";
        let expected = self.opening();
        let mut used = 0;
        while used < bytes.len() {
            match &mut self.state {
                State::Opening { length, ending } => {
                    let byte = bytes[used];
                    used += 1;
                    if expected.get(*length).is_some_and(|wanted| *wanted != byte) || *length > MAX_OPENING {
                        return Err(Foreign);
                    }
                    *length += 1;
                    *ending = match byte {
                        byte if byte == END[*ending] => *ending + 1,
                        b'\r' => 1,
                        _ => 0,
                    };
                    if *ending == END.len() {
                        self.state = NEW_FRAME;
                        return Ok(Advance { used, complete: true });
                    }
                }
                State::Header { bytes: header, have } => {
                    header[*have] = bytes[used];
                    *have += 1;
                    used += 1;
                    let Some(payload) = Header::read(&header[..*have])? else { continue };
                    let length = payload.length;
                    self.state = State::Payload(length);
                    if length == 0 {
                        self.state = NEW_FRAME;
                        return Ok(Advance { used, complete: true });
                    }
                }
                State::Payload(left) => {
                    let taken = (*left).min((bytes.len() - used) as u64);
                    *left -= taken;
                    used += taken as usize;
                    if *left == 0 {
                        self.state = NEW_FRAME;
                        return Ok(Advance { used, complete: true });
                    }
                }
            }
        }
        Ok(Advance { used, complete: false })
    }

    fn look(&mut self, head: &[u8]) -> Look {
        if head.starts_with(self.opening()) {
            return Look::Other;
        }
        if self.is_closed {
            return Look::Gone;
        }
        let Ok(Some(header)) = Header::read(head) else { return Look::Other };
        let wanted = match self.wanted {
            Frame::Any => true,
            Frame::Text => header.opcode == 1,
            Frame::Binary => header.opcode == 2,
            Frame::Close => header.opcode == 8,
            Frame::Ping => header.opcode == 9,
            Frame::Pong => header.opcode == 10,
        };
        let payload = &head[header.size..];
        let start = payload.iter().zip(header.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let has_text = self.text.is_empty()
            || (!header.compressed && start.take(self.text.len()).eq(self.text.iter().copied()));
        if wanted && has_text { Look::Matches } else { Look::Other }
    }

    fn fail(&mut self, _when: When) -> Option<Bytes> {
        self.is_closed = true;
        let reason = b"injected fault";
        let length = 2 + reason.len() as u8;
        let mut close = BytesMut::new();
        close.put_u8(0x88);
        match self.stream {
            Stream::Downstream => close.put_u8(length),
            // What a client sends is masked; zeros are a mask, too.
            Stream::Upstream => {
                close.put_u8(0x80 | length);
                close.put_u32(0);
            }
        }
        close.put_u16(INTERNAL_ERROR);
        close.put_slice(reason);
        Some(close.freeze())
    }
}

/// What comes ahead of a frame's payload.
pub(crate) struct Header {
    pub(crate) opcode: u8,
    /// The frame ends its message.
    pub(crate) is_last: bool,
    pub(crate) compressed: bool,
    pub(crate) mask: [u8; 4],
    /// Bytes of the header.
    pub(crate) size: usize,
    /// Bytes of the payload.
    pub(crate) length: u64,
}

impl Header {
    /// Reads a header; `None` when there is more to come.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Header>, Foreign> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let (opcode, is_control, is_last) = (first & 0x0f, first & 0x08 != 0, first & 0x80 != 0);
        let is_known = matches!(opcode, 0..=2 | 8..=10) && first & 0x30 == 0;
        let (masked, short) = (second & 0x80 != 0, second & 0x7f);
        if !is_known || (is_control && (short > 125 || !is_last)) {
            return Err(Foreign);
        }
        let extra = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let size = 2 + extra + if masked { 4 } else { 0 };
        if bytes.len() < size {
            return Ok(None);
        }
        let length = match extra {
            0 => u64::from(short),
            _ => rest[..extra].iter().fold(0, |length, byte| (length << 8) | u64::from(*byte)),
        };
        if length > i64::MAX as u64 {
            return Err(Foreign);
        }
        let mut mask = [0; 4];
        if masked {
            mask.copy_from_slice(&rest[extra..extra + 4]);
        }
        Ok(Some(Header { opcode, is_last, compressed: first & 0x40 != 0, mask, size, length }))
    }
}
