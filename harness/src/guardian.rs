//! The process that cleans up after a stack, however the stack's owner ends.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::Error;

const SCRIPT: &str = include_str!("guardian.sh");
/// How long an orderly stop waits for the guardian; it goes on by itself after that.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(10);

/// Owns the stack's folder, through a shell process that outlives us just long enough to clean up. An orderly stop
/// takes the same way as kill -9 does: the pipe to the guardian closes.
#[derive(Debug)]
pub(crate) struct Guardian {
    folder: PathBuf,
    process: Mutex<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Creates `folder` and watches over it.
    pub(crate) fn start(folder: PathBuf, id: &str) -> Result<Self, Error> {
        let fail = |why: String| Error::Folder { path: folder.clone(), why };
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "seaworthy-guardian"])
            .arg(&folder)
            .arg(id)
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
        let pipe = child.stdin.take();
        Ok(Guardian { folder, process: Mutex::new(Process { child, pipe }) })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells the guardian something to clean up, in the words of its script.
    pub(crate) fn tell(&self, line: &str) -> Result<(), Error> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pipe) = &mut process.pipe else { return Ok(()) };
        writeln!(pipe, "{line}").map_err(|error| Error::Folder {
            path: self.folder.clone(),
            why: format!("the process that watches over it is gone: {error}"),
        })
    }

    /// Lets the guardian clean up and waits until it has.
    pub(crate) fn clean_up(&self) {
        let _ = self.tell("orderly");
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.pipe = None;
        let give_up = Instant::now() + CLEANUP_DEADLINE;
        while matches!(process.child.try_wait(), Ok(None)) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.clean_up();
    }
}
