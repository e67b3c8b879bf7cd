//! Reading JSON as leniently as Go does, whose clients rely on it: names match in any case, `null` counts as
//! missing, the last of two equal names wins, and what follows the first value is ignored. A value of another type is an error.

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// The largest whole number: beyond it, Toxiproxy refuses, too.
const MAX_WHOLE: u64 = i64::MAX as u64;

/// The first value of a text; an empty text is an error.
pub(super) fn first_value(text: &[u8]) -> Result<Value, Refusal> {
    match serde_json::Deserializer::from_slice(text).into_iter().next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) if error.is_eof() => Err(Refusal::bad_body("unexpected EOF")),
        Some(Err(error)) => Err(Refusal::bad_body(error)),
        None => Err(Refusal::bad_body("EOF")),
    }
}

/// The elements of a list; `null` is an empty one.
pub(super) fn elements(value: Value, what: &str) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(elements) => Ok(elements),
        Value::Null => Ok(Vec::new()),
        other => Err(unfit(what, "a list", &other)),
    }
}

/// The fields of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// `null` is an object without fields.
    pub(super) fn of(value: Value, what: &str) -> Result<Fields, Refusal> {
        match value {
            Value::Object(fields) => Ok(Fields(fields)),
            Value::Null => Ok(Fields::default()),
            other => Err(unfit(what, "an object", &other)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        self.read(name, "a string", Value::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.read(name, "true or false", Value::as_bool)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Refusal> {
        self.read(name, "a number", Value::as_f64)
    }

    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.read(name, "a whole number from 0 to 9223372036854775807", |value| {
            value.as_u64().filter(|whole| *whole <= MAX_WHOLE)
        })
    }

    pub(super) fn object(&self, name: &str) -> Result<Fields, Refusal> {
        self.get(name).map_or_else(|| Ok(Fields::default()), |value| Fields::of(value.clone(), &quoted(name)))
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<Value>, Refusal> {
        self.get(name).map_or_else(|| Ok(Vec::new()), |value| elements(value.clone(), &quoted(name)))
    }

    /// The name of a field that is none of these.
    pub(super) fn other_than(&self, known: &[&str]) -> Option<&str> {
        let is_known = |name: &&String| known.iter().any(|known| known.eq_ignore_ascii_case(name));
        self.0.keys().find(|name| !is_known(name)).map(String::as_str)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|known, _| !known.eq_ignore_ascii_case(name));
    }

    /// Takes over what `newer` has, field by field.
    pub(super) fn overlay(&mut self, newer: &Fields) {
        for (name, value) in newer.0.iter().filter(|(_, value)| !value.is_null()) {
            self.remove(name);
            self.0.insert(name.clone(), value.clone());
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let in_any_case = || self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let found = self.0.get(name).or_else(|| in_any_case().map(|(_, value)| value));
        found.filter(|value| !value.is_null())
    }

    fn read<'a, T>(
        &'a self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| unfit(&quoted(name), wanted, value))
    }
}

impl<'a> FromIterator<(&'a str, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, Value)>>(fields: I) -> Self {
        Fields(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

fn unfit(what: &str, wanted: &str, value: &Value) -> Refusal {
    let got = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("{:.40}", number.to_string()),
        Value::String(text) => format!("the string {text:.40?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Refusal::bad_body(format!("{what} must be {wanted}, not {got}"))
}
