//! A supervisor: there is always a process that accepts, also while one takes over from another.

use std::{ffi::OsString, fmt, io, net::TcpListener, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    Error,
    listener::Listener,
    notify::{self, Inbox, NOTIFY_SOCKET},
    process::{Ended, Process},
};

/// The pause before a process that crashed is started again; it doubles up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// A process that served this long did not crash for want of a pause.
const STEADY: Duration = Duration::from_secs(10);
/// A pause after the processes' socket failed.
const UNHEARD_PAUSE: Duration = Duration::from_millis(100);

/// Runs a server as a child process on a socket that it owns itself, and replaces that process without a gap.
///
/// | signal | what happens |
/// |---|---|
/// | SIGHUP | the next process is started; once it is ready, the last one is told to stop; if it is not ready in time, it is killed, and the last one stays |
/// | SIGTERM, SIGINT | every process is told to stop, and the supervisor ends with the last; a second one kills them |
///
/// A process that ends by itself is started again, after a pause that grows. When the supervisor itself is killed, its processes notice
/// ([`told_to_stop`](super::told_to_stop)) and stop.
///
/// The child gets the socket as systemd's socket activation gives it (`LISTEN_FDS`, `LISTEN_PID`) and says `READY=1` on `NOTIFY_SOCKET`, so any
/// program that runs under systemd with `Type=notify` can be supervised; a [`Server`](super::Server) does both by itself. `/bin/sh` is needed.
/// Only the child itself is listened to, on Linux: not its own children.
///
/// ```no_run
/// # async fn example() -> Result<(), seaworthy_telemetry::lifecycle::Error> {
/// use seaworthy_telemetry::lifecycle::Supervisor;
///
/// Supervisor::new("target/debug/shop").args(["serve"]).address("127.0.0.1:8080").run().await
/// # }
/// ```
#[must_use]
pub struct Supervisor {
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    address: String,
    ready_within: Duration,
    stop_within: Duration,
}

impl Supervisor {
    /// A supervisor of this program.
    pub fn new(program: impl Into<OsString>) -> Self {
        Supervisor {
            command: vec![program.into()],
            env: Vec::new(),
            address: "127.0.0.1:8080".to_owned(),
            ready_within: Duration::from_secs(30),
            stop_within: Duration::from_secs(15),
        }
    }

    /// Adds arguments of the program.
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the program, beside those of this process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Where to listen, `host:port`; unused when a service manager hands a socket over.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// How long a process may take from its start until it is ready (default 30 s).
    pub fn ready_within(mut self, deadline: Duration) -> Self {
        self.ready_within = deadline;
        self
    }

    /// How long a process may take to stop before it is killed (default 15 s): more than its own deadline to drain.
    pub fn stop_within(mut self, deadline: Duration) -> Self {
        self.stop_within = deadline;
        self
    }

    /// Runs until it is told to stop and its last process has ended.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`], [`Error::Listen`] and [`Error::HandedOver`] about the socket; [`Error::NotReady`] when the very first process
    /// does not become ready, since a service that can't start at all is for its service manager to judge; [`Error::Supervise`].
    pub async fn run(self) -> Result<(), Error> {
        let fail = |action| move |source: io::Error| Error::Supervise { action, source };
        let mut signals = Signals::listen().map_err(fail("listen to signals"))?;
        let Listener { socket, .. } = Listener::open(&self.address).await?;
        let inbox = Inbox::open().map_err(fail("open a socket for its processes' readiness"))?;
        let (ended, mut ends) = mpsc::channel(16);
        let mut crew = Crew {
            supervisor: self,
            socket,
            notify: inbox.name().to_owned(),
            ended,
            starting: None,
            serving: None,
            stopping: Vec::new(),
            once_more: false,
            start_at: None,
            backoff: FIRST_BACKOFF,
            was_ready: false,
            told_to_stop: false,
        };
        crew.start()?;
        while !crew.is_over() {
            let alarm = crew.alarm();
            tokio::select! {
                Some(end) = ends.recv() => crew.ended(end)?,
                ready = inbox.ready() => match ready {
                    Ok(pid) => crew.ready(pid)?,
                    Err(error) => {
                        warn!(%error, "a process could not be heard");
                        sleep(UNHEARD_PAUSE).await;
                    }
                },
                _ = signals.hang_up.recv() => crew.restart()?,
                _ = signals.terminate.recv() => crew.stop(),
                _ = signals.interrupt.recv() => crew.stop(),
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => crew.alarmed()?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the environment, which may hold passwords.
        f.debug_struct("Supervisor").field("program", &self.command[0]).finish_non_exhaustive()
    }
}

struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Signals {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// The processes, and what each of them is there for.
struct Crew {
    supervisor: Supervisor,
    socket: TcpListener,
    notify: String,
    ended: mpsc::Sender<Ended>,
    /// Not ready yet, and when that is too late.
    starting: Option<(Process, Instant)>,
    /// The one that accepts, and since when.
    serving: Option<(Process, Instant)>,
    stopping: Vec<Process>,
    /// SIGHUP came while a process was starting: what it starts with may be out of date already.
    once_more: bool,
    /// When a process is to be started in the place of one that crashed.
    start_at: Option<Instant>,
    backoff: Duration,
    was_ready: bool,
    told_to_stop: bool,
}

impl Crew {
    fn start(&mut self) -> Result<(), Error> {
        self.start_at = None;
        let Supervisor { command, env, stop_within, ready_within, .. } = &self.supervisor;
        let env = env.iter().cloned().chain([(NOTIFY_SOCKET.into(), self.notify.clone().into())]);
        match Process::start(command, env, &self.socket, *stop_within, self.ended.clone()) {
            Ok(process) => {
                info!(pid = process.pid, "a process is started");
                self.starting = Some((process, Instant::now() + *ready_within));
                Ok(())
            }
            Err(source) => self.start_failed(&format!("it can't be started: {source}")),
        }
    }

    fn ready(&mut self, pid: u32) -> Result<(), Error> {
        let Some((process, _)) = self.starting.take_if(|(process, _)| pid == 0 || process.pid == pid) else {
            return Ok(());
        };
        let last = self.serving.replace((process, Instant::now()));
        let now = self.serving.as_ref().map_or(0, |(process, _)| process.pid);
        info!(pid = now, instead_of = last.as_ref().map(|(last, _)| last.pid), "a new process serves");
        if let Some((last, _)) = last {
            last.stop();
            self.stopping.push(last);
        }
        if !std::mem::replace(&mut self.was_ready, true)
            && let Err(error) = notify::tell("READY=1")
        {
            warn!(%error, "the service manager can't be told that the service is ready");
        }
        if std::mem::take(&mut self.once_more) { self.start() } else { Ok(()) }
    }

    fn ended(&mut self, Ended { pid, how, success }: Ended) -> Result<(), Error> {
        if self.starting.take_if(|(process, _)| process.pid == pid).is_some() {
            return self.start_failed(&format!("it ended with {how} before it was ready"));
        }
        if let Some((_, since)) = self.serving.take_if(|(process, _)| process.pid == pid) {
            error!(pid, how, "the process that served has ended by itself");
            if since.elapsed() > STEADY {
                self.backoff = FIRST_BACKOFF;
            }
            self.start_later();
            return Ok(());
        }
        self.stopping.retain(|process| process.pid != pid);
        if success {
            info!(pid, "a process has stopped");
        } else {
            warn!(pid, how, "a process has not stopped in order");
        }
        Ok(())
    }

    /// The last process goes on serving, if there is one; if there was none ever, that is the end.
    fn start_failed(&mut self, why: &str) -> Result<(), Error> {
        self.once_more = false;
        if self.told_to_stop {
            return Ok(());
        }
        if !self.was_ready {
            return Err(Error::NotReady { program: self.supervisor.command[0].clone(), why: why.to_owned() });
        }
        match &self.serving {
            Some((last, _)) => {
                error!(why, serving = last.pid, "the new process failed, and the last one stays")
            }
            None => {
                error!(why, "the new process failed");
                self.start_later();
            }
        }
        Ok(())
    }

    fn start_later(&mut self) {
        if self.starting.is_none() && !self.told_to_stop {
            self.start_at = Some(Instant::now() + self.backoff);
            self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    fn restart(&mut self) -> Result<(), Error> {
        match self.starting {
            _ if self.told_to_stop => Ok(()),
            Some(_) => {
                self.once_more = true;
                Ok(())
            }
            None => self.start(),
        }
    }

    fn stop(&mut self) {
        let again = std::mem::replace(&mut self.told_to_stop, true);
        self.start_at = None;
        let _ = notify::tell("STOPPING=1");
        self.stopping.extend(self.starting.take().map(|(process, _)| process));
        self.stopping.extend(self.serving.take().map(|(process, _)| process));
        for process in &self.stopping {
            if again { process.kill() } else { process.stop() }
        }
    }

    fn alarm(&self) -> Option<Instant> {
        let late = self.starting.as_ref().map(|(_, late)| *late);
        late.into_iter().chain(self.start_at).min()
    }

    fn alarmed(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.start_at.is_some_and(|at| at <= now) {
            return self.start();
        }
        if let Some((process, _)) = self.starting.take_if(|(_, late)| *late <= now) {
            process.kill();
            self.stopping.push(process);
            let within = self.supervisor.ready_within;
            return self.start_failed(&format!("it was not ready within {within:?} and is killed"));
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.told_to_stop && self.stopping.is_empty()
    }
}
