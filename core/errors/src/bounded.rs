//! Texts that come from elsewhere, cut to a size and made printable.

use std::fmt::{self, Write};

/// The text, of at most `max` bytes and a note of what is missing; control characters, which could forge lines of a log or move a
/// terminal's cursor, become visible ones. The whole text is never held, however long it is.
pub(crate) fn text(text: impl fmt::Display, max: usize) -> String {
    let mut cut = Cut { kept: String::new(), max, left_out: 0 };
    // A `Display` that fails has said what it could.
    let _ = write!(cut, "{text}");
    if cut.left_out > 0 {
        let _ = write!(cut.kept, "… ({} more bytes)", cut.left_out);
    }
    cut.kept
}

struct Cut {
    kept: String,
    max: usize,
    left_out: usize,
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let visible = match character {
                '\n' | '\t' => ' ',
                control if control.is_control() => char::REPLACEMENT_CHARACTER,
                other => other,
            };
            if self.left_out == 0 && self.kept.len() + visible.len_utf8() <= self.max {
                self.kept.push(visible);
            } else {
                self.left_out += character.len_utf8();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_text_is_cut_at_a_character_and_says_how_much_is_missing() {
        assert_eq!(text("short", 10), "short");
        assert_eq!(text("ééééé", 5), "éé… (6 more bytes)");
        assert_eq!(text("a\nb\u{1b}[31m\0", 100), "a b\u{fffd}[31m\u{fffd}");
    }
}
