//! Literals in statements, and the values that databases and decoders quote in their errors.

use super::values;

/// How far a statement's keyword looks for the rest of the statement, in bytes.
const LOOK_AHEAD: usize = 200;

/// What stands before a quoted value, and whether the value goes on to the last quote of the line (Postgres does not escape).
const QUOTED_AFTER: &[(&str, bool)] = &[
    ("invalid input syntax for", true),
    ("invalid input value for", true),
    ("invalid type: string", false),
    ("invalid value: string", false),
    ("unknown variant", false),
    ("out of range: ", true),
    ("value \"", false),
    ("malformed", true),
];

/// What ends Postgres' sentences about a key.
const AFTER_KEY: &[&str] =
    &[") already exists", ") is not present", ") is still referenced", ") conflicts with"];

/// Whether a statement starts with this word. Literals are looked for only after that: an apostrophe is no quote in prose.
pub(super) fn starts_statement(text: &str, word: (usize, usize)) -> bool {
    if word.1 - word.0 > 9 || !b"acdimprsuvw".contains(&text.as_bytes()[word.0].to_ascii_lowercase()) {
        return false;
    }
    let is = |name: &str| text.as_bytes()[word.0..word.1].eq_ignore_ascii_case(name.as_bytes());
    let rest = &text.as_bytes()[word.1..(word.1 + LOOK_AHEAD).min(text.len())];
    let follows = |next: &str| {
        let rest = rest.trim_ascii_start();
        rest.len() >= next.len() && rest[..next.len()].eq_ignore_ascii_case(next.as_bytes())
    };
    let later = |part: &[u8]| rest.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    is("select")
        || (is("insert") && follows("into"))
        || (is("delete") && follows("from"))
        || (is("merge") && follows("into"))
        || (is("do") && follows("$"))
        || (is("raise") && (follows("exception") || follows("notice")))
        || ((is("alter") || is("create")) && ["role", "user", "database", "table"].into_iter().any(follows))
        || (is("values") && follows("("))
        || (is("parameter") && follows("$"))
        || (is("update") && later(b" set "))
        || (is("where") && (rest.iter().any(|byte| b"=<>(".contains(byte)) || later(b" like ")))
}

/// Whether this is the part of a database's error, in the `Debug` output of sqlx, that quotes values of rows.
pub(super) fn is_detail(name: &str, value: &[u8]) -> bool {
    matches!(name, "detail" | "where") && value.starts_with(b"Some(")
}

/// The end of the literal that starts at this `'`: past its last quote, or the end of the text.
pub(super) fn literal(bytes: &[u8], quote: usize, in_statement: bool) -> Option<usize> {
    let before = |steps: usize| quote.checked_sub(steps).map(|at| bytes[at]);
    let is_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let escapes = matches!(before(1), Some(b'e' | b'E')) && !is_word(before(2));
    let prefixed = escapes
        || (matches!(before(1), Some(b'n' | b'N' | b'b' | b'B' | b'x' | b'X')) && !is_word(before(2)));
    if is_word(before(1)) && !prefixed && !in_statement {
        return None;
    }
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 1,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 1,
            b'\'' => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    Some(bytes.len())
}

/// The end of the `$tag$…$tag$` that starts at this `$`.
pub(super) fn dollar_literal(text: &str, dollar: usize) -> Option<usize> {
    let tag = text.as_bytes()[dollar + 1..]
        .iter()
        .take(64)
        .take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_')
        .count();
    let inside = dollar + tag + 2;
    if text.as_bytes().get(inside - 1) != Some(&b'$') {
        return None;
    }
    let delimiter = &text[dollar..inside];
    Some(text[inside..].find(delimiter).map_or(text.len(), |at| inside + at + delimiter.len()))
}

/// The value that an error quotes, if one of the known sentences starts here.
pub(super) fn quoted_value(text: &str, at: usize) -> Option<(usize, usize)> {
    // Most words are told apart by their first letter.
    if !b"DFKimouv".contains(&text.as_bytes()[at]) {
        return None;
    }
    let rest = &text[at..];
    let line_end = || at + rest.find('\n').unwrap_or(rest.len());
    if let Some(row) = rest.strip_prefix("DETAIL:") {
        let from = text.len() - row.trim_start_matches([' ', '\t']).len();
        return Some((from.min(line_end()), line_end()));
    }
    if rest.starts_with("Failing row contains (") {
        let from = at + "Failing row contains (".len();
        let to = text[from..line_end()].rfind(')').map_or(line_end(), |at| from + at);
        return Some((from, to));
    }
    if rest.starts_with("Key (") {
        let line = &text[at..line_end()];
        let from = line.find(")=(")? + 3;
        let known = AFTER_KEY.iter().filter_map(|after| line[from..].find(after)).min();
        let to = known.or_else(|| line[from..].rfind(')')).unwrap_or(line.len() - from);
        return Some((at + from, at + from + to));
    }
    let (before, to_last) = QUOTED_AFTER.iter().find(|(before, _)| rest.starts_with(before))?;
    let line = &text[at..line_end()];
    let from = before.trim_end_matches('"').len();
    let quote = from + line[from..].find(['"', '`'])?;
    let slashes = line[..quote].bytes().rev().take_while(|byte| *byte == b'\\').count();
    let (from, to) = values::quoted(line.as_bytes(), quote - slashes)?;
    let to = if *to_last && slashes == 0 { line.rfind('"').map_or(to, |last| last.max(to)) } else { to };
    Some((at + from, at + to))
}
