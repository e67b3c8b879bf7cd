//! Looks into the running process: where its processor time goes, how much it allocates, and how its requests went.
//!
//! The feature `profiles` has the profiles, the feature `http` the routes that serve them.

#[cfg(feature = "profiles")]
mod allocations;
#[cfg(feature = "profiles")]
mod cpu;
#[cfg(feature = "profiles")]
mod flame_graph;
#[cfg(feature = "http")]
mod protection;
#[cfg(feature = "profiles")]
mod protobuf;
#[cfg(feature = "http")]
mod routes;

#[cfg(feature = "profiles")]
pub use allocations::{Allocations, INSTRUMENTED_SYSTEM, StatsAlloc, allocations, peak_memory};
#[cfg(feature = "profiles")]
pub use cpu::{CpuProfile, DEFAULT_FREQUENCY, cpu};
#[cfg(feature = "http")]
pub use protection::{Protection, ProtectionError};
#[cfg(feature = "http")]
pub use routes::routes;

/// Why there is no profile.
#[cfg(feature = "profiles")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A profile takes 1 to 60 seconds.
    #[error("a profile takes 1 to 60 seconds, and not {}", .0.as_secs_f64())]
    Time(std::time::Duration),
    /// A CPU profile looks 1 to 1,000 times a second.
    #[error("a CPU profile takes 1 to 1000 samples a second, and not {0}")]
    Frequency(u32),
    /// One CPU profile at a time.
    #[error("another CPU profile is being taken: a process takes one at a time; try again when that is done")]
    Busy,
    /// The application has no allocator that counts.
    #[error(
        "allocations are not counted: the counting allocator is not installed; declare \
         `#[global_allocator] static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;` with the ones of \
         seaworthy_telemetry::profiles in the application's main.rs"
    )]
    NotInstalled,
    /// The profiler failed.
    #[error("the CPU profile failed: {0}")]
    Profiler(#[from] pprof::Error),
    /// The profile could not be written in the form that was asked for.
    #[error("the profile can't be rendered: {0}")]
    Rendering(#[from] std::io::Error),
}

/// Checks that a profile ends.
#[cfg(feature = "profiles")]
fn bounded(time: std::time::Duration) -> Result<std::time::Duration, ProfileError> {
    let seconds = std::time::Duration::from_secs;
    if (seconds(1)..=seconds(60)).contains(&time) { Ok(time) } else { Err(ProfileError::Time(time)) }
}
