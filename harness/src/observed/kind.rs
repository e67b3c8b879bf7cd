//! Telling the application's own statements from those that come with them.

use super::sql::{Token, statements};

/// What a statement is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The application's own.
    Own,
    /// Bounds of transactions and settings of the session: BEGIN, START, COMMIT, END, ROLLBACK, ABORT, SAVEPOINT, RELEASE, PREPARE
    /// TRANSACTION, SET, RESET, DEALLOCATE and DISCARD.
    Session,
    /// A driver's look-up of types, at its first sight of one that it does not know: from nothing but the catalogue's tables of types.
    TypeLookup,
    /// Nothing, or a comment.
    Empty,
}

const SESSION: &[&str] = &[
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "set",
    "reset",
    "deallocate",
    "discard",
];
/// Tables of the catalogue in which drivers look types up.
const OF_TYPES: &[&str] = &["pg_type", "pg_enum", "pg_range", "pg_attribute", "pg_namespace"];

impl Kind {
    /// A text with several statements is the application's own if one of them is.
    pub(super) fn of(sql: &str) -> Kind {
        let kinds: Vec<Kind> = statements(sql).iter().map(|tokens| kind(tokens)).collect();
        [Kind::Own, Kind::TypeLookup, Kind::Session]
            .into_iter()
            .find(|kind| kinds.contains(kind))
            .unwrap_or(Kind::Empty)
    }
}

fn kind(tokens: &[(bool, Token<'_>)]) -> Kind {
    let word = |at: usize| match tokens.get(at) {
        Some((_, Token::Plain(word))) => word.to_ascii_lowercase(),
        _ => String::new(),
    };
    let (first, second) = (word(0), word(1));
    if SESSION.contains(&first.as_str()) || (first == "prepare" && second == "transaction") {
        return Kind::Session;
    }
    if first == "select" && looks_types_up(tokens, word) {
        return Kind::TypeLookup;
    }
    Kind::Own
}

/// Whether all that is read from are tables of types, and there is one.
fn looks_types_up(tokens: &[(bool, Token<'_>)], word: impl Fn(usize) -> String) -> bool {
    let mut finds = false;
    for at in 0..tokens.len() {
        if !matches!(word(at).as_str(), "from" | "join") {
            continue;
        }
        // `is distinct from`, and what is read from is a list or a statement of its own.
        if (at > 0 && word(at - 1) == "distinct") || matches!(word(at + 1).as_str(), "(" | "unnest") {
            continue;
        }
        let table =
            if word(at + 1) == "pg_catalog" && word(at + 2) == "." { word(at + 3) } else { word(at + 1) };
        if !OF_TYPES.contains(&table.as_str()) {
            return false;
        }
        finds = true;
    }
    finds
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn statements_are_told_apart_by_what_they_are_there_for() {
        for (sql, expected) in [
            ("select 1", Kind::Own),
            ("  /* hint */ BEGIN ISOLATION LEVEL SERIALIZABLE", Kind::Session),
            ("COMMIT", Kind::Session),
            ("release savepoint s", Kind::Session),
            ("prepare transaction 'x'", Kind::Session),
            ("set local statement_timeout = 5", Kind::Session),
            ("begin; update t set a = 1; commit", Kind::Own),
            ("begin; commit", Kind::Session),
            ("select a from pg_catalog.pg_type t join pg_catalog.pg_namespace n on true", Kind::TypeLookup),
            ("SELECT enumlabel FROM pg_enum WHERE enumtypid = $1", Kind::TypeLookup),
            ("select t.* from orders t join pg_catalog.pg_type on true", Kind::Own),
            ("select relname from pg_catalog.pg_class", Kind::Own),
            ("select 'from pg_type'", Kind::Own),
            ("update pg_type set typname = ''", Kind::Own),
            ("", Kind::Empty),
            (" ; -- ping", Kind::Empty),
        ] {
            assert_eq!(Kind::of(sql), expected, "{sql}");
        }
    }
}
