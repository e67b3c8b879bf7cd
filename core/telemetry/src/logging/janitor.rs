//! Compresses finished log files and deletes the oldest, beside the thread that writes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use flate2::{Compression, write::GzEncoder};

use super::{
    files::{finished, is_compressed},
    writer,
};
use crate::settings;

pub(super) struct Janitor {
    settings: settings::Files,
    service: String,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    pub(super) fn new(settings: &settings::Files, service: &str) -> Self {
        Janitor { settings: settings.clone(), service: service.to_owned(), thread: None }
    }

    /// Starts to tidy up, unless it is being done: then the next rotation does what is left.
    pub(super) fn tidy(&mut self) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let (settings, service) = (self.settings.clone(), self.service.clone());
        let tidy = move || {
            if let Err(error) = tidy(&settings, &service) {
                writer::to_stderr(&format!(
                    "old log files in {} can't be tidied up: {error}",
                    settings.dir.display()
                ));
            }
        };
        self.thread = std::thread::Builder::new().name("log-janitor".to_owned()).spawn(tidy).ok();
    }
}

impl Drop for Janitor {
    /// Tidies up a last time; the deadline of the end is kept by who waits for the writer.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
            self.tidy();
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

fn tidy(settings: &settings::Files, service: &str) -> io::Result<()> {
    let mut files = finished(&settings.dir, service)?;
    // The newest is being written to, or will be.
    files.pop();
    if settings.compress {
        for path in files.iter_mut().filter(|path| !is_compressed(path)) {
            // A full disk keeps one from compressing, and is the more reason to delete.
            if let Ok(Some(compressed)) = compress(path) {
                *path = compressed;
            }
        }
    }
    let mut bytes = 0;
    for (age, path) in files.iter().rev().enumerate() {
        bytes += path.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        if age >= settings.keep || bytes > settings.keep_size {
            delete(path)?;
        }
    }
    Ok(())
}

/// Compresses a file, unless a process writes to it. The compressed file takes its place only when it is whole.
fn compress(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.try_lock().is_err() {
        return Ok(None);
    }
    let with = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let (part, compressed) = (with(".gz.part"), with(".gz"));
    let written = File::create(&part).and_then(|part| {
        let mut encoder = GzEncoder::new(part, Compression::default());
        io::copy(&mut file, &mut encoder)?;
        encoder.finish()?.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&part, &compressed)) {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::remove_file(path)?;
    Ok(Some(compressed))
}

/// Deletes a file, unless a process writes to it.
fn delete(path: &Path) -> io::Result<()> {
    let in_use = !is_compressed(path) && File::open(path).is_ok_and(|file| file.try_lock().is_err());
    match if in_use { Ok(()) } else { fs::remove_file(path) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
