//! Locks between processes. The kernel gives them back when their holder ends, however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// A pause between two looks at a lock that another process has.
const PAUSE: Duration = Duration::from_millis(2);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Held(#[allow(dead_code, reason = "held for its lock")] File);

/// Takes the lock of this file, which is made if it is not there; blocks for at most `patience`.
pub(crate) fn wait(path: &Path, patience: Duration) -> Result<Held, Error> {
    let give_up = Instant::now() + patience;
    loop {
        match now(path) {
            Err(Error::Locked { .. }) if Instant::now() < give_up => thread::sleep(PAUSE),
            taken_or_failed => return taken_or_failed,
        }
    }
}

/// Takes the lock, or fails with [`Error::Locked`].
pub(crate) fn now(path: &Path) -> Result<Held, Error> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = open.map_err(Error::io(format!("opening {}", path.display())))?;
    if take(&file).map_err(Error::io(format!("locking {}", path.display())))? {
        Ok(Held(file))
    } else {
        Err(Error::Locked { path: path.to_owned() })
    }
}

/// Locks an open file, if nobody else has.
pub(crate) fn take(file: &File) -> std::io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
