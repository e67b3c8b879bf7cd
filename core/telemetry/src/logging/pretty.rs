//! Lines for people.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write},
};

use tracing::Level;

use super::{
    line::{Field, Line, Value},
    sink::{Failure, Sink},
};

/// Writes lines as people like to read them.
pub(super) struct Pretty<W> {
    to: W,
    colours: bool,
}

impl Pretty<io::Stderr> {
    /// In colour if standard error is a terminal and nobody asked for no colours (`NO_COLOR`, see no-color.org).
    pub(super) fn stderr() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let to = io::stderr();
        let colours = to.is_terminal() && !unwanted;
        Pretty { to, colours }
    }
}

impl<W: Write + Send> Sink for Pretty<W> {
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let mut text = String::new();
        for line in lines {
            encode(line, self.colours, &mut text);
        }
        self.to.write_all(text.as_bytes()).map_err(|error| Failure::lost(lines.len(), error))
    }
}

const DIM: &str = "\x1b[2m";

fn encode(line: &Line, colours: bool, out: &mut String) {
    let paint = |colour: &'static str| if colours { colour } else { "" };
    let reset = paint("\x1b[0m");
    let level = match line.level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        _ => "\x1b[35m",
    };
    let (dim, level) = (paint(DIM), paint(level));
    let time = humantime::format_rfc3339_millis(line.time);
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "{dim}{time}{reset} {level}{:>5}{reset} {dim}{}:{reset} {}",
        line.level, line.target, line.message
    );
    fields(&line.fields, dim, reset, out);
    for span in line.spans.iter().rev() {
        let _ = write!(out, " {dim}in {}{reset}", span.name);
        fields(&span.fields, dim, reset, out);
    }
    if let Some(ids) = &line.ids {
        let _ = write!(
            out,
            " {dim}request_id={} trace_id={} span_id={}{reset}",
            ids.request_id, ids.trace_id, ids.span_id
        );
    }
    if let Some((file, number)) = line.file.as_ref().zip(line.line) {
        let _ = write!(out, " {dim}at {file}:{number}{reset}");
    }
    if line.left_out > 0 {
        let _ = write!(out, " {dim}({} fields left out){reset}", line.left_out);
    }
    out.push('\n');
}

fn fields(fields: &[Field], dim: &str, reset: &str, out: &mut String) {
    for Field { name, value } in fields {
        let _ = match value {
            Value::Text(text) if text.contains(' ') || text.is_empty() => {
                write!(out, " {dim}{name}={reset}\"{text}\"")
            }
            Value::Text(text) => write!(out, " {dim}{name}={reset}{text}"),
            Value::Integer(value) => write!(out, " {dim}{name}={reset}{value}"),
            Value::Unsigned(value) => write!(out, " {dim}{name}={reset}{value}"),
            Value::Float(value) => write!(out, " {dim}{name}={reset}{value}"),
            Value::Bool(value) => write!(out, " {dim}{name}={reset}{value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::logging::{Ids, SpanFields};

    fn line() -> Line {
        let field = |name: &'static str, value| Field { name: name.into(), value };
        Line {
            time: UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
            level: Level::WARN,
            target: "shop::orders".into(),
            message: "a payment fails".to_owned(),
            fields: vec![
                field("attempt", Value::Unsigned(2)),
                field("reason", Value::Text("card declined".to_owned())),
                field("share", Value::Float(0.5)),
                field("odd", Value::Float(f64::NAN)),
            ],
            spans: vec![SpanFields {
                name: "checkout".into(),
                fields: std::sync::Arc::new(vec![field("route", Value::Text("/orders".to_owned()))]),
            }],
            ids: Some(Ids {
                request_id: "order-42".to_owned(),
                trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
                span_id: "b7ad6b7169203331".to_owned(),
                sampled: true,
            }),
            file: Some("src/orders.rs".into()),
            line: Some(7),
            left_out: 1,
        }
    }

    #[test]
    fn people_read_one_line_an_event() {
        let mut text = String::new();
        encode(&line(), false, &mut text);
        insta::assert_snapshot!(text, @r#"2026-01-02T03:04:05.678Z  WARN shop::orders: a payment fails attempt=2 reason="card declined" share=0.5 odd=NaN in checkout route=/orders request_id=order-42 trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331 at src/orders.rs:7 (1 fields left out)"#);
        let mut painted = String::new();
        encode(&line(), true, &mut painted);
        assert!(painted.contains("\x1b[33m WARN\x1b[0m"), "{painted:?}");
    }

    #[test]
    fn machines_read_one_object_a_line() {
        let mut json = Vec::new();
        super::super::json::encode(&line(), "shop", &mut json);
        insta::assert_snapshot!(String::from_utf8(json.clone()).unwrap(), @r#"{"time":"2026-01-02T03:04:05.678000Z","level":"WARN","service":"shop","target":"shop::orders","message":"a payment fails","request_id":"order-42","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","fields":{"attempt":2,"reason":"card declined","share":0.5,"odd":"NaN"},"spans":[{"name":"checkout","fields":{"route":"/orders"}}],"file":"src/orders.rs","line":7,"fields_left_out":1}"#);
        serde_json::from_slice::<serde_json::Value>(&json).unwrap();
    }
}
