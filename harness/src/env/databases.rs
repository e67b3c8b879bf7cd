//! A server's databases, as files: which are ready, taken, spent.
//!
//! Every database that we make on a shared server has a file of its name, and the folder that the file is in says what
//! the database is: `making`, `ready`, `taken`, `spent` or `kept`. To take one is to rename its file, which two processes
//! can't both do. Whoever works with a database holds its file's lock, so that the databases of a process that was killed are
//! told from those in use by trying their locks.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Error, lock, stack::new_id};

/// What can be the matter with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is being made.
    Making,
    /// It can be taken.
    Ready,
    /// A test has it.
    Taken,
    /// It is to be dropped.
    Spent,
    /// A test failed with it. It stays until the stack ends, so that somebody can look at it.
    Kept,
}

impl State {
    const ALL: [State; 5] = [State::Making, State::Ready, State::Taken, State::Spent, State::Kept];

    fn folder(self) -> &'static str {
        match self {
            State::Making => "making",
            State::Ready => "ready",
            State::Taken => "taken",
            State::Spent => "spent",
            State::Kept => "kept",
        }
    }
}

/// The files of one template's copies.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

/// A database whose file we have locked.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) name: String,
    path: PathBuf,
    _file: File,
}

impl Files {
    pub(super) fn in_folder(folder: PathBuf) -> Result<Self, Error> {
        for state in State::ALL {
            let folder = folder.join(state.folder());
            fs::create_dir_all(&folder)
                .map_err(Error::io(format!("making the folder {}", folder.display())))?;
        }
        Ok(Files { folder })
    }

    /// The same, where another process has made the folder.
    pub(super) fn at(folder: PathBuf) -> Self {
        Files { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a new database, locked. The name is `prefix` and something of its own.
    pub(super) fn create(&self, prefix: &str, state: State) -> Result<Locked, Error> {
        loop {
            let name = format!("{prefix}_{}", new_id());
            let path = self.path(&name, state);
            let file = OpenOptions::new().create_new(true).write(true).open(&path);
            let file = file.map_err(Error::io(format!("making {}", path.display())))?;
            // Somebody who looks for what the dead have left may have been faster.
            if lock::take(&file).unwrap_or(false) && path.exists() {
                return Ok(Locked { name, path, _file: file });
            }
        }
    }

    /// Any one in this state that nobody has locked, locked.
    pub(super) fn lock_any(&self, state: State) -> Option<Locked> {
        let entries = fs::read_dir(self.folder.join(state.folder())).ok()?;
        entries.flatten().find_map(|entry| Locked::try_at(entry.path()))
    }

    /// Moves one to another state, and keeps its lock. `None` when another process has moved it before we had the lock.
    pub(super) fn shift(&self, locked: Locked, to: State) -> Option<Locked> {
        let path = self.path(&locked.name, to);
        fs::rename(&locked.path, &path).ok()?;
        Some(Locked { path, ..locked })
    }

    pub(super) fn count(&self, state: State) -> usize {
        fs::read_dir(self.folder.join(state.folder())).map_or(0, Iterator::count)
    }

    /// How often a test found no database ready, over all processes.
    pub(super) fn starved(&self) -> u64 {
        fs::metadata(self.folder.join("starved")).map_or(0, |file| file.len())
    }

    pub(super) fn count_starved(&self) {
        // A count that can't be kept must not fail a test.
        let file = OpenOptions::new().create(true).append(true).open(self.folder.join("starved"));
        let _ = file.and_then(|mut file| file.write_all(b"."));
    }

    fn path(&self, name: &str, state: State) -> PathBuf {
        self.folder.join(state.folder()).join(name)
    }
}

impl Locked {
    fn try_at(path: PathBuf) -> Option<Self> {
        let file = OpenOptions::new().write(true).open(&path).ok()?;
        if !lock::take(&file).ok()? || !path.exists() {
            return None;
        }
        let name = path.file_name()?.to_str()?.to_owned();
        Some(Locked { name, path, _file: file })
    }

    /// The database is no more.
    pub(super) fn forget(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("seaworthy-files-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Files::in_folder(folder).unwrap()
    }

    #[test]
    fn a_database_is_taken_by_one_of_many() {
        let files = files("race");
        for _ in 0..200 {
            let made = files.create("d", State::Making).unwrap();
            files.shift(made, State::Ready).unwrap();
        }
        let take = || {
            let mut taken = Vec::new();
            while let Some(ready) = files.lock_any(State::Ready) {
                taken.extend(files.shift(ready, State::Taken));
            }
            taken
        };
        let mut names: Vec<String> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).map(|locked| locked.name).collect()
        });
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!((names.len(), all), (200, 200), "some were taken twice, or by nobody");
        fs::remove_dir_all(files.folder()).unwrap();
    }

    #[test]
    fn what_a_dead_holder_had_is_free_and_what_a_living_one_has_is_not() {
        let files = files("dead");
        let living = files.create("living", State::Taken).unwrap();
        drop(files.create("dead", State::Taken).unwrap());
        assert!(files.lock_any(State::Taken).unwrap().name.starts_with("dead"));
        drop(living);
        fs::remove_dir_all(files.folder()).unwrap();
    }
}
