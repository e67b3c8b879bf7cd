//! A log of all changes, one a line, from which the state is made again.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    change::Change,
    state::{Micros, State},
};
use crate::Error;

/// A log that has grown by this, in bytes, and to a multiple of what it began with, begins anew.
const GROWTH: u64 = 64 * 1024 * 1024;
const MULTIPLE: u64 = 4;

/// When what was written is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before a call has its answer: what was answered survives the loss of power. Calls that come at the same time share one `fdatasync`.
    #[default]
    Always,
    /// When the operating system writes it, within half a minute or so: what was answered survives the death of the process, and may not survive that of the machine.
    Never,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first line of a log: everything before it.
    State(Box<State>),
    Changes {
        at: Micros,
        changes: Vec<Change>,
    },
}

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Arc<File>,
    sync: Fsync,
    /// Bytes in the file that are whole lines.
    length: u64,
    began_with: u64,
    /// Lines that are still to be written, since the disk was full.
    waiting: Vec<u8>,
    synced: Arc<Mutex<Synced>>,
    /// Locked for as long as this process has the log.
    _lock: File,
}

#[derive(Debug, Default)]
struct Synced {
    /// What was written up to here is on the disk.
    up_to: u64,
    /// After a sync that failed, nobody knows what is on the disk (Rebello et al., *Can Applications Recover from fsync Failures?*, 2020).
    is_broken: bool,
}

/// What a caller waits for before it has its answer.
pub(super) struct Pending {
    path: PathBuf,
    file: Arc<File>,
    up_to: u64,
    synced: Arc<Mutex<Synced>>,
}

impl Log {
    /// Reads the log and takes it for this process alone.
    pub(super) fn open(path: &Path, sync: Fsync) -> Result<(State, Self), Error> {
        let fail = |source| Error::Log { path: path.to_owned(), source };
        let lock = lock(path).map_err(fail)?;
        let state = match File::open(path) {
            Ok(file) => read(path, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(fail(error)),
        };
        let (file, length) = begin(path, &state).map_err(fail)?;
        let synced = Arc::new(Mutex::new(Synced { up_to: length, is_broken: false }));
        let log = Log {
            path: path.to_owned(),
            file: Arc::new(file),
            sync,
            length,
            began_with: length,
            waiting: Vec::new(),
            synced,
            _lock: lock,
        };
        Ok((state, log))
    }

    /// Writes the changes that the state has had since the last call. What could not be written is written by the next call that can; until then, all of them fail.
    pub(super) fn write(&mut self, state: &mut State) -> Result<Option<Pending>, Error> {
        let changes = std::mem::take(&mut state.changes);
        if !changes.is_empty() {
            let line = Line::Changes { at: state.now, changes };
            serde_json::to_writer(&mut self.waiting, &line).map_err(|error| self.failed(error.into()))?;
            self.waiting.push(b'\n');
        }
        if self.synced.lock().unwrap_or_else(PoisonError::into_inner).is_broken {
            return Err(broken(&self.path));
        }
        if self.waiting.is_empty() {
            return Ok(None);
        }
        if let Err(error) = (&*self.file).write_all(&self.waiting) {
            // No half of a line may stay in front of the next one.
            let cut = self
                .file
                .set_len(self.length)
                .and_then(|()| (&*self.file).seek(SeekFrom::Start(self.length)));
            return Err(self.failed(cut.err().unwrap_or(error)));
        }
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        if self.length > (self.began_with + GROWTH).max(self.began_with * MULTIPLE) {
            self.begin_anew(state)?;
            return Ok(None);
        }
        Ok((self.sync == Fsync::Always).then(|| Pending {
            path: self.path.clone(),
            file: self.file.clone(),
            up_to: self.length,
            synced: self.synced.clone(),
        }))
    }

    /// The state takes the place of all that led to it.
    fn begin_anew(&mut self, state: &State) -> Result<(), Error> {
        let (file, length) = begin(&self.path, state).map_err(|error| self.failed(error))?;
        (self.file, self.length, self.began_with) = (Arc::new(file), length, length);
        self.synced = Arc::new(Mutex::new(Synced { up_to: length, is_broken: false }));
        Ok(())
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Log { path: self.path.clone(), source }
    }
}

impl Pending {
    /// Blocks until what was written is on the disk.
    pub(super) fn wait(self) -> Result<(), Error> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.is_broken {
            return Err(broken(&self.path));
        }
        if synced.up_to >= self.up_to {
            return Ok(());
        }
        // Whoever wrote meanwhile, and waits for this lock, need not sync again.
        let up_to = self.file.metadata().map_or(self.up_to, |file| file.len());
        match self.file.sync_data() {
            Ok(()) => {
                synced.up_to = up_to;
                Ok(())
            }
            Err(source) => {
                synced.is_broken = true;
                Err(Error::Log { path: self.path, source })
            }
        }
    }
}

fn broken(path: &Path) -> Error {
    let why = "the disk failed to keep what was written before: open the queue anew";
    Error::Log { path: path.to_owned(), source: io::Error::other(why) }
}

/// A file of its own, since the log's is replaced.
fn lock(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process has the queue in this file"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read(path: &Path, file: File) -> Result<State, Error> {
    let fail = |source| Error::Log { path: path.to_owned(), source };
    let mut state = State::default();
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(fail)? == 0 {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(Line::State(whole)) if number == 1 => state = *whole,
            Ok(Line::Changes { at, changes }) if line.ends_with(b"\n") => {
                state.now = at;
                changes.into_iter().for_each(|change| state.again(change));
            }
            // The process died while it wrote this one: nobody had an answer.
            _ if lines.fill_buf().map_err(fail)?.is_empty() => break,
            _ => {
                let why = format!(
                    "line {number} is damaged: restore the file from a copy, or move it away to begin anew"
                );
                return Err(fail(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        }
    }
    Ok(state)
}

/// A new log that begins with this state takes the place of the old one, in one step.
fn begin(path: &Path, state: &State) -> io::Result<(File, u64)> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut line = br#"{"state":"#.to_vec();
    serde_json::to_writer(&mut line, state)?;
    line.extend(b"}\n");
    let mut file = File::create(&name)?;
    file.write_all(&line)?;
    file.sync_all()?;
    std::fs::rename(&name, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok((file, line.len() as u64))
}
