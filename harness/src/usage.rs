//! What a service uses of its machine.

use std::{fs, path::Path};

/// What the processes of a service use now. `None` is what can't be told here: of containers, only the memory is known, and of external servers nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Memory that is resident, in bytes.
    pub memory: Option<u64>,
    /// Files, sockets and pipes that are open.
    pub handles: Option<u64>,
    /// What its folder takes on disk, in bytes.
    pub disk: Option<u64>,
}

/// The bytes that the files in a folder take on disk, without those on other filesystems' mounts below it being told apart.
pub(crate) fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    const BLOCK: u64 = 512;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => disk(&entry.path()),
        // What is removed meanwhile takes nothing.
        about => about.map_or(0, |about| about.blocks() * BLOCK),
    });
    sizes.sum()
}
