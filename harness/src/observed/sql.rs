//! SQL without what differs from call to call. Postgres' rules:
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>

/// A piece of SQL. What is opened and never closed is taken for a literal, as it is where a text was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word, a quoted name, or a sign.
    Plain(&'a str),
    /// A parameter: `$1`.
    Parameter,
    Literal,
}

/// The statements of a text, each in its tokens with whether space came ahead of them. Comments are left out, and so are statements of
/// nothing.
pub(super) fn statements(sql: &str) -> Vec<Vec<(bool, Token<'_>)>> {
    let mut statements = vec![Vec::new()];
    for (spaced, token) in (Tokens { rest: sql }) {
        match token {
            Token::Plain(";") => statements.push(Vec::new()),
            token => statements.last_mut().expect("there is one").push((spaced, token)),
        }
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// The text on one line, with `?` for its literals, and `…` for the values in `in (…)`, `array[…]` and `values (…)`, which are of different
/// numbers from call to call.
pub(super) fn normalised(sql: &str) -> String {
    let statements = statements(sql);
    let texts: Vec<String> = statements.iter().map(|statement| one(statement)).collect();
    texts.join("; ")
}

fn one(tokens: &[(bool, Token<'_>)]) -> String {
    let mut text = String::new();
    let (mut at, mut parameters) = (0, 0);
    while let Some(&(spaced, token)) = tokens.get(at) {
        if spaced && !text.is_empty() {
            text.push(' ');
        }
        match token {
            Token::Plain(part) => text.push_str(part),
            Token::Literal => text.push('?'),
            // Counted anew: a list of another length ahead of it makes no difference.
            Token::Parameter => {
                parameters += 1;
                text.push_str(&format!("${parameters}"));
            }
        }
        at += 1;
        if let Token::Plain(word) = token
            && let Some(end) = list(word, &tokens[at..])
        {
            if word.eq_ignore_ascii_case("array") {
                text.push_str("[…]");
            } else {
                text.push_str(" (…)");
            }
            at += end;
        }
    }
    text
}

/// The length of the list of plain values behind `in`, `array` or `values`, in tokens: all its rows.
fn list(word: &str, tokens: &[(bool, Token<'_>)]) -> Option<usize> {
    let is = |known: &str| word.eq_ignore_ascii_case(known);
    let (open, close) = match () {
        () if is("in") || is("values") => ("(", ")"),
        () if is("array") => ("[", "]"),
        () => return None,
    };
    let row = |from: usize| -> Option<usize> {
        let mut at = from;
        if tokens.get(at)?.1 != Token::Plain(open) {
            return None;
        }
        loop {
            at += 1;
            match tokens.get(at)?.1 {
                Token::Plain(sign) if sign == close => return Some(at + 1),
                Token::Parameter | Token::Literal | Token::Plain("," | "-") => {}
                Token::Plain(word)
                    if ["null", "true", "false", "default"]
                        .iter()
                        .any(|value| word.eq_ignore_ascii_case(value)) => {}
                _ => return None,
            }
        }
    };
    let mut end = row(0)?;
    while is("values")
        && tokens.get(end).is_some_and(|(_, token)| *token == Token::Plain(","))
        && let Some(next) = row(end + 1)
    {
        end = next;
    }
    Some(end)
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (bool, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let spaced = self.pass_space();
        let bytes = self.rest.as_bytes();
        let first = *bytes.first()?;
        let second = bytes.get(1).copied().unwrap_or(b' ');
        let token = match first {
            b'\'' => self.literal(closed(bytes, 0, false)),
            b'e' | b'E' if second == b'\'' => self.literal(closed(bytes, 1, true)),
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if second == b'\'' => {
                self.literal(closed(bytes, 1, false))
            }
            b'$' if second.is_ascii_digit() => {
                self.take(1 + bytes[1..].iter().take_while(|byte| byte.is_ascii_digit()).count());
                Token::Parameter
            }
            b'$' => match dollar_quoted(self.rest) {
                Some(length) => self.literal(length),
                None => Token::Plain(self.take(1)),
            },
            b'"' => Token::Plain(self.take(closed(bytes, 0, false).unwrap_or(bytes.len()))),
            b'0'..=b'9' => self.literal(Some(number(bytes))),
            b'.' if second.is_ascii_digit() => self.literal(Some(number(bytes))),
            _ if in_word(first) => {
                let length = bytes.iter().take_while(|byte| in_word(**byte) || **byte == b'$').count();
                Token::Plain(self.take(length))
            }
            _ => Token::Plain(self.take(1)),
        };
        Some((spaced, token))
    }
}

impl<'a> Tokens<'a> {
    fn pass_space(&mut self) -> bool {
        let before = self.rest.len();
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("--") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else if self.rest.starts_with("/*") {
                self.rest = &self.rest[comment(self.rest.as_bytes())..];
            } else {
                return self.rest.len() < before;
            }
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn literal(&mut self, length: Option<usize>) -> Token<'a> {
        self.take(length.unwrap_or(self.rest.len()));
        Token::Literal
    }
}

/// Bytes past ASCII are letters.
fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where something ends whose opening quote is at `open`; a doubled quote does not close it.
fn closed(bytes: &[u8], open: usize, escapes: bool) -> Option<usize> {
    let quote = bytes[open];
    let mut at = open + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes => at += 2,
            byte if *byte != quote => at += 1,
            _ if bytes.get(at + 1) == Some(&quote) => at += 2,
            _ => return Some(at + 1),
        }
    }
    None
}

/// The length of `$tag$ anything $tag$`, where one begins; the inner `None` where it never ends.
fn dollar_quoted(text: &str) -> Option<Option<usize>> {
    let name = text.bytes().skip(1).take_while(|byte| in_word(*byte)).count();
    let tag = text.get(..name + 2).filter(|tag| tag.ends_with('$'))?;
    Some(text[tag.len()..].find(tag).map(|at| at + 2 * tag.len()))
}

fn number(bytes: &[u8]) -> usize {
    let is_decimal = !bytes.starts_with(b"0x") && !bytes.starts_with(b"0X");
    let goes_on = |at: usize| {
        let is_exponent = is_decimal && at > 0 && matches!(bytes[at - 1], b'e' | b'E');
        bytes[at].is_ascii_alphanumeric()
            || matches!(bytes[at], b'.' | b'_')
            || (is_exponent && matches!(bytes[at], b'+' | b'-'))
    };
    (1..bytes.len()).find(|at| !goes_on(*at)).unwrap_or(bytes.len())
}

/// The length of a comment, which can hold others.
fn comment(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    // A cut can leave no boundary behind.
    if depth > 0 { bytes.len() } else { at }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::normalised;

    #[test]
    fn what_differs_from_call_to_call_is_not_in_the_text() {
        for (sql, expected) in [
            ("select *\n  from t -- all\n where id = 7", "select * from t where id = ?"),
            ("select 'it''s', E'\\'', $$a;b$$, $x$c$x$", "select ?, ?, ?, ?"),
            ("select * from t where id = $3 and n = $1", "select * from t where id = $1 and n = $2"),
            ("select 1 where a in (1, 2, -3)", "select ? where a in (…)"),
            ("select 1 where a in ($1, $2) and b = $3", "select ? where a in (…) and b = $1"),
            ("select 1 where a in (select b from c)", "select ? where a in (select b from c)"),
            (
                "insert into t values ($1, $2), ($3, default) returning id",
                "insert into t values (…) returning id",
            ),
            ("insert into t values (now(), 1)", "insert into t values (now(), ?)"),
            ("select array[1,2], \"a b\".\"c\" /* x /* y */ */ , 1e-5", "select array[…], \"a b\".\"c\" , ?"),
            ("begin; commit;", "begin; commit"),
            ("-- nothing", ""),
            ("select 'cut off in the mid", "select ?"),
            ("select t1.a2, $tag", "select t1.a2, $tag"),
        ] {
            assert_eq!(normalised(sql), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(sql in "[a-z0-9$'\"\\\\/*;,()\\[\\]ü \n-]{0,60}") {
            normalised(&sql);
        }

        #[test]
        fn literals_make_no_difference(a in any::<u32>(), b in "[a-z ]{0,9}", n in 1..9_usize) {
            let sql = |a: u32, b: &str, n: usize| {
                let list = vec![a.to_string(); n].join(", ");
                format!("select '{b}', {a} from t where id in ({list})")
            };
            prop_assert_eq!(normalised(&sql(a, &b, n)), normalised(&sql(1, "", 1)));
        }
    }
}
