//! Servers that tests take in turns, as files: who has the file's lock has the server.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Error, lock,
    shared::{Record, Shared},
    stack::new_id,
};

/// The servers of one kind in a shared stack.
pub(super) struct Turns {
    shared: Arc<Shared>,
    folder: PathBuf,
}

/// A server that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// The name of the service.
    pub(super) name: String,
    path: PathBuf,
    _lock: File,
}

impl Turns {
    /// `folder` is where the processes agree on them, in the folder of the stack.
    pub(super) fn of(shared: Arc<Shared>, folder: &str) -> Result<Self, Error> {
        let folder = shared.make_folder(folder)?;
        Ok(Turns { shared, folder })
    }

    /// Those that nobody has, one after the other, as long as somebody asks for more.
    pub(super) fn free(&self) -> impl Iterator<Item = (Turn, Record)> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        files.filter_map(|path| {
            let record = self.shared.folder().join("services").join(path.file_name()?);
            // Before its lock is tried: whoever adds a server must get the lock of its file, and would not while somebody has it just to see that there is no server yet.
            Record::read(&record)?;
            let turn = Turn::at(path)?;
            Some((turn, Record::read(&record)?))
        })
    }

    /// A new one, which is to be started.
    pub(super) fn add(&self, kind: &str) -> Result<Turn, Error> {
        let path = self.folder.join(format!("{kind}-{}", new_id()));
        let create = OpenOptions::new().create_new(true).write(true).open(&path);
        drop(create.map_err(Error::io(format!("making {}", path.display())))?);
        // Nobody else takes it for free: it has no record before it is started.
        Turn::at(path.clone()).ok_or(Error::Locked { path })
    }
}

impl Turn {
    fn at(path: PathBuf) -> Option<Self> {
        let file = OpenOptions::new().write(true).open(&path).ok()?;
        let name = path.file_name()?.to_str()?.to_owned();
        (lock::take(&file).ok()? && path.exists()).then_some(Turn { name, path, _lock: file })
    }

    /// The file, in which the holder may write.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Nobody gets it any more. It goes with the stack.
    pub(super) fn retire(self) {
        let _ = fs::remove_file(&self.path);
    }
}
