//! What may be shown, and what is hidden before anyone can see it.
//!
//! Values of fields are shown only if the field is on the allow-list. Free text (messages, errors, statements) is written by the program,
//! but holds what the program put in; [`scrub`] hides what looks like a secret in there.
//!
//! ```
//! use seaworthy_telemetry::redaction::scrub;
//!
//! let error = "no answer from postgres://shop:hunter2@db/shop within 2s";
//! assert_eq!(scrub(error), "no answer from postgres://[redacted]@db/shop within 2s");
//! assert_eq!(scrub("3 jobs done in 12.5ms"), "3 jobs done in 12.5ms");
//! ```
//!
//! Scrubbing errs on the side of hiding, and it can't know a secret that looks like a word in a sentence: `the password hunter2 is wrong`
//! passes. Give secrets to fields, not to messages.

mod keys;
mod patterns;
mod scanner;
mod sql;
mod urls;
mod values;

use std::{borrow::Cow, collections::BTreeSet};

pub use keys::is_secret_name;
pub(crate) use patterns::is_card_number;

/// What is written in place of a hidden value.
pub const HIDDEN: &str = "[redacted]";

/// Fields whose texts are shown. They take one of few values, or are ids that we made.
pub const ALLOWED: &[&str] = &[
    "address",
    "attempt",
    "attempts",
    "cause",
    "code",
    "component",
    "constraint",
    "count",
    "db.operation",
    "db.system",
    "elapsed",
    "http.method",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "http.status_code",
    "job",
    "kind",
    "level",
    "listen",
    "log.target",
    "method",
    "operation",
    "otel.kind",
    "otel.status_code",
    "outcome",
    "panic.location",
    "phase",
    "port",
    "queue",
    "reason",
    "request_id",
    "route",
    "service",
    "signal",
    "span_id",
    "state",
    "status",
    "strategy",
    "table",
    "task",
    "thread",
    "trace_id",
    "version",
    "worker",
];

/// Fields that hold an error: free text, shown scrubbed.
const ERRORS: &[&str] = &["err", "error", "error.cause", "error.chain", "error.message", "exception.message"];

/// Fields that hold SQL: shown without their literals.
const STATEMENTS: &[&str] =
    &["db.query.text", "db.statement", "query.summary", "sql", "statement", "summary"];

/// Fields that are meant to look random.
const IDS: &[&str] = &["request_id", "span_id", "trace_id", "version"];

/// Hides in a text what looks like a secret: credentials in URLs and headers, values of keys that look secret, tokens, keys, e-mail
/// addresses, card numbers, literals in SQL, and values that Postgres and serde quote in their errors.
///
/// Scrubbing a scrubbed text changes nothing.
pub fn scrub(text: &str) -> Cow<'_, str> {
    scanner::scrub(text, &scanner::Mode::FREE)
}

/// Hides the string literals of a statement, and what [`scrub`] hides.
pub fn scrub_sql(text: &str) -> Cow<'_, str> {
    scanner::scrub(text, &scanner::Mode { sql: true, ..scanner::Mode::FREE })
}

/// Scrubs a text in which these ids may stand although they look random.
pub(crate) fn scrub_but<'a>(text: &'a str, ids: &[&str]) -> Cow<'a, str> {
    scanner::scrub(text, &scanner::Mode { ids, ..scanner::Mode::FREE })
}

/// Scrubs what is an id itself.
pub(crate) fn scrub_id(text: &str) -> Cow<'_, str> {
    scanner::scrub(text, &scanner::Mode { random: false, ..scanner::Mode::FREE })
}

/// What is done with the text of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Shown, scrubbed; what looks random may stay if the flag says so.
    Shown { random: bool },
    /// SQL: shown without literals.
    Statement,
    /// Hidden; numbers, booleans and durations are shown.
    Hidden,
    /// Hidden whatever it is.
    Secret,
}

/// Which fields are shown.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    extra: BTreeSet<String>,
}

impl Redaction {
    /// The fields in [`ALLOWED`] and these. Names that look secret stay hidden whatever is asked for.
    pub fn allowing<N: Into<String>>(extra: impl IntoIterator<Item = N>) -> Self {
        Redaction { extra: extra.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn policy(&self, field: &str) -> Policy {
        if ERRORS.contains(&field) {
            Policy::Shown { random: false }
        } else if STATEMENTS.contains(&field) {
            Policy::Statement
        } else if is_secret_name(field) {
            Policy::Secret
        } else if self.extra.contains(field) {
            Policy::Shown { random: true }
        } else if ALLOWED.binary_search(&field).is_ok() {
            Policy::Shown { random: IDS.contains(&field) }
        } else {
            Policy::Hidden
        }
    }

    /// The text of a field, as it may be shown.
    pub(crate) fn apply<'a>(&self, policy: Policy, text: &'a str, ids: &[&str]) -> Cow<'a, str> {
        match policy {
            Policy::Shown { random: true } => scrub_id(text),
            Policy::Shown { random: false } => scrub_but(text, ids),
            Policy::Statement => scrub_sql(text),
            Policy::Hidden if is_duration(text) => Cow::Borrowed(text),
            Policy::Hidden | Policy::Secret => Cow::Borrowed(HIDDEN),
        }
    }
}

/// A `Duration` as its `Debug` writes it: `12.5ms`.
fn is_duration(text: &str) -> bool {
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = &text[number.len()..];
    text.len() <= 32
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && matches!(unit, "s" | "ms" | "µs" | "ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allow_list_is_sorted_and_names_no_secret() {
        assert!(ALLOWED.is_sorted());
        for name in ALLOWED {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_field_that_nobody_allowed_shows_durations_and_no_texts() {
        let redaction = Redaction::allowing(["city", "password"]);
        let show = |field, text| redaction.apply(redaction.policy(field), text, &[]).into_owned();
        assert_eq!(show("took", "12.5ms"), "12.5ms");
        assert_eq!(show("took", "1200"), HIDDEN, "digits in a text may be a phone number");
        assert_eq!(show("name", "Ada"), HIDDEN);
        assert_eq!(show("city", "London"), "London");
        assert_eq!(show("password", "12.5ms"), HIDDEN, "a secret's name can't be allowed");
        assert_eq!(show("route", "/orders/{id}"), "/orders/{id}");
        assert_eq!(show("db.statement", "select 'x'"), "select '?'");
    }
}
