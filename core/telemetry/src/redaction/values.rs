//! Where the value ends that follows a secret's name.

/// The most punctuation and space between a name and its value.
const MAX_GAP: usize = 8;

/// Where the value starts, if this is a name with one: `name=…`, `name: …`, `"name": …`, `name => …`, `("name", "…")`, `--name …`.
pub(super) fn start(bytes: &[u8], name_start: usize, name_end: usize) -> Option<usize> {
    let mut at = name_end;
    let closed = take(bytes, &mut at, b"\\\"'`])");
    if closed == 0
        && name_start >= 2
        && bytes[name_start - 2..name_start] == *b"--"
        && bytes.get(at) == Some(&b' ')
    {
        return Some(at + 1).filter(|at| !matches!(bytes.get(*at), None | Some(b'-')));
    }
    take(bytes, &mut at, b" \t");
    match bytes.get(at)? {
        b':' if bytes.get(at + 1) == Some(&b':') => return None,
        b':' | b'=' => {
            at += 1;
            take(bytes, &mut at, b"=>");
        }
        b',' if closed > 0 => at += 1,
        _ => return None,
    }
    take(bytes, &mut at, b" \t");
    Some(at).filter(|at| !matches!(bytes.get(*at), None | Some(b'\n' | b'\r')))
}

fn take(bytes: &[u8], at: &mut usize, any_of: &[u8]) -> usize {
    let from = *at;
    while *at - from < MAX_GAP && bytes.get(*at).is_some_and(|byte| any_of.contains(byte)) {
        *at += 1;
    }
    *at - from
}

/// The part to hide of the value that starts here: what is inside of its quotes, or all of it.
pub(super) fn extent(name: &str, bytes: &[u8], start: usize) -> (usize, usize) {
    if let Some((from, to)) = quoted(bytes, start) {
        return (from, to);
    }
    match bytes[start] {
        b'[' | b'{' | b'(' => (start, balanced(bytes, start)),
        _ if ends_with(name, "authorization") => (start, credentials(bytes, start)),
        _ if ends_with(name, "cookie") => (start, cookies(bytes, start)),
        _ => (start, bare(bytes, start)),
    }
}

fn ends_with(name: &str, end: &str) -> bool {
    name.len() >= end.len() && name.as_bytes()[name.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}

/// What is between the quotes, if quotes start here; these may be escaped themselves, as in JSON in a `Debug` output. Without an end
/// quote it goes on to the end of the text.
pub(super) fn quoted(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let depth = bytes[start..].iter().take_while(|byte| **byte == b'\\').count();
    let quote = *bytes.get(start + depth).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
    let inside = start + depth + 1;
    let mut slashes = 0;
    for (at, byte) in bytes.iter().enumerate().skip(inside) {
        // Escaped once more, n slashes become 2n + 1: those belong to quotes further inside.
        if *byte == quote && (slashes + 1) % (depth + 1) == 0 && (slashes + 1) / (depth + 1) % 2 == 1 {
            return Some((inside, at - depth));
        }
        slashes = if *byte == b'\\' { slashes + 1 } else { 0 };
    }
    Some((inside, bytes.len()))
}

/// Past the bracket that closes the one that starts here, or the end of the text.
fn balanced(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b'"' => at = quoted(bytes, at).map_or(at, |(_, end)| end),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// A value without quotes: up to a space, or to punctuation after which something else starts. `Some("…")` is one value.
fn bare(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte.is_ascii_whitespace() => return at,
            b'(' | b'{' | b'[' => return balanced(bytes, at),
            b'"' | b'\'' | b'`' => return at,
            b',' | b';' | b'&' | b'|' if starts_another(bytes, at + 1) => return at,
            b')' | b'}' | b']' | b'>' if is_boundary(bytes, at + 1) => return at,
            _ => at += 1,
        }
    }
    at
}

fn is_boundary(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte.is_ascii())
}

/// Whether a new `key=` or nothing starts here; else the punctuation before belongs to the value.
fn starts_another(bytes: &[u8], at: usize) -> bool {
    let name =
        bytes[at..].iter().take(40).take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
    let name = name.count();
    bytes.get(at).is_none_or(u8::is_ascii_whitespace)
        || (name > 0 && matches!(bytes.get(at + name), Some(b'=' | b':')))
        || matches!(bytes[at], b'"' | b'\'' | b'}' | b')')
}

/// The value of an `Authorization` header: a known scheme and its token, or all of the line.
fn credentials(bytes: &[u8], start: usize) -> usize {
    let word = bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let scheme = &bytes[start..start + word];
    let known = ["bearer", "basic", "token", "negotiate"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name.as_bytes()));
    if known && bytes.get(start + word) == Some(&b' ') {
        return bare(bytes, start + word + 1);
    }
    if bytes[start..].starts_with(super::HIDDEN.as_bytes()) {
        return start + super::HIDDEN.len();
    }
    start + bytes[start..].iter().take_while(|byte| **byte != b'\n').count()
}

/// The value of a `Cookie` header: `name=value` pairs with `; ` between them.
fn cookies(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\n' => return at,
            b' ' if bytes[at - 1] != b';' => return at,
            _ => at += 1,
        }
    }
    at
}

/// Values that tell nothing: nothing at all, a placeholder in SQL, a flag.
pub(super) fn is_harmless(value: &str) -> bool {
    let placeholder =
        value.strip_prefix('$').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    placeholder
        || matches!(value, "" | "?" | "'?'" | "None" | "null" | "NULL" | "nil" | "true" | "false" | "***")
}
