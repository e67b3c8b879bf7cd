//! Which errors are the same one.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{Error, bounded, context::MAX_TEXT};

/// What all occurrences of one error have in common: its code, the place in the program where it was made, and its sources' texts
/// without what differs from one occurrence to the next. Ids, numbers, line numbers, addresses and quoted values in the texts don't
/// count, as with the parameterised messages by which Sentry groups.
///
/// The place is a file, a line and a column of this build: a new release that moves a line makes a new fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of an error.
    pub fn of(error: &Error) -> Self {
        let mut hash = Fnv::new();
        hash.part(error.code().id.as_bytes());
        let place = error.location();
        hash.part(place.file().as_bytes());
        hash.part(&place.line().to_le_bytes());
        hash.part(&place.column().to_le_bytes());
        for source in error.sources() {
            hash.part(template(&bounded::text(source, MAX_TEXT)).as_bytes());
        }
        for child in error.children() {
            hash.part(&child.fingerprint.0.to_le_bytes());
        }
        Fingerprint(hash.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The text with `#` for every word that has a digit, and `*` for everything in quotes.
fn template(text: &str) -> String {
    let mut template = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(length) = quoted(rest, first) {
            template.push('*');
            rest = &rest[length..];
        } else if is_word(first) {
            let length = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
            let word = &rest[..length];
            if word.bytes().any(|byte| byte.is_ascii_digit()) {
                template.push('#');
            } else {
                template.push_str(word);
            }
            rest = &rest[length..];
        } else {
            template.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    template
}

/// What belongs together: an id with hyphens, an address, a time, a path.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || "-_.:/@+%".contains(character)
}

/// The length of the quoted text at the start of `rest`, quotes included. A quote that is never closed is an apostrophe.
fn quoted(rest: &str, first: char) -> Option<usize> {
    if !matches!(first, '"' | '\'' | '`') {
        return None;
    }
    let inner = &rest[first.len_utf8()..];
    inner.find(first).map(|end| first.len_utf8() * 2 + end)
}

/// FNV-1a (Fowler, Noll, Vo): the same on every machine and in every release, unlike the standard library's hasher.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn part(&mut self, bytes: &[u8]) {
        // The length keeps the parts apart.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::template;

    #[test]
    fn what_differs_between_occurrences_does_not_count() {
        for (text, expected) in [
            ("order 42 is gone", "order # is gone"),
            ("order 0af76519-16cd-43dd-8448-eb211c80319c is gone", "order # is gone"),
            ("connect to 10.0.0.7:5432: refused", "connect to # refused"),
            ("expected `,` at line 3 column 17", "expected * at line # column #"),
            ("no customer \"Grace Hopper\"", "no customer *"),
            ("it can't be", "it can't be"),
            ("", ""),
        ] {
            assert_eq!(template(text), expected);
        }
    }

    proptest! {
        #[test]
        fn a_template_is_its_own_template_when_nothing_is_left_to_replace(text in "[a-z0-9 ,.-]{0,60}") {
            let once = template(&text);
            prop_assert_eq!(template(&once), once);
        }

        #[test]
        fn any_text_has_a_template(text in "\\PC{0,80}") {
            template(&text);
        }
    }
}
