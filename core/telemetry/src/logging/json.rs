//! One JSON object a line.

use std::io::Write;

use super::{
    line::{Field, Line, Value},
    sink::{Failure, Sink},
};

/// Writes JSON lines.
pub(super) struct Json<W> {
    to: W,
    service: String,
    buffer: Vec<u8>,
}

impl<W: Write + Send> Json<W> {
    pub(super) fn new(to: W, service: &str) -> Self {
        Json { to, service: service.to_owned(), buffer: Vec::new() }
    }
}

impl<W: Write + Send> Sink for Json<W> {
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        self.buffer.clear();
        for line in lines {
            encode(line, &self.service, &mut self.buffer);
        }
        self.to
            .write_all(&self.buffer)
            .and_then(|()| self.to.flush())
            .map_err(|error| Failure::lost(lines.len(), error))
    }
}

/// Adds the line and its end. Keys that have nothing to say are not there.
pub(super) fn encode(line: &Line, service: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    let _ = write!(out, "{}", humantime::format_rfc3339_micros(line.time));
    let _ = write!(out, "\",\"level\":\"{}\",\"service\":", line.level);
    text(service, out);
    out.extend_from_slice(b",\"target\":");
    text(&line.target, out);
    out.extend_from_slice(b",\"message\":");
    text(&line.message, out);
    if let Some(ids) = &line.ids {
        for (key, id) in
            [("request_id", &ids.request_id), ("trace_id", &ids.trace_id), ("span_id", &ids.span_id)]
        {
            let _ = write!(out, ",\"{key}\":");
            text(id, out);
        }
    }
    if !line.fields.is_empty() {
        out.extend_from_slice(b",\"fields\":");
        object(&line.fields, out);
    }
    if !line.spans.is_empty() {
        out.extend_from_slice(b",\"spans\":[");
        for (number, span) in line.spans.iter().enumerate() {
            out.extend_from_slice(if number == 0 { b"{\"name\":" } else { b",{\"name\":" });
            text(&span.name, out);
            if !span.fields.is_empty() {
                out.extend_from_slice(b",\"fields\":");
                object(&span.fields, out);
            }
            out.push(b'}');
        }
        out.push(b']');
    }
    if let Some(file) = &line.file {
        out.extend_from_slice(b",\"file\":");
        text(file, out);
    }
    if let Some(number) = line.line {
        let _ = write!(out, ",\"line\":{number}");
    }
    if line.left_out > 0 {
        let _ = write!(out, ",\"fields_left_out\":{}", line.left_out);
    }
    out.extend_from_slice(b"}\n");
}

fn object(fields: &[Field], out: &mut Vec<u8>) {
    out.push(b'{');
    for (number, field) in fields.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        text(&field.name, out);
        out.push(b':');
        match &field.value {
            Value::Text(value) => text(value, out),
            Value::Integer(value) => drop(write!(out, "{value}")),
            Value::Unsigned(value) => drop(write!(out, "{value}")),
            // JSON has no name for what is not finite.
            Value::Float(value) if !value.is_finite() => drop(write!(out, "\"{value}\"")),
            Value::Float(value) => drop(write!(out, "{value:?}")),
            Value::Bool(value) => drop(write!(out, "{value}")),
        }
    }
    out.push(b'}');
}

fn text(text: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}
