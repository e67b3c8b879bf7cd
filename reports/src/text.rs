//! Bounds for texts that others wrote.

/// Characters of a name: of a scenario, a check, a service.
pub(crate) const NAME: usize = 120;
/// Characters of a sentence: a check's detail, a line of a log.
pub(crate) const SENTENCE: usize = 1_000;

/// The text, cut to so many characters, with an ellipsis where it was cut.
pub(crate) fn bounded(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The text in one line without control characters: what a terminal would obey, and XML and HTML forbid.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(most * 4));
    let mut characters = text.chars();
    for character in characters.by_ref().take(most) {
        plain.push(if is_plain(character) { character } else { ' ' });
    }
    if characters.next().is_some() {
        plain.push('…');
    }
    plain
}

/// Marks that turn the direction of what follows can make a text read as another one.
fn is_plain(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let forbidden = matches!(character, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' | '\u{feff}');
    !(character.is_control() || turns || forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        assert_eq!(bounded("naïve", 5), "naïve");
        assert_eq!(bounded("naïve", 3), "naï…");
        assert_eq!(one_line("a\u{1b}[31mb\nc\u{202e}d", 99), "a [31mb c d");
        assert_eq!(one_line("abc", 2), "ab…");
    }
}
