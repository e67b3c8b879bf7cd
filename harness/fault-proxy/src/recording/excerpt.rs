//! Texts of bounded length that say when they were cut.

use std::{fmt, sync::Arc};

/// A text, or as much of its start as is kept. What is no UTF-8 is shown as `�`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Excerpt {
    kept: Arc<str>,
    left_out: u64,
}

impl Excerpt {
    /// Keeps up to `limit` bytes of a text of which the first `bytes` are there, and which is `whole` bytes long.
    pub(super) fn of(bytes: &[u8], whole: u64, limit: usize) -> Self {
        let start = &bytes[..bytes.len().min(limit)];
        let is_cut = (start.len() as u64) < whole;
        let start = match std::str::from_utf8(start) {
            // The cut went through a character.
            Err(error) if is_cut && error.error_len().is_none() => &start[..error.valid_up_to()],
            _ => start,
        };
        let text = String::from_utf8_lossy(start);
        // Replacement characters are longer than what they stand for.
        let kept = &text[..text.floor_char_boundary(limit)];
        let left_out = whole.saturating_sub(start.len() as u64) + (text.len() - kept.len()) as u64;
        Excerpt { kept: kept.into(), left_out }
    }

    /// Bytes in hexadecimal digits, up to `limit` of them.
    pub(super) fn hex(bytes: &[u8], whole: u64, limit: usize) -> Self {
        let shown = &bytes[..bytes.len().min(limit / 2)];
        let kept: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        Excerpt { kept: kept.into(), left_out: whole.saturating_sub(shown.len() as u64) }
    }

    /// The same with something ahead of it.
    pub(super) fn behind(self, prefix: &str) -> Self {
        Excerpt { kept: format!("{prefix}{}", self.kept).into(), ..self }
    }

    /// What is kept.
    pub fn as_str(&self) -> &str {
        &self.kept
    }

    /// How many bytes were left out at the end: 0 when the text is whole. Of a prepared statement that was cut, the types of its
    /// parameters are counted, too.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether this is not the whole text.
    pub fn is_cut(&self) -> bool {
        self.left_out > 0
    }
}

impl From<&str> for Excerpt {
    fn from(text: &str) -> Self {
        Excerpt { kept: text.into(), left_out: 0 }
    }
}

impl PartialEq<str> for Excerpt {
    fn eq(&self, other: &str) -> bool {
        !self.is_cut() && *self.kept == *other
    }
}

impl PartialEq<&str> for Excerpt {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// The text, and behind one that was cut, how much is missing: `select 1, … (4096 more bytes)`.
impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kept)?;
        match self.left_out {
            0 => Ok(()),
            1 => f.write_str("… (1 more byte)"),
            more => write!(f, "… ({more} more bytes)"),
        }
    }
}
