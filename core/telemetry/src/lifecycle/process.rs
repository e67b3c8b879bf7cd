//! A process of a supervisor: started on the listening socket, told to stop, waited for.

use std::{
    ffi::OsString,
    io,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::stop::SUPERVISOR_PID;

/// Moves the socket from standard input to where sd_listen_fds(3) looks for it, and says whom it is for. Only the process itself knows its
/// number before it runs, and only a shell can do this without `unsafe` code between fork and exec.
const HAND_OVER: &str = r#"export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&0 0</dev/null"#;

/// A running process. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Stop,
    Kill,
}

/// A process that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) pid: u32,
    pub(super) how: String,
    pub(super) success: bool,
}

impl Process {
    /// Starts the command on this socket; its end will be told to `ended`.
    pub(super) fn start(
        command: &[OsString],
        env: impl IntoIterator<Item = (OsString, OsString)>,
        socket: &TcpListener,
        stop_within: Duration,
        ended: mpsc::Sender<Ended>,
    ) -> io::Result<Process> {
        let socket: OwnedFd = socket.as_fd().try_clone_to_owned()?;
        let child = Command::new("/bin/sh")
            .args(["-c", HAND_OVER, "sh"])
            .args(command)
            .stdin(Stdio::from(socket))
            .envs(env)
            .env(SUPERVISOR_PID, std::process::id().to_string())
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .env_remove("WATCHDOG_USEC")
            // Ctrl-C in a terminal is for the supervisor, which stops its processes in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let (orders, inbox) = mpsc::channel(2);
        tokio::spawn(async move {
            let status = keep(child, pid, inbox, stop_within).await;
            let how = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            let success = status.is_ok_and(|status| status.success());
            // Nobody to tell: the supervisor is gone.
            let _ = ended.send(Ended { pid, how, success }).await;
        });
        Ok(Process { pid, orders })
    }

    /// Tells it to stop; it is killed when it takes too long.
    pub(super) fn stop(&self) {
        // A full queue holds an order already.
        let _ = self.orders.try_send(Order::Stop);
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        let _ = self.orders.try_send(Order::Kill);
    }
}

/// Carries orders out until the process has ended. It is signalled only from here, where it has not been waited for yet, so that its number
/// can't be another process's by then.
async fn keep(
    mut child: Child,
    pid: u32,
    mut orders: mpsc::Receiver<Order>,
    stop_within: Duration,
) -> io::Result<ExitStatus> {
    let mut kill_at = None;
    let mut killed = false;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            order = orders.recv(), if !killed => match order {
                Some(Order::Stop) => {
                    terminate(pid);
                    kill_at = kill_at.or(Some(Instant::now() + stop_within));
                }
                Some(Order::Kill) | None => {
                    killed = true;
                    child.start_kill()?;
                }
            },
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() && !killed => {
                warn!(pid, ?stop_within, "a process did not stop in time and is killed");
                killed = true;
                child.start_kill()?;
            }
        }
    }
}

fn terminate(pid: u32) {
    if let Ok(pid) = i32::try_from(pid)
        && let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM)
    {
        warn!(%pid, %error, "a process can't be told to stop");
    }
}
