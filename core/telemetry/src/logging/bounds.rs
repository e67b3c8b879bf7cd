//! How large a line may be, and what may stand in it.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use super::line::{Field, Line, SpanFields, Value};

/// The longest line that any strategy writes, in bytes.
pub const MAX_LINE: usize = 64 << 10;

/// The longest text of a message or a field, in bytes; what is cut off says so.
pub const MAX_VALUE: usize = 8 << 10;

/// The most fields of a line, those of its spans included.
pub const MAX_FIELDS: usize = 64;

/// The longest name of a field, a span or a target, in bytes.
const MAX_NAME: usize = 128;

/// What time, level, ids, target and punctuation take at most.
const FRAME: usize = 3 << 10;

/// What a field takes besides its name and value, in the most talkative format.
const FIELD_FRAME: usize = 64;

/// How much of a text is looked at: more than is shown, since scrubbing may shorten it.
pub(super) const CAPTURE: usize = 2 * MAX_VALUE;

/// The beginning of a text, as much as is looked at, and the length of all of it.
#[derive(Default)]
pub(super) struct Capture {
    text: String,
    length: usize,
}

impl Capture {
    pub(super) fn of(text: &str) -> Self {
        let mut capture = Capture::default();
        let _ = capture.write_str(text);
        capture
    }

    pub(super) fn of_debug(value: &dyn std::fmt::Debug) -> Self {
        let mut capture = Capture::default();
        // A `Debug` that fails leaves what it wrote before.
        let _ = write!(capture, "{value:?}");
        capture
    }

    pub(super) fn as_str(&self) -> &str {
        if self.length <= CAPTURE {
            return &self.text;
        }
        // What was cut in two may no longer look like a secret, so the last word goes.
        let near = self.text.floor_char_boundary(self.text.len().saturating_sub(512));
        let end = self.text[near..].rfind(char::is_whitespace).map_or(near, |at| near + at);
        &self.text[..end]
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

impl std::fmt::Write for Capture {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.length += text.len();
        let room = CAPTURE.saturating_sub(self.text.len());
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        Ok(())
    }
}

/// The text without control characters and within its bound; `length` is that of the original.
pub(super) fn finish(text: &str, length: usize) -> String {
    let escaped = escape(text);
    if escaped.len() <= MAX_VALUE && length <= CAPTURE {
        return escaped.into_owned();
    }
    let mark = format!("…[cut, {length} bytes]");
    let mut text = escaped.into_owned();
    text.truncate(text.floor_char_boundary(MAX_VALUE - mark.len()));
    text + &mark
}

/// Writes control characters, and those that turn or hide text, as Rust does in a literal. A line stays a line, and no terminal
/// takes a part of it for a command.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A name as it may be shown.
pub(super) fn name(name: &'static str) -> Cow<'static, str> {
    if name.len() <= MAX_NAME && !name.contains(is_unsafe) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(cut_name(name))
    }
}

pub(super) fn cut_name(name: &str) -> String {
    let mut name = escape(&name[..name.floor_char_boundary(MAX_NAME)]).into_owned();
    name.truncate(name.floor_char_boundary(MAX_NAME));
    name
}

/// Leaves out the fields for which there is no room: the event's own come first, then those of the innermost span.
pub(super) fn fit(line: &mut Line) {
    let mut room = MAX_LINE - FRAME - cost(&line.message);
    let mut places = MAX_FIELDS;
    let mut left_out = 0;
    let mut fits = |field: &Field| {
        let value = if let Value::Text(text) = &field.value { cost(text) } else { 24 };
        let size = FIELD_FRAME + cost(&field.name) + value;
        let fits = places > 0 && size <= room;
        if fits {
            (places, room) = (places - 1, room - size);
        } else {
            left_out += 1;
        }
        fits
    };
    line.fields.retain(&mut fits);
    for SpanFields { fields, .. } in line.spans.iter_mut().rev() {
        if !fields.iter().all(&mut fits) {
            // Counted by `all` up to the first that does not fit; none of this span is shown, so that none looks complete.
            *fields = Arc::default();
        }
    }
    line.left_out += left_out;
}

/// How many bytes a text takes where quotes, backslashes and brackets are escaped.
fn cost(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b']')).count()
}
