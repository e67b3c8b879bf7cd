//! A finished log line: redacted, bounded and free of control characters.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use tracing::Level;

/// A log line as a [`Sink`](super::Sink) gets it. Nothing in it needs to be hidden or escaped any more, except for what the sink's own
/// format asks for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Line {
    /// When the event happened.
    pub time: SystemTime,
    /// How severe it is.
    pub level: Level,
    /// The part of the program that it comes from, for example `shop::orders`.
    pub target: Cow<'static, str>,
    /// The event in words.
    pub message: String,
    /// The event's fields.
    pub fields: Vec<Field>,
    /// The spans that the event is in, the innermost last.
    pub spans: Vec<SpanFields>,
    /// The request that it belongs to.
    pub ids: Option<Ids>,
    /// The source file.
    pub file: Option<Cow<'static, str>>,
    /// The line in the source file.
    pub line: Option<u32>,
    /// How many fields were left out since there was no room.
    pub left_out: usize,
}

/// The ids of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// As the client sent it or as we made it.
    pub request_id: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Whether the caller asked for the trace to be recorded.
    pub sampled: bool,
}

/// A field of an event or a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// As the program says it.
    pub name: Cow<'static, str>,
    /// As it may be shown.
    pub value: Value,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A whole number that may be larger than an `i64`.
    Unsigned(u64),
    /// A number.
    Float(f64),
    /// A flag.
    Bool(bool),
}

/// A span and its fields.
#[derive(Debug, Clone)]
pub struct SpanFields {
    /// What the span is called.
    pub name: Cow<'static, str>,
    /// Its fields.
    pub fields: Arc<Vec<Field>>,
}

impl Line {
    /// About how many bytes the line takes, in memory and written.
    pub(crate) fn size(&self) -> usize {
        let of = |fields: &[Field]| fields.iter().map(Field::size).sum::<usize>();
        let spans: usize = self.spans.iter().map(|span| span.name.len() + of(&span.fields)).sum();
        256 + self.message.len() + of(&self.fields) + spans
    }
}

impl Field {
    fn size(&self) -> usize {
        let value = if let Value::Text(text) = &self.value { text.len() } else { 8 };
        64 + self.name.len() + value
    }
}
