//! What is kept between runs.

use std::{env, path::PathBuf};

/// Where files are kept that are made once per user: `XDG_CACHE_HOME`, else `~/.cache`.
pub(crate) fn folder() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_else(env::temp_dir);
    base.join("seaworthy")
}
