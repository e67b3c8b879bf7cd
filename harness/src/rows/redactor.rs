//! What stands for values that differ from run to run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    catalogue::{Kind, Leaf},
    json,
    literal::{ARRAY, COMPOSITE, RANGE, replace_parts},
};

const TIMESTAMP: &str = "[timestamp]";
/// What the names of uuids begin with.
const UUID: &str = "uuid";
const UUID_LENGTH: usize = 36;

/// Chooses what of rows is replaced, and gives the same value the same name in all rows that it reads.
///
/// A column is named as the result names it. A choice that no column of a query has is passed over: a redactor serves many
/// queries.
///
/// ```no_run
/// use seaworthy_harness::{Redactor, RowsError};
///
/// # async fn example(pool: sqlx::PgPool) -> Result<(), RowsError> {
/// let mut redactor = Redactor::new().keep("due_on").redact("token").redact_as("newest", "orders.id");
/// let orders = redactor.rows(&pool, "select id, due_on, token from orders order by id").await?;
/// // `[orders.id-1]` is the same order here as above.
/// let newest = redactor.rows(&pool, "select max(id) as newest from orders").await?;
/// # let _ = (orders, newest);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    kept: BTreeSet<String>,
    redacted: BTreeMap<String, Redacted>,
    /// The numbers of the values that were seen, by what they are of.
    names: HashMap<String, HashMap<String, usize>>,
}

#[derive(Debug, Clone)]
enum Redacted {
    Hidden,
    As(String),
}

/// What happens to the values of one column.
#[derive(Debug)]
pub(super) enum Rule {
    Keep(Kind),
    Hide(String),
    Name(String),
    ByType(Kind),
}

impl Rule {
    /// What the values still are afterwards.
    pub(super) fn leaf(&self) -> Option<Leaf> {
        match self {
            Rule::Keep(Kind::Leaf(leaf)) | Rule::ByType(Kind::Leaf(leaf)) => Some(*leaf),
            _ => None,
        }
    }
}

impl Redactor {
    /// Replaces what the types and the catalogue say.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves this column as it is.
    pub fn keep(mut self, column: impl Into<String>) -> Self {
        self.kept.insert(column.into());
        self
    }

    /// Replaces this column's values by the column's name in brackets.
    pub fn redact(mut self, column: impl Into<String>) -> Self {
        self.redacted.insert(column.into(), Redacted::Hidden);
        self
    }

    /// Replaces this column's values by a name and a number each, the same for the same value: `[name-1]`. With the name of a
    /// generated id, such as `orders.id`, the values are named as those.
    pub fn redact_as(mut self, column: impl Into<String>, name: impl Into<String>) -> Self {
        self.redacted.insert(column.into(), Redacted::As(name.into()));
        self
    }

    pub(super) fn rule(&self, column: &str, generated_id: Option<&str>, kind: Kind) -> Rule {
        match self.redacted.get(column) {
            Some(Redacted::Hidden) => Rule::Hide(format!("[{column}]")),
            Some(Redacted::As(name)) => Rule::Name(name.clone()),
            None if self.kept.contains(column) => Rule::Keep(kind),
            None => generated_id.map_or(Rule::ByType(kind), |id| Rule::Name(id.to_owned())),
        }
    }

    pub(super) fn apply(&mut self, rule: &Rule, value: String) -> String {
        match rule {
            Rule::Keep(_) => value,
            Rule::Hide(text) => text.clone(),
            Rule::Name(name) => self.name(name, &value),
            Rule::ByType(kind) => self.by_type(kind, &value),
        }
    }

    fn by_type(&mut self, kind: &Kind, value: &str) -> String {
        match kind {
            Kind::Leaf(Leaf::Temporal) => timestamp(value).to_owned(),
            Kind::Leaf(Leaf::Untyped) => self.untyped(value),
            Kind::Leaf(Leaf::Json) => json::replace_strings(value, |string| self.untyped(string)),
            Kind::Leaf(_) => self.without_uuids(value),
            // An element that is null is not a value.
            Kind::Array(element) => replace_parts(value, ARRAY, |_, part| match part {
                "NULL" => part.to_owned(),
                _ => self.by_type(element, part),
            }),
            Kind::Range(bound) => replace_parts(value, RANGE, |_, part| self.by_type(bound, part)),
            Kind::Composite(fields) => {
                replace_parts(value, COMPOSITE, |field, part| match fields.get(field) {
                    Some(kind) => self.by_type(kind, part),
                    None => self.untyped(part),
                })
            }
        }
    }

    fn untyped(&mut self, value: &str) -> String {
        if is_date_with_time(value) { TIMESTAMP.to_owned() } else { self.without_uuids(value) }
    }

    fn without_uuids(&mut self, value: &str) -> String {
        let mut replaced = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(begin) = rest.as_bytes().windows(UUID_LENGTH).position(is_uuid) {
            let (before, uuid) = rest.split_at(begin);
            let (uuid, after) = uuid.split_at(UUID_LENGTH);
            replaced.push_str(before);
            replaced.push_str(&self.name(UUID, &uuid.to_ascii_lowercase()));
            rest = after;
        }
        replaced + rest
    }

    fn name(&mut self, of: &str, value: &str) -> String {
        let numbers = self.names.entry(of.to_owned()).or_default();
        let next = numbers.len() + 1;
        format!("[{of}-{}]", numbers.entry(value.to_owned()).or_insert(next))
    }
}

/// What has no end, and the range that has nothing in it, are the same in every run.
fn timestamp(value: &str) -> &str {
    match value {
        "infinity" | "-infinity" | "empty" => value,
        _ => TIMESTAMP,
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// As in RFC 3339, or as Postgres prints it: `2026-01-31T23:59…` or with a space.
fn is_date_with_time(text: &str) -> bool {
    const LOOK: &[u8] = b"0000-00-00T00:00";
    let looks = |(byte, look): (u8, &u8)| match look {
        b'0' => byte.is_ascii_digit(),
        b'T' => b"Tt ".contains(&byte),
        _ => byte == *look,
    };
    let rest = text.as_bytes().get(LOOK.len()..).unwrap_or_default();
    text.len() >= LOOK.len()
        && text.bytes().zip(LOOK).all(looks)
        // Seconds, a zone, an era; a sentence that begins with a date is none.
        && rest.iter().all(|byte| byte.is_ascii_digit() || b":.,+-Zz BC".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_date_with_a_time_is_known_by_its_look() {
        let cases = [
            ("2026-01-31T23:59:59.123456Z", true),
            ("2026-01-31T23:59:59+00:00", true),
            ("2026-01-31 23:59:59.1+00", true),
            ("0044-03-15 12:00:00 BC", true),
            ("2026-01-31T23:59", true),
            ("2026-01-31", false),
            ("2026-01-31 23:59 the ship sailed", false),
            ("2026-01-31Té", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_date_with_time(text), expected, "{text}");
        }
    }

    /// A value of each kind, with what must not be seen of it.
    fn values() -> impl Strategy<Value = (Kind, String, Vec<String>)> {
        let uuid = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
        let date_time =
            "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?\\+00";
        let leaf = |leaf| Box::new(Kind::Leaf(leaf));
        let around = "[a-z0-9 {}(),\\[\\]é-]{0,12}";
        (uuid, date_time, around, around, 0..9).prop_map(move |(uuid, at, before, after, shape)| {
            let (kind, text) = match shape {
                0 => (*leaf(Leaf::Other), format!("{before}{uuid}{after}")),
                1 => (*leaf(Leaf::Temporal), at.clone()),
                2 => (
                    *leaf(Leaf::Json),
                    format!(r#"{{"{before}{uuid}": [1.0, "{at}", {{"{at}": "{uuid}"}}]}}"#),
                ),
                3 => (Kind::Array(leaf(Leaf::Temporal)), format!(r#"{{"{at}",NULL,"{at}"}}"#)),
                4 => (Kind::Array(leaf(Leaf::Other)), format!(r#"{{{uuid},NULL,"{before}{uuid}{after}"}}"#)),
                5 => (Kind::Range(leaf(Leaf::Temporal)), format!(r#"["{at}","{at}")"#)),
                6 => (
                    Kind::Composite(vec![*leaf(Leaf::Other), *leaf(Leaf::Temporal), *leaf(Leaf::Other)]),
                    format!(r#"(,"{at}","{before}{uuid}")"#),
                ),
                7 => (
                    Kind::Array(Box::new(Kind::Composite(vec![*leaf(Leaf::Temporal), *leaf(Leaf::Other)]))),
                    format!(r#"{{"(\"{at}\",{uuid})",NULL}}"#),
                ),
                _ => (Kind::Range(leaf(Leaf::Untyped)), format!(r#"(1,"{at}",{uuid})"#)),
            };
            (kind, text, vec![uuid, at])
        })
    }

    proptest! {
        #[test]
        fn no_uuid_and_no_timestamp_is_seen(values in proptest::collection::vec(values(), 1..6)) {
            let redact = || {
                let mut redactor = Redactor::new();
                let rules = values.iter().map(|(kind, text, _)| (redactor.rule("column", None, kind.clone()), text));
                let rules: Vec<_> = rules.collect();
                rules.iter().map(|(rule, text)| redactor.apply(rule, text.to_string())).collect::<Vec<_>>()
            };
            let redacted = redact();
            prop_assert_eq!(&redacted, &redact(), "the same values give the same text");
            for ((_, text, secrets), seen) in values.iter().zip(&redacted) {
                for secret in secrets {
                    prop_assert!(!seen.contains(secret), "{} of {} is in {}", secret, text, seen);
                    // Nor any part of it that would tell it.
                    prop_assert!(!seen.contains(&secret[..13]), "a part of {} is in {}", secret, seen);
                }
            }
        }

        #[test]
        fn the_same_value_has_the_same_name_and_another_another(values in proptest::collection::vec(0..9u32, 1..30)) {
            let mut redactor = Redactor::new();
            let rule = redactor.rule("order_id", Some("orders.id"), Kind::Leaf(Leaf::Integer));
            let names: Vec<_> = values.iter().map(|value| redactor.apply(&rule, value.to_string())).collect();
            for (a, name_a) in values.iter().zip(&names) {
                for (b, name_b) in values.iter().zip(&names) {
                    prop_assert_eq!(a == b, name_a == name_b);
                }
            }
            prop_assert_eq!(&names[0], "[orders.id-1]");
        }
    }
}
