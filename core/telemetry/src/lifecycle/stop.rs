//! The ways in which a process is told to stop.

use std::{env, os::unix::process::parent_id, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tracing::warn;

/// Names the supervisor's process to its children.
pub(super) const SUPERVISOR_PID: &str = "SUPERVISOR_PID";

/// How often a supervised process looks whether its supervisor is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Comes on Ctrl-C, on SIGTERM, and, in a process that a [`Supervisor`](super::Supervisor) started, when that one is gone.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
pub async fn told_to_stop() {
    tokio::select! {
        () = told_by(SignalKind::interrupt()) => {}
        () = told_by(SignalKind::terminate()) => {}
        () = orphaned() => warn!("the supervisor is gone, so this process stops"),
    }
}

async fn told_by(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(error) => {
            warn!(?kind, %error, "this signal can't be listened to");
            std::future::pending().await
        }
    }
}

/// Even one that was killed with -9 leaves nobody behind: its children get another parent, and see it.
async fn orphaned() {
    let supervisor = env::var(SUPERVISOR_PID).ok().and_then(|pid| pid.parse::<u32>().ok());
    match supervisor {
        Some(supervisor) => {
            while parent_id() == supervisor {
                sleep(LOOK).await;
            }
        }
        None => std::future::pending().await,
    }
}
