//! Short names for contents.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The start of the SHA-256 over these parts, in hexadecimal digits: 48 bits, which fit into the names of databases.
pub(crate) fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..6].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
