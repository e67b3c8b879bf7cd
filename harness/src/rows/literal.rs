//! The text forms of arrays, ranges and composites: their parts are replaced, the rest stays as Postgres prints it.

use std::borrow::Cow;

/// What separates the elements of an array. What comes before its first brace are its bounds.
pub(super) const ARRAY: &str = "{},";
/// What separates the bounds of ranges and multiranges.
pub(super) const RANGE: &str = "{}[](),";
/// What separates the fields of a composite.
pub(super) const COMPOSITE: &str = "(),";

/// The text with each part replaced by what `replace` makes of it, which gets the number of commas before the part as well.
pub(super) fn replace_parts(
    text: &str,
    separators: &str,
    mut replace: impl FnMut(usize, &str) -> String,
) -> String {
    let begin = if separators == ARRAY { text.find('{').unwrap_or(0) } else { 0 };
    let mut replaced = text[..begin].to_owned();
    let mut rest = &text[begin..];
    let mut commas = 0;
    while let Some(first) = rest.chars().next() {
        if separators.contains(first) {
            commas += usize::from(first == ',');
            replaced.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (raw, after) = rest.split_at(end_of_part(rest, separators));
        let part = unquoted(raw);
        let new = replace(commas, &part);
        if new == *part {
            replaced.push_str(raw);
        } else if is_placeholder(&new) {
            replaced.push_str(&new);
        } else {
            replaced.push_str(&quoted(&new));
        }
        rest = after;
    }
    replaced
}

/// What stands for a whole part, `[timestamp]` or `[uuid-1]`, is read best without quotes.
fn is_placeholder(text: &str) -> bool {
    let name = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
}

/// Quoted text hides separators, and may begin anywhere.
fn end_of_part(text: &str, separators: &str) -> usize {
    let (mut in_quotes, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_quotes = !in_quotes,
            _ if !in_quotes && separators.contains(c) => return at,
            _ => {}
        }
    }
    text.len()
}

/// Without its quotes: `\x` and, in ranges and composites, a doubled quote stand for themselves.
fn unquoted(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['"', '\\']) {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    let mut in_quotes = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            '"' if in_quotes && chars.next_if_eq(&'"').is_some() => text.push('"'),
            '"' => in_quotes = !in_quotes,
            _ => text.push(c),
        }
    }
    Cow::Owned(text)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str, separators: &str) -> Vec<(usize, String)> {
        let mut parts = Vec::new();
        replace_parts(text, separators, |commas, part| {
            parts.push((commas, part.to_owned()));
            part.to_owned()
        });
        parts
    }

    #[test]
    fn parts_are_found_in_what_postgres_prints() {
        type Parts = &'static [(usize, &'static str)];
        let cases: &[(&str, &str, Parts)] = &[
            ("{a,NULL,b}", ARRAY, &[(0, "a"), (1, "NULL"), (2, "b")]),
            ("{{1,2},{3,4}}", ARRAY, &[(0, "1"), (1, "2"), (2, "3"), (3, "4")]),
            ("[0:1]={a,b}", ARRAY, &[(0, "a"), (1, "b")]),
            (r#"{"a b","c\"d,\\",""}"#, ARRAY, &[(0, "a b"), (1, r#"c"d,\"#), (2, "")]),
            ("{(1)}", ARRAY, &[(0, "(1)")]),
            (r#"["a b",c)"#, RANGE, &[(0, "a b"), (1, "c")]),
            ("{[a,b),[c,)}", RANGE, &[(0, "a"), (1, "b"), (2, "c")]),
            (r#"(1,,"a ""b""","(2,3)")"#, COMPOSITE, &[(0, "1"), (2, r#"a "b""#), (3, "(2,3)")]),
            ("empty", RANGE, &[(0, "empty")]),
        ];
        for (text, separators, expected) in cases {
            let found = parts(text, separators);
            let found: Vec<_> = found.iter().map(|(commas, part)| (*commas, part.as_str())).collect();
            assert_eq!(&found, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_replaced_stays_as_it_was(text in r#"[\[\](){},"\\a é]{0,30}"#) {
            for separators in [ARRAY, RANGE, COMPOSITE] {
                prop_assert_eq!(&replace_parts(&text, separators, |_, part| part.to_owned()), &text);
            }
        }

        #[test]
        fn a_part_that_is_replaced_can_be_read_again(new in r#"[\[\](){},"\\a é]{1,30}"#) {
            let text = replace_parts(r#"{x,"y z"}"#, ARRAY, |_, _| new.clone());
            prop_assert_eq!(parts(&text, ARRAY), vec![(0, new.clone()), (1, new.clone())]);
        }
    }
}
