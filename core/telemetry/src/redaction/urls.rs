//! Credentials in URLs, and the values of their parameters.

/// The longest authority that is looked through for credentials, in bytes.
const MAX_AUTHORITY: usize = 2048;

fn ends_url(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`')
}

/// Where the URL ends whose `//` is before this place.
pub(super) fn end(bytes: &[u8], authority: usize) -> usize {
    authority + bytes[authority..].iter().take_while(|byte| !ends_url(byte)).count()
}

/// The user and password of the URL whose authority starts here, without the `@`.
pub(super) fn credentials(bytes: &[u8], authority: usize, end: usize) -> Option<(usize, usize)> {
    let url = &bytes[authority..end.min(authority + MAX_AUTHORITY)];
    let host_end = url.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(url.len());
    let plain = url[..host_end].iter().rposition(|byte| *byte == b'@');
    // A password with a slash that nobody encoded: `user:pa/ss@host`. A port in that place would be a number.
    let slashed = || {
        let colon = url[..host_end].iter().position(|byte| *byte == b':')?;
        let port = url[colon + 1..host_end].iter().all(u8::is_ascii_digit);
        if port { None } else { url.iter().rposition(|byte| *byte == b'@') }
    };
    let at = plain.or_else(slashed)?;
    Some((authority, authority + at)).filter(|_| at > 0)
}

/// One parameter of a query.
pub(super) struct Parameter {
    /// Where its value starts and ends.
    pub(super) value: (usize, usize),
    /// Where the next one starts, or the query ends.
    pub(super) next: usize,
    pub(super) is_last: bool,
}

/// Whether a query starts here, after its `?`: `name=`.
pub(super) fn is_query(bytes: &[u8], start: usize) -> bool {
    let name = bytes[start..]
        .iter()
        .take(64)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"_.-[]%".contains(byte));
    let name = name.count();
    name > 0 && bytes.get(start + name) == Some(&b'=')
}

/// The parameter that starts here; one without a name is all value.
pub(super) fn parameter(bytes: &[u8], start: usize) -> Parameter {
    let length =
        bytes[start..].iter().take_while(|byte| !ends_url(byte) && !matches!(byte, b'&' | b'#')).count();
    let next = start + length;
    let is_last = bytes.get(next) != Some(&b'&');
    let from = bytes[start..next].iter().position(|byte| *byte == b'=').map_or(start, |at| start + at + 1);
    // What closes the sentence around the URL is not part of it.
    let closers = bytes[from..next].iter().rev().take_while(|byte| b").,;:}\\".contains(byte)).count();
    let to = if is_last { next - closers } else { next };
    Parameter { value: (from, to), next: if is_last { next } else { next + 1 }, is_last }
}
