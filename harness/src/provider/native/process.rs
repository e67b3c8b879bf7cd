//! A service that is a process of ours, with all its children.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::account::Account;
use crate::{Error, Usage, guardian::Guardian, processes, usage};

/// How long the kernel gets to end processes that were killed.
const KILL_DEADLINE: Duration = Duration::from_secs(5);
/// What an error message quotes of a log, in bytes.
const LOG_TAIL: u64 = 4096;

/// A command that can be started, killed and started again.
pub(crate) struct Process {
    name: String,
    folder: PathBuf,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    account: Account,
    child: Mutex<Option<Child>>,
    /// How long the log was when the process was last started.
    log_start: AtomicU64,
}

impl Process {
    /// A process that runs in `folder`, which must exist and belong to this service alone.
    pub(crate) fn new(name: &str, folder: PathBuf, program: PathBuf, account: Account) -> Self {
        let (args, env, child) = (Vec::new(), Vec::new(), Mutex::new(None));
        Process {
            name: name.to_owned(),
            folder,
            program,
            args,
            env,
            account,
            child,
            log_start: AtomicU64::new(0),
        }
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = String>) -> Self {
        self.args.extend(args);
        self
    }

    pub(crate) fn env(mut self, env: &[(String, String)]) -> Self {
        self.env.extend_from_slice(env);
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn start(&self, guardian: &Guardian) -> Result<(), Error> {
        let pid = self.spawn()?;
        guardian.tell(&format!("pid {pid}"))
    }

    /// Starts the command and says its process number.
    pub(crate) fn spawn(&self) -> Result<u32, Error> {
        let fail = |source: std::io::Error| Error::Start {
            service: self.name.clone(),
            why: format!("{}: {source}", self.program.display()),
            log: String::new(),
        };
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).map_err(fail)?;
        self.log_start.store(log.metadata().map_err(fail)?.len(), Ordering::Relaxed);
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(fail)?)
            .stderr(log);
        let child = self.account.apply(&mut command).spawn().map_err(fail)?;
        let pid = child.id();
        *self.child() = Some(child);
        Ok(pid)
    }

    /// Why the process is not running, if it isn't.
    pub(crate) fn ended(&self) -> Option<String> {
        match self.child().as_mut() {
            None => Some("it was not started".to_owned()),
            Some(child) => match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(format!("it ended with {status}")),
                Err(error) => Some(error.to_string()),
            },
        }
    }

    pub(crate) async fn kill(&self) -> Result<(), Error> {
        let give_up = Instant::now() + KILL_DEADLINE;
        loop {
            let members = self.members();
            let over = self.child().as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if over && members.is_empty() {
                return Ok(());
            }
            if Instant::now() > give_up {
                let (service, log) = (self.name.clone(), self.log());
                return Err(Error::Deadline {
                    service,
                    action: "end after SIGKILL",
                    deadline: KILL_DEADLINE,
                    log,
                });
            }
            self.signal(Signal::SIGKILL)?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Sends a signal to the process and its children.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        processes::signal(&self.members(), signal)
            .map_err(Error::nix(format!("sending {signal} to {}", self.name)))
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal_leader(&self, signal: Signal) -> Result<(), Error> {
        // Held meanwhile, so that the process can't be waited for and its number given to another.
        let mut child = self.child();
        let running = child.as_mut().and_then(|child| child.try_wait().ok()?.is_none().then(|| child.id()));
        let leader = running.and_then(|pid| i32::try_from(pid).ok()).map(nix::unistd::Pid::from_raw);
        let sent = leader.ok_or(nix::Error::ESRCH).and_then(|pid| nix::sys::signal::kill(pid, signal));
        sent.map_err(Error::nix(format!("sending {signal} to {}", self.name)))
    }

    /// What measures the memory of the process and its children, without this value.
    pub(crate) fn usage(&self) -> impl FnOnce() -> Usage + Send + 'static {
        let leader = self.child().as_ref().map_or(0, Child::id);
        let folder = self.folder.clone();
        move || {
            let running = processes::running_in(&folder, leader);
            let (memory, handles) = (processes::memory(&running), processes::handles(&running));
            Usage { memory, handles, disk: Some(usage::disk(&folder)) }
        }
    }

    /// Every line of the log that has this in it.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.log_from(0).lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// The end of the log.
    pub(crate) fn log(&self) -> String {
        let length = fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len());
        self.log_from(length.saturating_sub(LOG_TAIL))
    }

    /// Whether the process wrote this since it was last started.
    pub(crate) fn said(&self, text: &str) -> bool {
        self.log_from(self.log_start.load(Ordering::Relaxed)).contains(text)
    }

    fn log_from(&self, offset: u64) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(self.log_path())?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    fn members(&self) -> Vec<nix::unistd::Pid> {
        let leader = self.child().as_ref().map_or(0, Child::id);
        processes::running_in(&self.folder, leader)
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        // Beside the folder, not in it: the folder may be full.
        self.folder.with_extension("log")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guardian would end it too; this spares it the work, and reaps the child.
        let _ = self.signal(Signal::SIGKILL);
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
