//! Syslog messages as RFC 5424 has them, over a Unix datagram socket or UDP (RFC 5426).

use std::{
    fmt::Write as _,
    io,
    net::{ToSocketAddrs as _, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
};

use super::{
    journald::{send, severity},
    line::{Field, Line},
    sink::{Failure, Sink},
};
use crate::settings::SyslogAddress;

/// The longest message: what rsyslog and syslog-ng take unless they are told otherwise, in bytes.
const MAX_MESSAGE: usize = 8 << 10;

/// System daemons.
const FACILITY: u8 = 3;

/// The enterprise number in the names of structured data: the one that is free for everybody's use (RFC 5612).
const ENTERPRISE: u32 = 32473;

pub(super) struct Syslog {
    address: SyslogAddress,
    /// Host, program and process, as they are in every message.
    origin: String,
    unix: Option<UnixDatagram>,
    udp: Option<UdpSocket>,
}

impl Syslog {
    pub(super) fn new(address: &SyslogAddress, service: &str) -> Self {
        let uname = rustix::system::uname();
        let host: String =
            uname.nodename().to_string_lossy().chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        let origin = format!("{host} {service} {}", std::process::id());
        Syslog { address: address.clone(), origin, unix: None, udp: None }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match &self.address {
            SyslogAddress::Unix(path) => send(&mut self.unix, Path::new(path), message),
            SyslogAddress::Udp(address) => {
                let sent = connected(&mut self.udp, address)?.send(message);
                if sent.is_err() {
                    // The name may stand for another machine by now.
                    self.udp = None;
                }
                sent.map(drop)
            }
        }
    }
}

fn connected<'a>(socket: &'a mut Option<UdpSocket>, address: &str) -> io::Result<&'a UdpSocket> {
    if socket.is_none() {
        let to =
            address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let fresh = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        fresh.connect(to)?;
        *socket = Some(fresh);
    }
    socket.as_ref().ok_or_else(|| io::Error::other("no socket"))
}

impl Sink for Syslog {
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        for (sent, line) in lines.iter().enumerate() {
            let message = encode(line, &self.origin);
            if let Err(error) = self.send(message.as_bytes()) {
                return Err(Failure::lost(lines.len() - sent, format!("{:?}: {error}", self.address)));
            }
        }
        Ok(())
    }
}

/// The message. Structured data for which there is no room is left out; a text is cut.
fn encode(line: &Line, origin: &str) -> String {
    let priority = FACILITY * 8 + severity(line.level);
    let time = humantime::format_rfc3339_micros(line.time);
    let mut out = format!("<{priority}>1 {time} {origin} - ");
    let room = MAX_MESSAGE - line.message.len().min(MAX_MESSAGE / 2) - 64;
    let mut left_out = line.left_out;
    let mut put = |out: &mut String, name: &str, value: &str| {
        let name: String = name.chars().filter(is_name).take(32).collect();
        let before = out.len();
        let _ = write!(out, " {name}=\"");
        for c in value.chars() {
            if matches!(c, '"' | '\\' | ']') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        if name.is_empty() || out.len() > room {
            out.truncate(before);
            left_out += 1;
        }
    };
    let _ = write!(out, "[fields@{ENTERPRISE}");
    put(&mut out, "target", &line.target);
    if let Some(ids) = &line.ids {
        put(&mut out, "request_id", &ids.request_id);
        put(&mut out, "trace_id", &ids.trace_id);
        put(&mut out, "span_id", &ids.span_id);
    }
    for Field { name, value } in
        line.fields.iter().chain(line.spans.iter().rev().flat_map(|span| span.fields.iter()))
    {
        put(&mut out, name, &value.to_string());
    }
    for span in &line.spans {
        put(&mut out, "span", &span.name);
    }
    if left_out > 0 {
        let _ = write!(out, " fields_left_out=\"{left_out}\"");
    }
    // The mark says that the text is UTF-8.
    out.push_str("] \u{feff}");
    out.push_str(&line.message);
    out.truncate(out.floor_char_boundary(MAX_MESSAGE));
    out
}

fn is_name(c: &char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"')
}
