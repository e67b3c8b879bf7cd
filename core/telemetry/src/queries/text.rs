//! The text of a statement without what differs from call to call, and without what nobody may read in a log.

use std::{fmt, sync::Arc};

use super::tokens::{Token, Tokens};

/// The longest text that is kept of a statement, in bytes.
pub const MAX_TEXT: usize = 2 * 1024;

/// Names a statement whatever its literals and the length of its lists: the same in every process and every release of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A statement's text as it is shown, and what it is counted under.
#[derive(Debug, Clone)]
pub(crate) struct Normal {
    pub(crate) text: Arc<str>,
    pub(crate) fingerprint: Fingerprint,
}

/// Collapses whitespace, leaves comments out, replaces literals with `?`, and shortens lists: `in (…)`, `array[…]`, and
/// `values (…), …` after its first row. Parameters (`$1`) stay.
///
/// The whole statement counts for the fingerprint, also where the text is cut at [`MAX_TEXT`].
pub(crate) fn normalise(sql: &str) -> Normal {
    let mut text = Text::new();
    let mut lists = Lists::default();
    for (spaced, token) in Tokens::new(sql) {
        lists.take(&mut text, spaced, token);
    }
    lists.end(&mut text);
    text.finish()
}

/// Takes text of any length: hashes all of it, keeps the beginning.
struct Text {
    kept: String,
    cut: bool,
    empty: bool,
    hash: u64,
}

/// Where a text was, to go back there.
struct Mark {
    length: usize,
    cut: bool,
    hash: u64,
}

impl Text {
    fn new() -> Self {
        // The start value of FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
        Text { kept: String::new(), cut: false, empty: true, hash: 0xcbf2_9ce4_8422_2325 }
    }

    fn push(&mut self, spaced: bool, part: &str) {
        if spaced && !self.empty {
            self.append(" ");
        }
        self.append(part);
        self.empty = false;
    }

    fn append(&mut self, part: &str) {
        for byte in part.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let room = (MAX_TEXT - '…'.len_utf8()).saturating_sub(self.kept.len());
        if self.cut || part.len() > room {
            if !self.cut {
                self.kept.push_str(&part[..part.floor_char_boundary(room)]);
            }
            self.cut = true;
        } else {
            self.kept.push_str(part);
        }
    }

    fn mark(&self) -> Mark {
        Mark { length: self.kept.len(), cut: self.cut, hash: self.hash }
    }

    fn back_to(&mut self, mark: &Mark) {
        self.kept.truncate(mark.length);
        (self.cut, self.hash) = (mark.cut, mark.hash);
    }

    fn finish(mut self) -> Normal {
        if self.cut {
            self.kept.push('…');
        }
        Normal { text: self.kept.into(), fingerprint: Fingerprint(self.hash) }
    }
}

/// Finds the lists that are shortened, while the tokens pass by.
#[derive(Default)]
struct Lists {
    last: Last,
    depth: usize,
    /// An `in (` or `array[` has been opened, and until now holds nothing but values.
    plain: Option<Mark>,
    rows: Rows,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Last {
    #[default]
    Other,
    In,
    Array,
    Values,
    Colon,
}

/// Where in the rows of a `values` we are; with the depth of parentheses outside of them.
#[derive(Default, Clone, Copy)]
enum Rows {
    #[default]
    None,
    First(usize),
    Between(usize),
    Comma(usize),
    Skipped(usize),
    BetweenSkipped(usize),
    CommaSkipped(usize),
}

impl Lists {
    fn take(&mut self, text: &mut Text, spaced: bool, token: Token<'_>) {
        if self.skips_row(text, token) {
            self.count(token);
            return;
        }
        if self.plain.is_some() {
            if matches!(token, Token::Symbol(")" | "]")) {
                let mark = self.plain.take().expect("it was there");
                text.back_to(&mark);
                text.push(false, "…");
            } else if !self.is_value(token) {
                self.plain = None;
            }
        }
        text.push(spaced, token.text());
        let opens =
            matches!((self.last, token), (Last::In, Token::Symbol("(")) | (Last::Array, Token::Symbol("[")));
        if opens {
            self.plain = Some(text.mark());
        }
        if let (Last::Values, Token::Symbol("(")) = (self.last, token) {
            self.rows = Rows::First(self.depth);
        }
        self.count(token);
        if let (Rows::First(depth), Token::Symbol(")")) = (self.rows, token)
            && self.depth == depth
        {
            self.rows = Rows::Between(depth);
        }
        self.last = last(token);
    }

    /// Whether the token belongs to a row after the first. A comma that no row follows is given back.
    fn skips_row(&mut self, text: &mut Text, token: Token<'_>) -> bool {
        let (rows, skipped) = match (self.rows, token) {
            (Rows::Between(depth), Token::Symbol(",")) => (Rows::Comma(depth), true),
            (Rows::Comma(depth) | Rows::CommaSkipped(depth), Token::Symbol("(")) => {
                (Rows::Skipped(depth), true)
            }
            (Rows::Skipped(depth), Token::Symbol(")")) if self.depth == depth + 1 => {
                (Rows::BetweenSkipped(depth), true)
            }
            (Rows::Skipped(depth), _) => (Rows::Skipped(depth), true),
            (Rows::BetweenSkipped(depth), Token::Symbol(",")) => (Rows::CommaSkipped(depth), true),
            (Rows::None | Rows::First(_), _) => (self.rows, false),
            _ => {
                self.end(text);
                (Rows::None, false)
            }
        };
        self.rows = rows;
        skipped
    }

    /// Says what was left out.
    fn end(&mut self, text: &mut Text) {
        match self.rows {
            Rows::Comma(_) => text.push(false, ","),
            Rows::Skipped(_) | Rows::BetweenSkipped(_) => text.push(false, ", …"),
            Rows::CommaSkipped(_) => text.push(false, ", …,"),
            Rows::None | Rows::First(_) | Rows::Between(_) => {}
        }
        self.rows = Rows::None;
    }

    fn count(&mut self, token: Token<'_>) {
        match token {
            Token::Symbol("(") => self.depth += 1,
            Token::Symbol(")") => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether a token may stand in a list of values: a value, a comma, or a cast.
    fn is_value(&mut self, token: Token<'_>) -> bool {
        let value = match token {
            Token::Literal | Token::Parameter(_) | Token::Symbol("," | ":" | "-" | "?") => true,
            Token::Word(word) => {
                self.last == Last::Colon
                    || ["null", "true", "false", "…"].iter().any(|plain| word.eq_ignore_ascii_case(plain))
            }
            Token::Symbol(_) | Token::Quoted(_) => false,
        };
        self.last = last(token);
        value
    }
}

fn last(token: Token<'_>) -> Last {
    match token {
        Token::Word(word) if word.eq_ignore_ascii_case("in") => Last::In,
        Token::Word(word) if word.eq_ignore_ascii_case("array") => Last::Array,
        Token::Word(word) if word.eq_ignore_ascii_case("values") => Last::Values,
        Token::Symbol(":") => Last::Colon,
        _ => Last::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(sql: &str, expected: &str) {
        let normal = normalise(sql);
        assert_eq!(&*normal.text, expected, "{sql}");
        assert_eq!(normalise(expected).fingerprint, normal.fingerprint, "normal already: {sql}");
    }

    #[test]
    fn what_differs_from_call_to_call_is_left_out() {
        check("select  *\n\tfrom orders -- all\n where id = $1", "select * from orders where id = $1");
        check("select /* a /* nested */ comment */ 1", "select ?");
        check("select 'it''s', 42, 1.5e-3, 0xff, -7", "select ?, ?, ?, ?, -?");
        check(r"select E'it\'s secret', b'101', N'x'", "select ?, ?, ?");
        check(r"select 'a\' || name", "select ? || name");
        check("select $$a 'secret'$$, $f$more $$ secret$f$, $1", "select ?, ?, $1");
        check("alter user shop password 'hunter2'", "alter user shop password ?");
        check("select date '2026-01-01' + interval '1 day'", "select date ? + interval ?");
        check(r#"select "Order 66", t2.col3 from t2"#, r#"select "Order 66", t2.col3 from t2"#);
        check("select 'never closed, and secret", "select ?");
        check(r#"select "never closed, and secret"#, "select ?");
        check("select /* never closed, and secret", "select");
        check("select $tag$ never closed, and secret", "select ?");
        check("", "");
    }

    #[test]
    fn lists_have_one_length() {
        check("select 1 where id in (1,2 , 3)", "select ? where id in (…)");
        check("select 1 where id IN ($1, $2::uuid, null) and x", "select ? where id IN (…) and x");
        check("where id in ('a')", "where id in (…)");
        check("where id in (select id from t where x = 3)", "where id in (select id from t where x = ?)");
        check("where id = any(array[1, 2]::int[])", "where id = any(array[…]::int[])");
        check("insert into t (a, b) values ($1, $2)", "insert into t (a, b) values ($1, $2)");
        check(
            "insert into t values ($1, now()), ($2, f(1, (2))), ($3, 4) returning id",
            "insert into t values ($1, now()), … returning id",
        );
        check(
            "with a as (values (1), (2)), b as (select 3) x",
            "with a as (values (?), …), b as (select ?) x",
        );
    }

    #[test]
    fn a_long_statement_is_cut_and_still_told_from_another() {
        let long = |end: &str| normalise(&format!("select {} {end}", "column_of_some_length, ".repeat(200)));
        let (one, other) = (long("a"), long("b"));
        assert!(one.text.len() <= MAX_TEXT && one.text.ends_with('…'), "{}", one.text);
        assert_eq!(one.text, other.text);
        assert_ne!(one.fingerprint, other.fingerprint);
        let huge = format!("select 1 where id in ({}0)", "123456, ".repeat(10_000));
        assert_eq!(&*normalise(&huge).text, "select ? where id in (…)");
    }

    #[test]
    fn a_fingerprint_stays_the_same_between_releases() {
        assert_eq!(
            normalise("select 1").fingerprint.to_string(),
            normalise("select  2").fingerprint.to_string()
        );
        assert_eq!(normalise("").fingerprint.to_string(), "cbf29ce484222325");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(sql in any::<String>()) {
            let normal = normalise(&sql);
            prop_assert!(normal.text.len() <= MAX_TEXT);
        }

        #[test]
        fn no_literal_is_ever_shown(secret in "[a-z ,()$;-]{8,20}", number in 10_000_000u64..) {
            let quoted = secret.replace('\'', "''");
            let sql = format!(
                "select '{quoted}' from t where a = {number} and b in ('{quoted}', $1) or c = e'{quoted}' values ('{quoted}')"
            );
            let text = normalise(&sql).text;
            prop_assert!(!text.contains(&secret) && !text.contains(&number.to_string()), "{text}");
            prop_assert!(text.starts_with("select ? from t where a = ? and b in (…) or c = ? values (?)"), "{text}");
        }
    }
}
