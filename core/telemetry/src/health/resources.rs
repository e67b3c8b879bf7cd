//! What a machine and a queue can run out of.

use std::{future::Future, path::PathBuf, time::Duration};

use async_trait::async_trait;

use super::{Check, Outcome};
use crate::process;

/// The space that is left on a filesystem.
#[derive(Debug, Clone)]
pub struct DiskCheck {
    path: PathBuf,
    warn_below: f64,
    fail_below: f64,
}

impl DiskCheck {
    /// Warns below 15% of free space on the filesystem of this path, and fails below 5%.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        DiskCheck { path: path.into(), warn_below: 0.15, fail_below: 0.05 }
    }

    /// Other shares of free space, between 0 and 1.
    pub fn below(mut self, warn: f64, fail: f64) -> Self {
        (self.warn_below, self.fail_below) = (warn, fail);
        self
    }
}

#[async_trait]
impl Check for DiskCheck {
    async fn check(&self) -> Outcome {
        let path = self.path.clone();
        // A network filesystem that is away blocks its caller.
        let stat = tokio::task::spawn_blocking(move || rustix::fs::statvfs(path)).await;
        let free = match stat {
            Ok(Ok(stat)) if stat.f_blocks > 0 => stat.f_bavail as f64 / stat.f_blocks as f64,
            Ok(Ok(_)) => return Outcome::pass(),
            Ok(Err(error)) => return Outcome::fail("the filesystem can't be read").because(error),
            Err(error) => return Outcome::fail("the filesystem can't be read").because(error),
        };
        let percent = (free * 1000.0).round() / 10.0;
        let outcome = match free {
            free if free < self.fail_below => Outcome::fail(format!("{percent}% of the disk is free")),
            free if free < self.warn_below => Outcome::warn(format!("{percent}% of the disk is free")),
            _ => Outcome::pass(),
        };
        outcome.observed(percent, "percent free")
    }
}

/// The memory that the process uses, of what it may use: the limit of its control group, or else the machine's memory.
#[derive(Debug, Clone, Copy)]
pub struct MemoryCheck {
    warn_above: f64,
    fail_above: f64,
}

impl MemoryCheck {
    /// Warns above 80% and fails above 95%.
    pub fn new() -> Self {
        MemoryCheck { warn_above: 0.80, fail_above: 0.95 }
    }

    /// Other shares, between 0 and 1.
    pub fn above(mut self, warn: f64, fail: f64) -> Self {
        (self.warn_above, self.fail_above) = (warn, fail);
        self
    }
}

impl Default for MemoryCheck {
    fn default() -> Self {
        MemoryCheck::new()
    }
}

#[async_trait]
impl Check for MemoryCheck {
    async fn check(&self) -> Outcome {
        let (Some(used), Some(limit)) = (process::resident_memory(), process::memory_limit()) else {
            return Outcome::warn("this system does not tell how much memory is used");
        };
        let share = used as f64 / limit.max(1) as f64;
        let percent = (share * 1000.0).round() / 10.0;
        let outcome = match share {
            share if share > self.fail_above => Outcome::fail(format!("{percent}% of the memory is used")),
            share if share > self.warn_above => Outcome::warn(format!("{percent}% of the memory is used")),
            _ => Outcome::pass(),
        };
        outcome.observed(used as f64 / f64::from(1 << 20), "MiB")
    }
}

/// A queue's backlog, as `ask` counts it: how many wait, and since when the oldest does. It warns, and never fails, when one of the limits
/// is passed: restarting a service, or taking it out of the rotation, makes no queue shorter.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_telemetry::health::{Health, backlog_check};
///
/// async fn ask() -> Result<(u64, Duration), std::io::Error> {
///     Ok((17, Duration::from_secs(2)))
/// }
///
/// let health = Health::builder("shop").check("mails", backlog_check(1_000, Duration::from_secs(60), ask)).build();
/// # let _ = health;
/// ```
pub fn backlog_check<F, Fut, E>(most: u64, oldest: Duration, ask: F) -> impl Check
where
    F: Fn() -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<(u64, Duration), E>> + Send,
    E: std::fmt::Display,
{
    move || {
        let ask = ask.clone();
        async move {
            match ask().await {
                Ok((waiting, age)) if waiting > most || age > oldest => {
                    let age = age.as_secs();
                    Outcome::warn(format!("{waiting} wait, the oldest for {age} s"))
                        .observed(waiting as f64, "waiting")
                }
                Ok((waiting, _)) => Outcome::pass().observed(waiting as f64, "waiting"),
                Err(error) => Outcome::fail("it can't be counted").because(error.to_string()),
            }
        }
    }
}
