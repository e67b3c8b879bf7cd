//! The process that cleans up after a stack, however the stack's users end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, PipeWriter, Write},
    os::{
        fd::AsFd,
        unix::{
            fs::{MetadataExt, OpenOptionsExt},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::geteuid,
};

use crate::{Error, lock};

const SCRIPT: &str = include_str!("guardian.sh");
/// How long an orderly stop waits for the guardian; it goes on by itself after that.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(10);
/// How long a shared stack waits for its next user, in tenths of a second.
const LINGER: u32 = 20;
/// How old a folder without a guardian must be before it counts as abandoned and not as being made.
const ABANDONED: Duration = Duration::from_secs(10);

/// Holds on to a stack's folder. A shell process, which outlives all holders just long enough to clean up, watches for
/// the last one to let go: an orderly stop takes the same way as kill -9 does.
///
/// Should the shell itself be killed, the holders start another.
#[derive(Debug)]
pub(crate) struct Guardian {
    place: Place,
    hold: Arc<Hold>,
    /// Given up first, so that the watching thread does not take our end for the guardian's.
    watch: Option<(PipeWriter, JoinHandle<()>)>,
    child: Option<Child>,
}

/// The pipe, held open for writing, until the holder lets go.
type Hold = Mutex<Option<Arc<File>>>;

/// Whose guardian it is.
#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    id: String,
    /// For a stack that many processes share: the file by which they find it.
    pointer: Option<PathBuf>,
}

impl Guardian {
    /// Creates `folder` and watches over it. With a `pointer`, other processes may [`attach`](Self::attach); the guardian removes that file before it cleans
    /// up.
    pub(crate) fn start(folder: PathBuf, id: &str, pointer: Option<PathBuf>) -> Result<Self, Error> {
        let place = Place { folder, id: id.to_owned(), pointer };
        let (hold, child) = place.spawn("new")?;
        Self::holding(place, hold, Some(child))
    }

    /// Joins the users of a shared stack; `None` when it is on its way out, or gone.
    pub(crate) fn attach(folder: PathBuf, id: &str, pointer: PathBuf) -> Result<Option<Self>, Error> {
        let place = Place { folder, id: id.to_owned(), pointer: Some(pointer) };
        let Ok(hold) = place.open() else { return Ok(None) };
        // The line is what a guardian that counts its last moments sees.
        if (&hold).write_all(b"\n").is_err()
            || !place.pointer.as_ref().is_some_and(|pointer| pointer.exists())
        {
            return Ok(None);
        }
        Self::holding(place, hold, None).map(Some)
    }

    fn holding(place: Place, hold: File, child: Option<Child>) -> Result<Self, Error> {
        let hold = Arc::new(Mutex::new(Some(Arc::new(hold))));
        let (ended, end) = io::pipe().map_err(Error::io("making a pipe"))?;
        let (kept, watched) = (hold.clone(), place.clone());
        let thread = thread::Builder::new().name("seaworthy-guardian".to_owned());
        let watching = thread
            .spawn(move || watched.keep_guarded(&kept, &ended))
            .map_err(Error::io("starting a thread"))?;
        Ok(Guardian { place, hold, watch: Some((end, watching)), child })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Tells the guardian something to clean up, in the words of its script.
    pub(crate) fn tell(&self, line: &str) -> Result<(), Error> {
        self.place.tell(line)
    }

    /// Ends a stack, whoever uses it.
    pub(crate) fn take_down(folder: &Path) -> io::Result<()> {
        open(folder).and_then(|mut alive| alive.write_all(b"down\n"))
    }
}

impl Place {
    fn tell(&self, line: &str) -> Result<(), Error> {
        let write = || {
            let mut told = OpenOptions::new().append(true).open(self.folder.join("told"))?;
            // In one piece, since others may be telling too.
            told.write_all(format!("{line}\n").as_bytes())
        };
        write().map_err(|error| Error::Folder {
            path: self.folder.clone(),
            why: format!("the process that watches over it is gone: {error}"),
        })
    }

    fn open(&self) -> io::Result<File> {
        open(&self.folder)
    }

    /// Starts the shell, which makes the folder or adopts it, and holds on to the pipe.
    fn spawn(&self, how: &str) -> Result<(File, Child), Error> {
        let fail = |why: String| Error::Folder { path: self.folder.clone(), why };
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "seaworthy-guardian"])
            .arg(&self.folder)
            .arg(&self.id)
            .arg(if self.pointer.is_some() { LINGER } else { 0 }.to_string())
            .arg(self.pointer.as_deref().unwrap_or(Path::new("")))
            .arg(how)
            .current_dir("/")
            // A group of its own, so that Ctrl-C in a terminal does not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| fail(format!("no shell could be started to watch over it: {error}")))?;
        let mut said = String::new();
        let stdout = child.stdout.take();
        stdout
            .map(|stdout| BufReader::new(stdout).read_line(&mut said))
            .transpose()
            .map_err(|e| fail(e.to_string()))?;
        let stderr = child.stderr.take();
        if said.trim() != "ready" {
            let mut why = String::new();
            if let Some(stderr) = stderr {
                let _ = BufReader::new(stderr).read_line(&mut why);
            }
            let _ = child.wait();
            return Err(fail(why.trim().to_owned()));
        }
        let hold = self.open().map_err(|error| fail(error.to_string()))?;
        drop(child.stdin.take());
        Ok((hold, child))
    }

    /// Starts another guardian whenever the present one dies, until `ended` closes.
    fn keep_guarded(&self, hold: &Hold, ended: &io::PipeReader) {
        loop {
            let Some(held) = lock_of(hold).clone() else { return };
            let mut watched = [
                PollFd::new(ended.as_fd(), PollFlags::POLLIN),
                PollFd::new(held.as_fd(), PollFlags::empty()),
            ];
            let polled = poll(&mut watched, PollTimeout::NONE);
            let saw = |at: usize| watched[at].revents().is_some_and(|events| !events.is_empty());
            match polled {
                Err(nix::Error::EINTR) => continue,
                Err(_) => return,
                Ok(_) if saw(0) || !self.folder.is_dir() => return,
                Ok(_) => {}
            }
            match self.reopen() {
                Ok(reopened) => *lock_of(hold) = Some(Arc::new(reopened)),
                Err(_) => return,
            }
        }
    }

    /// Holds on to the new guardian: ours, or that of another user who was faster.
    fn reopen(&self) -> Result<File, Error> {
        let _turn = lock::wait(&self.folder.join("guardian.lock"), CLEANUP_DEADLINE)?;
        if let Ok(hold) = self.open() {
            return Ok(hold);
        }
        let gone = self.pointer.as_ref().map(|pointer| (pointer.with_added_extension("gone"), pointer));
        if let Some((gone, pointer)) = gone {
            let _ = fs::rename(gone, pointer);
        }
        self.spawn("adopt").map(|(hold, _)| hold)
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        if self.place.pointer.is_none() {
            let _ = self.tell("orderly");
        }
        if let Some((end, watching)) = self.watch.take() {
            drop(end);
            let _ = watching.join();
        }
        // The last handle: the kernel closes the pipe.
        *lock_of(&self.hold) = None;
        let (Some(child), None) = (&mut self.child, &self.place.pointer) else { return };
        let give_up = Instant::now() + CLEANUP_DEADLINE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(2));
        }
        // Only if that guardian was killed is another one at it.
        while self.place.folder.exists() && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Has guardians clean up what a whole group of processes, killed at once with its guardian, left in `root`.
pub(crate) fn adopt_orphans(root: &Path) {
    for folder in fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let Some(id) = folder.file_name().and_then(|name| name.to_str()?.strip_prefix("seaworthy-")) else {
            continue;
        };
        let is_old = |made: SystemTime| made.elapsed().is_ok_and(|age| age > ABANDONED);
        let ours = fs::metadata(&folder)
            .is_ok_and(|folder| folder.uid() == geteuid().as_raw() && folder.modified().is_ok_and(is_old));
        let unguarded =
            || matches!(open(&folder), Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO));
        if !ours || !unguarded() {
            continue;
        }
        let place = Place { folder: folder.clone(), id: id.to_owned(), pointer: None };
        // Its users may be starting another guardian just now, in which case they have the lock.
        if let Ok(_turn) = lock::now(&folder.join("guardian.lock"))
            && unguarded()
        {
            drop(place.spawn("adopt"));
        }
    }
}

/// Opens the pipe of a stack; fails when nobody reads it.
fn open(folder: &Path) -> io::Result<File> {
    let pipe = folder.join("alive");
    let alive = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&pipe)?;
    let owner = alive.metadata()?.uid();
    if owner != geteuid().as_raw() {
        let why = format!("{} belongs to user {owner}", pipe.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(alive)
}

fn lock_of(hold: &Hold) -> MutexGuard<'_, Option<Arc<File>>> {
    hold.lock().unwrap_or_else(PoisonError::into_inner)
}
