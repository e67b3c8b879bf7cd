//! The systemd journal's native protocol: a datagram of `NAME=value` lines for each line (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::{
    fmt::Write as _,
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::Level;

use super::{
    line::{Field, Line, Value},
    sink::{Failure, Sink},
};

/// How long the journal may take to make room for a line.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest name of a field in the journal.
const MAX_NAME: usize = 64;

pub(super) struct Journald {
    path: PathBuf,
    service: String,
    socket: Option<UnixDatagram>,
}

impl Journald {
    pub(super) fn new(path: &Path, service: &str) -> Self {
        Journald { path: path.to_owned(), service: service.to_owned(), socket: None }
    }
}

impl Sink for Journald {
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        for (sent, line) in lines.iter().enumerate() {
            let datagram = encode(line, &self.service);
            if let Err(error) = send(&mut self.socket, &self.path, datagram.as_bytes()) {
                return Err(Failure::lost(lines.len() - sent, format!("{}: {error}", self.path.display())));
            }
        }
        Ok(())
    }
}

/// Sends to a Unix datagram socket, and connects again, once, if that has been replaced since.
pub(super) fn send(socket: &mut Option<UnixDatagram>, path: &Path, datagram: &[u8]) -> io::Result<()> {
    if let Some(connected) = socket.as_ref()
        && connected.send(datagram).is_ok()
    {
        return Ok(());
    }
    *socket = None;
    let fresh = UnixDatagram::unbound()?;
    fresh.set_write_timeout(Some(TIMEOUT))?;
    fresh.connect(path)?;
    fresh.send(datagram)?;
    *socket = Some(fresh);
    Ok(())
}

/// The severity in RFC 5424, which the journal uses too.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn encode(line: &Line, service: &str) -> String {
    let mut out = String::new();
    // A line has no control characters, so no value can hold the beginning of another one.
    let mut put = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{name}={value}");
    };
    put("MESSAGE", &line.message);
    put("PRIORITY", &severity(line.level));
    put("SYSLOG_IDENTIFIER", &service);
    put("TARGET", &line.target);
    if let Some(ids) = &line.ids {
        put("REQUEST_ID", &ids.request_id);
        put("TRACE_ID", &ids.trace_id);
        put("SPAN_ID", &ids.span_id);
    }
    if let Some((file, number)) = line.file.as_ref().zip(line.line) {
        put("CODE_FILE", file);
        put("CODE_LINE", &number);
    }
    for Field { name, value } in &line.fields {
        put(&journal_name(name), value);
    }
    for span in &line.spans {
        put("SPAN_NAME", &span.name);
        for Field { name, value } in span.fields.iter() {
            put(&journal_name(name), value);
        }
    }
    if line.left_out > 0 {
        put("FIELDS_LEFT_OUT", &line.left_out);
    }
    out
}

/// `db.statement` is `F_DB_STATEMENT`: the prefix keeps a field from passing for one of the journal's own.
fn journal_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let mut name: String = "F_".chars().chain(name.chars().map(plain)).collect();
    name.truncate(MAX_NAME);
    name
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Integer(number) => number.fmt(f),
            Value::Unsigned(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Bool(flag) => flag.fmt(f),
        }
    }
}
