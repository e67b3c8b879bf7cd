//! JSON as text, with the strings in it replaced: a detour over values would change the order of keys and the digits of numbers.

/// The JSON with what is inside of each string's quotes replaced.
pub(super) fn replace_strings(json: &str, mut replace: impl FnMut(&str) -> String) -> String {
    let mut replaced = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(begin) = rest.find('"') {
        let (before, string) = rest.split_at(begin + 1);
        let end = end_of_string(string);
        replaced.push_str(before);
        replaced.push_str(&replace(&string[..end]));
        rest = &string[end..];
        // The closing quote must not open the next string.
        if let Some(after) = rest.strip_prefix('"') {
            replaced.push('"');
            rest = after;
        }
    }
    replaced + rest
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::replace_strings;

    #[test]
    fn only_what_is_in_quotes_is_replaced() {
        let json = r#"{"a": [1.50, "b\"c", null], "": "é\\"}"#;
        let mut seen = Vec::new();
        let same = replace_strings(json, |string| {
            seen.push(string.to_owned());
            string.to_owned()
        });
        assert_eq!((same.as_str(), seen), (json, [r"a", r#"b\"c"#, "", r"é\\"].map(str::to_owned).to_vec()));
        assert_eq!(replace_strings(json, |_| "x".to_owned()), r#"{"x": [1.50, "x", null], "x": "x"}"#);
    }
}
