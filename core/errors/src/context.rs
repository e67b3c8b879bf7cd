//! The private context of an error: names and values.

use std::{borrow::Cow, fmt};

use serde::Serialize;

use crate::bounded;

/// The longest text of a context or a source that is kept, in bytes.
pub(crate) const MAX_TEXT: usize = 4 * 1024;
/// Entries that an error keeps at most.
const MAX_ENTRIES: usize = 32;

/// A value in an error's context. Numbers are not formatted before somebody reads them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// A whole number that may be large.
    Unsigned(u64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl Value {
    /// What a value looks like as text, cut at 4 KiB.
    pub fn display(value: impl fmt::Display) -> Self {
        Value::Text(Cow::Owned(bounded::text(value, MAX_TEXT)))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.pad(text),
            Value::Integer(number) => number.fmt(f),
            Value::Unsigned(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Bool(yes) => yes.fmt(f),
        }
    }
}

impl From<Cow<'static, str>> for Value {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(literal) => Value::Text(Cow::Borrowed(literal)),
            Cow::Owned(text) => Value::display(text),
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::display(text)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Value::Bool(yes)
    }
}

macro_rules! numbers {
    ($($variant:ident: $($number:ty),+;)+) => {$($(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Value::$variant(number.into())
            }
        }
    )+)+};
}

numbers! {
    Integer: i8, i16, i32, i64;
    Unsigned: u8, u16, u32, u64;
    Float: f32, f64;
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Unsigned(number as u64)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Context {
    entries: Vec<(&'static str, Value)>,
}

impl Context {
    /// A context that is full stays as it is: what was said first is nearest to the cause.
    pub(crate) fn push(&mut self, name: &'static str, value: Value) {
        if self.entries.len() < MAX_ENTRIES {
            if self.entries.capacity() == 0 {
                self.entries.reserve_exact(2);
            }
            self.entries.push((name, value));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.entries.iter().map(|(name, value)| (*name, value))
    }
}
