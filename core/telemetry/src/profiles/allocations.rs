//! How much memory this process takes and gives back.

use std::{hint::black_box, time::Duration};

use serde::Serialize;
pub use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use super::{ProfileError, bounded};

/// What the process allocated over some time, all of its threads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Allocations {
    /// For how long allocations were counted, in milliseconds.
    pub time_ms: u64,
    /// How often memory was taken.
    pub allocations: u64,
    /// How often memory was given back.
    pub deallocations: u64,
    /// How often memory was made larger or smaller.
    pub reallocations: u64,
    /// How many bytes were taken.
    pub bytes_allocated: u64,
    /// How many bytes were given back.
    pub bytes_deallocated: u64,
    /// How many bytes are taken at the end of that time.
    pub bytes_now: u64,
    /// The most memory that the process ever had, in bytes, as the system counts it; None where it does not say.
    pub peak_memory: Option<u64>,
}

/// Counts what the process allocates from now on, for 1 to 60 seconds. The application has to declare the counting allocator:
///
/// ```
/// use std::alloc::System;
/// use seaworthy_telemetry::profiles::{INSTRUMENTED_SYSTEM, StatsAlloc};
///
/// #[global_allocator]
/// static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;
/// # fn main() {}
/// ```
///
/// # Errors
///
/// When the counting allocator is not installed, or `time` is not 1 to 60 seconds.
pub async fn allocations(time: Duration) -> Result<Allocations, ProfileError> {
    let time = bounded(time)?;
    if !is_installed() {
        return Err(ProfileError::NotInstalled);
    }
    let before = INSTRUMENTED_SYSTEM.stats();
    tokio::time::sleep(time).await;
    let now = INSTRUMENTED_SYSTEM.stats();
    let since = now - before;
    Ok(Allocations {
        time_ms: time.as_millis() as u64,
        allocations: since.allocations as u64,
        deallocations: since.deallocations as u64,
        reallocations: since.reallocations as u64,
        bytes_allocated: since.bytes_allocated as u64,
        bytes_deallocated: since.bytes_deallocated as u64,
        // The two are not read at one moment.
        bytes_now: now.bytes_allocated.saturating_sub(now.bytes_deallocated) as u64,
        peak_memory: peak_memory(),
    })
}

/// Whether an allocation is counted.
fn is_installed() -> bool {
    let before = INSTRUMENTED_SYSTEM.stats().allocations;
    drop(black_box(Box::new(0_u64)));
    INSTRUMENTED_SYSTEM.stats().allocations != before
}

/// The most memory that this process ever had in use at once, in bytes: `VmHWM` of Linux. None on other systems.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_application_without_the_allocator_is_told_how_to_install_it() {
        let error = allocations(Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, ProfileError::NotInstalled), "{error}");
        assert!(error.to_string().contains("#[global_allocator]"), "{error}");
    }
}
