//! Files that rotate.
//!
//! A file is never renamed and never written over: each has the time of its beginning in its name, and `shop.log` is a link to
//! the newest. A process locks the file that it writes to, so two processes of a service (as in a restart without a gap) each have their
//! own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    janitor::Janitor,
    json,
    line::Line,
    sink::{Failure, Sink},
};
use crate::settings;

/// How often one looks whether the file is still in its place, for it may have been moved or deleted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Files {
    settings: settings::Files,
    service: String,
    current: Option<Current>,
    janitor: Janitor,
    buffer: Vec<u8>,
}

/// The file that is written to.
struct Current {
    file: File,
    path: PathBuf,
    size: u64,
    period: u64,
    looked: Instant,
}

impl Files {
    pub(super) fn new(settings: &settings::Files, service: &str) -> Self {
        let janitor = Janitor::new(settings, service);
        Files {
            settings: settings.clone(),
            service: service.to_owned(),
            current: None,
            janitor,
            buffer: Vec::new(),
        }
    }

    fn write_line(&mut self, line: &Line) -> io::Result<()> {
        self.buffer.clear();
        json::encode(line, &self.service, &mut self.buffer);
        let period = period(line.time, self.settings.rotate);
        let full = |current: &Current| {
            let too_large =
                current.size > 0 && current.size + self.buffer.len() as u64 > self.settings.max_size;
            too_large || period > current.period
        };
        if self.current.as_mut().is_some_and(|current| full(current) || current.is_gone()) {
            self.current = None;
        }
        if self.current.is_none() {
            fs::create_dir_all(&self.settings.dir)?;
            let fits = |current: &Current| !full(current);
            self.current = Some(match Current::resume(&self.settings, &self.service)?.filter(fits) {
                Some(current) => current,
                None => Current::create(&self.settings, &self.service)?,
            });
            self.janitor.tidy();
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.append(&self.buffer);
        if written.is_err() && current.file.set_len(current.size).is_err() {
            // A part of a line stays: opening the file again repairs that.
            self.current = None;
        }
        written
    }
}

impl Sink for Files {
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let mut failure: Option<Failure> = None;
        for line in lines {
            if let Err(error) = self.write_line(line) {
                let lost = failure.map_or(0, |failure| failure.lost) + 1;
                failure = Some(Failure::lost(lost, format!("{}: {error}", self.settings.dir.display())));
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

fn period(time: SystemTime, length: Duration) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / length.as_secs().max(1)
}

impl Current {
    /// The newest file, if no other process writes to it.
    fn resume(settings: &settings::Files, service: &str) -> io::Result<Option<Self>> {
        let Some(path) = finished(&settings.dir, service)?.pop().filter(|path| !is_compressed(path)) else {
            return Ok(None);
        };
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        if file.try_lock().is_err() {
            return Ok(None);
        }
        let metadata = file.metadata()?;
        let mut current = Current {
            size: metadata.len(),
            // A file is written to within one period, so the last line's is the first one's.
            period: period(metadata.modified()?, settings.rotate),
            looked: Instant::now(),
            path,
            file: file.try_clone()?,
        };
        // A crash or a full disk may have left a line without an end.
        let mut last = [b'\n'];
        if current.size > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            current.append(b"\n")?;
        }
        current.link(&settings.dir, service);
        Ok(Some(current))
    }

    fn create(settings: &settings::Files, service: &str) -> io::Result<Self> {
        let now = SystemTime::now();
        // Microseconds sort as the files were made; two that meet in one wait for the next.
        for later in 0..1000 {
            let time = humantime::format_rfc3339_micros(now + Duration::from_micros(later)).to_string();
            let path = settings.dir.join(format!("{service}.{}.log", time.replace(':', "-")));
            match OpenOptions::new().create_new(true).append(true).read(true).open(&path) {
                Ok(file) => {
                    file.try_lock()?;
                    let period = period(now, settings.rotate);
                    let current = Current { file, path, size: 0, period, looked: Instant::now() };
                    current.link(&settings.dir, service);
                    return Ok(current);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free name for a log file"))
    }

    /// Appends; after an error, a part of it may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Whether somebody moved or deleted the file.
    fn is_gone(&mut self) -> bool {
        if self.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked = Instant::now();
        !self.path.exists()
    }

    /// Lets `shop.log` lead to this file, for `tail -F`. A convenience: no log line fails for it.
    fn link(&self, dir: &Path, service: &str) {
        let Some(name) = self.path.file_name() else { return };
        let (link, fresh) =
            (dir.join(format!("{service}.log")), dir.join(format!(".{service}.log.{}", std::process::id())));
        if link.symlink_metadata().is_ok_and(|metadata| !metadata.is_symlink()) {
            return;
        }
        let _ = fs::remove_file(&fresh);
        let _ = std::os::unix::fs::symlink(name, &fresh).and_then(|()| fs::rename(&fresh, &link));
    }
}

/// The service's log files, the oldest first.
pub(super) fn finished(dir: &Path, service: &str) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{service}.");
    let is_ours = |name: &str| {
        let Some(rest) = name.strip_prefix(&prefix) else { return false };
        // `2026-01-02T03-04-05.678901Z`, so that the files of `shop.eu` are none of `shop`'s.
        let time = rest.strip_suffix(".gz").unwrap_or(rest).strip_suffix(".log").unwrap_or_default();
        time.len() == 27 && time.starts_with(|c: char| c.is_ascii_digit()) && time.ends_with('Z')
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}
