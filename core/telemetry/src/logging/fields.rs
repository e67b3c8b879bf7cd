//! Turns the fields of an event or a span into what may be shown of them.

use std::{error::Error, fmt};

use tracing::field::{Field as Key, Visit};

use super::{
    bounds::{self, Capture, MAX_FIELDS},
    line::{Field, Value},
};
use crate::redaction::{HIDDEN, Policy, Redaction, is_card_number, scrub_but};

/// How many causes of an error are written.
const MAX_CAUSES: usize = 16;

pub(super) struct Fields<'a> {
    redaction: &'a Redaction,
    ids: &'a [&'a str],
    /// A record of the crate `log`: what it carries for us is no field.
    from_log: bool,
    pub(super) message: String,
    pub(super) fields: Vec<Field>,
    pub(super) left_out: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(redaction: &'a Redaction, ids: &'a [&'a str], from_log: bool) -> Self {
        Fields { redaction, ids, from_log, message: String::new(), fields: Vec::new(), left_out: 0 }
    }

    /// Whether there is a place for this field.
    fn takes(&mut self, key: &Key) -> bool {
        if self.from_log && key.name().starts_with("log.") {
            return false;
        }
        let room = key.name() == "message" || self.fields.len() < MAX_FIELDS;
        self.left_out += usize::from(!room);
        room
    }

    fn push(&mut self, key: &Key, value: Value) {
        let field = Field { name: bounds::name(key.name()), value };
        match self.fields.iter_mut().find(|own| own.name == field.name) {
            Some(own) => *own = field,
            None => self.fields.push(field),
        }
    }

    fn text(&mut self, key: &Key, capture: &Capture, is_error: bool) {
        if key.name() == "message" {
            self.message = bounds::finish(&scrub_but(capture.as_str(), self.ids), capture.length());
            return;
        }
        let policy = match self.redaction.policy(key.name()) {
            Policy::Hidden if is_error => Policy::Shown { random: false },
            policy => policy,
        };
        let shown = self.redaction.apply(policy, capture.as_str(), self.ids);
        let length = if shown == HIDDEN { HIDDEN.len() } else { capture.length() };
        self.push(key, Value::Text(bounds::finish(&shown, length)));
    }

    /// Numbers and flags are shown unless their name says that they are secret.
    fn plain(&mut self, key: &Key, value: Value) {
        if !self.takes(key) {
            return;
        }
        let card = match value {
            Value::Unsigned(number) => is_card_number(number),
            Value::Integer(number) => is_card_number(number.unsigned_abs()),
            _ => false,
        };
        let hidden = card || self.redaction.policy(key.name()) == Policy::Secret;
        self.push(key, if hidden { Value::Text(HIDDEN.to_owned()) } else { value });
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, key: &Key, value: f64) {
        self.plain(key, Value::Float(value));
    }

    fn record_i64(&mut self, key: &Key, value: i64) {
        self.plain(key, Value::Integer(value));
    }

    fn record_u64(&mut self, key: &Key, value: u64) {
        self.plain(key, Value::Unsigned(value));
    }

    fn record_i128(&mut self, key: &Key, value: i128) {
        self.plain(key, Value::Text(value.to_string()));
    }

    fn record_u128(&mut self, key: &Key, value: u128) {
        self.plain(key, Value::Text(value.to_string()));
    }

    fn record_bool(&mut self, key: &Key, value: bool) {
        self.plain(key, Value::Bool(value));
    }

    fn record_str(&mut self, key: &Key, value: &str) {
        if self.takes(key) {
            self.text(key, &Capture::of(value), false);
        }
    }

    fn record_bytes(&mut self, key: &Key, value: &[u8]) {
        if self.takes(key) {
            self.push(key, Value::Text(format!("{HIDDEN} ({} bytes)", value.len())));
        }
    }

    fn record_error(&mut self, key: &Key, value: &(dyn Error + 'static)) {
        if self.takes(key) {
            let mut text = Capture::default();
            let _ = fmt::write(&mut text, format_args!("{value}"));
            let causes =
                std::iter::successors(value.source(), |cause: &&(dyn Error + 'static)| (*cause).source())
                    .take(MAX_CAUSES);
            for cause in causes {
                let _ = fmt::write(&mut text, format_args!(": {cause}"));
            }
            self.text(key, &text, true);
        }
    }

    fn record_debug(&mut self, key: &Key, value: &dyn fmt::Debug) {
        if self.takes(key) {
            self.text(key, &Capture::of_debug(value), false);
        }
    }
}
